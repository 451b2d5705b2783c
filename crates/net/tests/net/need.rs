//! Choice of sessions: everyone who asks is served, and all come to hold the same with few
//! sessions.

use std::time::Duration;

use p2panda_core::Topic;
use tokio::time::timeout;

use crate::fake_node::{FakeNode, config};

/// As many sessions as a node has now on its one topic.
fn sessions(node: &FakeNode) -> usize {
    let peers = node.net.peers();
    peers
        .iter()
        .filter(|peer| !peer.sessions.is_empty())
        .count()
}

/// A node that names `first` in its configuration and tells nobody where it is itself, unless it is
/// `open`.
async fn start(network: u8, seed: u8, first: Option<&FakeNode>, open: bool) -> FakeNode {
    let mut config = config(network, seed);
    config.bootstrap = first.map(FakeNode::bootstrap).into_iter().collect();
    config.announce_addresses = open;
    FakeNode::start_with(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_of_separated_clients_gets_everything() {
    let topic = Topic::from_bytes([90; 32]);
    let server = start(90, 1, None, true).await;
    server.subscribe(topic);
    let mut clients = Vec::new();
    for seed in 2..14 {
        let client = start(90, seed, Some(&server), false).await;
        client.subscribe(topic);
        clients.push(client);
    }
    clients[0].publish(topic, "from a leaf");
    server.publish(topic, "from the centre");
    for node in clients.iter().chain([&server]) {
        node.until_len(topic, 2).await;
    }
    // Everyone is live by now, and none of the twelve lost its place to another.
    clients[11].publish(topic, "from another leaf");
    for node in clients.iter().chain([&server]) {
        node.until_len(topic, 3).await;
    }
    assert_eq!(sessions(&server), clients.len());
    for node in clients.into_iter().chain([server]) {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_nodes_get_everything_without_a_full_mesh() {
    let topic = Topic::from_bytes([91; 32]);
    let first = start(91, 1, None, true).await;
    first.subscribe(topic);
    let mut others = Vec::new();
    for seed in 2..17 {
        let node = start(91, seed, Some(&first), true).await;
        node.subscribe(topic);
        others.push(node);
    }
    for node in others.iter().chain([&first]) {
        node.publish(topic, "hello");
    }
    for node in others.iter().chain([&first]) {
        node.until_len(topic, 16).await;
    }
    // How many of the others each has met by now is chance; no event tells.
    let enough = async {
        while others.iter().any(|node| sessions(node) < 2) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = timeout(Duration::from_secs(60), enough).await;
    let counts: Vec<usize> = others.iter().map(sessions).collect();
    assert!(waited.is_ok(), "{counts:?}");
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    assert!(mean <= 8.0, "{counts:?}");
    for node in others.into_iter().chain([first]) {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_islands_become_one_when_one_node_learns_of_the_other() {
    let topic = Topic::from_bytes([92; 32]);
    let mut islands = Vec::new();
    for island in [10, 20] {
        let first = start(92, island, None, true).await;
        first.subscribe(topic);
        let mut nodes = vec![first];
        for seed in 1..3 {
            let node = start(92, island + seed, Some(&nodes[0]), true).await;
            node.subscribe(topic);
            nodes.push(node);
        }
        nodes[0].publish(topic, "from the first");
        for node in &nodes {
            node.until_len(topic, 1).await;
        }
        islands.push(nodes);
    }
    islands[0][1].net.add_peer(islands[1][2].bootstrap());
    for node in islands.iter().flatten() {
        node.until_len(topic, 2).await;
    }
    for node in islands.into_iter().flatten() {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_left_a_topic_is_served_again_on_return() {
    let topic = Topic::from_bytes([93; 32]);
    let (a, b) = (
        start(93, 1, None, true).await,
        start(93, 2, None, true).await,
    );
    a.subscribe(topic);
    b.subscribe(topic);
    a.net.add_peer(b.bootstrap());
    a.until_live(topic).await;
    b.leave(topic).await;
    a.publish(topic, "welcome back");
    b.subscribe(topic);
    b.until_len(topic, 1).await;
    a.net.shutdown().await;
    b.net.shutdown().await;
}
