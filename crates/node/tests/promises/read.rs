//! Reading and acknowledging.

use std::time::Duration;

use p2panda::{Ack, Error, StartAt};
use p2panda_core::limits::SHUTDOWN_LEAVE_WAIT;

use crate::nodes::{PATIENCE, at, introduce, network, next, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn acking_the_third_message_only_brings_back_the_first_two() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    next(&mut rx).await;
    next(&mut rx).await;
    next(&mut rx).await.ack().await.unwrap();
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    tx.publish("four").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_automatic_ack_is_made_when_the_next_message_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    // Two is being worked on when the application stops.
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    let (_tx, mut rx) = node.stream(topic).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_handle_sees_every_message_of_its_topic() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, mut one) = a.stream(topic).await.unwrap();
    let (other_tx, mut other) = a.stream(topic).await.unwrap();
    tx.publish("both").await.unwrap();
    assert_eq!(texts(&mut one, 1).await, ["both"]);
    assert_eq!(texts(&mut other, 1).await, ["both"]);
    drop((tx, one));

    let (b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&a, &b);
    assert_eq!(texts(&mut b_rx, 1).await, ["both"]);
    b_tx.publish("from b").await.unwrap();
    assert_eq!(texts(&mut other, 1).await, ["from b"]);
    other_tx.publish("from a").await.unwrap();
    assert_eq!(texts(&mut b_rx, 2).await, ["from b", "from a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_handle_has_acknowledged_still_comes_to_the_other() {
    let (network, topic) = (network(), topic());
    let node = temporary(network).await;
    let (tx, mut quick) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    let (_tx, mut slow) = node.stream(topic).await.unwrap();
    // More than is kept in memory for those who keep up, so that the slow one reads the store.
    let sent: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    for text in &sent {
        tx.publish(text.as_str()).await.unwrap();
        next(&mut quick).await.ack().await.unwrap();
    }
    assert_eq!(texts(&mut slow, 200).await, sent);

    let (_tx, mut late) = node.stream(topic).await.unwrap();
    tx.publish("new").await.unwrap();
    assert_eq!(texts(&mut late, 1).await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_starts_where_it_is_told_to() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    next(&mut rx).await;
    let second = next(&mut rx).await.offset();
    next(&mut rx).await;

    let (_tx, mut beginning) = node.stream(topic).start(StartAt::Beginning).await.unwrap();
    assert_eq!(texts(&mut beginning, 3).await, ["one", "two", "three"]);
    let (_tx, mut offset) = node
        .stream(topic)
        .start(StartAt::Offset(second))
        .await
        .unwrap();
    assert_eq!(texts(&mut offset, 2).await, ["two", "three"]);
    let (_tx, mut now) = node.stream(topic).start(StartAt::Now).await.unwrap();
    tx.publish("four").await.unwrap();
    assert_eq!(texts(&mut now, 1).await, ["four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_wakes_up_and_ends_when_the_topic_is_left() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    let (sender, woken) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn(async move {
        let first = rx.next().await.unwrap();
        sender.send(first.text().unwrap().to_owned()).unwrap();
        rx.next().await.is_none()
    });
    tx.publish("wake up").await.unwrap();
    let first = tokio::time::timeout(PATIENCE, woken).await.unwrap();
    assert_eq!(first.unwrap(), "wake up");
    node.topic(topic).leave().await;
    let ended = tokio::time::timeout(PATIENCE, reader).await.unwrap();
    assert!(ended.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_closes_every_handle_and_the_directory() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, mut rx) = a.stream(topic).await.unwrap();
    let (_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    tx.publish("hello").await.unwrap();
    assert_eq!(texts(&mut b_rx, 1).await, ["hello"]);
    // It returns within a second because the only wait for others is shorter. The engine and the
    // sockets do not run under a paused clock.
    assert!(SHUTDOWN_LEAVE_WAIT < Duration::from_secs(1));
    let ended = tokio::time::timeout(PATIENCE, a.shutdown()).await;
    ended.expect("shut down in time").unwrap();
    assert!(matches!(tx.publish("too late").await, Err(Error::Closed)));
    assert!(rx.next().await.is_none());
    assert!(!a.data_dir().exists(), "a temporary directory is removed");
}
