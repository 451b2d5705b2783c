//! Several logs of a node in one topic.

use p2panda::{Error, ErrorKind, LogName, NewMessage};
use tokio::time::timeout;

use crate::nodes::{PATIENCE, at, introduce, network, next, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn all_logs_of_a_topic_reach_another_node_and_say_which_they_are() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    let first = control.publish("before").await.unwrap();
    tx.publish("plain").await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let mut both = texts(&mut rx, 2).await;
    both.sort();
    assert_eq!(both, ["before", "plain"]);
    let second = control.publish("live").await.unwrap();
    let live = next(&mut rx).await;
    assert_eq!(live.text().unwrap(), "live");
    assert_eq!(live.author(), a.id());
    assert_eq!((first.seq(), second.seq(), live.seq()), (0, 1, 1));
    assert_eq!(live.log(), Some(LogName::of("control").unwrap()));
    timeout(PATIENCE, second.sent())
        .await
        .expect("in time")
        .unwrap();
    assert_eq!(second.sent_to(), [b.id()]);
    let newest = control.newest().await.unwrap().unwrap();
    assert_eq!(newest.id(), second.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_logs_and_each_goes_on_at_its_end() {
    let (network, topic) = (network(), topic());
    let dir = tempfile::tempdir().unwrap();
    let node = at(network, dir.path()).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.to_log("one").unwrap().publish("a").await.unwrap();
    tx.publish("b").await.unwrap();
    node.shutdown().await.unwrap();
    let node = at(network, dir.path()).await;
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["a", "b"]);
    assert_eq!(
        tx.to_log("one").unwrap().publish("c").await.unwrap().seq(),
        1
    );
    assert_eq!(
        tx.to_log("two").unwrap().publish("d").await.unwrap().seq(),
        0
    );
    assert_eq!(tx.publish("e").await.unwrap().seq(), 1);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_to_several_logs_and_a_message_comes_after_one_of_another_log() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, mut own) = a.stream(topic).await.unwrap();
    let control = tx.to_log("control").unwrap();
    control.publish("control").await.unwrap();
    let shown = next(&mut own).await;
    let content = NewMessage::new("content").after([&shown]);
    let more = NewMessage::new("more").to_log("control").unwrap();
    let receipts = tx.publish_messages([content, more]).await.unwrap();
    assert_eq!([receipts[0].seq(), receipts[1].seq()], [0, 1]);
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let texts = texts(&mut rx, 3).await;
    let place = |text: &str| texts.iter().position(|one| one == text);
    assert!(place("control") < place("content"), "{texts:?}");
    assert!(place("control") < place("more"), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_can_be_pruned_and_unsent_counts_each() {
    let (network, topic) = (network(), topic());
    let node = temporary(network).await;
    let (tx, _rx) = node.stream(topic).await.unwrap();
    let one = tx.to_log("one").unwrap();
    for text in ["a", "b"] {
        one.publish(text).await.unwrap();
        tx.publish(text).await.unwrap();
    }
    let unsent = node.unsent().await.unwrap();
    assert_eq!(unsent[0].operations, 4);
    one.prune(Some("snapshot".into())).await.unwrap();
    let status = node.topic(topic).status().await.unwrap();
    assert_eq!((status.logs, status.totals.operations), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_none_and_a_receipt_that_cannot_come_are_errors() {
    let node = temporary(network()).await;
    let (tx, _rx) = node.stream(topic()).await.unwrap();
    let error = tx.to_log("").map(drop).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Invalid);
    let error = tx.to_log(&"a".repeat(129)).map(drop).unwrap_err();
    assert_eq!(Error::from(error).kind(), ErrorKind::Limit);
    assert!(NewMessage::new("text").to_log("").is_err());
    let receipt = tx.to_log("one").unwrap().publish("text").await.unwrap();
    let stored = receipt.stored(1).await.unwrap_err();
    assert!(matches!(stored, Error::NamedReceipt));
}
