//! Losses of a view with a filter when its feed has lost messages (`docs/protocol/views.md#3`).

use p2panda::{ConsumerFilter, ViewState};

use crate::nodes::{PATIENCE, network, temporary, topic};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_filter_does_not_admit_is_no_loss() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    control.publish("kept").await.unwrap();
    let mut last = None;
    for _ in 0..3 {
        last = Some(crate::nodes::next(&mut rx).await);
    }
    let all = ConsumerFilter::default;
    let recent = all().from(last.unwrap().timestamp());
    let lost = [
        ("named", all().logs([control.log().unwrap()]), 0),
        ("recent", recent, 1),
        ("all", all(), 3),
    ];
    let mut views = Vec::new();
    for (name, filter, _) in &lost {
        let view = node.view(name, 1).topics([topic]).filter(filter.clone());
        let view = view.table("CREATE TABLE {view}count(n INTEGER)");
        let view = view.apply(|_, _| Ok(())).start().await.unwrap();
        tokio::time::timeout(PATIENCE, view.caught_up())
            .await
            .unwrap()
            .unwrap();
        views.push(view);
    }
    tx.prune(Some("snapshot".into())).await.unwrap();
    for (name, filter, entries) in lost {
        let next = node.view(name, 2).topics([topic]).filter(filter);
        let next = next.table("CREATE TABLE {view}count(n INTEGER)");
        let next = next.apply(|_, _| Ok(())).start().await.unwrap();
        let answers = tokio::time::timeout(PATIENCE, next.answers())
            .await
            .unwrap();
        assert_eq!(answers.is_ok(), entries == 0, "{name}: {answers:?}");
        let listed = node.views().await.unwrap();
        let listed = listed
            .iter()
            .find(|view| view.name == name && view.version == 2);
        let expected = match entries {
            0 => ViewState::Answers,
            entries => ViewState::Lacks { entries },
        };
        // Anyone who lists it knows it as well, without having started it.
        assert_eq!(
            listed.map(|view| view.state.clone()),
            Some(expected),
            "{name}"
        );
    }
}
