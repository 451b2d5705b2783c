//! Two machines on one local network.

use p2panda::{StartAt, Topic};

use crate::hosts::{Machine, on_two};
use crate::nodes::next;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_made_by_open_meet_on_a_lan_without_settings() {
    let machine = on_two(
        "lan::two_nodes_made_by_open_meet_on_a_lan_without_settings",
        "ip addr add 10.7.0.1/24 dev lan && ip link set lan up",
        "ip addr add 10.7.0.2/24 dev lan && ip link set lan up",
    );
    let Some(machine) = machine else { return };
    let dir = tempfile::tempdir().unwrap();
    let node = p2panda::open(dir.path()).await.unwrap();
    let stream = node.stream(Topic::from_bytes([70; 32]));
    let (tx, mut rx) = stream.start(StartAt::Beginning).await.unwrap();
    tx.publish("here I am").await.unwrap();
    while next(&mut rx).await.author() == node.id() {}
    match machine {
        Machine::Left => node.shutdown().await.unwrap(),
        // It goes when the other one is done.
        Machine::Right => std::future::pending().await,
    }
}
