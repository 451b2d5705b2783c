//! Local networks of two machines.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::process::Command;
use std::time::Duration;

use p2panda_core::Topic;
use p2panda_net::{Config, LocalNetwork, Mdns};
use tokio::time::{interval, timeout};

use crate::fake_node::{FakeNode, config};
use crate::hosts::{Machine, on_two};

const PATIENCE: Duration = Duration::from_secs(60);

/// A node as it is by default, in a network of its own.
fn on_every_interface(machine: Machine) -> Config {
    let mut config = config(69, if machine == Machine::Left { 1 } else { 2 });
    config.bind_v4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
    config.bind_v6 = Some(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    config.mdns = Mdns::Active;
    config
}

fn topic() -> Topic {
    Topic::from_bytes([69; 32])
}

async fn start(machine: Machine) -> FakeNode {
    let node = FakeNode::start_with(on_every_interface(machine)).await;
    node.subscribe(topic());
    node.publish(topic(), &format!("from the {machine:?}"));
    node
}

/// Both have what the other one published.
async fn meet(node: FakeNode, machine: Machine) {
    node.until_len(topic(), 2).await;
    match machine {
        Machine::Left => node.net.shutdown().await,
        // It goes when the other one is done.
        Machine::Right => std::future::pending().await,
    }
}

/// Resolves when the interfaces on which a node looks are as they should be.
async fn until(node: &FakeNode, are: impl Fn(&[LocalNetwork]) -> bool) {
    let mut look = interval(Duration::from_millis(20));
    let looks = async {
        while !are(&node.net.local_networks()) {
            look.tick().await;
        }
    };
    let found = timeout(PATIENCE, looks).await;
    found.unwrap_or_else(|_| panic!("{:?}", node.net.local_networks()));
}

/// Changes the network of this machine.
fn sh(commands: &str) {
    let status = Command::new("sh").args(["-c", commands]).status().unwrap();
    assert!(status.success(), "{commands}");
}

fn works(networks: &[LocalNetwork], interface: &str) -> bool {
    let of = |one: &LocalNetwork| one.interface == interface && one.failed.is_none();
    networks.iter().any(|one| of(one) && one.nodes == 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_a_lan_without_a_default_route_find_each_other() {
    let machine = on_two(
        "lan::nodes_on_a_lan_without_a_default_route_find_each_other",
        "ip addr add 10.7.0.1/24 dev lan && ip link set lan up",
        "ip addr add 10.7.0.2/24 dev lan && ip link set lan up",
    );
    if let Some(machine) = machine {
        let node = start(machine).await;
        until(&node, |networks| works(networks, "lan")).await;
        meet(node, machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_find_each_other_off_the_default_route() {
    // The other network stands for a VPN: it has the default route, and nobody is there.
    const VPN: &str = "ip link add name vpn type veth peer name nobody && ip link set nobody up \
        && ip addr add 10.99.0.1/24 dev vpn && ip link set vpn up \
        && ip route add default via 10.99.0.2 dev vpn \
        && ip link set lan up && ip addr add dev lan";
    let machine = on_two(
        "lan::nodes_find_each_other_off_the_default_route",
        &format!("{VPN} 10.7.0.1/24"),
        &format!("{VPN} 10.7.0.2/24"),
    );
    if let Some(machine) = machine {
        let node = start(machine).await;
        until(&node, |networks| {
            let on = |name| networks.iter().any(|one| one.interface == name);
            works(networks, "lan") && on("vpn") && !on("lo")
        })
        .await;
        meet(node, machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_a_lan_with_ipv6_only_find_each_other() {
    let machine = on_two(
        "lan::nodes_on_a_lan_with_ipv6_only_find_each_other",
        "ip link set lan up && ip addr add fd07::1/64 dev lan",
        "ip link set lan up && ip addr add fd07::2/64 dev lan",
    );
    if let Some(machine) = machine {
        let node = start(machine).await;
        until(&node, |networks| networks.iter().all(|one| one.ipv6)).await;
        meet(node, machine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interfaces_are_followed_as_they_come_and_go() {
    let machine = on_two(
        "lan::interfaces_are_followed_as_they_come_and_go",
        "true",
        "ip addr add 10.7.0.2/24 dev lan && ip link set lan up",
    );
    let Some(machine) = machine else { return };
    let node = start(machine).await;
    if machine == Machine::Left {
        until(&node, |networks| {
            networks.iter().all(|one| one.interface == "lo")
        })
        .await;
        sh("ip addr add 10.7.0.1/24 dev lan && ip link set lan up");
        until(&node, |networks| works(networks, "lan")).await;
        node.until_len(topic(), 2).await;
        sh("ip link del lan");
        until(&node, |networks| {
            networks.iter().all(|one| one.interface == "lo")
        })
        .await;
    }
    meet(node, machine).await;
}
