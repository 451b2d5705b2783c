//! Forbidden actions of a peer: others continue while it tries.

use std::time::Duration;

use p2panda_core::Topic;

use crate::fake_node::{FakeNode, config};
use crate::probe::{Probe, closed};

/// Have without entries.
const EMPTY_HAVE: &[u8] = &[0, 0, 0, 3, 0, 0, 0];
/// Done.
const DONE: &[u8] = &[0, 0, 0, 2, 0, 3];

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_answered_and_then_dropped() {
    let node = FakeNode::start(40, 1).await;
    let probe = Probe::start(40, 9).await;
    let session = probe.sync(&node, Topic::from_bytes([40; 32])).await;
    let (code, reason) = closed(&session.connection).await;
    assert_eq!((code, reason.len()), (0, 0));
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_fifth_session_on_a_topic_is_refused() {
    let node = FakeNode::start(41, 1).await;
    let probe = Probe::start(41, 9).await;
    let topic = Topic::from_bytes([41; 32]);
    node.subscribe(topic);
    let mut sessions = Vec::new();
    for _ in 0..64 {
        let mut session = probe.sync(&node, topic).await;
        session.send(EMPTY_HAVE).await;
        sessions.push(session);
    }
    let all_open = |log: &crate::fake_node::TopicLog| log.phases.len() == 64;
    node.until(topic, "64 sessions", all_open).await;
    let refused = probe.sync(&node, topic).await;
    assert_eq!(closed(&refused.connection).await.0, 4);
    assert!(
        sessions
            .iter()
            .all(|session| session.connection.close_reason().is_none())
    );
    drop(sessions);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_a_session_closes_it_and_no_other() {
    let node = FakeNode::start(42, 1).await;
    let probe = Probe::start(42, 9).await;
    let topic = Topic::from_bytes([42; 32]);
    node.subscribe(topic);
    let garbage: [&[u8]; 4] = [
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 2, 9, 9],
        &[0, 0, 0, 6, 0, 2, 1, 0xff, 0, 0],
    ];
    for bytes in garbage {
        let mut session = probe.sync(&node, topic).await;
        session.send(bytes).await;
        assert_ne!(closed(&session.connection).await.0, 0, "{bytes:?}");
    }
    let other = FakeNode::start(42, 2).await;
    other.publish(topic, "still there");
    other.subscribe(topic);
    other.net.add_peer(node.bootstrap());
    node.until_len(topic, 1).await;
    node.net.shutdown().await;
    other.net.shutdown().await;
}

/// A Live frame with a header of that many bytes that does not decode, and a body.
fn forged(header_bytes: u32, body_bytes: u32) -> Vec<u8> {
    let varint = |value: u32| (0..5).map(move |place| (place, value >> (7 * place)));
    let put = |payload: &mut Vec<u8>, bytes: u32| {
        let groups = varint(bytes).map(|(place, group)| {
            let more = if place < 4 { 0x80 } else { 0 };
            (group & 0x7f) as u8 | more
        });
        payload.extend(groups);
        payload.resize(payload.len() + bytes as usize, 0xff);
    };
    let mut payload = vec![1];
    put(&mut payload, header_bytes);
    payload.push(1);
    put(&mut payload, body_bytes);
    let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
    frame.extend(payload);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_headers_are_recorded_and_the_session_goes_on() {
    const MIB: u32 = 1024 * 1024;
    let node = FakeNode::start(47, 1).await;
    let probe = Probe::start(47, 9).await;
    let topic = Topic::from_bytes([47; 32]);
    node.subscribe(topic);
    let mut session = probe.sync(&node, topic).await;
    session.send(EMPTY_HAVE).await;
    session.send(DONE).await;
    for _ in 0..5 {
        session.send(&forged(MIB + 1, MIB)).await;
        session.send(&forged(MIB, MIB)).await;
        session.send(&forged(0, 3 * MIB)).await;
        session.send(&forged(10, 17 * MIB)).await;
    }
    let all = |log: &crate::fake_node::TopicLog| (log.oversize, log.undecodable) == (10, 10);
    node.until(topic, "20 refused operations", all).await;
    assert!(session.connection.close_reason().is_none());
    drop(session);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_does_not_hold_its_place() {
    let mut config = config(43, 1);
    config.timings.handshake_timeout = Duration::from_millis(300);
    let node = FakeNode::start_with(config).await;
    let probe = Probe::start(43, 9).await;
    let silent = probe.dial(&node, b"p2panda/log_sync/v1").await;
    assert_eq!(closed(&silent).await.0, 3);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_discovery_session_of_one_peer_waits_for_the_first() {
    let node = FakeNode::start(44, 1).await;
    let probe = Probe::start(44, 9).await;
    let protocol = b"p2panda/confidential_discovery/v1";
    let first = probe.dial(&node, protocol).await;
    let (mut send, mut recv) = first.open_bi().await.unwrap();
    let salt = [&[0, 0, 0, 0x21, 0][..], &[7; 32]].concat();
    send.write_all(&salt).await.unwrap();
    let mut answer = [0; 4];
    recv.read_exact(&mut answer).await.unwrap();
    let second = probe.dial(&node, protocol).await;
    assert_eq!(closed(&second).await.0, 4);
    assert!(first.close_reason().is_none());
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_of_another_network_does_not_get_in() {
    let node = FakeNode::start(45, 1).await;
    let probe = Probe::start(46, 9).await;
    let addr = crate::probe::endpoint_addr(node.id(), &node.net.addr());
    let alpn = probe.alpn(b"p2panda/log_sync/v1");
    assert!(probe.endpoint.connect(addr, &alpn).await.is_err());
    node.net.shutdown().await;
}
