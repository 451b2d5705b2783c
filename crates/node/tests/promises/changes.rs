//! Entries of the feed that are no bodies, as the application gets them. Nothing in a node makes them
//! yet: the tests write them into the store while the node is closed.

use std::path::Path;

use bytes::Bytes;
use p2panda::{Ack, Change, DecodeError, Topic};
use p2panda_store::{Durability, Options, PageLimits, Ready, Store};

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
