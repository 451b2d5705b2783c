//! Overlays heal, settle, and are stopped by nobody.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use p2panda_core::{Topic, limits};
use p2panda_net::{EphemeralReceiver, EphemeralSender, NetEvent};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::ephemeral::text;
use crate::fake_node::{FakeNode, config};
use crate::probe::{Probe, closed};

const PATIENCE: Duration = Duration::from_secs(60);
const GOSSIP: &[u8] = b"/iroh-gossip/1";

/// Publishes until something of it is received.
pub async fn until_heard(sender: &EphemeralSender, receiver: &mut EphemeralReceiver, body: &str) {
    let mut again = interval(Duration::from_millis(100));
    let heard = async { while receiver.recv().await.unwrap().body != text(body) {} };
    let heard = timeout(PATIENCE, heard);
    tokio::pin!(heard);
    loop {
        tokio::select! {
            heard = &mut heard => return heard.expect(body),
            _ = again.tick() => sender.publish(text(body)).await.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_after_subscribing_is_lost_in_part_at_most() {
    const FLOOD: usize = 9_000;
    let (a, b) = (FakeNode::start(110, 1).await, FakeNode::start(110, 2).await);
    let topic = Topic::from_bytes([110; 32]);
    let (to_b, mut from_b) = a.net.ephemeral(topic);
    let (to_a, mut from_a) = b.net.ephemeral(topic);
    a.net.add_peer(b.bootstrap());
    let counting = tokio::spawn(async move {
        let mut count = 0;
        while from_a.recv().await.unwrap().body != text("first after the flood") {
            count += 1;
        }
        (count, from_a)
    });
    for number in 0..FLOOD {
        to_b.publish(text(&format!("flood {number}")))
            .await
            .unwrap();
    }
    let mut again = interval(Duration::from_millis(100));
    let counted = timeout(PATIENCE, counting);
    tokio::pin!(counted);
    let (count, mut from_a) = loop {
        tokio::select! {
            counted = &mut counted => break counted.unwrap().unwrap(),
            _ = again.tick() => to_b.publish(text("first after the flood")).await.unwrap(),
        }
    };
    assert!(count > FLOOD / 10, "{count} of {FLOOD}");
    // Nobody was closed for it, and both ways are open.
    assert_eq!(a.net.counters().peers_closed, 0);
    until_heard(&to_a, &mut from_b, "back").await;
    until_heard(&to_b, &mut from_a, "and forth").await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

/// Waits until this many connections were tried to a socket that nobody serves.
async fn until_dialled(addr: SocketAddr, dials: usize) {
    let sink = loop {
        match tokio::net::UdpSocket::bind(addr).await {
            Ok(sink) => break sink,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let mut tried = BTreeSet::new();
    let mut packet = [0; 2048];
    let all = async {
        while tried.len() < dials {
            let (len, _) = sink.recv_from(&mut packet).await.unwrap();
            // The connection ids of a packet that begins a connection.
            if len >= 1_200 && packet[0] & 0xf0 == 0xc0 {
                let id = 6 + usize::from(packet[5]);
                tried.insert(packet[6..id].to_vec());
            }
        }
    };
    timeout(PATIENCE, all).await.expect("dialled again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_neighbour_is_dialled_until_it_returns() {
    let topic = Topic::from_bytes([111; 32]);
    let mut quick = config(111, 1);
    quick.timings.handshake_timeout = Duration::from_millis(400);
    let a = FakeNode::start_with(quick).await;
    let (sender, _receiver) = a.net.ephemeral(topic);
    let bootstrap = a.bootstrap();
    // A runtime of its own, so that it can die as a killed process does.
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let (heard, is_heard) = tokio::sync::oneshot::channel();
    doomed.spawn(async move {
        let b = FakeNode::start(111, 2).await;
        let (_sender, mut receiver) = b.net.ephemeral(topic);
        b.net.add_peer(bootstrap);
        receiver.recv().await.unwrap();
        heard.send(b.net.addr()[0]).unwrap();
        std::future::pending::<()>().await;
    });
    sender.publish(text("before")).await.unwrap();
    let addr = timeout(PATIENCE, is_heard).await.unwrap().unwrap();
    doomed.shutdown_background();
    until_dialled(addr, 3).await;
    // It knows nobody: only the other side can bring the two together.
    let mut back = config(111, 2);
    back.bind_v4.set_port(addr.port());
    while std::net::UdpSocket::bind(addr).is_err() {
        tokio::task::yield_now().await;
    }
    let b = FakeNode::start_with(back).await;
    let (_sender, mut receiver) = b.net.ephemeral(topic);
    until_heard(&sender, &mut receiver, "after").await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_connections_of_a_peer_the_oldest_goes() {
    let node = FakeNode::start(112, 1).await;
    let probe = Probe::start(112, 9).await;
    let mut open = Vec::new();
    for _ in 0..limits::GOSSIP_CONNECTIONS_PER_PEER_MAX + 2 {
        open.push(probe.dial(&node, GOSSIP).await);
    }
    let mut ends = JoinSet::new();
    for (place, connection) in open.iter().cloned().enumerate() {
        ends.spawn(async move {
            closed(&connection).await;
            place
        });
    }
    // What is dialled a moment later may be accepted a moment sooner.
    for _ in 0..2 {
        assert!(ends.join_next().await.unwrap().unwrap() < open.len() / 2);
    }
    let left = open.iter().filter(|one| one.close_reason().is_none());
    assert_eq!(left.count(), limits::GOSSIP_CONNECTIONS_PER_PEER_MAX);
    ends.abort_all();
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_joins_nothing_is_closed() {
    let mut config = config(113, 1);
    config.timings.gossip_duty_wait = Duration::from_millis(300);
    let node = FakeNode::start_with(config).await;
    let topic = Topic::from_bytes([113; 32]);
    let (sender, _receiver) = node.net.ephemeral(topic);
    let member = Probe::start(113, 8).await;
    let (_gossip, _overlay, mut heard) = member.join_gossip(&node, topic).await;
    let idle = Probe::start(113, 9).await;
    let connection = idle.dial(&node, GOSSIP).await;
    assert_eq!(closed(&connection).await.0, 3);
    sender.publish(text("still there")).await.unwrap();
    let received = async {
        use futures_lite::StreamExt;
        while let Some(Ok(event)) = heard.next().await {
            if let iroh_gossip::api::Event::Received(_) = event {
                return true;
            }
        }
        false
    };
    assert!(timeout(PATIENCE, received).await.unwrap());
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_stops_nobody_else() {
    let node = FakeNode::start(114, 1).await;
    let topic = Topic::from_bytes([114; 32]);
    let (sender, _receiver) = node.net.ephemeral(topic);
    let stuck = Probe::start(114, 9).await;
    let connection = stuck.dial(&node, GOSSIP).await;
    let mut stream = connection.open_uni().await.unwrap();
    let join = [&[0, 0, 0, 32][..], topic.as_bytes(), &[0, 0, 0, 3, 0, 0, 0]].concat();
    stream.write_all(&join).await.unwrap();
    // It takes the stream of the overlay and never reads it.
    let accepted = timeout(PATIENCE, connection.accept_uni()).await;
    let _unread = accepted.unwrap().unwrap();
    let other = FakeNode::start(114, 2).await;
    let (_sender, mut receiver) = other.net.ephemeral(topic);
    other.net.add_peer(node.bootstrap());
    until_heard(&sender, &mut receiver, "begin").await;
    let body = "x".repeat(3_000);
    for number in 0..1_000 {
        sender
            .publish(text(&format!("{number}{body}")))
            .await
            .unwrap();
    }
    until_heard(&sender, &mut receiver, "end").await;
    // Neither side is left in the dark about the one that is stuck.
    assert_eq!(closed(&connection).await.0, 3);
    node.net.shutdown().await;
    other.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_nodes_that_know_one_come_together() {
    const NODES: u8 = 16;
    let topic = Topic::from_bytes([115; 32]);
    let mut nodes = Vec::new();
    let mut events = Vec::new();
    for seed in 1..=NODES {
        let node = FakeNode::start(115, seed).await;
        events.push(node.net.events());
        node.subscribe(topic);
        if let Some(first) = nodes.first() {
            let first: &FakeNode = first;
            node.net.add_peer(first.bootstrap());
        }
        nodes.push(node);
    }
    for node in &nodes {
        node.publish(topic, "hello");
    }
    for node in &nodes {
        node.until_len(topic, usize::from(NODES)).await;
    }
    let mut changes = 0;
    for events in &mut events {
        while let Ok(event) = events.try_recv() {
            let neighbour = matches!(
                event,
                NetEvent::NeighbourUp { .. } | NetEvent::NeighbourDown { .. }
            );
            changes += usize::from(neighbour);
        }
    }
    assert!(changes <= usize::from(NODES) * 10, "{changes} changes");
    for node in &nodes {
        node.net.shutdown().await;
    }
}
