//! The neighbours of nodes.

use std::time::Duration;

use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::gossip::{Input, Message, Priority};

use crate::network::{Network, key};

fn changes(network: &Network) -> usize {
    network.seen.values().map(|seen| seen.changes).sum()
}

#[test]
fn sixteen_nodes_are_together_within_two_seconds() {
    for seed in 0..20 {
        let mut network = Network::new(seed, limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT);
        let nodes: Vec<VerifyingKey> = (0..16).map(key).collect();
        for node in &nodes {
            network.add(*node, &nodes);
        }
        network.run_ms(2_000);
        assert!(network.is_connected(), "seed {seed}");
        network.run_ms(600_000);
        assert!(network.is_connected(), "seed {seed}");
        let changes = changes(&network);
        assert!(changes <= 16 * 10, "seed {seed}: {changes} changes");
    }
}

#[test]
fn nodes_that_know_one_only_find_the_others_and_then_rest() {
    for seed in 0..5 {
        let mut network = Network::new(seed, limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT);
        let nodes: Vec<VerifyingKey> = (0..40).map(key).collect();
        for node in &nodes {
            network.add(*node, &nodes[..1]);
        }
        network.run_ms(30_000);
        assert!(network.is_connected(), "seed {seed}");
        // The one in the middle serves all of them.
        assert_eq!(network.member(&nodes[0]).neighbours().count(), 39);
        let before = changes(&network);
        network.run_ms(3_600_000);
        assert!(changes(&network) <= before + 40, "seed {seed}");
    }
}

#[test]
fn two_nodes_alone_are_silent() {
    let mut network = Network::new(1, 8);
    network.add(key(0), &[key(1)]);
    network.add(key(1), &[key(0)]);
    network.run_ms(10_000);
    let sent = |network: &Network| network.seen[&key(0)].frames_sent;
    let before = sent(&network);
    network.run_ms(3_600_000);
    assert_eq!(sent(&network), before);
}

#[test]
fn two_hundred_nodes_stay_together_despite_churn() {
    for seed in 0..3 {
        let mut network = Network::new(seed, 64);
        let mut nodes: Vec<VerifyingKey> = (0..200).map(key).collect();
        for (number, node) in nodes.iter().enumerate() {
            // Each knows a few that were there before it, and the first.
            let from = number.saturating_sub(8);
            let mut known = nodes[from..number].to_vec();
            known.push(nodes[0]);
            network.add(*node, &known);
        }
        network.run_ms(10_000);
        for round in 0..60 {
            let place = network.draws.between(1, nodes.len() as u64 - 1) as usize;
            network.kill(nodes.swap_remove(place));
            let newcomer = key(1_000 + round);
            let known = [nodes[0], nodes[nodes.len() / 2]];
            network.add(newcomer, &known);
            nodes.push(newcomer);
            network.run_ms(500);
        }
        network.run_ms(20_000);
        assert!(network.is_connected(), "seed {seed}");
    }
}

#[test]
fn strangers_take_no_place_of_the_proven() {
    let mut network = Network::new(2, 8);
    let nodes: Vec<VerifyingKey> = (0..4).map(key).collect();
    for node in &nodes {
        network.add(*node, &nodes);
    }
    network.run_ms(5_000);
    let honest: Vec<VerifyingKey> = network.member(&nodes[0]).neighbours().copied().collect();
    assert!(!honest.is_empty());
    for peer in &honest {
        network.handle(nodes[0], Input::Keep(*peer));
    }
    for stranger in 100..600 {
        let input = Input::Received {
            from: key(stranger),
            message: Message::Join(None),
            round_trip: Duration::ZERO,
        };
        network.handle(nodes[0], input);
    }
    let now: Vec<VerifyingKey> = network.member(&nodes[0]).neighbours().copied().collect();
    assert_eq!(now.len(), 8);
    assert!(honest.iter().all(|peer| now.contains(peer)));
}

#[test]
fn a_neighbour_that_joins_again_is_answered() {
    let mut network = Network::new(3, 8);
    let (one, other) = (key(0), key(1));
    network.add(one, &[]);
    network.add(other, &[one]);
    network.run_ms(1_000);
    // A new process of the same node, before the loss of the old one was noticed.
    network.add(other, &[one]);
    network.run_ms(1_000);
    assert!(network.is_connected());
    assert_eq!(network.member(&other).neighbours().count(), 1);
}

#[test]
fn a_full_node_refuses_those_with_other_neighbours() {
    let mut network = Network::new(4, 1);
    let (one, other) = (key(0), key(1));
    network.add(one, &[]);
    network.add(other, &[one]);
    network.run_ms(1_000);
    let before = network.seen[&one].frames_sent;
    let input = Input::Received {
        from: key(2),
        message: Message::Neighbour {
            priority: Priority::Low,
            addresses: None,
        },
        round_trip: Duration::ZERO,
    };
    network.handle(one, input);
    assert!(!network.member(&one).needs(&key(2)));
    // Some nodes to ask instead, and the refusal.
    assert_eq!(network.seen[&one].frames_sent, before + 2);
}
