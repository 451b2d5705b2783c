//! Ephemeral messages reach who is there, and nothing in the overlay stops a listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::budget::Budget;
use p2panda_core::{EphemeralMessage, HybridTimestamp, SigningKey, Topic, cbor, limits};
use p2panda_net::{EphemeralError, MayGo};
use tokio::time::timeout;

use crate::fake_node::{FakeNode, config};
use crate::probe::Probe;

/// The body of a message.
pub fn text(text: &str) -> Bytes {
    let mut cbor = cbor::Writer::new();
    cbor.text(text);
    cbor.into_bytes().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_before_the_first_neighbour_are_held() {
    let (a, b) = (FakeNode::start(20, 1).await, FakeNode::start(20, 2).await);
    let topic = Topic::from_bytes([20; 32]);
    let (to_b, mut from_b) = a.net.ephemeral(topic);
    let (to_a, mut from_a) = b.net.ephemeral(topic);
    to_b.publish(text("held")).await.unwrap();
    a.net.add_peer(b.bootstrap());
    let message = from_a.recv().await.unwrap();
    assert_eq!((message.author, message.body), (a.id(), text("held")));
    to_a.publish(text("back")).await.unwrap();
    let message = from_b.recv().await.unwrap();
    assert_eq!((message.author, message.body), (b.id(), text("back")));
    a.net.shutdown().await;
    b.net.shutdown().await;
    assert_eq!(from_a.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_message_that_may_no_longer_go_is_dropped() {
    let (a, b) = (FakeNode::start(29, 1).await, FakeNode::start(29, 2).await);
    let topic = Topic::from_bytes([29; 32]);
    let (to_b, _from_b) = a.net.ephemeral(topic);
    let (_to_a, mut from_a) = b.net.ephemeral(topic);
    let may_go = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&may_go);
    let asked: MayGo = Arc::new(move || asked.load(Ordering::SeqCst));
    to_b.publish_while(text("held"), asked).await.unwrap();
    may_go.store(false, Ordering::SeqCst);
    to_b.publish_while(text("goes"), Arc::new(|| true))
        .await
        .unwrap();
    a.net.add_peer(b.bootstrap());
    assert_eq!(from_a.recv().await.unwrap().body, text("goes"));
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_nobody_would_get_is_refused_at_once() {
    let a = FakeNode::start(21, 1).await;
    let (sender, _receiver) = a.net.ephemeral(Topic::from_bytes([21; 32]));
    let body = |len: usize| text(&"x".repeat(len));
    sender.publish(body(3900)).await.unwrap();
    let large = sender.publish(body(3990)).await;
    assert!(
        matches!(large, Err(EphemeralError::TooLarge { .. })),
        "{large:?}"
    );
    let garbage = sender.publish(Bytes::from_static(&[0xff])).await;
    assert_eq!(garbage, Err(EphemeralError::Body));
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_the_overlay_does_not_stop_a_listener() {
    let node = FakeNode::start(22, 1).await;
    let topic = Topic::from_bytes([22; 32]);
    let (_sender, mut listener) = node.net.ephemeral(topic);
    let probe = Probe::start(22, 9).await;
    let (_gossip, overlay, _events) = probe.join_gossip(&node, topic).await;
    let key = SigningKey::from_bytes(&[9; 32]);
    let valid = |micros: u64| {
        let at = HybridTimestamp::new(micros, 0);
        EphemeralMessage::seal(&key, at, &text("valid")).unwrap()
    };
    let mut other_version = valid(1).to_vec();
    other_version[1] = 2;
    let mut other_signature = valid(2).to_vec();
    other_signature[50] ^= 1;
    for garbage in [Bytes::from_static(b"garbage"), Bytes::new()] {
        overlay.broadcast(garbage).await.unwrap();
    }
    overlay.broadcast(other_version.into()).await.unwrap();
    overlay.broadcast(other_signature.into()).await.unwrap();
    // A repeat differs for the overlay only if its bytes do; ours knows author and time.
    for micros in [3, 4] {
        overlay.broadcast(valid(micros)).await.unwrap();
    }
    for micros in [3, 4] {
        let message = listener.recv().await.unwrap();
        assert_eq!(message.timestamp, HybridTimestamp::new(micros, 0));
    }
    let counters = node.net.counters();
    let counted = (counters.ephemeral_invalid, counters.ephemeral_lost);
    assert_eq!(counted, (4, 0));
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_falls_behind_goes_on_with_what_is_left() {
    let (a, b) = (FakeNode::start(23, 1).await, FakeNode::start(23, 2).await);
    let topic = Topic::from_bytes([23; 32]);
    let (sender, _receiver) = a.net.ephemeral(topic);
    let (_sender, mut slow) = b.net.ephemeral(topic);
    let mut quick = slow.clone();
    a.net.add_peer(b.bootstrap());
    // The slow one reads nothing while more come than are kept for it.
    let mut received = 0;
    for number in 0..1_500 {
        sender.publish(text(&number.to_string())).await.unwrap();
        if number % 100 == 99 {
            while received <= number {
                quick.recv().await.unwrap();
                received += 1;
            }
        }
    }
    let oldest = slow.recv().await.unwrap();
    assert_ne!(oldest.body, text("0"), "the oldest were given up");
    let lost = b.net.counters().ephemeral_lost;
    assert_eq!(oldest.body, text(&lost.to_string()), "they are counted");
    sender.publish(text("last")).await.unwrap();
    while slow.recv().await.unwrap().body != text("last") {}
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_messages_count_for_their_neighbour() {
    const BUDGET: usize = 16 * 1024 * 1024;
    const MESSAGES: usize = 170;
    // A quarter of a peer's eighth is for what waits.
    const WAITS: u64 = (BUDGET / 8 / 4) as u64;
    // The gossip layer keeps all of them for a while.
    const KEPT: u64 = (MESSAGES * (4_000 + limits::GOSSIP_MESSAGE_BYTES)) as u64;
    let a = FakeNode::start(25, 1).await;
    let mut config = config(25, 2);
    config.budget = Budget::new(BUDGET, 1024 * 1024);
    let b = FakeNode::start_with(config).await;
    let topic = Topic::from_bytes([25; 32]);
    let (sender, _from_b) = a.net.ephemeral(topic);
    let (_sender, mut reader) = b.net.ephemeral(topic);
    a.net.add_peer(b.bootstrap());
    sender.publish(text("first")).await.unwrap();
    assert_eq!(reader.recv().await.unwrap().body, text("first"));

    let idle = b.net.counters().budget_used_bytes;
    for number in 0..MESSAGES {
        let body = format!("{number:03}{}", "x".repeat(3_800));
        sender.publish(text(&body)).await.unwrap();
    }
    let held = |bytes: u64| bytes > idle + KEPT + WAITS / 2;
    until(&b, "unread messages are charged", held).await;
    assert!(b.net.counters().budget_peak_bytes < idle + KEPT + WAITS + 64 * 1024);
    let read = tokio::spawn(async move { while reader.recv().await.is_some() {} });
    until(&b, "what was read is charged no longer", |bytes| {
        !held(bytes)
    })
    .await;
    a.net.shutdown().await;
    b.net.shutdown().await;
    read.await.unwrap();
}

async fn until(node: &FakeNode, what: &str, as_it_should: impl Fn(u64) -> bool) {
    let mut again = tokio::time::interval(Duration::from_millis(10));
    let waited = timeout(Duration::from_secs(30), async {
        while !as_it_should(node.net.counters().budget_used_bytes) {
            again.tick().await;
        }
    });
    let waited = waited.await;
    assert!(waited.is_ok(), "{what}: {:?}", node.net.counters());
}
