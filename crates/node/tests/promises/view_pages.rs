//! Views of more than is read of the feed at a time (`docs/protocol/views.md#2`).

use p2panda::{Node, Publisher, Topic, View};
use p2panda_core::limits::VIEW_STEP_ENTRIES_MAX;

use crate::nodes::{PATIENCE, network, temporary, topic};

async fn publish(tx: &Publisher, messages: usize) {
    let numbers: Vec<usize> = (0..messages).collect();
    for part in numbers.chunks(1_000) {
        let texts = part.iter().map(ToString::to_string);
        tx.publish_all(texts).await.unwrap();
    }
}

/// Counts what it is given, and says whether the offsets ascend.
async fn counts(node: &Node, topic: Topic, version: u32) -> View {
    let view = node.view("counts", version).topics([topic]);
    let view = view.table("CREATE TABLE {view}entry(offset INTEGER PRIMARY KEY, place INTEGER)");
    let view = view.apply(|step, message| {
        let sql = "INSERT INTO {view}entry VALUES(?1, (SELECT count(*) FROM {view}entry))";
        step.execute(sql, [(message.offset() as i64).into()]);
        Ok(())
    });
    view.start().await.unwrap()
}

/// Returns the number of entries, once it has caught up, if all came once and in order.
async fn count(view: &View) -> Option<i64> {
    let caught_up = async {
        // What is read is the version that answers.
        view.answers().await?;
        view.caught_up().await
    };
    let caught_up = tokio::time::timeout(PATIENCE, caught_up).await;
    caught_up.expect("in time").unwrap();
    let counted = view.read(|tables| {
        let sql = "SELECT count(*), max(place), (SELECT group_concat(place) FROM
            (SELECT place FROM entry ORDER BY offset)) = (SELECT group_concat(place) FROM
            (SELECT place FROM entry ORDER BY place)) FROM entry";
        tables.query(sql, [])
    });
    let counted = counted.await.unwrap();
    let (count, last) = (counted[0].integer(0)?, counted[0].integer(1)?);
    assert_eq!((last, counted[0].integer(2)), (count - 1, Some(1)));
    Some(count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_of_several_pages_has_everything_once() {
    let (node, topic) = (temporary(network()).await, topic());
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let before = 2 * VIEW_STEP_ENTRIES_MAX + 100;
    publish(&tx, before).await;
    let first = counts(&node, topic, 1).await;
    publish(&tx, 500).await;
    assert_eq!(count(&first).await, Some(before as i64 + 500));
    // One that is built reads on while it is written to, and then follows.
    let second = counts(&node, topic, 2).await;
    publish(&tx, VIEW_STEP_ENTRIES_MAX).await;
    let all = (before + 500 + VIEW_STEP_ENTRIES_MAX) as i64;
    assert_eq!(count(&second).await, Some(all));
    for more in 1..4 {
        tx.publish("one more").await.unwrap();
        assert_eq!(count(&second).await, Some(all + more));
    }
}
