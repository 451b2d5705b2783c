//! Nodes for tests: loopback only, no mDNS, a network of their own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use p2panda::{Builder, Mdns, Message, NetworkId, Node, Subscription, Topic};

/// Longer than anything takes on a busy machine; reaching it is a failure, not a delay.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A network that no other test is in.
pub fn network() -> NetworkId {
    NetworkId::from_bytes(*p2panda::random_topic().unwrap().as_bytes())
}

pub fn topic() -> Topic {
    p2panda::random_topic().unwrap()
}

pub fn builder(network: NetworkId) -> Builder {
    p2panda::builder()
        .network_id(network)
        .bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0), None)
        .mdns(Mdns::Off)
        .state_dir(None)
}

pub async fn temporary(network: NetworkId) -> Node {
    builder(network).temporary().spawn().await.unwrap()
}

pub async fn at(network: NetworkId, dir: &Path) -> Node {
    builder(network).data_dir(dir).spawn().await.unwrap()
}

/// A node that listens at this port, once it is free.
pub async fn at_port(network: NetworkId, dir: &Path, port: u16) -> Node {
    let addr = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    until("the port is free", || async {
        std::net::UdpSocket::bind(addr).is_ok()
    })
    .await;
    let builder = builder(network).data_dir(dir).bind(addr, None);
    builder.spawn().await.unwrap()
}

/// `node` learns where `other` is; the rest they tell each other.
pub fn introduce(node: &Node, other: &Node) {
    let addr = *other.net().addr().first().expect("a bound address");
    node.net().add_peer(other.id(), addr);
}

pub async fn next(rx: &mut Subscription) -> Message {
    let message = tokio::time::timeout(PATIENCE, rx.next());
    message
        .await
        .expect("a message in time")
        .expect("the stream goes on")
}

pub async fn texts(rx: &mut Subscription, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for _ in 0..count {
        texts.push(next(rx).await.text().unwrap().to_owned());
    }
    texts
}

/// Waits for a condition on which no event reports, without assuming how long it takes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "never came true: {what}");
}
