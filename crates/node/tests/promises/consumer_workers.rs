//! Distribution of messages to several readers (`docs/protocol/consumers.md#7`).

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2panda::{ConsumerError, ConsumerMode, Error};

use crate::consumers::{SOON, next, publish, refused, rest_texts, text, with_messages};
use crate::nodes::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn shared_workers_split_messages_without_a_double() {
    const MESSAGES: usize = 10_000;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..MESSAGES).await;
    let open = || {
        let opened = node.consumer("pool").topics([topic]);
        let opened = opened.mode(ConsumerMode::Shared).ack_wait(SOON * 50);
        opened.in_flight_max(2_000).open()
    };
    let mut hangs = open().await.unwrap();
    let held: Vec<String> = hangs.fetch(100).await.unwrap().iter().map(text).collect();
    assert_eq!(held.len(), 100);
    let handled: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let mut workers = Vec::new();
    for _ in 0..4 {
        let (mut worker, handled) = (open().await.unwrap(), Arc::clone(&handled));
        workers.push(tokio::spawn(async move {
            while handled.lock().unwrap().len() < MESSAGES {
                let batch = worker.fetch(200).wait(SOON);
                let batch = batch.await.unwrap();
                for delivery in &batch {
                    *handled.lock().unwrap().entry(text(delivery)).or_default() += 1;
                }
                let mut acks = tokio::task::JoinSet::new();
                for delivery in batch {
                    acks.spawn(async move { delivery.ack().await.unwrap() });
                }
                acks.join_all().await;
            }
        }));
    }
    for worker in workers {
        let done = tokio::time::timeout(PATIENCE, worker).await;
        done.expect("all are handled in time").unwrap();
    }
    let handled = handled.lock().unwrap();
    assert!(held.iter().all(|text| handled.contains_key(text)));
    let doubles = handled
        .iter()
        .filter(|(text, times)| **times > 1 && !held.contains(text));
    assert_eq!(doubles.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_key_come_one_at_a_time_to_eight_workers() {
    const MESSAGES: usize = 2_000;
    let key = |text: &str| text.parse::<u64>().unwrap() % 13;
    let (node, topic, tx) = with_messages(0).await;
    publish(&tx, 0..MESSAGES).await;
    let open = || {
        let by = move |message: &p2panda::Message| key(message.text().unwrap());
        node.consumer("keys").topics([topic]).ordered_by(by).open()
    };
    let busy: Arc<Mutex<HashSet<u64>>> = Arc::default();
    let done: Arc<Mutex<BTreeMap<u64, Vec<u64>>>> = Arc::default();
    let mut workers = Vec::new();
    for _ in 0..8 {
        let mut worker = open().await.unwrap();
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        workers.push(tokio::spawn(async move {
            let count = |done: &BTreeMap<_, Vec<u64>>| done.values().map(Vec::len).sum::<usize>();
            while count(&done.lock().unwrap()) < MESSAGES {
                for delivery in worker.fetch(1).wait(SOON).await.unwrap() {
                    let key = key(&text(&delivery));
                    assert!(busy.lock().unwrap().insert(key), "two of a key at a time");
                    tokio::task::yield_now().await;
                    let offset = delivery.message().unwrap().offset();
                    if offset.is_multiple_of(17) && delivery.count() == 1 {
                        busy.lock().unwrap().remove(&key);
                        delivery.nak(Some(Duration::ZERO)).await.unwrap();
                        continue;
                    }
                    done.lock().unwrap().entry(key).or_default().push(offset);
                    busy.lock().unwrap().remove(&key);
                    delivery.ack().await.unwrap();
                }
            }
        }));
    }
    for worker in workers {
        let ended = tokio::time::timeout(PATIENCE, worker).await;
        ended.expect("all are handled in time").unwrap();
    }
    let done = done.lock().unwrap();
    assert!(done.values().all(|offsets| offsets.is_sorted()));
    assert_eq!(done.values().map(Vec::len).sum::<usize>(), MESSAGES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_consumer_has_one_reader_at_a_time() {
    let (node, topic, _tx) = with_messages(2).await;
    let mut first = node.consumer("app").topics([topic]).open().await.unwrap();
    let held = next(&mut first).await;
    let error = node.consumer("app").open().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::InUse);
    let mut second = node.consumer("app").take_over().open().await.unwrap();
    assert!(first.next().await.is_none());
    let ended = first.ended().unwrap();
    assert!(matches!(*ended, Error::Consumer(ConsumerError::TakenOver)));
    let error = held.ack().await.unwrap_err();
    assert_eq!(refused(error), ConsumerError::StaleToken);
    assert_eq!(rest_texts(&mut second).await, ["0", "1"]);
    drop(second);
    // What it held can be delivered at once.
    let mut third = node.consumer("app").open().await.unwrap();
    assert_eq!(rest_texts(&mut third).await, ["0", "1"]);
}
