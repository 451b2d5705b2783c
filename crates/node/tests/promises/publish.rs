//! Publishing.

use std::collections::BTreeSet;

use futures_lite::future::poll_once;
use p2panda::{Body, ErrorKind, NewMessage, Receipt, StartAt};
use serde::{Deserialize, Serialize};

use crate::nodes::{PATIENCE, introduce, network, next, temporary, texts, topic};

#[tokio::test(flavor = "multi_thread")]
async fn a_published_message_comes_back_on_its_own_stream() {
    let topic = topic();
    let node = p2panda::builder()
        .temporary()
        .mdns(p2panda::Mdns::Off)
        .spawn()
        .await
        .unwrap();
    let (tx, mut rx) = node.stream(topic).await.unwrap();
    tx.publish("Hello, Panda!").await.unwrap();
    let message = next(&mut rx).await;
    assert_eq!(message.text().unwrap(), "Hello, Panda!");
    assert_eq!(message.author(), node.id());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_publishes_finish_while_nobody_reads() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _unread) = a.stream(topic).await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let publish = async {
        for number in 0..10_000 {
            tx.publish(number.to_string()).await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE * 2, publish)
        .await
        .expect("publishing never stalls");
    for number in 0..10_000 {
        assert_eq!(next(&mut rx).await.text().unwrap(), number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_publishers_never_show_a_gap() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let tx = tx.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    tx.publish(format!("{task} {number}")).await.unwrap();
                }
            })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for seq in 0..800 {
        let message = next(&mut rx).await;
        assert_eq!(message.seq(), seq, "a gap");
        seen.insert(message.text().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 800);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_publish_calls_is_the_order_in_the_log() {
    let node = temporary(network()).await;
    let (tx, mut rx) = node.stream(topic()).await.unwrap();
    let (one, two, three) = (tx.publish("one"), tx.publish("two"), tx.publish("three"));
    let (one, two, three) = tokio::join!(one, two, three);
    assert_eq!(
        [one, two, three].map(|receipt| receipt.unwrap().seq()),
        [0, 1, 2]
    );
    assert_eq!(texts(&mut rx, 3).await, ["one", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_publishes_keep_the_order_of_their_first_polls() {
    let node = temporary(network()).await;
    let (tx, _rx) = node.stream(topic()).await.unwrap();
    // Four times what the queue holds, and more than one turn of a task may do.
    let sizes = (0..600).map(|index| if index % 3 == 0 { 256 * 1024 } else { 1 });
    let mut publishes = Vec::new();
    for size in sizes {
        let tx = tx.clone();
        let mut publish = Box::pin(async move { tx.publish(vec![0; size]).await });
        if let Some(receipt) = poll_once(&mut publish).await {
            panic!("durable without a commit: {receipt:?}");
        }
        publishes.push(tokio::spawn(publish));
    }
    for (index, publish) in publishes.into_iter().enumerate() {
        assert_eq!(publish.await.unwrap().unwrap().seq() as usize, index);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Todo {
    title: String,
    done: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecodable_message_is_delivered_with_its_error() {
    let node = temporary(network()).await;
    let topic = topic();
    let (raw, _rx) = node.stream(topic).await.unwrap();
    let (tx, mut rx) = node.stream(topic).typed::<Todo>().await.unwrap();
    let todo = Todo {
        title: "bamboo".to_owned(),
        done: false,
    };
    raw.publish("no todo").await.unwrap();
    tx.publish(&todo).await.unwrap();
    let broken = rx.next().await.unwrap();
    assert!(broken.value().is_err());
    assert_eq!(broken.text().unwrap(), "no todo");
    assert_eq!(rx.next().await.unwrap().value().unwrap(), &todo);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_removes_what_came_before_everywhere() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    tx.publish("one").await.unwrap();
    tx.publish("two").await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    tx.prune(Some(Body::from("snapshot"))).await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["snapshot"]);
    for node in [&a, &b] {
        let (_tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await.unwrap();
        assert_eq!(texts(&mut rx, 1).await, ["snapshot"]);
        assert_eq!(
            node.topic(topic).status().await.unwrap().totals.operations,
            1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_comes_whole_and_in_order_to_another_node() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let (tx, _rx) = a.stream(topic).await.unwrap();
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let receipts = tx.publish_all(["0", "1", "2"]).await.unwrap();
    let seqs: Vec<u32> = receipts.iter().map(Receipt::seq).collect();
    assert_eq!(seqs, [0, 1, 2]);
    // Next to what others publish meanwhile.
    let single = async { tx.publish("single").await.unwrap() };
    let all = tx.publish_all((3..1_003).map(|number| number.to_string()));
    let (_, all) = tokio::join!(single, all);
    assert_eq!(all.unwrap().len(), 1_000);
    let came = texts(&mut rx, 1_004).await;
    let numbers = came.iter().filter(|text| *text != "single");
    assert!(
        numbers.eq((0..1_003)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
            .iter())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_that_is_refused_keeps_all_of_them_out() {
    let node = temporary(network()).await;
    let (tx, _rx) = node.stream(topic()).await.unwrap();
    let messages = [NewMessage::new("fine"), NewMessage::new(vec![0; 17 << 20])];
    let refused = tx.publish_messages(messages).await;
    assert!(refused.is_err());
    let refused = tx.publish_all(vec!["x"; 1_001]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limit);
    assert!(tx.newest().await.unwrap().is_none());
    assert_eq!(tx.publish("first").await.unwrap().seq(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_messages_are_published_at_once_as_well() {
    let node = temporary(network()).await;
    let (tx, mut rx) = node.stream(topic()).typed::<u32>().await.unwrap();
    tx.publish_all([1, 2]).await.unwrap();
    for number in [1, 2] {
        let message = rx.next().await.unwrap();
        assert_eq!(*message.value().unwrap(), number);
    }
}
