//! A home that is in use on two machines: both copies learn of it.

use std::path::Path;

use p2panda::{Error, ErrorKind, Event, Node, PublishError, Publisher, Restored, StartAt, Topic};
use tempfile::TempDir;

use crate::nodes::{PATIENCE, at, builder, introduce, network, temporary, texts, topic, until};

/// A home with a log of two messages, and a copy of it.
async fn two_copies(network: p2panda::NetworkId, topic: Topic) -> [TempDir; 2] {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let node = at(network, dirs[0].path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in ["0", "1"] {
        tx.publish(text).await.unwrap();
    }
    node.shutdown().await.unwrap();
    copy(dirs[0].path(), dirs[1].path());
    dirs
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

async fn publish(node: &Node, topic: Topic, texts: &[&str]) -> Publisher {
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in texts {
        tx.publish(*text).await.unwrap();
    }
    tx
}

async fn is_closed(tx: &Publisher) -> bool {
    let refused = tx.publish("refused").await;
    matches!(refused, Err(Error::Publish(PublishError::OwnFork { .. })))
}

async fn holds(node: &Node, topic: Topic, count: usize) {
    until("it holds them", || async {
        node.topic(topic).operations(0).await.unwrap().len() >= count
    })
    .await;
}

/// Both publish, `first` and `second` messages, while no peer is there. The first one meets the
/// common peer and goes, then the second one comes.
async fn meet_one_after_the_other(first: &[&str], second: &[&str]) {
    let (network, topic) = (network(), topic());
    let dirs = two_copies(network, topic).await;
    let peer = temporary(network).await;
    let _peer = peer.stream(topic).await.unwrap();

    let node = at(network, dirs[0].path()).await;
    publish(&node, topic, first).await;
    introduce(&node, &peer);
    holds(&peer, topic, 2 + first.len()).await;
    node.shutdown().await.unwrap();

    let node = at(network, dirs[1].path()).await;
    let mut events = node.events();
    let tx = publish(&node, topic, second).await;
    introduce(&node, &peer);
    until_told(&mut events).await;
    assert!(is_closed(&tx).await);
    until("the peer has evidence", || async {
        !peer.topic(topic).forks().await.unwrap().is_empty()
    })
    .await;
    node.shutdown().await.unwrap();
    // It stays so.
    let node = at(network, dirs[1].path()).await;
    let tx = publish(&node, topic, &[]).await;
    assert!(is_closed(&tx).await);
    node.shutdown().await.unwrap();

    let node = at(network, dirs[0].path()).await;
    let mut events = node.events();
    let tx = publish(&node, topic, &[]).await;
    introduce(&node, &peer);
    until_told(&mut events).await;
    assert!(is_closed(&tx).await);
    node.shutdown().await.unwrap();
    peer.shutdown().await.unwrap();
}

async fn until_told(events: &mut p2panda::Events) {
    let told = async { while !matches!(events.next().await, Some(Event::OwnFork { .. })) {} };
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("the copy is told of the other one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_behind_and_the_one_before_it_both_know() {
    meet_one_after_the_other(&["a2", "a3", "a4"], &["b2"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_ahead_and_the_one_before_it_both_know() {
    meet_one_after_the_other(&["a2"], &["b2", "b3", "b4"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_level_both_know() {
    meet_one_after_the_other(&["a2", "a3"], &["b2", "b3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_online_at_the_same_peer_both_know() {
    let (network, topics) = (network(), [topic(), topic()]);
    let dirs = two_copies(network, topics[0]).await;
    let peer = temporary(network).await;
    let mut nodes = Vec::new();
    for (dir, texts) in [(&dirs[0], ["a", "a"]), (&dirs[1], ["b", "b"])] {
        nodes.push((at(network, dir.path()).await, texts));
    }
    let (mut events, mut publishers) = (Vec::new(), Vec::new());
    for (node, texts) in &nodes {
        events.push(node.events());
        for topic in topics {
            publishers.push(publish(node, topic, texts).await);
        }
    }
    for topic in topics {
        drop(peer.stream(topic).await.unwrap());
    }
    for (node, _) in &nodes {
        introduce(node, &peer);
    }
    for tx in &publishers {
        until("the log is closed", || is_closed(tx)).await;
    }
    for events in &mut events {
        until_told(events).await;
    }
    for (node, _) in nodes {
        node.shutdown().await.unwrap();
    }
    peer.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarted_in_between_tells_the_other_copy() {
    let (network, topic) = (network(), topic());
    let dirs = two_copies(network, topic).await;
    let peer_dir = tempfile::tempdir().unwrap();
    for (place, text) in ["a", "b"].into_iter().enumerate() {
        let peer = at(network, peer_dir.path()).await;
        let _peer = peer.stream(topic).await.unwrap();
        let node = at(network, dirs[place].path()).await;
        let tx = publish(&node, topic, &[text]).await;
        introduce(&node, &peer);
        holds(&peer, topic, 3).await;
        if place == 1 {
            until("the log is closed", || is_closed(&tx)).await;
            until("the peer has evidence", || async {
                !peer.topic(topic).forks().await.unwrap().is_empty()
            })
            .await;
        }
        node.shutdown().await.unwrap();
        peer.shutdown().await.unwrap();
    }
    let peer = at(network, peer_dir.path()).await;
    let _peer = peer.stream(topic).await.unwrap();
    let node = at(network, dirs[0].path()).await;
    let mut events = node.events();
    let tx = publish(&node, topic, &[]).await;
    introduce(&node, &peer);
    until_told(&mut events).await;
    assert!(is_closed(&tx).await);
    node.shutdown().await.unwrap();
    peer.shutdown().await.unwrap();
}

/// A peer with one branch, and the directory of the copy with the other one, which knows of it.
async fn forked(network: p2panda::NetworkId, topic: Topic) -> (Node, TempDir) {
    let [first, second] = two_copies(network, topic).await;
    let peer = temporary(network).await;
    let _peer = peer.stream(topic).await.unwrap();
    let node = at(network, first.path()).await;
    publish(&node, topic, &["a2", "a3"]).await;
    introduce(&node, &peer);
    holds(&peer, topic, 4).await;
    node.shutdown().await.unwrap();

    let node = at(network, second.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in ["b2", "b3", "b4"] {
        tx.publish(text).await.unwrap();
    }
    let receipt = tx.publish("b5").await.unwrap();
    let mut events = node.events();
    introduce(&node, &peer);
    until_told(&mut events).await;
    // The peer that refused it does not count as one that was sent it.
    until("nobody was sent it", || async {
        receipt.sent_to().is_empty()
    })
    .await;
    until("it is found where the branches part", || async {
        let fork = node.topic(topic).own_fork().await.unwrap();
        fork.and_then(|fork| fork.parted) == Some(2)
    })
    .await;
    node.shutdown().await.unwrap();
    (peer, second)
}

async fn texts_of(node: &Node, topic: Topic, count: usize) -> Vec<String> {
    let request = node.stream(topic).start(StartAt::Beginning);
    let (_tx, mut rx) = request.await.unwrap();
    texts(&mut rx, count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_behind_the_other_branch() {
    let (network, topic) = (network(), topic());
    let (peer, dir) = forked(network, topic).await;
    let node = builder(network).data_dir(dir.path());
    let node = node.restored(Restored::PullOwnLog).spawn().await.unwrap();
    let mut events = node.events();
    let tx = publish(&node, topic, &[]).await;
    let refused = tx.publish("too early").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Restored);
    assert!(refused.is_retryable());
    assert_eq!(node.topic(topic).given_up(0).await.unwrap().len(), 4);
    introduce(&node, &peer);
    let pulled = async { while events.next().await != Some(Event::OwnLogPulled) {} };
    tokio::time::timeout(PATIENCE, pulled).await.unwrap();
    assert_eq!(node.republish().await.unwrap(), 4);
    assert_eq!(node.republish().await.unwrap(), 0);
    tx.publish("goes on").await.unwrap();
    let expected = ["0", "1", "a2", "a3", "b2", "b3", "b4", "b5", "goes on"];
    assert_eq!(texts_of(&peer, topic, 9).await, expected);
    assert!(!is_closed(&tx).await);
    node.shutdown().await.unwrap();
    peer.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_with_a_new_identity() {
    let (network, topic) = (network(), topic());
    let (peer, dir) = forked(network, topic).await;
    let node = builder(network).data_dir(dir.path());
    let node = node.restored(Restored::NewIdentity).spawn().await.unwrap();
    let _tx = publish(&node, topic, &["new"]).await;
    assert_eq!(node.republish().await.unwrap(), 4);
    introduce(&node, &peer);
    let expected = ["0", "1", "a2", "a3", "new", "b2", "b3", "b4", "b5"];
    assert_eq!(texts_of(&peer, topic, 9).await, expected);
    // The old log is still there to be read.
    let own = [
        "0", "1", "b2", "b3", "b4", "b5", "new", "b2", "b3", "b4", "b5",
    ];
    assert_eq!(texts_of(&node, topic, 11).await, own);
    node.shutdown().await.unwrap();
    peer.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_of_a_named_log_is_known_after_a_restart() {
    let (network, topic) = (network(), topic());
    let [first, second] = two_copies(network, topic).await;
    let peer = temporary(network).await;
    let _peer = peer.stream(topic).await.unwrap();
    for (dir, text) in [(&first, "a"), (&second, "b")] {
        let node = at(network, dir.path()).await;
        let mut events = node.events();
        let (tx, _rx) = node.stream(topic).await.unwrap();
        let control = tx.to_log("control").unwrap();
        control.publish(text).await.unwrap();
        introduce(&node, &peer);
        match text {
            "a" => holds(&peer, topic, 3).await,
            _ => until_told(&mut events).await,
        }
        node.shutdown().await.unwrap();
    }
    let node = at(network, second.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let forks = node.topic(topic).own_forks().await.unwrap();
    let control = tx.to_log("control").unwrap();
    assert_eq!(forks.len(), 1);
    assert_eq!(forks[0].0, control.log());
    assert_eq!(node.topic(topic).own_fork().await.unwrap(), None);
    let newest = control.newest().await.unwrap().unwrap();
    let sent = tokio::time::timeout(PATIENCE, newest.sent()).await.unwrap();
    assert!(
        matches!(sent, Err(Error::Publish(PublishError::OwnFork { .. }))),
        "{sent:?}"
    );
    // Its other logs continue.
    tx.publish("first").await.unwrap();
    assert!(is_closed(&control).await);
    node.shutdown().await.unwrap();
}
