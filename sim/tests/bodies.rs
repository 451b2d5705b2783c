//! Promises about bodies that come later than their headers (`docs/protocol/streams.md 4.6`). Each
//! prints the seed that broke it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{Operation, Topic};
use p2panda_sim::{NodeId, Sim};

const HOUR: Duration = Duration::from_secs(3_600);

/// Protocol of the nodes of a run.
#[derive(Clone, Copy, Debug)]
enum Speech {
    /// Either protocol, by chance.
    Both,
    /// The first node knows the published protocol only.
    FirstPublished,
    /// All do.
    Published,
}

const SPEECH: [Speech; 3] = [Speech::Both, Speech::FirstPublished, Speech::Published];

fn world(seed: u64, count: usize, speech: Speech) -> (Sim, Topic, Vec<NodeId>) {
    let mut sim = Sim::new(seed);
    let topic = sim.topic();
    let nodes: Vec<NodeId> = (0..count).map(|_| sim.node()).collect();
    for (place, node) in nodes.iter().enumerate() {
        sim.subscribe(*node, topic);
        let published = match speech {
            Speech::Both => false,
            Speech::FirstPublished => place == 0,
            Speech::Published => true,
        };
        if published {
            sim.speak_published(*node);
        }
    }
    (sim, topic, nodes)
}

fn publish(sim: &mut Sim, node: NodeId, topic: Topic, count: usize) {
    for number in 0..count {
        sim.publish(node, topic, &number.to_string());
    }
}

/// Hands the operations of one node to another one, as an import does.
fn give(sim: &mut Sim, from: NodeId, to: NodeId, topic: Topic, bodies: impl Fn(u32) -> bool) {
    for entry in sim.feed(from, topic) {
        let body = bodies(entry.seq).then_some(entry.body);
        let operation = Operation::decode(entry.header, body).unwrap();
        sim.inject(to, topic, operation);
    }
}

fn texts(sim: &Sim, node: NodeId, topic: Topic) -> BTreeSet<String> {
    let texts = sim.texts(node, topic);
    let set: BTreeSet<String> = texts.iter().cloned().collect();
    assert_eq!(set.len(), texts.len(), "seed {}: shown twice", sim.seed());
    set
}

fn assert_shows(sim: &Sim, nodes: &[NodeId], topic: Topic, count: usize, what: &str) {
    let all: BTreeSet<String> = (0..count).map(|number| number.to_string()).collect();
    for node in nodes {
        let shown = texts(sim, *node, topic);
        assert!(
            shown == all,
            "seed {}, {what}: {node:?} shows {} of {count}",
            sim.seed(),
            shown.len()
        );
    }
}

#[test]
fn headers_without_bodies_are_completed_by_their_author() {
    for seed in 0..20 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
            publish(&mut sim, a, topic, 20);
            give(&mut sim, a, b, topic, |_| false);
            sim.connect(b, c, topic);
            sim.settle();
            assert_eq!(sim.status(c, topic).logs, 0, "a header went on alone");
            sim.connect(a, b, topic);
            sim.settle();
            let what = format!("{speech:?}");
            assert_shows(&sim, &nodes, topic, 20, &what);
            assert!(
                sim.sent_operations() <= 60,
                "seed {seed}, {what}: {} operations crossed",
                sim.sent_operations()
            );
            sim.kill(c);
            sim.restart(c);
            assert_shows(&sim, &[c], topic, 20, &what);
        }
    }
}

#[test]
fn a_body_that_is_found_missing_in_live_mode_is_asked_for() {
    for seed in 0..20 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
            sim.connect(b, c, topic);
            sim.connect(b, a, topic);
            sim.settle();
            // Another author, whom only A has.
            let (other, d) = (sim.node(), c);
            sim.subscribe(other, topic);
            publish(&mut sim, other, topic, 20);
            give(&mut sim, other, b, topic, |seq| seq % 3 == 0);
            give(&mut sim, other, a, topic, |_| true);
            sim.run_for(Duration::from_secs(900));
            assert_shows(&sim, &[a, b, d], topic, 20, &format!("{speech:?}"));
        }
    }
}

#[test]
fn withheld_bodies_come_from_another_peer() {
    for seed in 0..20 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 4, speech);
            let [a, thief, b, c] = [nodes[0], nodes[1], nodes[2], nodes[3]];
            publish(&mut sim, a, topic, 30);
            give(&mut sim, a, thief, topic, |_| true);
            sim.withhold(thief, true);
            sim.connect(thief, b, topic);
            sim.connect(b, c, topic);
            sim.settle();
            assert!(texts(&sim, b, topic).is_empty());
            let before = sim.sent_operations();
            sim.connect(a, b, topic);
            sim.run_for(Duration::from_secs(600));
            let what = format!("{speech:?}");
            assert_shows(&sim, &[a, b, c], topic, 30, &what);
            let crossed = sim.sent_operations() - before;
            assert!(crossed <= 150, "seed {seed}, {what}: {crossed} crossed");
        }
    }
}

#[test]
fn bodies_withheld_for_a_while_are_shown_in_the_end() {
    for seed in 0..12 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
            publish(&mut sim, a, topic, 10);
            sim.withhold(a, true);
            sim.connect(a, b, topic);
            sim.connect(b, c, topic);
            sim.run_for(Duration::from_secs(300));
            for number in 10..20 {
                sim.publish(a, topic, &number.to_string());
                sim.run_for(Duration::from_secs(1));
            }
            if sim.chance(2) == 0 {
                sim.kill(b);
                sim.restart(b);
                sim.run_for(Duration::from_secs(60));
            }
            assert!(texts(&sim, c, topic).is_empty(), "seed {seed}");
            sim.withhold(a, false);
            sim.publish(a, topic, "20");
            sim.run_for(4 * HOUR);
            assert_shows(&sim, &nodes, topic, 21, &format!("{speech:?}"));
        }
    }
}

#[test]
fn one_withheld_body_does_not_repeat_the_log() {
    for seed in 0..4 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 2, speech);
            let [a, b] = [nodes[0], nodes[1]];
            publish(&mut sim, a, topic, 100);
            give(&mut sim, a, b, topic, |seq| seq != 1);
            sim.withhold(a, true);
            sim.connect(a, b, topic);
            // Sessions break all the time.
            for _ in 0..200 {
                for link in sim.links(a, b) {
                    sim.cut(link);
                }
                sim.run_for(Duration::from_secs(360));
            }
            let crossed = sim.sent_operations();
            // Once at the start, and again after 1, 2, 4, 8 and 16 hours.
            assert!(crossed <= 600, "seed {seed}, {speech:?}: {crossed} crossed");
        }
    }
}

#[test]
fn a_withheld_snapshot_deletes_nothing_and_prunes_when_it_comes() {
    for seed in 0..12 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
            sim.connect(a, b, topic);
            sim.connect(b, c, topic);
            publish(&mut sim, a, topic, 10);
            sim.settle();
            sim.withhold(a, true);
            let snapshot = Bytes::from_static(b"\x68snapshot");
            sim.publish_body(a, topic, Some(snapshot), true);
            sim.settle();
            for node in [b, c] {
                assert_eq!(sim.texts(node, topic).len(), 10, "seed {seed}, {speech:?}");
            }
            sim.withhold(a, false);
            sim.publish(a, topic, "after");
            sim.run_for(4 * HOUR);
            for node in [a, b, c] {
                let shown = texts(&sim, node, topic);
                let expected = ["snapshot", "after"].map(str::to_owned);
                assert!(
                    shown == BTreeSet::from(expected),
                    "seed {seed}, {speech:?}: {node:?} shows {shown:?}"
                );
            }
        }
    }
}

#[test]
fn a_withheld_snapshot_comes_from_another_peer() {
    for seed in 0..12 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, thief, newcomer] = [nodes[0], nodes[1], nodes[2]];
            publish(&mut sim, a, topic, 5);
            let snapshot = Bytes::from_static(b"\x68snapshot");
            sim.publish_body(a, topic, Some(snapshot), true);
            sim.publish(a, topic, "after");
            sim.connect(a, thief, topic);
            sim.settle();
            sim.disconnect(a, thief, topic);
            sim.settle();
            sim.withhold(thief, true);
            sim.connect(thief, newcomer, topic);
            sim.settle();
            assert!(texts(&sim, newcomer, topic).is_empty());
            sim.connect(a, newcomer, topic);
            sim.settle();
            assert_eq!(
                sim.texts(newcomer, topic),
                ["snapshot", "after"],
                "seed {seed}, {speech:?}"
            );
        }
    }
}

#[test]
fn a_body_dropped_on_purpose_is_not_asked_for() {
    for seed in 0..12 {
        for speech in SPEECH {
            let (mut sim, topic, nodes) = world(seed, 3, speech);
            let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
            publish(&mut sim, a, topic, 5);
            sim.connect(a, b, topic);
            sim.settle();
            let author = sim.key(a);
            sim.drop_body(b, topic, author, 2);
            assert_eq!(sim.texts(b, topic), ["0", "1", "3", "4"]);
            // Those who have only B learn of the rest.
            sim.disconnect(a, b, topic);
            sim.connect(b, c, topic);
            sim.run_for(HOUR);
            assert_eq!(sim.texts(c, topic), ["0", "1", "3", "4"], "seed {seed}");
            assert!(sim.sent_operations() <= 30, "{speech:?}");
            // And who has it completes them, but not the one who dropped it.
            sim.connect(a, c, topic);
            sim.connect(a, b, topic);
            sim.run_for(4 * HOUR);
            assert_eq!(texts(&sim, c, topic).len(), 5, "seed {seed}, {speech:?}");
            assert_eq!(sim.texts(b, topic), ["0", "1", "3", "4"]);
        }
    }
}

#[test]
fn a_body_that_nobody_has_does_not_stop_its_log() {
    for speech in SPEECH {
        let (mut sim, topic, nodes) = world(1, 3, speech);
        let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
        publish(&mut sim, a, topic, 5);
        give(&mut sim, a, b, topic, |seq| seq != 2);
        sim.connect(b, c, topic);
        sim.run_for(23 * HOUR);
        assert_eq!(sim.texts(c, topic), ["0", "1"]);
        for link in sim.links(b, c) {
            sim.cut(link);
        }
        sim.run_for(2 * HOUR);
        for link in sim.links(b, c) {
            sim.cut(link);
        }
        sim.run_for(HOUR);
        assert_eq!(sim.texts(c, topic), ["0", "1", "3", "4"], "{speech:?}");
    }
}
