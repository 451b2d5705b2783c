//! Reports of quotas to peers, and what waits for them (`docs/protocol/streams.md#21`).

use std::path::Path;

use p2panda::{
    Error, ErrorKind, Event, Events, NetworkId, Node, NotKept, Quota, Quotas, Receipt, Topic,
};

use crate::blocked::event;
use crate::nodes::{PATIENCE, builder, introduce, network, temporary, texts, topic, until};

const MESSAGE: usize = 30_000;

/// For one message of each author.
fn quotas(author: u64) -> Quotas {
    Quotas {
        author: Some(author),
        ..Quotas::default()
    }
}

fn message(letter: &str) -> String {
    letter.repeat(MESSAGE)
}

async fn keeper(network: NetworkId, dir: &Path, quotas: Quotas) -> Node {
    let keeper = builder(network).data_dir(dir).quotas(quotas);
    keeper.spawn().await.unwrap()
}

async fn stored(receipt: &Receipt, peers: usize) -> Result<(), Error> {
    let waited = tokio::time::timeout(PATIENCE, receipt.stored(peers));
    waited.await.expect("a wait that ends")
}

fn refusers(waited: Result<(), Error>) -> Vec<NotKept> {
    match waited {
        Err(Error::NotKept(refusers)) => refusers.peers().to_vec(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Bytes of operations that the next session with a peer brings this node in catch-up.
async fn caught_up_bytes(events: &mut Events, peer: &Node) -> u64 {
    let with = peer.id();
    let is_it = |event: &Event| matches!(event, Event::CatchUpEnded { peer, .. } if *peer == with);
    let Event::CatchUpEnded { transfer, .. } = event(events, is_it).await else {
        unreachable!()
    };
    transfer.received_bytes
}

/// An author whose second message a keeper refuses.
async fn refused(network: NetworkId, topic: Topic, keeper: &Node) -> (Node, Receipt) {
    let author = temporary(network).await;
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish(message("x")).await.unwrap();
    let (_tx, mut rx) = keeper.stream(topic).await.unwrap();
    introduce(keeper, &author);
    assert_eq!(texts(&mut rx, 1).await, [message("x")]);
    let receipt = tx.publish(message("y")).await.unwrap();
    (author, receipt)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_is_told_of_a_quota_and_when_there_is_room() {
    let (network, topic, dir) = (network(), topic(), tempfile::tempdir().unwrap());
    let keeper = keeper(network, dir.path(), quotas(50_000)).await;
    let author = temporary(network).await;
    let mut events = author.events();
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish(message("x")).await.unwrap();
    let (_tx, mut rx) = keeper.stream(topic).await.unwrap();
    introduce(&keeper, &author);
    assert_eq!(texts(&mut rx, 1).await, [message("x")]);
    assert_eq!(author.topic(topic).not_kept(), []);

    let receipt = tx.publish(message("y")).await.unwrap();
    let refused = refusers(stored(&receipt, 1).await);
    let [log] = refused[..] else {
        panic!("one peer: {refused:?}");
    };
    let expected = (keeper.id(), author.id(), None, 1, Quota::Author);
    let told = (log.peer, log.author, log.label, log.from, log.quota);
    assert_eq!(told, expected);
    assert_eq!(author.topic(topic).not_kept(), refused);
    assert_eq!(receipt.refused_by(), refused);
    let named = receipt.stored_by([keeper.id()]).await;
    let error = named.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_retryable()),
        (ErrorKind::NotYet, true)
    );
    let text = format!("not kept by {}: quota of the author", keeper.id());
    assert_eq!(error.to_string(), text);
    let trace = author.trace(receipt.id()).await.unwrap().unwrap();
    assert_eq!(trace.not_kept, refused);
    let first = Event::NotKept { topic, log };
    event(&mut events, |event| *event == first).await;

    // A prune makes room: it says so by itself, and the log continues.
    tx.prune(Some("snapshot".into())).await.unwrap();
    let receipt = tx.publish("after").await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["snapshot", "after"]);
    let kept = |event: &Event| matches!(event, Event::KeptAgain { log: of, .. } if *of == log);
    event(&mut events, kept).await;
    assert_eq!(author.topic(topic).not_kept(), []);
    stored(&receipt, 1).await.unwrap();
    let trace = author.trace(receipt.id()).await.unwrap().unwrap();
    assert_eq!(trace.not_kept, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raised_quota_holds_at_once_and_authors_are_told() {
    let (network, topic, dir) = (network(), topic(), tempfile::tempdir().unwrap());
    let keeper = keeper(network, dir.path(), quotas(50_000)).await;
    let (author, receipt) = refused(network, topic, &keeper).await;
    let mut events = author.events();
    refusers(stored(&receipt, 1).await);
    keeper.set_quotas(quotas(100_000)).await.unwrap();
    event(&mut events, |event| {
        matches!(event, Event::KeptAgain { .. })
    })
    .await;
    stored(&receipt, 1).await.unwrap();
    assert_eq!(author.topic(topic).not_kept(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_only_when_too_few_peers_are_left() {
    let (network, topic, dir) = (network(), topic(), tempfile::tempdir().unwrap());
    let keeper = keeper(network, dir.path(), quotas(50_000)).await;
    let (author, receipt) = refused(network, topic, &keeper).await;
    until("it was refused", || async {
        !keeper
            .topic(topic)
            .status()
            .await
            .unwrap()
            .blocked
            .is_empty()
    })
    .await;
    let other = temporary(network).await;
    let (_tx, _rx) = other.stream(topic).await.unwrap();
    introduce(&other, &author);
    // The other one has it, although the keeper refuses it.
    let by_other = receipt.stored_by([other.id()]);
    let by_other = tokio::time::timeout(PATIENCE, by_other).await;
    by_other.expect("in time").unwrap();
    stored(&receipt, 1).await.unwrap();
    assert_eq!(refusers(stored(&receipt, 2).await).len(), 1);
    let both = receipt.stored_by([other.id(), keeper.id()]);
    let both = tokio::time::timeout(PATIENCE, both).await.expect("in time");
    assert_eq!(refusers(both)[0].peer, keeper.id());
    // It hears of it as well, of an author that is somebody else.
    until("the other peer was told", || async {
        let told = other.topic(topic).not_kept();
        told.iter()
            .any(|log| log.author == author.id() && log.peer == keeper.id())
    })
    .await;
    // That one has it, and does not send it to the keeper.
    let trace = keeper.trace(receipt.id()).await.unwrap().unwrap();
    assert_eq!(trace.received.len(), 1, "{trace:?}");
    // What is not known any more ends with the link.
    keeper.shutdown().await.unwrap();
    until("nobody refuses any more", || async {
        author.topic(topic).not_kept().is_empty()
    })
    .await;
}

/// Neither a new session nor a restart brings again what a quota excludes. With a higher quota all of it
/// comes by itself.
#[tokio::test(flavor = "multi_thread")]
async fn refused_operations_cross_once_until_the_quota_is_raised() {
    let (network, topic, dir) = (network(), topic(), tempfile::tempdir().unwrap());
    let limited = keeper(network, dir.path(), quotas(50_000)).await;
    let (author, receipt) = refused(network, topic, &limited).await;
    assert_eq!(refusers(stored(&receipt, 1).await).len(), 1);
    let tx = author.publisher(topic).await.unwrap();
    for letter in ["a", "b", "c"] {
        tx.publish(message(letter)).await.unwrap();
    }
    let seen = |node: &Node| {
        let status = node.topic(topic);
        async move { status.status().await.unwrap().blocked[0].seen.seq == 4 }
    };
    until("the rest was seen", || seen(&limited)).await;
    limited.topic(topic).leave().await;
    for restart in [false, true] {
        let node = match restart {
            false => limited.clone(),
            true => {
                limited.shutdown().await.unwrap();
                keeper(network, dir.path(), quotas(50_000)).await
            }
        };
        let mut events = node.events();
        let (_tx, _rx) = node.stream(topic).await.unwrap();
        introduce(&node, &author);
        let bytes = caught_up_bytes(&mut events, &author).await;
        assert!(bytes < 5_000, "{bytes} bytes came again, restart {restart}");
        // The new session tells it again.
        until("the author is told", || async {
            author.topic(topic).not_kept().len() == 1
        })
        .await;
        if restart {
            node.shutdown().await.unwrap();
        }
    }
    let node = keeper(network, dir.path(), quotas(1_000_000)).await;
    let (_tx, mut rx) = node.stream(topic).await.unwrap();
    introduce(&node, &author);
    let came = texts(&mut rx, 5).await;
    assert_eq!(came[4], message("c"));
    assert_eq!(author.topic(topic).not_kept(), []);
    stored(&receipt, 1).await.unwrap();
}

/// Checks that what another author deletes makes room below the quota of the topic: the rest of a
/// log is fetched in the running session.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_log_goes_on_when_others_make_room() {
    let (network, topic, dir) = (network(), topic(), tempfile::tempdir().unwrap());
    let of_topic = Quotas {
        topic: Some(100_000),
        ..Quotas::default()
    };
    let keeper = keeper(network, dir.path(), of_topic).await;
    let (_tx, mut rx) = keeper.stream(topic).await.unwrap();
    let other = temporary(network).await;
    let (other_tx, _rx) = other.stream(topic).await.unwrap();
    for letter in ["a", "b"] {
        other_tx.publish(message(letter)).await.unwrap();
    }
    introduce(&keeper, &other);
    assert_eq!(texts(&mut rx, 2).await, [message("a"), message("b")]);
    let author = temporary(network).await;
    let mut events = author.events();
    let (tx, _rx) = author.stream(topic).await.unwrap();
    tx.publish(message("x")).await.unwrap();
    introduce(&keeper, &author);
    assert_eq!(texts(&mut rx, 1).await, [message("x")]);
    let receipt = tx.publish(message("y")).await.unwrap();
    let refused = receipt.stored_by([keeper.id()]);
    let refused = tokio::time::timeout(PATIENCE, refused).await;
    let refused = refusers(refused.expect("a wait that ends"));
    assert_eq!((refused[0].from, refused[0].quota), (1, Quota::Topic));
    other_tx.prune(Some("snapshot".into())).await.unwrap();
    // The message is concurrent with the snapshot.
    let mut got = texts(&mut rx, 2).await;
    got.sort();
    assert_eq!(got, ["snapshot".to_owned(), message("y")]);
    let is_kept = |event: &Event| matches!(event, Event::KeptAgain { .. });
    event(&mut events, is_kept).await;
    let stored = receipt.stored_by([keeper.id()]);
    let stored = tokio::time::timeout(PATIENCE, stored).await;
    stored.expect("in time").unwrap();
}
