//! Strangers that hold places of every kind lock out and silence nobody
//! (`docs/protocol/network.md#11`).

use std::time::Duration;

use p2panda_core::budget::Budget;
use p2panda_core::{Topic, limits};
use p2panda_net::Config;
use p2panda_protocol::overlay::Overlay;
use tokio::time::timeout;

use crate::fake_node::{FakeNode, config};
use crate::gossip::until_heard;
use crate::probe::{Probe, closed};
use crate::stranger::{Crowd, Does, StrangerLink};

const GOSSIP: &[u8] = b"/iroh-gossip/1";
const DISCOVERY: &[u8] = b"p2panda/confidential_discovery/v1";
const LINK: &[u8] = b"p2panda/link/v1";
const MIB: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with places for an eighth of what the default budget has: 34 gossip connections or 28
/// links of strangers, half of them of one address prefix. No stranger loses its place for being of
/// no use while a test runs, so that only the rules about places let a newcomer connect.
fn small(network: u8) -> Config {
    let mut config = config(network, 1);
    config.timings.gossip_duty_wait = PATIENCE * 10;
    config.timings.link_duty_wait = PATIENCE * 10;
    config.budget = Budget::new(8 * MIB, MIB);
    config.limits.operation_bytes_max = MIB as u32;
    config
}

/// A newcomer syncs with the node, over a link or as a published node does.
async fn newcomer_syncs(network: u8, node: &FakeNode, topic: Topic, links: bool) {
    let mut config = config(network, if links { 250 } else { 251 });
    config.links = links;
    let newcomer = FakeNode::start_with(config).await;
    newcomer.publish(topic, "a newcomer");
    newcomer.subscribe(topic);
    newcomer.net.add_peer(node.bootstrap());
    let before = node.with(topic, |log| log.entries.len());
    node.until_len(topic, before + 1).await;
    newcomer.net.shutdown().await;
}

/// Next to a crowd, a newcomer that has links syncs with a node, and so does one that has none.
async fn newcomers_get_in_beside(
    config: Config,
    network: u8,
    identities: std::ops::Range<u8>,
    connections: usize,
    does: impl FnOnce(Topic) -> Does,
) {
    let topic = Topic::from_bytes([network; 32]);
    let node = FakeNode::start_with(config).await;
    node.subscribe(topic);
    let _crowd = Crowd::start(&node, network, identities, connections, does(topic)).await;
    newcomer_syncs(network, &node, topic, true).await;
    newcomer_syncs(network, &node, topic, false).await;
    node.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_in_despite_idle_gossip_connections() {
    let mut config = small(150);
    // Room for 20 of the 352, as 512 identities with 8 each have with the default budget.
    config.budget = Budget::new(5 * MIB, MIB);
    newcomers_get_in_beside(config, 150, 2..46, 8, |_| Does::Nothing(GOSSIP)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_in_despite_sixty_silent_links() {
    newcomers_get_in_beside(small(151), 151, 2..62, 1, |_| Does::Nothing(LINK)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_in_despite_links_that_sync_nothing() {
    let names = |topic| Does::Names(LINK, Overlay::of_sync(&topic));
    newcomers_get_in_beside(small(152), 152, 2..62, 1, names).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newcomers_get_in_despite_links_that_stall() {
    newcomers_get_in_beside(small(158), 158, 2..62, 1, |topic| Does::Opens(LINK, topic)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_finds_others_despite_silent_visitors() {
    let topic = Topic::from_bytes([153; 32]);
    let between = FakeNode::start(153, 1).await;
    let _crowd = Crowd::start(&between, 153, 2..62, 1, Does::Nothing(DISCOVERY)).await;
    // The two know only the one that the crowd visits, and speak to it as published nodes do.
    let mut nodes = Vec::new();
    for seed in [250, 251] {
        let mut config = config(153, seed);
        config.links = false;
        config.bootstrap = vec![between.bootstrap()];
        let node = FakeNode::start_with(config).await;
        node.publish(topic, "here");
        node.subscribe(topic);
        nodes.push(node);
    }
    between.subscribe(topic);
    for node in &nodes {
        node.until_len(topic, 2).await;
    }
    for node in nodes {
        node.net.shutdown().await;
    }
    between.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_pair_talks_on_despite_forty_strangers() {
    let (topic, spoken) = (Topic::from_bytes([154; 32]), Topic::from_bytes([155; 32]));
    let mut pair = Vec::new();
    for seed in [250, 251] {
        let mut config = config(154, seed);
        // Fewer than there are strangers.
        config.gossip_neighbours_max = 16;
        config.timings.gossip_duty_wait = PATIENCE * 10;
        config.timings.link_duty_wait = PATIENCE * 10;
        let node = FakeNode::start_with(config).await;
        node.subscribe(topic);
        pair.push(node);
    }
    let (a, b) = (&pair[0], &pair[1]);
    let (to_b, mut from_b) = a.net.ephemeral(spoken);
    let (to_a, mut from_a) = b.net.ephemeral(spoken);
    a.net.add_peer(b.bootstrap());
    until_heard(&to_b, &mut from_a, "before").await;
    a.until_live(topic).await;
    b.until_live(topic).await;
    let mut crowds = Vec::new();
    for node in [a, b] {
        for (first, overlay) in [
            (2, Overlay::of_sync(&topic)),
            (42, Overlay::of_ephemeral(&spoken)),
        ] {
            let joins = Does::Joins(GOSSIP, overlay);
            crowds.push(Crowd::start(node, 154, first..first + 40, 1, joins).await);
        }
        let names = Does::Names(LINK, Overlay::of_sync(&topic));
        crowds.push(Crowd::start(node, 154, 82..102, 1, names).await);
    }
    for (count, round) in ["one", "two", "three"].into_iter().enumerate() {
        until_heard(&to_b, &mut from_a, round).await;
        until_heard(&to_a, &mut from_b, round).await;
        a.publish(topic, round);
        b.publish(topic, round);
        for node in [a, b] {
            node.until_len(topic, 2 * (count + 1)).await;
        }
    }
    drop(crowds);
    for node in pair {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_link_of_a_stranger_ends() {
    let topic = Topic::from_bytes([156; 32]);
    let mut config = config(156, 1);
    config.timings.link_duty_wait = Duration::from_millis(300);
    let node = FakeNode::start_with(config).await;
    node.subscribe(topic);
    // Which proves itself, and stays.
    let other = FakeNode::start(156, 2).await;
    other.subscribe(topic);
    other.net.add_peer(node.bootstrap());
    other.until_live(topic).await;
    let connections = other.net.counters().connections;
    let probe = Probe::start(156, 9).await;
    let connection = probe.dial(&node, LINK).await;
    let link = StrangerLink::open(connection, probe.id(), Overlay::of_sync(&topic)).await;
    let mut link = link.unwrap();
    timeout(PATIENCE, link.until_closed()).await.unwrap();
    node.publish(topic, "still there");
    other.until_len(topic, 1).await;
    assert_eq!(other.net.counters().connections, connections);
    node.net.shutdown().await;
    other.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_which_too_many_streams_begin_with_nonsense_ends() {
    let topic = Topic::from_bytes([157; 32]);
    let node = FakeNode::start(157, 1).await;
    node.subscribe(topic);
    let probe = Probe::start(157, 9).await;
    let connection = probe.dial(&node, LINK).await;
    let link = StrangerLink::open(connection, probe.id(), Overlay::of_sync(&topic)).await;
    let link = link.unwrap();
    for _ in 0..=limits::LINK_BROKEN_STREAMS_MAX {
        assert!(link.connection.close_reason().is_none());
        let mut recv = link.write_raw(&[0, 0, 0, 2, 9, 9]).await.unwrap();
        // Each is reset by itself.
        let end = timeout(PATIENCE, recv.read_chunk(1)).await.unwrap();
        assert!(end.is_err());
    }
    assert_eq!(closed(&link.connection).await.0, 2);
    node.net.shutdown().await;
}
