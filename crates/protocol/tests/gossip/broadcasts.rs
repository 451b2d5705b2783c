//! Broadcasts reach everyone.

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::gossip::{Input, Message};

use crate::network::{Network, key};

fn content(number: usize) -> Bytes {
    format!("message {number}").into()
}

/// This many nodes that have settled.
fn settled(seed: u8, count: usize) -> (Network, Vec<VerifyingKey>) {
    let mut network = Network::new(seed, limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT);
    let nodes: Vec<VerifyingKey> = (0..count).map(key).collect();
    for node in &nodes {
        network.add(*node, &nodes);
    }
    network.run_ms(20_000);
    (network, nodes)
}

#[test]
fn a_broadcast_reaches_everyone_about_once() {
    for seed in 0..5 {
        let (mut network, nodes) = settled(seed, 16);
        // The tree is made with the first ones.
        for number in 0..20 {
            network.handle(nodes[0], Input::Broadcast(content(number)));
            network.run_ms(1_000);
        }
        for seen in network.seen.values_mut() {
            seen.payloads = 0;
        }
        for number in 20..120 {
            network.handle(nodes[0], Input::Broadcast(content(number)));
            network.run_ms(100);
        }
        network.run_ms(5_000);
        let mut payloads = 0;
        for node in &nodes[1..] {
            let seen = &network.seen[node];
            payloads += seen.payloads;
            assert_eq!(seen.delivered.len(), 120, "seed {seed}");
        }
        assert!(payloads <= 15 * 110, "seed {seed}: {payloads} copies");
    }
}

#[test]
fn a_broadcast_reaches_everyone_although_a_node_dies() {
    let (mut network, mut nodes) = settled(7, 24);
    for number in 0..20 {
        network.handle(nodes[0], Input::Broadcast(content(number)));
        network.run_ms(200);
    }
    for number in 20..24 {
        network.kill(nodes.pop().unwrap());
        network.handle(nodes[0], Input::Broadcast(content(number)));
        network.run_ms(10);
    }
    network.run_ms(5_000);
    for node in &nodes[1..] {
        assert_eq!(network.seen[node].delivered.len(), 24);
    }
}

#[test]
fn an_announcement_that_never_comes_is_forgotten() {
    let (mut network, nodes) = settled(9, 2);
    let announced: Vec<_> = (0..2 * limits::GOSSIP_MISSING_MAX)
        .map(|number| {
            let mut id = [9; 32];
            id[..8].copy_from_slice(&(number as u64).to_le_bytes());
            (id, 1)
        })
        .collect();
    let before = network.seen[&nodes[0]].frames_sent;
    let input = Input::Received {
        from: nodes[1],
        message: Message::Announce(announced),
        round_trip: Duration::ZERO,
    };
    network.handle(nodes[0], input);
    network.run_ms(1_000);
    let asked = network.seen[&nodes[0]].frames_sent - before;
    assert_eq!(asked, limits::GOSSIP_MISSING_MAX);
    // Nothing is due for it any more.
    let wake = network.member(&nodes[0]).wake();
    assert!(wake.is_none_or(|wake| wake > network.now.after(1_000)));
}

#[test]
fn what_is_remembered_of_broadcasts_goes_again() {
    let (mut network, nodes) = settled(10, 2);
    for number in 0..1_000 {
        network.handle(nodes[0], Input::Broadcast(content(number)));
    }
    network.run_ms(1_000);
    assert_eq!(network.seen[&nodes[1]].delivered.len(), 1_000);
    let id = *p2panda_core::Hash::digest(&content(0)).as_bytes();
    assert!(network.member(&nodes[1]).knows(&id));
    network.run_ms(limits::GOSSIP_ID_TIME.as_millis() as u64 + 2_000);
    assert!(!network.member(&nodes[1]).knows(&id));
}

#[test]
fn a_peer_that_is_no_neighbour_changes_nothing_in_the_tree() {
    let (mut network, nodes) = settled(11, 2);
    let before = network.seen[&nodes[0]].frames_sent;
    for message in [
        Message::Prune,
        Message::Graft { id: None, hops: 0 },
        Message::Announce(vec![([1; 32], 0)]),
    ] {
        let input = Input::Received {
            from: key(50),
            message,
            round_trip: Duration::ZERO,
        };
        network.handle(nodes[0], input);
    }
    network.handle(nodes[0], Input::Broadcast(content(0)));
    network.run_ms(1_000);
    assert_eq!(network.seen[&nodes[0]].frames_sent, before + 1);
}
