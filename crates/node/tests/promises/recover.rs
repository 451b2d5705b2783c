//! Restarts, vanished peers, slow readers, many topics.

use std::time::Duration;

use p2panda::{Event, StartAt};

use crate::nodes::{
    PATIENCE, at, at_port, builder, introduce, network, next, temporary, texts, topic, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_with_only_the_directory_keeps_identity_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let node = at(network, dir.path()).await;
    let id = node.id();
    let (tx, _rx) = node.stream(topic).await.unwrap();
    tx.publish("one").await.unwrap();
    node.shutdown().await.unwrap();

    let node = at(network, dir.path()).await;
    assert_eq!(node.id(), id);
    let (tx, mut rx) = node.stream(topic).start(StartAt::Beginning).await.unwrap();
    assert_eq!(tx.publish("two").await.unwrap().seq(), 1);
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_peer_is_found_from_the_stored_book() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let a = temporary(network).await;
    let (a_tx, _a_rx) = a.stream(topic).await.unwrap();
    let b = at(network, dir.path()).await;
    let (_tx, mut rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    a_tx.publish("one").await.unwrap();
    assert_eq!(texts(&mut rx, 1).await, ["one"]);
    next_ack(&mut rx).await;
    b.shutdown().await.unwrap();

    a_tx.publish("two").await.unwrap();
    let b = at(network, dir.path()).await;
    let (_tx, mut rx) = b.stream(topic).start(StartAt::Beginning).await.unwrap();
    assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_at_the_same_address_is_reachable_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (network, topic) = (network(), topic());
    let a = at(network, dir.path()).await;
    let addr = a.net().addr();
    a.shutdown().await.unwrap();
    drop(a);
    // It takes no part in the topic, so that it can only report the others.
    let between = temporary(network).await;

    let a = at_port(network, dir.path(), addr[0].port()).await;
    assert_eq!(a.net().addr(), addr);
    let (tx, _rx) = a.stream(topic).await.unwrap();
    tx.publish("for whoever comes").await.unwrap();
    introduce(&between, &a);
    for known in [&a, &between] {
        let newcomer = temporary(network).await;
        let (_tx, mut rx) = newcomer.stream(topic).await.unwrap();
        introduce(&newcomer, known);
        assert_eq!(texts(&mut rx, 1).await, ["for whoever comes"]);
        newcomer.shutdown().await.unwrap();
    }
}

/// Asks for the next message, which acknowledges the last one, without waiting for it.
async fn next_ack(rx: &mut p2panda::Subscription) {
    let _ = tokio::time::timeout(Duration::from_millis(1), rx.next()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_topics_all_join_with_one_session_each() {
    const TOPICS: usize = 200;
    let network = network();
    let [a, b] = [temporary(network).await, temporary(network).await];
    let mut topics = Vec::new();
    let mut readers = Vec::new();
    for number in 0..TOPICS {
        let topic = topic();
        let (tx, _rx) = a.stream(topic).await.unwrap();
        tx.publish(number.to_string()).await.unwrap();
        let (_tx, rx) = b.stream(topic).await.unwrap();
        topics.push(topic);
        readers.push(rx);
    }
    introduce(&b, &a);
    for (number, rx) in readers.iter_mut().enumerate() {
        assert_eq!(texts(rx, 1).await, [number.to_string()]);
    }
    until("one live session per topic", || async {
        let peers = b.net().peers();
        let sessions: Vec<_> = peers.iter().flat_map(|peer| &peer.sessions).collect();
        sessions.len() == TOPICS
            && topics.iter().all(|topic| {
                sessions
                    .iter()
                    .filter(|found| found.topic == *topic && found.live)
                    .count()
                    == 1
            })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_far_behind_costs_bounded_memory() {
    const MESSAGES: usize = 100_000;
    let node = temporary(network()).await;
    let (tx, mut rx) = node.stream(topic()).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..64 {
        let tx = tx.clone();
        tasks.push(tokio::spawn(async move {
            for number in (task..MESSAGES).step_by(64) {
                tx.publish(number.to_string()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let before = resident_bytes();
    let mut seen = vec![false; MESSAGES];
    for seq in 0..MESSAGES {
        let message = next(&mut rx).await;
        assert_eq!(message.seq() as usize, seq);
        let number: usize = message.text().unwrap().parse().unwrap();
        assert!(
            !std::mem::replace(&mut seen[number], true),
            "a message came twice"
        );
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(
        grown < 64 * 1024 * 1024,
        "reading grew the process by {grown} bytes"
    );
}

/// Memory of this process, as the kernel counts it.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_peer_that_vanished_gets_what_it_missed() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (network, topic) = (network(), topic());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (a, tx, _rx) = runtime.block_on(async {
        let a = temporary(network).await;
        let (tx, rx) = a.stream(topic).await.unwrap();
        (a, tx, rx)
    });

    // A node of its own runtime, which stops between two instructions, as a killed process does.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    doomed.block_on(async {
        let b = at(network, dir.path()).await;
        let (_tx, mut rx) = b.stream(topic).await.unwrap();
        introduce(&b, &a);
        tx.publish("one").await.unwrap();
        assert_eq!(texts(&mut rx, 1).await, ["one"]);
        std::mem::forget((rx, b));
    });
    doomed.shutdown_background();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }

    runtime.block_on(async {
        tx.publish("two").await.unwrap();
        let b = at(network, copy.path()).await;
        let (_tx, mut rx) = b.stream(topic).start(StartAt::Beginning).await.unwrap();
        introduce(&b, &a);
        assert_eq!(texts(&mut rx, 2).await, ["one", "two"]);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_heard_first_is_shown_after_its_question() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let c = builder(network)
        .temporary()
        .causal_wait(PATIENCE)
        .spawn()
        .await
        .unwrap();
    let (a_tx, _a_rx) = a.stream(topic).await.unwrap();
    let (b_tx, mut b_rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    a_tx.publish("question").await.unwrap();
    assert_eq!(texts(&mut b_rx, 1).await, ["question"]);
    b_tx.publish("answer").await.unwrap();

    let of_b = |stored: &p2panda::StoredOperation| stored.author == b.id();
    let stored = b.topic(topic).operations(0).await.unwrap();
    let answer = stored.into_iter().find(of_b).unwrap();
    let answer = p2panda::ImportedOperation {
        header: answer.header,
        body: answer.body,
    };
    let (_c_tx, mut c_rx) = c.stream(topic).await.unwrap();
    c.import(topic, futures_lite::stream::iter([answer]))
        .await
        .unwrap();
    assert_eq!(c.topic(topic).status().await.unwrap().waiting, 1);
    introduce(&c, &a);
    assert_eq!(texts(&mut c_rx, 2).await, ["question", "answer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_report_sessions() {
    let (network, topic) = (network(), topic());
    let [a, b] = [temporary(network).await, temporary(network).await];
    let mut events = b.events();
    let (tx, _rx) = a.stream(topic).await.unwrap();
    tx.publish("hello").await.unwrap();
    let (_tx, _rx) = b.stream(topic).await.unwrap();
    introduce(&b, &a);
    let caught_up = async {
        loop {
            if let Some(Event::CatchUpEnded { transfer, .. }) = events.next().await {
                return transfer.received_operations;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, caught_up).await.unwrap(), 1);
}
