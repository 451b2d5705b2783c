//! Entries of the feed that are not bodies, as the application gets them. The tests write them into the
//! store while the node is closed.

use std::path::Path;

use bytes::Bytes;
use p2panda::{Ack, Change, Consumer, ConsumerStart, DecodeError, Delivered, Node, Topic};
use p2panda_store::{Durability, Options, PageLimits, Ready, Store};

use crate::consumers::{LATE, rest};
use crate::nodes::{at, network, next, texts, topic};

/// Gives the operations of a topic the next places in the feed: the first is opened, the second
/// withdrawn.
pub fn change(dir: &Path, topic: Topic) {
    let mut store = Store::open(dir, Options::default()).unwrap();
    let reader = store.readers().open().unwrap();
    let page = reader.feed_page(&topic, 0, PageLimits::default(), None);
    let entries = page.unwrap().entries;
    // The text "opened".
    let opened = Ready::Opened(Bytes::from_static(b"\x66opened"));
    let mut tx = store.begin(Durability::Full).unwrap();
    for (entry, ready) in entries
        .iter()
        .zip([opened, Ready::Changed(Change::Withdrawn)])
    {
        let offset = tx.next_offset();
        tx.place(entry.arrival, offset, &ready).unwrap();
    }
    tx.commit().unwrap();
    store.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_a_message_without_content_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        ids.push(tx.publish(text).await.unwrap().id());
        next(&mut rx).await.ack().await.unwrap();
    }
    node.shutdown().await.unwrap();
    change(dir.path(), topic);

    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    let typed = node.stream(topic).typed::<String>().ack(Ack::Explicit);
    let (_tx, mut typed) = typed.await.unwrap();
    tx.publish("four").await.unwrap();
    let opened = next(&mut rx).await;
    assert_eq!((opened.id(), opened.text().unwrap()), (ids[0], "opened"));
    assert_eq!(opened.change(), None);
    let withdrawn = next(&mut rx).await;
    assert_eq!(withdrawn.id(), ids[1]);
    assert_eq!(withdrawn.change(), Some(Change::Withdrawn));
    assert!(withdrawn.raw().is_empty());
    assert!(matches!(withdrawn.text(), Err(DecodeError::Change)));
    assert!(matches!(withdrawn.bytes(), Err(DecodeError::Change)));
    assert_eq!(texts(&mut rx, 1).await, ["four"]);

    assert_eq!(typed.next().await.unwrap().value().unwrap(), "opened");
    let message = typed.next().await.unwrap();
    assert!(matches!(message.value(), Err(DecodeError::Change)));
    assert_eq!(typed.next().await.unwrap().value().unwrap(), "four");

    // What is acked stays away, the others come again.
    withdrawn.ack().await.unwrap();
    node.shutdown().await.unwrap();
    let node = at(network, dir.path()).await;
    let (_tx, mut rx) = node.stream(topic).ack(Ack::Explicit).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["opened", "four"]);
}

/// Says how the first operation of the topic's only log stands.
fn restate_first(dir: &Path, topic: Topic, ready: &Ready) {
    let mut store = Store::open(dir, Options::default()).unwrap();
    let reader = store.readers().open().unwrap();
    let page = reader.feed_page(&topic, 0, PageLimits::default(), None);
    let entries = page.unwrap().entries;
    let first = entries
        .iter()
        .find(|entry| entry.header.seq() == 0)
        .unwrap();
    let mut tx = store.begin(Durability::Full).unwrap();
    let offset = tx.next_offset();
    tx.place(first.arrival, offset, ready).unwrap();
    tx.commit().unwrap();
    store.close().unwrap();
}

async fn open(node: &Node, name: &str, topic: Topic) -> Consumer {
    node.consumer(name).topics([topic]).open().await.unwrap()
}

/// Returns what it is given next, all of which it settles: texts, or the first place of what was
/// withdrawn.
async fn given(consumer: &mut Consumer) -> Vec<String> {
    let mut given = Vec::new();
    for delivery in rest(consumer).await {
        given.push(match delivery.what() {
            Delivered::Changed(Change::Withdrawn, message) => {
                format!("not {}", message.first_offset().unwrap())
            }
            _ => delivery.text().unwrap().to_owned(),
        });
        delivery.ack().await.unwrap();
    }
    given
}

async fn said(node: &Node, topic: Topic, texts: &[&str]) {
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in texts {
        tx.publish(*text).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_readers_of_a_message_hear_of_its_withdrawal() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    said(&node, topic, &["one", "two"]).await;
    let mut seen = open(&node, "seen", topic).await;
    assert_eq!(given(&mut seen).await, ["one", "two"]);
    drop(open(&node, "behind", topic).await);
    let mut holds = open(&node, "holds", topic).await;
    let held = rest(&mut holds).await;
    held[0].nak(Some(LATE)).await.unwrap();
    held[1].ack().await.unwrap();
    drop((seen, holds, held));
    node.shutdown().await.unwrap();

    restate_first(dir.path(), topic, &Ready::Changed(Change::Withdrawn));
    let node = at(network, dir.path()).await;
    let mut seen = open(&node, "seen", topic).await;
    assert_eq!(given(&mut seen).await, ["not 1"]);
    assert_eq!(
        given(&mut open(&node, "behind", topic).await).await,
        ["two"]
    );
    assert_eq!(given(&mut open(&node, "new", topic).await).await, ["two"]);
    let mut holds = open(&node, "holds", topic).await;
    assert_eq!(given(&mut holds).await, ["not 1"], "it was given that");
    let letters = holds.handle().dead_letters();
    assert!(letters.list(0).await.unwrap().is_empty());
    assert_eq!(holds.handle().info().positions[0].open, 0);

    // Who begins again may still have what it was given.
    seen.handle().seek(ConsumerStart::Beginning).await.unwrap();
    assert_eq!(given(&mut seen).await, ["two", "not 1"]);
    drop((seen, holds));
    node.shutdown().await.unwrap();

    restate_first(dir.path(), topic, &Ready::Body);
    let node = at(network, dir.path()).await;
    for name in ["seen", "behind", "new", "holds"] {
        let again = given(&mut open(&node, name, topic).await).await;
        assert_eq!(again, ["one"], "{name}");
    }
    node.shutdown().await.unwrap();

    // It stood at its last place when some came to its first one.
    restate_first(dir.path(), topic, &Ready::Changed(Change::Withdrawn));
    let node = at(network, dir.path()).await;
    for name in ["seen", "behind", "new", "holds"] {
        let again = given(&mut open(&node, name, topic).await).await;
        assert_eq!(again, ["not 1"], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_reaches_a_reader_past_its_first_place() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    said(&node, topic, &["one", "two"]).await;
    let author = node.id();
    node.shutdown().await.unwrap();
    restate_first(dir.path(), topic, &Ready::Changed(Change::Withdrawn));
    let node = at(network, dir.path()).await;
    let start = ConsumerStart::StateVector(vec![(author, 1)]);
    let consumer = node.consumer("elsewhere").topics([topic]).start(start);
    let mut consumer = consumer.open().await.unwrap();
    assert_eq!(given(&mut consumer).await, ["not 1"]);
}
