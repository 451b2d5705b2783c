//! Bounds of what a peer can make the node hold, while others are served
//! (`docs/protocol/network.md#11`).

use std::time::Duration;

use bytes::Bytes;
use futures_lite::{StreamExt, future};
use iroh::endpoint::{Connection, ConnectionError, SendStream, VarInt};
use iroh_gossip::api::Event;
use p2panda_core::budget::Budget;
use p2panda_core::{Topic, limits};
use tokio::time::{interval, timeout};

use crate::fake_node::{FakeNode, config};
use crate::probe::{Probe, closed};

const SYNC: &[u8] = b"p2panda/log_sync/v1";
const DISCOVERY: &[u8] = b"p2panda/confidential_discovery/v1";
const GOSSIP: &[u8] = b"/iroh-gossip/1";
const PATIENCE: Duration = Duration::from_secs(30);
/// One for the overlay, those to spare, and a seventh.
const STREAMS_OF_ONE_OVERLAY: usize = 33 + 5;

/// Writes until the peer's window is full. Returns how much went through.
async fn flood(connection: &Connection, streams: &mut [SendStream]) {
    let chunk = vec![7; 8 * 1024];
    for stream in streams {
        // Nothing comes back, so what does not fit by now does not fit.
        while let Ok(Ok(_)) = timeout(Duration::from_millis(300), stream.write(&chunk)).await {}
        if connection.close_reason().is_some() {
            break;
        }
    }
}

async fn until(node: &FakeNode, what: &str, holds: impl Fn(&p2panda_net::Counters) -> bool) {
    let mut again = interval(Duration::from_millis(20));
    let reached = async {
        while !holds(&node.net.counters()) {
            again.tick().await;
        }
    };
    let reached = timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "{what}: {:?}", node.net.counters());
}

/// An honest pair syncs while the rest continues.
async fn honest_peer_syncs(network: u8, node: &FakeNode, topic: Topic) {
    let other = FakeNode::start(network, 77).await;
    other.publish(topic, "still served");
    other.subscribe(topic);
    other.net.add_peer(node.bootstrap());
    node.until_len(topic, 1).await;
    other.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_opens_the_streams_of_the_protocol_only() {
    let node = FakeNode::start(90, 1).await;
    let topic = Topic::from_bytes([90; 32]);
    node.subscribe(topic);
    let probe = Probe::start(90, 9).await;
    for (protocol, bidirectional, unidirectional) in [(SYNC, 4, 0), (DISCOVERY, 4, 0)] {
        let connection = probe.dial(&node, protocol).await;
        let (mut bi, mut uni) = (Vec::new(), Vec::new());
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), connection.open_bi()).await {
            bi.push(stream);
        }
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), connection.open_uni()).await
        {
            uni.push(stream);
        }
        assert_eq!((bi.len(), uni.len()), (bidirectional, unidirectional));
    }
    let connection = probe.dial(&node, GOSSIP).await;
    let mut streams = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), connection.open_uni()).await {
        streams.push(stream);
    }
    // One overlay was joined.
    assert_eq!(streams.len(), STREAMS_OF_ONE_OVERLAY);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_has_streams_for_later_overlays() {
    let node = FakeNode::start(98, 1).await;
    let probe = Probe::start(98, 9).await;
    let connection = probe.dial(&node, GOSSIP).await;
    let mut streams = Vec::new();
    for number in 0..318_u16 {
        let mut topic = [98; 32];
        topic[..2].copy_from_slice(&number.to_be_bytes());
        node.subscribe(Topic::from_bytes(topic));
        let stream = timeout(PATIENCE, connection.open_uni()).await;
        streams.push(stream.expect("allowed in time").unwrap());
    }
    for _ in 0..limits::GOSSIP_STREAMS_SPARE {
        let stream = timeout(PATIENCE, connection.open_uni()).await;
        streams.push(stream.expect("allowed in time").unwrap());
    }
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gossip_stream_that_nobody_accepts_closes_it() {
    let node = FakeNode::start(91, 1).await;
    let probe = Probe::start(91, 9).await;
    let connection = probe.dial(&node, GOSSIP).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    send.write_all(b"nobody reads this").await.unwrap();
    assert_eq!(closed(&connection).await.0, 1);
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_that_floods_is_closed_and_released() {
    const MIB: usize = 1024 * 1024;
    let mut config = config(99, 1);
    config.budget = Budget::new(8 * MIB, MIB);
    config.limits.operation_bytes_max = MIB as u32;
    let node = FakeNode::start_with(config).await;
    let topic = Topic::from_bytes([99; 32]);
    let (_sender, _receiver) = node.net.ephemeral(topic);
    let probe = Probe::start(99, 9).await;
    let (gossip, broadcasts, mut neighbours) = probe.join_gossip(&node, topic).await;
    // Half of its share is 128 messages of this size.
    let flood = async {
        let mut number: u64 = 0;
        while broadcasts.broadcast(garbage(number)).await.is_ok() {
            number += 1;
        }
    };
    let parted = async {
        while let Some(Ok(event)) = neighbours.next().await {
            if matches!(event, Event::NeighborDown(_)) {
                return;
            }
        }
    };
    let parted = async { timeout(PATIENCE, parted).await.unwrap() };
    future::or(flood, parted).await;
    let counters = node.net.counters();
    // What was on its way to us when it was closed, too.
    assert!(counters.budget_peak_bytes < 4 * MIB as u64, "{counters:?}");
    drop((gossip, broadcasts, neighbours));
    probe.endpoint.close().await;
    until(&node, "released", |counters| {
        counters.budget_used_bytes == 0
    })
    .await;
    node.net.shutdown().await;
}

/// A gossip payload of 4 000 bytes that is not an ephemeral message.
fn garbage(number: u64) -> Bytes {
    let mut bytes = vec![0xff; 4_000];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_no_overlay_are_closed_and_hold_nothing() {
    let node = FakeNode::start(92, 1).await;
    let topic = Topic::from_bytes([92; 32]);
    node.subscribe(topic);
    let probe = Probe::start(92, 9).await;
    let connection = probe.dial(&node, GOSSIP).await;
    let mut streams = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), connection.open_uni()).await {
        streams.push(stream);
    }
    // One begins a header that never ends, the others one that is too large.
    streams.first_mut().unwrap().write_all(&[0]).await.unwrap();
    flood(&connection, &mut streams[1..]).await;
    assert_eq!(closed(&connection).await.0, 2);
    until(&node, "released", |counters| {
        counters.budget_used_bytes == 0
    })
    .await;
    honest_peer_syncs(92, &node, topic).await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_newcomer_gets_in_among_strangers() {
    let node = FakeNode::start(93, 1).await;
    let topic = Topic::from_bytes([93; 32]);
    node.subscribe(topic);
    let mut held = Vec::new();
    let mut probes = Vec::new();
    for seed in 100..104 {
        let probe = Probe::start(93, seed).await;
        for _ in 0..80 {
            if let Some(connection) = probe.try_dial(&node, GOSSIP).await {
                held.push(connection);
            }
        }
        probes.push(probe);
    }
    let counters = node.net.counters();
    // All of them are at addresses of one prefix.
    let prefix = (64 - 16) * 1024 * 1024 / 4;
    assert!(counters.budget_used_bytes <= prefix / 2, "{counters:?}");
    honest_peer_syncs(93, &node, topic).await;
    drop((held, probes));
    until(&node, "released", |counters| {
        counters.budget_used_bytes == 0
    })
    .await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_frames_stop_at_the_share_of_the_peer() {
    let mut config = config(94, 1);
    config.budget = Budget::new(4 * 1024 * 1024, 1024 * 1024);
    config.limits.operation_bytes_max = 1024 * 1024;
    let node = FakeNode::start_with(config).await;
    let topic = Topic::from_bytes([94; 32]);
    node.subscribe(topic);
    let probe = Probe::start(94, 9).await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        let mut session = probe.sync(&node, topic).await;
        // A Have of 900 KiB of which the end never comes.
        let mut begun = (900_u32 * 1024).to_be_bytes().to_vec();
        begun.extend([0, 0]);
        begun.resize(begun.len() + 16, 1);
        session.send(&begun).await;
        sessions.push(session);
    }
    let parts = vec![0; 16 * 1024];
    for _ in 0..50 {
        for session in &mut sessions {
            // Those that are made to wait take nothing more.
            let _ = timeout(Duration::from_millis(5), session.send(&parts)).await;
        }
    }
    until(&node, "slowed", |counters| counters.peers_slowed > 0).await;
    let counters = node.net.counters();
    // A share, the turn, the reads that passed it, and what every session may hold.
    let most = 512 + 1024 + 2 * 64 + 4 * 4;
    assert!(counters.budget_peak_bytes <= most * 1024, "{counters:?}");
    honest_peer_syncs(94, &node, topic).await;
    drop(sessions);
    until(&node, "released", |counters| {
        counters.budget_used_bytes == 0
    })
    .await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialled_peer_opens_no_stream() {
    // The node dials everyone it is told of.
    let node = FakeNode::start(95, 1).await;
    let probe = Probe::start(95, 9).await;
    probe.accept(&[DISCOVERY, SYNC]);
    node.net.add_peer(p2panda_net::Bootstrap {
        node: probe.id(),
        addrs: probe.endpoint.bound_sockets(),
        relay: None,
    });
    let incoming = timeout(PATIENCE, probe.endpoint.accept()).await.unwrap();
    let connection = timeout(PATIENCE, incoming.unwrap()).await.unwrap().unwrap();
    assert!(
        timeout(Duration::from_millis(300), connection.open_uni())
            .await
            .is_err()
    );
    assert!(
        timeout(Duration::from_millis(300), connection.open_bi())
            .await
            .is_err()
    );
    connection.close(VarInt::from_u32(0), b"");
    assert!(matches!(
        connection.closed().await,
        ConnectionError::LocallyClosed
    ));
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_a_hundred_topics_within_the_budget() {
    share(96, 100, 8 * 1024 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_a_thousand_topics_within_the_budget() {
    share(97, 1_000, limits::BUDGET_BYTES_DEFAULT as u64 / 4).await;
}

/// Two nodes, one of which knows the other, share many topics from the start.
async fn share(network: u8, topics: u16, bytes_max: u64) {
    let (node, other) = (
        FakeNode::start(network, 1).await,
        FakeNode::start(network, 2).await,
    );
    let topics: Vec<_> = (0..topics)
        .map(|number| {
            let mut bytes = [network; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            Topic::from_bytes(bytes)
        })
        .collect();
    for topic in &topics {
        node.publish(*topic, "one");
        node.subscribe(*topic);
        other.subscribe(*topic);
    }
    other.net.add_peer(node.bootstrap());
    for topic in &topics {
        other.until_len(*topic, 1).await;
    }
    let counters = [node.net.counters(), other.net.counters()];
    for counters in counters {
        assert_eq!((counters.peers_slowed, counters.peers_closed), (0, 0));
        assert!(counters.budget_peak_bytes < bytes_max, "{counters:?}");
    }
    node.net.shutdown().await;
    other.net.shutdown().await;
}
