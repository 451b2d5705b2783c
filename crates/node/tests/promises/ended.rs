//! The end of subscriptions and imports, and damaged rows.

use std::path::Path;
use std::task::Poll;

use futures_lite::{future, stream};
use p2panda::{Ended, Error, Event, ImportedOperation, StartAt, Subscription};
use tokio::sync::oneshot;

use crate::nodes::{PATIENCE, at, network, next, temporary, texts, topic};

/// Changes the database of a directory behind its node's back.
fn tamper(dir: &Path, sql: &str) {
    let database = rusqlite::Connection::open(dir.join("p2panda.sqlite")).unwrap();
    database.execute_batch(sql).unwrap();
}

/// Returns why nothing comes any more.
pub async fn ended(rx: &mut Subscription) -> Ended {
    let message = tokio::time::timeout(PATIENCE, rx.next());
    assert!(message.await.expect("an end in time").is_none());
    rx.ended().expect("a reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_says_why_it_ended() {
    let node = temporary(network()).await;
    let (left, kept) = (topic(), topic());
    let (_tx, mut left_rx) = node.stream(left).await.unwrap();
    let (_tx, mut kept_rx) = node.stream(kept).await.unwrap();
    assert!(left_rx.ended().is_none());
    node.topic(left).leave().await;
    assert!(matches!(ended(&mut left_rx).await, Ended::Left));
    // It stays that way.
    assert!(matches!(ended(&mut left_rx).await, Ended::Left));

    node.shutdown().await.unwrap();
    assert!(matches!(ended(&mut kept_rx).await, Ended::Shutdown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_cannot_be_read_is_not_the_end_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in ["one", "two"] {
        tx.publish(text).await.unwrap();
    }
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    let (_tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await.unwrap();
    tamper(dir.path(), "ALTER TABLE operation RENAME TO gone");
    for _ in 0..2 {
        assert!(matches!(ended(&mut rx).await, Ended::Failed(_)));
    }
    tamper(dir.path(), "ALTER TABLE gone RENAME TO operation");
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    assert!(rx.ended().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_passed_over_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    node.shutdown().await.unwrap();
    let damage = "UPDATE operation SET header = x'00' WHERE seq = 1";
    tamper(dir.path(), damage);

    let node = at(network, dir.path()).await;
    let mut events = node.events();
    let (_tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["one", "three"]);
    let damaged = Event::Damaged {
        topic,
        author: node.id(),
        seq: 1,
    };
    let told = async { while events.next().await.expect("the node runs") != damaged {} };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_import_lets_go_of_what_waits() {
    let topic = topic();
    let [a, b] = [temporary(network()).await, temporary(network()).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    for text in ["one", "two", "three"] {
        tx.publish(text).await.unwrap();
    }
    let stored = a.topic(topic).operations(0).await.unwrap();
    let import = stored.into_iter().map(|stored| ImportedOperation {
        header: stored.header,
        body: stored.body,
    });
    let mut import: Vec<_> = import.collect();
    let mut third = import.pop();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();

    // The third one alone, and nothing forever.
    let (queued, is_queued) = oneshot::channel();
    let (mut queued, mut waits) = (Some(queued), 0);
    let endless = stream::poll_fn(|_| match third.take() {
        Some(third) => Poll::Ready(Some(third)),
        None => {
            waits += 1;
            // First it was asked for more of the batch, then for the next one.
            if waits == 2 {
                queued.take().unwrap().send(()).unwrap();
            }
            Poll::Pending
        }
    });
    let dropped = future::or(
        async {
            b.import(topic, endless).await.unwrap();
            false
        },
        async {
            is_queued.await.unwrap();
            true
        },
    );
    assert!(tokio::time::timeout(PATIENCE, dropped).await.unwrap());

    let report = b.import(topic, stream::iter(import)).await.unwrap();
    assert_eq!((report.stored, report.early), (2, 0));
    assert_eq!(next(&mut rx).await.text().unwrap(), "one");
    assert_eq!(next(&mut rx).await.text().unwrap(), "two");
    assert_eq!(b.topic(topic).operations(0).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_to_a_topic_that_was_left() {
    let node = temporary(network()).await;
    let topic = topic();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let clone = tx.clone();
    tx.publish("before").await.unwrap();
    node.topic(topic).leave().await;
    for publisher in [&tx, &clone] {
        let refused = publisher.publish("after").await;
        assert!(matches!(refused, Err(Error::Left)));
        let refused = publisher.prune(None).await;
        assert!(matches!(refused, Err(Error::Left)));
    }
    assert_eq!(node.topic(topic).operations(0).await.unwrap().len(), 1);

    let (again, _rx) = node.stream(topic).await.unwrap();
    assert_eq!(again.publish("again").await.unwrap().seq(), 1);
    // The handles of before stay as they are.
    assert!(matches!(tx.publish("after").await, Err(Error::Left)));
    node.shutdown().await.unwrap();
}
