//! Headers that arrive without their bodies lose nothing.

use futures_lite::stream;
use p2panda::{ImportedOperation, Node, StartAt, StoredOperation, Topic};

use crate::nodes::{at, builder, introduce, network, next, temporary, texts, topic, until};

const MESSAGES: usize = 20;

/// All that a node has stored of a topic.
async fn stored(node: &Node, topic: Topic) -> Vec<StoredOperation> {
    node.topic(topic).operations(0).await.unwrap()
}

/// Hands headers to a node, with the bodies that `keep` wants.
async fn import(node: &Node, topic: Topic, from: &[StoredOperation], keep: fn(u32) -> bool) {
    let operations = from.iter().map(|operation| ImportedOperation {
        header: operation.header.clone(),
        body: operation.body.clone().filter(|_| keep(operation.seq)),
    });
    let operations: Vec<_> = operations.collect();
    let report = node.import(topic, stream::iter(operations)).await.unwrap();
    assert_eq!(report.rejected + report.dropped, 0);
}

fn numbers() -> Vec<String> {
    (0..MESSAGES).map(|number| number.to_string()).collect()
}

/// A header-only import of twenty at B, with C behind it, then a sync of B with the author.
async fn header_only_import_is_completed(digest: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let a = builder(network).temporary().state_digest(digest);
    let a = a.spawn().await.unwrap();
    let (a_tx, _a_rx) = a.stream(topic).await.unwrap();
    for number in numbers() {
        a_tx.publish(number).await.unwrap();
    }
    let b = temporary(network).await;
    let (_b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    import(&b, topic, &stored(&a, topic).await, |_| false).await;
    assert_eq!(b.topic(topic).wanted_bodies().await.unwrap(), 20);

    let c = at(network, dir.path()).await;
    let (_c_tx, mut c_rx) = c.stream(topic).await.unwrap();
    introduce(&c, &b);
    until("a live session with C", || async {
        let live = |peer: &p2panda::PeerStatus| peer.sessions.iter().any(|one| one.live);
        c.net().peers().iter().any(live)
    })
    .await;
    assert!(stored(&c, topic).await.is_empty(), "a header went on alone");

    introduce(&b, &a);
    assert_eq!(texts(&mut b_rx, MESSAGES).await, numbers());
    assert_eq!(texts(&mut c_rx, MESSAGES).await, numbers());
    assert_eq!(b.topic(topic).wanted_bodies().await.unwrap(), 0);
    c.shutdown().await.unwrap();
    let c = at(network, dir.path()).await;
    let (_tx, mut rx) = c.stream(topic).start(StartAt::Beginning).await.unwrap();
    assert_eq!(texts(&mut rx, MESSAGES).await, numbers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_only_import_is_completed_by_its_author() {
    header_only_import_is_completed(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_only_import_is_completed_by_a_0_7_1_author() {
    header_only_import_is_completed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_come_alone_are_completed_at_once() {
    let (network, topic) = (network(), topic());
    let [a, b, author] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let (tx, _rx) = author.stream(topic).await.unwrap();
    for number in numbers() {
        tx.publish(number).await.unwrap();
    }
    let from = stored(&author, topic).await;
    author.shutdown().await.unwrap();
    let (_a_tx, _a_rx) = a.stream(topic).await.unwrap();
    let (_b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&a, &b);
    until("a live session", || async {
        let live = |peer: &p2panda::PeerStatus| peer.sessions.iter().any(|one| one.live);
        b.net().peers().iter().any(live)
    })
    .await;
    import(&b, topic, &from, |seq| seq % 2 == 0).await;
    import(&a, topic, &from, |_| true).await;
    let mut shown = texts(&mut b_rx, MESSAGES).await;
    shown.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(shown, numbers());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_body_is_withheld_deletes_nothing() {
    let (network, topic) = (network(), topic());
    let a = temporary(network).await;
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in ["0", "1", "2"] {
        tx.publish(number).await.unwrap();
    }
    let b = temporary(network).await;
    let (_b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    import(&b, topic, &stored(&a, topic).await, |_| true).await;
    tx.prune(Some("snapshot".into())).await.unwrap();
    let snapshot = stored(&a, topic).await;
    assert_eq!(snapshot.len(), 1);
    import(&b, topic, &snapshot, |_| false).await;
    assert_eq!(stored(&b, topic).await.len(), 4);
    assert_eq!(texts(&mut b_rx, 3).await, ["0", "1", "2"]);
    // With its body it takes effect.
    introduce(&b, &a);
    assert_eq!(next(&mut b_rx).await.text().unwrap(), "snapshot");
    assert_eq!(
        stored(&b, topic).await,
        snapshot_at(&b, topic, &snapshot).await
    );
}

/// The same operations under the arrival numbers of another node.
async fn snapshot_at(
    node: &Node,
    topic: Topic,
    operations: &[StoredOperation],
) -> Vec<StoredOperation> {
    let arrivals = stored(node, topic).await.into_iter().map(|one| one.arrival);
    let operations = operations.iter().cloned().zip(arrivals);
    operations
        .map(|(one, arrival)| StoredOperation { arrival, ..one })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_was_dropped_is_not_fetched_again() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in ["0", "1"] {
        tx.publish(number).await.unwrap();
    }
    let (_b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    assert_eq!(texts(&mut b_rx, 2).await, ["0", "1"]);
    assert!(b.topic(topic).drop_body(a.id(), 0).await.unwrap());
    assert!(!b.topic(topic).drop_body(a.id(), 7).await.unwrap());
    import(&b, topic, &stored(&a, topic).await, |_| true).await;
    assert_eq!(b.topic(topic).wanted_bodies().await.unwrap(), 0);
    let bodies = stored(&b, topic)
        .await
        .into_iter()
        .map(|one| one.body.is_some());
    assert_eq!(bodies.collect::<Vec<_>>(), [false, true]);
}
