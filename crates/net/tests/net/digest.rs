//! Protocol that two nodes agree on, and the cost of a session without news.

use p2panda_core::Phase;
use p2panda_core::{Heights, SigningKey, Topic, limits};
use p2panda_net::SessionStatus;
use p2panda_protocol::sync::digest::State;

use crate::fake_node::{FakeNode, TopicLog, config};
use crate::probe::{Probe, closed};

const LOG_SYNC: &[u8] = b"p2panda/log_sync/v1";
const DIGEST_SYNC: &[u8] = b"p2panda/digest_sync/v1";

fn topic(number: u8) -> Topic {
    Topic::from_bytes([number; 32])
}

/// The sessions that a node has with anyone.
fn sessions(node: &FakeNode) -> Vec<SessionStatus> {
    let peers = node.net.peers().into_iter();
    peers.flat_map(|peer| peer.sessions).collect()
}

/// A node that speaks nothing but the protocol of 0.7.1.
async fn plain_node(network: u8, seed: u8) -> FakeNode {
    let mut config = config(network, seed);
    config.state_digest = false;
    FakeNode::start_with(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_compared_and_others_are_synced_too() {
    let (a, b) = (FakeNode::start(60, 1).await, FakeNode::start(60, 2).await);
    // Whichever node id is smaller, one of these is dialled by it and one dials.
    let plain = [plain_node(60, 3).await, plain_node(60, 4).await];
    let nodes = [&a, &b, &plain[0], &plain[1]];
    let mut topics = Vec::new();
    for (number, (one, other)) in [(0, 1), (0, 2), (0, 3), (2, 3)].into_iter().enumerate() {
        let topic = topic(60 + number as u8);
        for (node, text) in [(nodes[one], "one"), (nodes[other], "other")] {
            node.publish(topic, text);
            node.subscribe(topic);
        }
        nodes[one].net.add_peer(nodes[other].bootstrap());
        topics.push((topic, one, other));
    }
    for (topic, one, other) in topics {
        for node in [nodes[one], nodes[other]] {
            node.until_len(topic, 2).await;
            node.until_live(topic).await;
            let mut sessions = sessions(node);
            sessions.retain(|session| session.topic == topic);
            assert!(!sessions.is_empty());
            let digest = one == 0 && other == 1;
            assert!(sessions.iter().all(|session| session.digest == digest));
        }
    }
    for node in nodes {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_offers_both_gets_the_digest() {
    let node = FakeNode::start(61, 1).await;
    let probe = Probe::start(61, 9).await;
    for (offers, chosen) in [
        (&[LOG_SYNC, DIGEST_SYNC][..], DIGEST_SYNC),
        (&[DIGEST_SYNC, LOG_SYNC], DIGEST_SYNC),
        (&[LOG_SYNC], LOG_SYNC),
        (&[DIGEST_SYNC], DIGEST_SYNC),
    ] {
        let connection = probe.dial_offering(&node, offers).await;
        assert_eq!(connection.alpn(), probe.alpn(chosen));
    }
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_equal_logs_take_less_than_a_kilobyte() {
    let node = FakeNode::start(62, 1).await;
    let probe = Probe::start(62, 9).await;
    let topic = topic(62);
    for author in 0..1_000_u32 {
        let mut secret = [62; 32];
        secret[..4].copy_from_slice(&author.to_be_bytes());
        node.publish_as(&SigningKey::from_bytes(&secret), topic, b"hello");
    }
    node.subscribe(topic);
    let heights: Heights = node.with(topic, |log| log.heights.clone());
    assert_eq!(heights.len(), 1_000);

    let mut session = probe.sync_by(DIGEST_SYNC, &node, topic).await;
    let mut digest = bytes::BytesMut::new();
    State::of(&heights).digest(&probe.id()).encode(&mut digest);
    session.send(&digest).await;
    node.until_live(topic).await;
    let mut expected = bytes::BytesMut::new();
    State::of(&heights).digest(&node.id()).encode(&mut expected);
    let received = session.frame().await;
    assert_eq!(received, expected);
    let handshake_bytes = 38 + 5 + 5;
    assert_eq!(handshake_bytes + digest.len() + received.len(), 128);

    // What comes next is of live mode: there was nothing else to say.
    let sent = |log: &TopicLog, arrival| log.sent.get(&probe.id()) == Some(&arrival);
    node.until(topic, "all sent", |log| sent(log, 1_000)).await;
    node.publish(topic, "news");
    assert_eq!(session.frame().await[4], 1);
    session.send(&[0, 0, 0, 1, 2]).await;
    let ended = |phases: &Vec<Phase>| phases.last() == Some(&Phase::Ended);
    node.until(topic, "an end in order", |log| {
        log.phases.values().all(ended)
    })
    .await;
    assert_eq!(closed(&session.connection).await.0, 0);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_digest_closes_the_connection_with_a_code() {
    let node = FakeNode::start(63, 1).await;
    let probe = Probe::start(63, 9).await;
    let topic = topic(63);
    node.subscribe(topic);
    let mut past_limit = (limits::DIGEST_BYTES_MAX as u32 + 1).to_be_bytes().to_vec();
    past_limit.extend([0, 4, 2]);
    past_limit.resize(4 + limits::DIGEST_BYTES_MAX + 1, 7);
    for (bytes, code) in [
        (&[0, 0, 0, 3, 0, 0, 0][..], 1),
        (&[0, 0, 0, 4, 0, 4, 1, 0x20], 1),
        (&past_limit, 2),
    ] {
        let mut session = probe.sync_by(DIGEST_SYNC, &node, topic).await;
        session.send(bytes).await;
        assert_eq!(closed(&session.connection).await.0, code);
    }
    node.net.shutdown().await;
}
