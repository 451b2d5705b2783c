//! The state of the nodes that a configuration names.

use std::net::SocketAddr;
use std::time::Duration;

use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_net::{Bootstrap, Contact, ContactStatus, PeerState};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::fake_node::{FakeNode, config};
use crate::probe::Probe;

const PATIENCE: Duration = Duration::from_secs(60);

fn id(seed: u8) -> VerifyingKey {
    SigningKey::from_bytes(&[seed; 32]).verifying_key()
}

/// A node that is told of one other.
async fn start_with(network: u8, seed: u8, node: VerifyingKey, addrs: Vec<SocketAddr>) -> FakeNode {
    let mut config = config(network, seed);
    let relay = None;
    config.bootstrap = vec![Bootstrap { node, addrs, relay }];
    FakeNode::start_with(config).await
}

pub fn status(node: &FakeNode, of: VerifyingKey) -> Option<ContactStatus> {
    let mut peers = node.net.peers().into_iter();
    peers.find(|peer| peer.id == of)?.contact
}

fn state(node: &FakeNode, of: VerifyingKey) -> Option<PeerState> {
    let mut peers = node.net.peers().into_iter();
    Some(peers.find(|peer| peer.id == of)?.state)
}

/// Waits until a node says this of another.
pub async fn until(node: &FakeNode, of: VerifyingKey, contact: Contact) -> ContactStatus {
    let mut events = node.net.events();
    let is_so = async {
        loop {
            if let Some(status) = status(node, of).filter(|status| status.contact == contact) {
                return status;
            }
            events.recv().await.unwrap();
        }
    };
    let in_time = timeout(PATIENCE, is_so).await;
    in_time.unwrap_or_else(|_| panic!("{contact:?}, not {:?}", status(node, of)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_is_dead_where_nothing_answers() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addrs = vec![silent.local_addr().unwrap()];
    let a = start_with(140, 1, id(2), addrs).await;
    // It looks for others as long as it lacks them.
    a.subscribe(Topic::from_bytes([140; 32]));
    let dead = until(&a, id(2), Contact::Dead).await;
    // It stays so, and since when does not move.
    let mut buffer = [0; 2048];
    for _ in 0..8 {
        silent.recv_from(&mut buffer).await.unwrap();
    }
    assert_eq!(status(&a, id(2)), Some(dead));
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_known_at_once() {
    let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addrs = vec![unused.local_addr().unwrap()];
    drop(unused);
    let mut config = config(149, 1);
    let (node, relay) = (id(2), None);
    config.bootstrap = vec![Bootstrap { node, addrs, relay }];
    // A dial that nobody answers is not given up while this test runs.
    config.timings.handshake_timeout = PATIENCE * 10;
    let a = FakeNode::start_with(config).await;
    a.subscribe(Topic::from_bytes([149; 32]));
    let closed = until(&a, id(2), Contact::ClosedPort).await;
    assert_eq!(
        state(&a, id(2)),
        Some(PeerState::Unreached(Contact::ClosedPort))
    );
    assert_eq!(status(&a, id(2)), Some(closed));
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_named_has_a_state_too() {
    let topic = Topic::from_bytes([150; 32]);
    let b = FakeNode::start(150, 2).await;
    b.subscribe(topic);
    let a = start_with(150, 1, b.id(), b.net.addr()).await;
    a.subscribe(topic);
    let mut events = b.net.events();
    let live = async {
        while state(&b, a.id()) != Some(PeerState::Live) {
            events.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, live).await.unwrap();
    a.net.shutdown().await;
    let lost = async {
        while matches!(
            state(&b, a.id()),
            Some(PeerState::Live | PeerState::Connected)
        ) {
            events.recv().await.unwrap();
        }
    };
    timeout(PATIENCE, lost).await.unwrap();
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_can_be_of_another_network() {
    let b = FakeNode::start(142, 2).await;
    let a = start_with(141, 1, b.id(), b.net.addr()).await;
    until(&a, b.id(), Contact::OtherNetwork).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_has_the_wrong_id_where_another_one_answers() {
    let b = FakeNode::start(143, 2).await;
    let a = start_with(143, 1, id(3), b.net.addr()).await;
    until(&a, id(3), Contact::WrongId).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_is_met_without_a_common_topic() {
    let (ours, theirs) = (Topic::from_bytes([144; 32]), Topic::from_bytes([145; 32]));
    let b = FakeNode::start(144, 2).await;
    b.subscribe(theirs);
    let a = start_with(144, 1, b.id(), b.net.addr()).await;
    a.subscribe(ours);
    let met = until(&a, b.id(), Contact::NoCommonTopic).await;
    b.subscribe(ours);
    let reached = until(&a, b.id(), Contact::Reached).await;
    assert!(reached.since >= met.since);
    // Nobody named the other one.
    assert_eq!(status(&b, a.id()), None);
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_can_refuse() {
    let refusing = Probe::start(147, 2).await;
    let addrs = refusing.endpoint.bound_sockets();
    let peer = refusing.id();
    let refuses = tokio::spawn(async move {
        while let Some(incoming) = refusing.endpoint.accept().await {
            incoming.refuse();
        }
    });
    let a = start_with(147, 1, peer, addrs).await;
    a.subscribe(Topic::from_bytes([147; 32]));
    let refused = until(&a, peer, Contact::Refused).await;
    // It keeps trying, and nothing changes.
    refuses.abort();
    assert_eq!(status(&a, peer), Some(refused));
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_is_unreachable_where_it_ends_every_connection() {
    let ending = Probe::start(148, 2).await;
    ending.accept(&[
        b"p2panda/link/v1",
        b"p2panda/confidential_discovery/v1",
        b"p2panda/log_sync/v1",
        b"/iroh-gossip/1",
    ]);
    let addrs = ending.endpoint.bound_sockets();
    let peer = ending.id();
    let ends = tokio::spawn(async move {
        while let Some(incoming) = ending.endpoint.accept().await {
            if let Ok(connection) = incoming.await {
                connection.close(0_u32.into(), b"");
            }
        }
    });
    let a = start_with(148, 1, peer, addrs).await;
    a.subscribe(Topic::from_bytes([148; 32]));
    until(&a, peer, Contact::Unreachable).await;
    ends.abort();
    a.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_node_that_stops_is_dead_and_reached_when_it_is_back() {
    let topic = Topic::from_bytes([146; 32]);
    let b = FakeNode::start(146, 2).await;
    b.subscribe(topic);
    let addr = b.net.addr()[0];
    let a = start_with(146, 1, b.id(), vec![addr]).await;
    a.subscribe(topic);
    until(&a, b.id(), Contact::Reached).await;
    b.net.shutdown().await;
    drop(b);
    until(&a, id(2), Contact::ClosedPort).await;
    let mut config = config(146, 2);
    config.bind_v4.set_port(addr.port());
    while std::net::UdpSocket::bind(addr).is_err() {
        tokio::task::yield_now().await;
    }
    let b = FakeNode::start_with(config).await;
    b.subscribe(topic);
    until(&a, b.id(), Contact::Reached).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}
