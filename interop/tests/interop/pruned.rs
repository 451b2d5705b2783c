//! Pruned logs: what is gone is not missed, and what should go goes, on both sides.

use interop::{Message, Operation};

use crate::case::{Case, PATIENCE, assert_in_order, assert_same};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_node_takes_a_pruned_log_of_ours() {
    let case = Case::new("pruned log of ours");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    for place in 0..10 {
        ours.publish_text(case.topic, &format!("old {place}"))
            .await
            .unwrap();
    }
    let seq = ours.prune(case.topic, Some("snapshot")).await.unwrap();
    assert_eq!(seq, 10);
    for place in 0..5 {
        ours.publish_text(case.topic, &format!("new {place}"))
            .await
            .unwrap();
    }

    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();

    let delivered = stream.wait_operations(6, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_eq!(seqs(&delivered), (10..16).collect::<Vec<_>>());
    assert_same(&delivered, &ours.dump(case.topic).await.unwrap());
    assert_same(&delivered, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_takes_a_pruned_log_of_a_published_node() {
    let case = Case::new("pruned log of a published node");
    let published = case.published(&[]).await;
    let stream = published.stream(case.topic).await.unwrap();
    for place in 0..10 {
        stream
            .publish(format!("old {place}").as_str())
            .await
            .unwrap();
    }
    stream.prune(Some(Message::from("snapshot"))).await.unwrap();
    for place in 0..5 {
        stream
            .publish(format!("new {place}").as_str())
            .await
            .unwrap();
    }

    let ours = case.ours(&[published.peer()]).await;
    ours.subscribe(case.topic).await.unwrap();

    let delivered = ours.wait_messages(case.topic, 6, PATIENCE).await.unwrap();
    assert_in_order(&delivered);
    assert_eq!(seqs(&delivered), (10..16).collect::<Vec<_>>());
    assert_same(&delivered, &ours.dump(case.topic).await.unwrap());
    assert_same(&delivered, &published.dump(case.topic).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_prune_removes_what_came_before_on_both_sides() {
    let case = Case::new("live prune");
    let ours = case.ours(&[]).await;
    ours.subscribe(case.topic).await.unwrap();
    let published = case.published(&[ours.peer()]).await;
    let stream = published.stream(case.topic).await.unwrap();
    for place in 0..5 {
        ours.publish_text(case.topic, &format!("ours {place}"))
            .await
            .unwrap();
        stream
            .publish(format!("theirs {place}").as_str())
            .await
            .unwrap();
    }
    stream.wait_operations(10, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 10, PATIENCE).await.unwrap();

    // One with a message and one without; the latter is seen by what follows it.
    ours.prune(case.topic, None).await.unwrap();
    ours.publish_text(case.topic, "our last").await.unwrap();
    stream
        .prune(Some(Message::from("their last")))
        .await
        .unwrap();
    stream.wait_operations(12, PATIENCE).await.unwrap();
    ours.wait_messages(case.topic, 12, PATIENCE).await.unwrap();

    let held = ours.dump(case.topic).await.unwrap();
    let of = |author| -> Vec<Operation> {
        let of_author = held.iter().filter(|operation| operation.author == author);
        of_author.cloned().collect()
    };
    assert_eq!(seqs(&of(ours.peer().node)), [5, 6]);
    assert_eq!(seqs(&of(published.peer().node)), [5]);
    assert_same(&held, &published.dump(case.topic).await.unwrap());
    assert_eq!(stream.refused(), []);
}

fn seqs(operations: &[Operation]) -> Vec<u32> {
    operations.iter().map(|operation| operation.seq).collect()
}
