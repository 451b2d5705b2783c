//! Logs that cannot continue at a node that does not take their next operation.

use p2panda::{Event, Events, Node, Quotas, RejectReason, Topic, VerifyingKey};

use crate::nodes::{PATIENCE, builder, introduce, network, temporary, texts, topic, until};

const LIMIT: u32 = 100_000;

/// Waits for an event.
pub async fn event(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    let found = async {
        loop {
            let event = events.next().await.expect("the node runs");
            if wanted(&event) {
                return event;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found);
    found.await.expect("the event comes in time")
}

/// Bytes of operations that the session with a peer brought. Others may bring what they learn
/// meanwhile.
async fn received(node: &Node, events: &mut Events, topic: Topic, from: VerifyingKey) -> u64 {
    // It is told at the end.
    node.topic(topic).leave().await;
    let is_it = |event: &Event| matches!(event, Event::SessionEnded { peer, .. } if *peer == from);
    let Event::SessionEnded { transfer, .. } = event(events, is_it).await else {
        unreachable!()
    };
    transfer.received_bytes
}

/// A node with a small message, a large one and a hundred small ones, and one that does not take the
/// large one.
async fn a_reader_with_a_limit(digest: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let author = builder(network).temporary().state_digest(digest);
    let author = author.spawn().await.unwrap();
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish("first").await.unwrap();
    tx.publish("x".repeat(300_000)).await.unwrap();
    for number in 0..100 {
        tx.publish(format!("{number} {}", "y".repeat(1_000)))
            .await
            .unwrap();
    }
    let other = temporary(network).await;
    let (other_tx, _rx) = other.stream(topic).await.unwrap();

    let at = || builder(network).data_dir(dir.path());
    let limited = || at().operation_bytes_max(LIMIT).spawn();
    let reader = limited().await.unwrap();
    let mut events = reader.events();
    let (_tx, mut rx) = reader.stream(topic).await.unwrap();
    introduce(&reader, &author);
    introduce(&reader, &other);
    assert_eq!(texts(&mut rx, 1).await, ["first"]);
    let is_blocked = |event: &Event| matches!(event, Event::LogBlocked { .. });
    let Event::LogBlocked { log, .. } = event(&mut events, is_blocked).await else {
        unreachable!()
    };
    assert_eq!((log.author, log.seq), (author.id(), 1));
    assert_eq!(log.reason, RejectReason::TooLarge);
    assert!((300_000..301_000).contains(&log.bytes), "{}", log.bytes);
    let all_seen = || async {
        let blocked = reader.topic(topic).status().await.unwrap().blocked;
        blocked[0].seen.seq == 101
    };
    until("all of the log was seen", all_seen).await;
    other_tx.publish("others go on").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["others go on"]);
    reader.shutdown().await.unwrap();

    // Neither the large one nor what follows it comes again.
    let reader = limited().await.unwrap();
    let mut events = reader.events();
    let (_tx, mut rx) = reader.stream(topic).await.unwrap();
    introduce(&reader, &author);
    let with = author.id();
    let caught_up =
        |event: &Event| matches!(event, Event::CatchUpEnded { peer, .. } if *peer == with);
    let Event::CatchUpEnded { blocked, .. } = event(&mut events, caught_up).await else {
        unreachable!()
    };
    assert_eq!(blocked, 1, "it says that it has not caught up");
    let bytes = received(&reader, &mut events, topic, with).await;
    assert!(bytes < 10_000, "{bytes} bytes came again");
    drop(rx);
    reader.shutdown().await.unwrap();

    // With a higher limit it continues by itself.
    let reader = at().spawn().await.unwrap();
    let stream = reader.stream(topic).await.unwrap();
    rx = stream.1;
    introduce(&reader, &author);
    // The last one was not acknowledged.
    let came = texts(&mut rx, 102).await;
    assert_eq!(came[0], "others go on");
    assert_eq!((came[1].len(), came[101].len()), (300_000, 1_003));
    assert_eq!(reader.topic(topic).status().await.unwrap().blocked, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_log_goes_on_with_a_higher_limit() {
    a_reader_with_a_limit(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_peer_does_not_send_a_blocked_log_again() {
    a_reader_with_a_limit(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_log_goes_on_when_its_author_prunes() {
    let (network, topic) = (network(), topic());
    let author = temporary(network).await;
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish("x".repeat(300_000)).await.unwrap();
    let reader = builder(network).temporary().operation_bytes_max(LIMIT);
    let reader = reader.spawn().await.unwrap();
    let mut events = reader.events();
    let (_tx, mut rx) = reader.stream(topic).await.unwrap();
    introduce(&reader, &author);
    event(&mut events, |event| {
        matches!(event, Event::LogBlocked { .. })
    })
    .await;
    tx.publish("not shown").await.unwrap();
    tx.prune(Some("snapshot".into())).await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["snapshot"]);
    event(&mut events, |event| {
        matches!(event, Event::LogGoesOn { .. })
    })
    .await;
}

/// Checks that what a quota refused crosses once, and comes when there is room.
#[tokio::test(flavor = "multi_thread")]
async fn an_author_above_its_quota_is_not_sent_again_until_it_prunes() {
    let (network, topic) = (network(), topic());
    let author = temporary(network).await;
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish("x".repeat(30_000)).await.unwrap();
    tx.publish("y".repeat(30_000)).await.unwrap();
    let quotas = Quotas {
        author: Some(50_000),
        ..Quotas::default()
    };
    let keeper = builder(network).temporary().quotas(quotas);
    let keeper = keeper.spawn().await.unwrap();
    let mut events = keeper.events();
    let (_tx, mut rx) = keeper.stream(topic).await.unwrap();
    introduce(&keeper, &author);
    assert_eq!(texts(&mut rx, 1).await, ["x".repeat(30_000)]);
    let is_blocked = |event: &Event| matches!(event, Event::LogBlocked { .. });
    let Event::LogBlocked { log, .. } = event(&mut events, is_blocked).await else {
        unreachable!()
    };
    assert_eq!((log.author, log.seq), (author.id(), 1));
    assert_eq!(log.reason, RejectReason::Quota);
    // The author stays welcome, and what it published is known not to be stored.
    let own = keeper.topic(topic).status().await.unwrap();
    assert_eq!(own.blocked.len(), 1);
    let stored = author.topic(topic).peers().await.unwrap()[0].stores_own;
    assert!(stored.is_none_or(|seq| seq == 0), "{stored:?}");
    tx.prune(Some("snapshot".into())).await.unwrap();
    tx.publish("after").await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["snapshot", "after"]);
    let goes_on = |event: &Event| matches!(event, Event::LogGoesOn { .. });
    event(&mut events, goes_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caught_up_counts_all_peers_and_never_none() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    for node in [&a, &b] {
        let (tx, _rx) = node.stream(topic).await.unwrap();
        for number in 0..50 {
            tx.publish(format!("{number}")).await.unwrap();
        }
    }
    let reader = temporary(network).await;
    let (_tx, rx) = reader.stream(topic).await.unwrap();
    let alone = tokio::time::timeout(std::time::Duration::from_millis(300), rx.caught_up());
    assert!(
        alone.await.is_err(),
        "with nobody there is nothing to catch up with"
    );
    introduce(&reader, &a);
    introduce(&reader, &b);
    let both = async {
        while rx.caught_up().await.unwrap().peers < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.unwrap();
    let status = reader.topic(topic).status().await.unwrap();
    assert_eq!(status.totals.operations, 100);
    reader.topic(topic).leave().await;
    assert_eq!(
        rx.caught_up().await.unwrap_err().kind(),
        p2panda::ErrorKind::Closed
    );
}
