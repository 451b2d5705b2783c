//! The local network, in a network namespace where nobody else answers.

use std::env;
use std::process::{Command, Stdio};

use p2panda_core::Topic;
use p2panda_net::Mdns;

use crate::fake_node::{FakeNode, config};
use crate::recovery::restarted;

/// Set for the part of the test that runs inside the namespace.
const INSIDE: &str = "P2PANDA_INSIDE_NAMESPACE";

/// A loopback device with multicast, which is all that the namespace has.
const NETWORK: &str = "ip link set lo up && ip link set lo multicast on \
    && ip route add 224.0.0.0/4 dev lo && exec \"$@\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_restarted_at_its_address_is_found() {
    if is_inside("a_node_restarted_at_its_address_is_found") {
        announce_again().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_clock_is_found() {
    if is_inside("a_node_with_a_wrong_clock_is_found") {
        for (network, years) in [(69, 50), (67, -50)] {
            announce_from_another_time(network, years).await;
        }
    }
}

/// Returns `true` if this process is in a namespace of its own. If not, runs the test in one that
/// is.
fn is_inside(test: &str) -> bool {
    if env::var_os(INSIDE).is_some() {
        return true;
    }
    let Some(flags) = namespace(NETWORK) else {
        eprintln!("skipped: no network namespace can be made here with unshare and ip");
        return false;
    };
    let status = Command::new("unshare")
        .args([flags, "--", "sh", "-c", NETWORK, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "--nocapture"])
        .arg(format!("multicast::{test}"))
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "inside the namespace");
    false
}

/// Returns the options of `unshare` to make a namespace with this network here: some containers
/// allow root one but nobody a user namespace.
pub fn namespace(network: &str) -> Option<&'static str> {
    ["-n", "-rn"].into_iter().find(|flags| {
        let mut probe = Command::new("unshare");
        probe.args([flags, "--", "sh", "-c", network, "sh", "true"]);
        let ended = probe.stderr(Stdio::null()).status();
        ended.is_ok_and(|status| status.success())
    })
}

async fn announce_again() {
    let topic = Topic::from_bytes([68; 32]);
    let (mut again, _) = restarted(68).await;
    again.mdns = Mdns::Active;
    let a = FakeNode::start_with(again).await;
    a.subscribe(topic);
    a.publish(topic, "for whoever comes");
    // It shows nothing of itself, so that only an announcement can bring them together.
    let mut listening = config(68, 2);
    listening.mdns = Mdns::Listen;
    let newcomer = FakeNode::start_with(listening).await;
    newcomer.subscribe(topic);
    newcomer.until_len(topic, 1).await;
    newcomer.net.shutdown().await;
    a.net.shutdown().await;
}

/// Only the one that announces itself has a wrong clock, and nobody can dial the other one.
async fn announce_from_another_time(network: u8, years: i64) {
    let topic = Topic::from_bytes([network; 32]);
    let mut announcing = config(network, 1);
    announcing.mdns = Mdns::Active;
    announcing.wall_ahead.seconds = years * 365 * 24 * 60 * 60;
    let a = FakeNode::start_with(announcing).await;
    a.subscribe(topic);
    a.publish(topic, "from another time");
    let mut listening = config(network, 2);
    listening.mdns = Mdns::Listen;
    let b = FakeNode::start_with(listening).await;
    b.subscribe(topic);
    b.until_len(topic, 1).await;
    b.net.shutdown().await;
    a.net.shutdown().await;
}
