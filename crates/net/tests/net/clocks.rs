//! Nodes with wrong clocks, by minutes and by fifty years, in both directions.

use std::time::Duration;

use p2panda_core::{Topic, VerifyingKey};
use p2panda_net::{ClockDifference, NetEvent, PeerStatus, WallAhead};
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::fake_node::{FakeNode, config};

const PATIENCE: Duration = Duration::from_secs(60);
const MINUTES_11: i64 = 11 * 60;
const YEARS_50: i64 = 50 * 365 * 24 * 60 * 60;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A node whose wall clock is this many seconds ahead.
async fn start(network: u8, seed: u8, seconds: i64, contacts: &[&FakeNode]) -> FakeNode {
    let mut config = config(network, seed);
    config.wall_ahead = WallAhead { seconds };
    config.bootstrap = contacts.iter().map(|contact| contact.bootstrap()).collect();
    FakeNode::start_with(config).await
}

/// The first that is told of the clock of a peer.
async fn differs(events: &mut broadcast::Receiver<NetEvent>, of: VerifyingKey) -> ClockDifference {
    let told = async {
        loop {
            if let NetEvent::ClockDiffers { peer, by } = events.recv().await.unwrap()
                && peer == of
            {
                return by;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("told of the clock")
}

fn peer(node: &FakeNode, other: &FakeNode) -> PeerStatus {
    let mut peers = node.net.peers().into_iter();
    peers.find(|peer| peer.id == other.id()).unwrap()
}

/// Two nodes that know only a third one, whose clock is right and which does not have their topic.
async fn meet_through_a_third(network: u8, clocks: [i64; 2]) {
    let topic = Topic::from_bytes([network; 32]);
    let third = FakeNode::start(network, 3).await;
    let a = start(network, 1, clocks[0], &[&third]).await;
    let b = start(network, 2, clocks[1], &[&third]).await;
    a.subscribe(topic);
    b.subscribe(topic);
    a.publish(topic, "from a");
    b.publish(topic, "from b");
    a.until_len(topic, 2).await;
    b.until_len(topic, 2).await;
    for node in [a, b, third] {
        node.net.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_eleven_minutes_ahead_meet_through_a_third() {
    meet_through_a_third(130, [MINUTES_11, MINUTES_11]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_eleven_minutes_ahead_is_met_through_a_third() {
    meet_through_a_third(131, [0, MINUTES_11]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_fifty_years_ahead_is_met_through_a_third() {
    meet_through_a_third(132, [0, YEARS_50]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_fifty_years_behind_is_met_through_a_third() {
    meet_through_a_third(133, [-YEARS_50, 0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_a_hundred_years_apart_meet_through_a_third() {
    meet_through_a_third(134, [-YEARS_50, YEARS_50]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_is_reported_on_both_sides() {
    let topic = Topic::from_bytes([135; 32]);
    let a = start(135, 1, 0, &[]).await;
    a.subscribe(topic);
    let mut at_a = a.net.events();
    let b = start(135, 2, YEARS_50, &[]).await;
    let mut at_b = b.net.events();
    b.subscribe(topic);
    b.net.add_peer(a.bootstrap());
    let years = Duration::from_secs(YEARS_50 as u64);
    let ahead = differs(&mut at_a, b.id()).await;
    // It is measured again with each record that the peer hands over.
    for found in [Some(ahead), peer(&a, &b).clock] {
        let Some(ClockDifference::Ahead(by)) = found else {
            panic!("{found:?}");
        };
        assert!(by <= years && by > years - DAY, "{by:?}");
    }
    let behind = differs(&mut at_b, a.id()).await;
    for found in [Some(behind), peer(&b, &a).clock] {
        let Some(ClockDifference::Behind(by)) = found else {
            panic!("{found:?}");
        };
        assert!(by <= years + DAY && by >= years - DAY, "{by:?}");
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_agree_are_no_event() {
    let topic = Topic::from_bytes([136; 32]);
    let a = start(136, 1, 0, &[]).await;
    let mut events = a.net.events();
    let b = start(136, 2, 9 * 60, &[&a]).await;
    a.subscribe(topic);
    b.subscribe(topic);
    a.until_live(topic).await;
    b.until_live(topic).await;
    assert_eq!((peer(&a, &b).clock, peer(&b, &a).clock), (None, None));
    while let Ok(event) = events.try_recv() {
        assert!(!matches!(event, NetEvent::ClockDiffers { .. }));
    }
    a.net.shutdown().await;
    b.net.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_clock_meets_known_nodes_again() {
    for (network, seconds) in [(137, YEARS_50), (138, -YEARS_50)] {
        let topic = Topic::from_bytes([network; 32]);
        let b = FakeNode::start(network, 2).await;
        let a = start(network, 1, seconds, &[&b]).await;
        a.subscribe(topic);
        b.subscribe(topic);
        a.until_live(topic).await;
        a.net.shutdown().await;
        let known = a.stored_rows();
        let mut config = config(network, 1);
        for (node, stored) in known {
            config.known.add(node, stored);
        }
        let a = FakeNode::start_with(config).await;
        a.subscribe(topic);
        b.publish(topic, "after");
        a.until_len(topic, 1).await;
        let of_a = |peer: &PeerStatus| peer.id == a.id() && peer.clock.is_none();
        let right = async {
            while !b.net.peers().iter().any(of_a) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, right).await.expect("the clock is right");
        a.net.shutdown().await;
        b.net.shutdown().await;
    }
}
