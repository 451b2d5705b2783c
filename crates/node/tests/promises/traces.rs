//! Traces of operations, and metrics.

use std::time::Duration;

use futures_lite::stream;
use p2panda::{
    Hash, ImportedOperation, Node, RejectReason, Topic, Trace, TraceProgress, TraceState,
};

use crate::nodes::{builder, introduce, network, next, temporary, texts, topic, until};

fn is_in_feed(state: &TraceState) -> bool {
    matches!(state, TraceState::Stored(TraceProgress::InFeed { .. }))
}

async fn trace(node: &Node, id: Hash) -> Trace {
    node.trace(id).await.unwrap().expect("it is known")
}

/// Everything that a node has of a topic.
async fn operations(node: &Node, topic: Topic) -> Vec<ImportedOperation> {
    let operations = node.topic(topic).operations(0).await.unwrap();
    let operations = operations.into_iter().map(|one| ImportedOperation {
        header: one.header,
        body: one.body,
    });
    operations.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_follows_a_message_over_a_node_between() {
    let (network, topic) = (network(), topic());
    let [a, b, c] = [
        temporary(network).await,
        temporary(network).await,
        temporary(network).await,
    ];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let receipt = tx.publish("one").await.unwrap();
    let id = receipt.id();
    let at_a = trace(&a, id).await;
    let TraceState::Stored(TraceProgress::InFeed { missing, .. }) = &at_a.state else {
        panic!("{:?}", at_a.state)
    };
    assert!(missing.is_empty());
    assert_eq!((at_a.topic, at_a.received.len()), (topic, 0));
    assert_eq!((at_a.sent_to, at_a.stored_by), (vec![], vec![]));
    assert_eq!(b.trace(id).await.unwrap(), None);

    let (tx_b, mut rx_b) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let message = next(&mut rx_b).await;
    receipt.stored(1).await.unwrap();
    let at_a = trace(&a, id).await;
    assert_eq!((at_a.sent_to, at_a.stored_by), (vec![b.id()], vec![b.id()]));
    a.shutdown().await.unwrap();

    let (_tx, mut rx_c) = c.stream(topic).await.unwrap();
    introduce(&c, &b);
    assert_eq!(texts(&mut rx_c, 1).await, ["one"]);
    let at_b = || trace(&b, id);
    until("b knows that c has it", || async {
        at_b().await.sent_to == [c.id()]
    })
    .await;
    let at_b = at_b().await;
    let place = at_b.place.expect("it is stored");
    assert_eq!((place.author, place.seq), (a.id(), 0));
    let from: Vec<_> = at_b.received.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(from, [a.id()]);
    message.ack().await.unwrap();
    assert!(trace(&b, id).await.consumers[0].acknowledged);
    let unread = tx_b.publish("two").await.unwrap();
    assert!(!trace(&b, unread.id()).await.consumers[0].acknowledged);
    let at_c = trace(&c, id).await;
    let from: Vec<_> = at_c.received.iter().map(|(peer, _)| *peer).collect();
    assert_eq!(from, [b.id()]);
    b.shutdown().await.unwrap();
    c.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_says_for_what_and_what_was_refused_says_why() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx_a, mut rx_a) = a.stream(topic).await.unwrap();
    let (tx_b, _rx) = b.stream(topic).await.unwrap();
    let first = tx_b.publish("before").await.unwrap();
    introduce(&a, &b);
    assert_eq!(texts(&mut rx_a, 1).await, ["before"]);
    let after = tx_a.publish("after").await.unwrap();
    let all = operations(&a, topic).await;

    // A node that gets only what comes after.
    let wait = Duration::from_secs(3_600);
    let reader = builder(network).temporary().causal_wait(wait);
    let reader = reader.spawn().await.unwrap();
    let (_tx, mut rx) = reader.stream(topic).await.unwrap();
    let [before, behind] = <[ImportedOperation; 2]>::try_from(all).unwrap();
    let report = reader.import(topic, stream::iter([behind])).await.unwrap();
    assert_eq!(report.stored, 1);
    let waiting = trace(&reader, after.id()).await;
    let TraceState::Stored(TraceProgress::Waiting { front: 0, missing }) = &waiting.state else {
        panic!("{:?}", waiting.state)
    };
    let ids: Vec<_> = missing.iter().map(|one| (one.author, one.id)).collect();
    assert_eq!(ids, [(b.id(), first.id())]);
    assert_eq!(reader.trace(first.id()).await.unwrap(), None);
    reader.import(topic, stream::iter([before])).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["before", "after"]);
    let state = trace(&reader, after.id()).await.state;
    assert!(is_in_feed(&state), "{state:?}");

    // What came for another topic is refused there.
    let other = crate::nodes::topic();
    let (_tx, _rx) = reader.stream(other).await.unwrap();
    let all = operations(&b, topic).await;
    let report = reader.import(other, stream::iter(all)).await.unwrap();
    assert_eq!(report.rejected, 2);
    let id = tx_b.publish("third").await.unwrap().id();
    let third = operations(&b, topic).await.pop().unwrap();
    reader.import(other, stream::iter([third])).await.unwrap();
    let refused = trace(&reader, id).await;
    assert_eq!((refused.topic, refused.place), (other, None));
    let reason = Some(RejectReason::WrongTopic);
    assert!(matches!(refused.state, TraceState::Refused { reason: why, .. } if why == reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_operation_says_where_its_log_goes_on() {
    let (network, topic) = (network(), topic());
    let a = temporary(network).await;
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in 0..3 {
        tx.publish(number.to_string()).await.unwrap();
    }
    let last = tx.newest().await.unwrap().unwrap();
    let mut all = operations(&a, topic).await;
    let late = all.remove(1);
    let reader = temporary(network).await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    all.into_iter().for_each(|one| sender.send(one).unwrap());
    let coming = stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let importing = tokio::spawn({
        let reader = reader.clone();
        async move { reader.import(topic, coming).await }
    });
    until("it came", || async {
        reader.trace(last.id()).await.unwrap().is_some()
    })
    .await;
    let early = trace(&reader, last.id()).await;
    assert_eq!(early.state, TraceState::Early { next: 1 });
    assert_eq!(
        early.place.map(|place| (place.author, place.seq)),
        Some((a.id(), 2))
    );
    sender.send(late).unwrap();
    drop(sender);
    importing.await.unwrap().unwrap();
    let state = trace(&reader, last.id()).await.state;
    assert!(is_in_feed(&state), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_operations_and_sessions() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (tx_b, mut rx) = b.stream(topic).await.unwrap();
    for number in 0..5 {
        tx.publish(number.to_string()).await.unwrap();
    }
    introduce(&b, &a);
    texts(&mut rx, 5).await;
    tx_b.publish("b").await.unwrap();
    let metrics = b.metrics();
    let counts = (metrics.operations_stored, metrics.operations_published);
    assert_eq!((counts, metrics.entries), ((6, 1), 6));
    assert!(metrics.healthy && metrics.topics == 1 && metrics.commits > 0);
    let live = || async { b.metrics().network.sessions_live == 1 };
    until("the session is live", live).await;
    let other = crate::nodes::topic();
    let all = operations(&a, topic).await;
    let all = stream::iter(all);
    let report = b.import(other, all).await.unwrap();
    assert_eq!(b.metrics().operations_rejected, report.rejected as u64);
    assert!(
        b.metrics()
            .to_string()
            .contains("\np2panda_sessions_live 1\n")
    );
    b.shutdown().await.unwrap();
    let metrics = b.metrics();
    assert_eq!((metrics.topics, metrics.network.sessions), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_says_with_whom_it_is_exchanged() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for number in 0..20 {
        tx.publish(number.to_string()).await.unwrap();
    }
    assert_eq!(a.topic(topic).peers().await.unwrap(), []);
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    texts(&mut rx, 20).await;
    tx.newest().await.unwrap().unwrap().stored(1).await.unwrap();
    let peers = || async { a.topic(topic).peers().await.unwrap() };
    let settled = || async {
        peers()
            .await
            .iter()
            .all(|peer| peer.session.live && peer.unsent == 0)
    };
    until("it is live and everything is sent", settled).await;
    let found = peers().await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].peer, found[0].stores_own), (b.id(), Some(19)));
    assert_eq!(found[0].catch_up, None);
    b.shutdown().await.unwrap();
    until("the session has ended", || async {
        peers().await.is_empty()
    })
    .await;
}
