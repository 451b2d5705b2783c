//! Relays: iroh's own server between two nodes that cannot reach each other.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use p2panda_core::Topic;
use p2panda_net::{Bootstrap, PeerStatus, Relay};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{interval, timeout};

use crate::fake_node::{FakeNode, config};
use crate::hearsay::{record_of, tell};
use crate::multicast::namespace;
use crate::probe::Probe;

const PATIENCE: Duration = Duration::from_secs(60);

/// Set for the part of a test that runs inside the namespace.
const INSIDE: &str = "P2PANDA_INSIDE_NAMESPACE";

/// Three machines of which the first two do not reach each other. The rules come before the table
/// of the machine's own addresses, which otherwise always reach each other.
const NETWORK: &str = "ip link set lo up && ip addr add 10.1.0.1/32 dev lo \
    && ip addr add 10.1.0.2/32 dev lo && ip addr add 10.1.0.3/32 dev lo \
    && ip rule add pref 100 lookup local && ip rule del pref 0 \
    && ip rule add pref 50 from 10.1.0.1 to 10.1.0.2 prohibit \
    && ip rule add pref 51 from 10.1.0.2 to 10.1.0.1 prohibit && exec \"$@\"";

/// From then on they do.
const PATH: &str = "ip rule del pref 50 && ip rule del pref 51";

async fn relay(ip: Ipv4Addr) -> (Server, String) {
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new((ip, 0)));
    let server = Server::spawn(config).await.unwrap();
    let url = format!("http://{}/", server.http_addr().unwrap());
    (server, url)
}

async fn start(network: u8, seed: u8, ip: Ipv4Addr, relay: &str) -> FakeNode {
    let mut config = config(network, seed);
    config.bind_v4 = SocketAddrV4::new(ip, 0);
    config.relays = vec![Relay {
        url: relay.to_owned(),
        token: None,
    }];
    FakeNode::start_with(config).await
}

/// Resolves when a node's connection to a peer is as it should be.
async fn until(node: &FakeNode, peer: &FakeNode, is: impl Fn(&PeerStatus) -> bool) {
    let mut look = interval(Duration::from_millis(50));
    let looks = async {
        loop {
            look.tick().await;
            let peers = node.net.peers();
            if peers.iter().any(|one| one.id == peer.id() && is(one)) {
                return;
            }
        }
    };
    let found = timeout(PATIENCE, looks).await;
    found.unwrap_or_else(|_| panic!("{:?}", node.net.peers()));
}

#[tokio::test(flavor = "multi_thread")]
async fn separated_nodes_sync_through_a_relay_until_a_path_opens() {
    const TEST: &str = "relay::separated_nodes_sync_through_a_relay_until_a_path_opens";
    if env::var_os(INSIDE).is_some() {
        return through_a_relay().await;
    }
    let Some(flags) = namespace(NETWORK) else {
        eprintln!("skipped: 1 test, because no network namespace can be made here: {TEST}");
        return;
    };
    let status = Command::new("unshare")
        .args([flags, "--", "sh", "-c", NETWORK, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", TEST])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "inside the namespace");
}

async fn through_a_relay() {
    let topic = Topic::from_bytes([95; 32]);
    let (_server, url) = relay(Ipv4Addr::new(10, 1, 0, 3)).await;
    let a = start(95, 1, Ipv4Addr::new(10, 1, 0, 1), &url).await;
    let b = start(95, 2, Ipv4Addr::new(10, 1, 0, 2), &url).await;
    for node in [&a, &b] {
        node.subscribe(topic);
        node.publish(topic, "published apart");
    }
    a.net.add_peer(Bootstrap {
        node: b.id(),
        addrs: Vec::new(),
        relay: Some(url),
    });
    a.until_len(topic, 2).await;
    b.until_len(topic, 2).await;
    until(&a, &b, |b| b.connected && b.relayed).await;

    let opened = Command::new("sh").args(["-c", PATH]).status().unwrap();
    assert!(opened.success());
    a.net.network_change().await;
    b.net.network_change().await;
    until(&a, &b, |b| b.connected && !b.relayed).await;
    a.publish(topic, "published on the direct path");
    b.until_len(topic, 3).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_configured_relay_is_contacted() {
    let topic = Topic::from_bytes([96; 32]);
    let (_server, allowed) = relay(Ipv4Addr::LOCALHOST).await;
    let told = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let told_url = format!("http://{}/", told.local_addr().unwrap());
    let node = start(96, 1, Ipv4Addr::LOCALHOST, &allowed).await;
    let other = start(96, 2, Ipv4Addr::LOCALHOST, &allowed).await;
    for node in [&node, &other] {
        node.subscribe(topic);
    }
    other.publish(topic, "behind the relay that is allowed");
    let (stranger, named) = record_of(3, [], Some(&told_url));
    let marker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let asked: SocketAddr = marker.local_addr().unwrap();
    let (beside, asked) = record_of(4, [asked], Some(&told_url));
    let (_, behind) = record_of(2, [], Some(&allowed));
    let teller = Probe::start(96, 5).await;
    let records = vec![(stranger, named), (beside, asked), (other.id(), behind)];
    tell(&teller, 5, &node, &records).await;
    // What may be done with the three records was done: the address was asked, and the node behind
    // the allowed relay was met.
    let heard = timeout(PATIENCE, marker.recv_from(&mut [0; 2048])).await;
    heard.unwrap().unwrap();
    node.until_len(topic, 1).await;
    let contacted = timeout(Duration::ZERO, told.accept()).await;
    assert!(contacted.is_err(), "{contacted:?}");
    node.net.shutdown().await;
    other.net.shutdown().await;
}
