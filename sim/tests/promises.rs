//! Promises that need no sockets. Each prints the seed that broke it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{Draft, Hash, NodeExtensions, Operation, Timestamp, Topic};
use p2panda_sim::{Fault, NodeId, Sim};
use p2panda_store::RejectReason;

/// Header and body of everything a node has delivered, by author and place.
fn content(sim: &Sim, node: NodeId, topic: Topic) -> BTreeMap<(Vec<u8>, u32), (Bytes, Bytes)> {
    let entries = sim.feed(node, topic).into_iter();
    entries
        .map(|entry| {
            (
                (entry.author.as_bytes().to_vec(), entry.seq),
                (entry.header, entry.body),
            )
        })
        .collect()
}

fn assert_converged(sim: &Sim, nodes: &[NodeId], topic: Topic, operations: usize) {
    for node in nodes {
        let found = content(sim, *node, topic);
        assert_eq!(
            found.len(),
            operations,
            "seed {}: {node:?} misses operations",
            sim.seed()
        );
        assert!(
            found == content(sim, nodes[0], topic),
            "seed {}: contents differ",
            sim.seed()
        );
    }
}

fn assert_author_order(sim: &Sim, node: NodeId, topic: Topic) {
    let mut next: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for entry in sim.feed(node, topic) {
        let place = next.entry(entry.author.as_bytes().to_vec()).or_default();
        assert_eq!(
            entry.seq,
            *place,
            "seed {}: {node:?} shows a gap",
            sim.seed()
        );
        *place += 1;
    }
}

fn world(seed: u64, count: usize) -> (Sim, Topic, Vec<NodeId>) {
    let mut sim = Sim::new(seed);
    let topic = sim.topic();
    let nodes: Vec<NodeId> = (0..count).map(|_| sim.node()).collect();
    for node in &nodes {
        sim.subscribe(*node, topic);
    }
    (sim, topic, nodes)
}

#[test]
fn nodes_converge_and_each_operation_crosses_once() {
    for seed in 0..30 {
        let (mut sim, topic, nodes) = world(seed, 2);
        for round in 0..40 {
            let node = nodes[sim.chance(2) as usize];
            sim.publish(node, topic, &format!("before {round}"));
        }
        sim.connect(nodes[0], nodes[1], topic);
        for round in 0..40 {
            let node = nodes[sim.chance(2) as usize];
            sim.publish(node, topic, &format!("during {round}"));
            let pause = sim.chance(50);
            sim.run_for(Duration::from_millis(pause));
        }
        sim.settle();
        assert_converged(&sim, &nodes, topic, 80);
        assert_eq!(
            sim.sent_operations(),
            80,
            "seed {seed}: an operation crossed twice"
        );
        assert_eq!(
            sim.links(nodes[0], nodes[1]).len(),
            1,
            "seed {seed}: one session stays"
        );
    }
}

#[test]
fn five_nodes_in_a_ring_come_to_hold_the_same() {
    for seed in 0..8 {
        let (mut sim, topic, nodes) = world(seed, 5);
        for (place, node) in nodes.iter().enumerate() {
            sim.connect(*node, nodes[(place + 1) % 5], topic);
        }
        for round in 0..60 {
            let node = nodes[sim.chance(5) as usize];
            sim.publish(node, topic, &round.to_string());
            let pause = sim.chance(80);
            sim.run_for(Duration::from_millis(pause));
        }
        sim.settle();
        assert_converged(&sim, &nodes, topic, 60);
        nodes
            .iter()
            .for_each(|node| assert_author_order(&sim, *node, topic));
    }
}

#[test]
fn cut_connections_and_killed_processes_lose_nothing() {
    for seed in 0..20 {
        let (mut sim, topic, nodes) = world(seed, 3);
        sim.connect(nodes[0], nodes[1], topic);
        sim.connect(nodes[1], nodes[2], topic);
        let mut down: Option<NodeId> = None;
        let mut published = 0;
        for round in 0..80 {
            let node = nodes[sim.chance(3) as usize];
            if Some(node) != down {
                sim.publish(node, topic, &round.to_string());
                published += 1;
            }
            match sim.chance(12) {
                0 => {
                    let links = sim.links(nodes[0], nodes[1]);
                    links.into_iter().for_each(|link| sim.cut(link));
                }
                1 if down.is_none() => {
                    down = Some(node);
                    sim.kill(node);
                }
                2 | 3 => {
                    if let Some(node) = down.take() {
                        sim.restart(node);
                    }
                }
                _ => {}
            }
            let pause = sim.chance(400);
            sim.run_for(Duration::from_millis(pause));
        }
        if let Some(node) = down {
            sim.restart(node);
        }
        sim.run_for(Duration::from_secs(900));
        assert_converged(&sim, &nodes, topic, published);
        nodes
            .iter()
            .for_each(|node| assert_author_order(&sim, *node, topic));
    }
}

#[test]
fn a_restarted_node_is_found_by_newcomers_through_others() {
    for seed in 0..10 {
        let (mut sim, topic, nodes) = world(seed, 2);
        let [server, newcomer] = [nodes[0], nodes[1]];
        // It takes no part in the topic, so that it can only report the others.
        let between = sim.node();
        sim.publish(server, topic, "for whoever comes");
        sim.introduce(server, between);
        sim.introduce(newcomer, between);
        sim.kill(server);
        sim.run_for(Duration::from_secs(60));
        assert!(!sim.knows(between, server));
        sim.restart(server);
        assert!(sim.discover(server, between), "seed {seed}");
        assert!(sim.discover(newcomer, between), "seed {seed}");
        assert!(sim.discover(newcomer, server), "seed {seed}");
        sim.settle();
        assert_eq!(sim.texts(newcomer, topic), ["for whoever comes"]);

        // The newcomer has it in its book, also over a restart of both.
        for node in [server, newcomer] {
            sim.kill(node);
            sim.restart(node);
        }
        assert!(sim.discover(newcomer, server), "seed {seed}");
    }
}

#[test]
fn an_answer_that_comes_before_its_question_is_shown_after_it() {
    for seed in 0..20 {
        let (mut sim, topic, nodes) = world(seed, 3);
        let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
        let question = sim.publish(a, topic, "question");
        sim.connect(a, b, topic);
        sim.settle();
        sim.publish(b, topic, "answer");

        // C hears the answer first: B's own log only, by another way than sync.
        let answer = content(&sim, b, topic)[&(sim.key(b).as_bytes().to_vec(), 0)].clone();
        let answer = Operation::decode(answer.0, Some(answer.1)).unwrap();
        assert_eq!(
            answer.header.node_extensions().unwrap().deps[0].id,
            question.id
        );
        sim.inject(c, topic, answer);
        assert_eq!(sim.texts(c, topic), Vec::<String>::new(), "seed {seed}");
        assert_eq!(sim.status(c, topic).waiting, 1);

        sim.connect(c, a, topic);
        sim.run_for(Duration::from_secs(4));
        assert_eq!(sim.texts(c, topic), ["question", "answer"], "seed {seed}");
        assert!(sim.feed(c, topic).iter().all(|entry| entry.missing == 0));
    }
}

#[test]
fn a_dependency_that_never_comes_does_not_stall_the_feed() {
    let (mut sim, topic, nodes) = world(7, 3);
    let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
    sim.publish(a, topic, "question");
    sim.connect(a, b, topic);
    sim.settle();
    sim.publish(b, topic, "answer");
    let answer = content(&sim, b, topic)[&(sim.key(b).as_bytes().to_vec(), 0)].clone();
    sim.inject(
        c,
        topic,
        Operation::decode(answer.0, Some(answer.1)).unwrap(),
    );
    sim.publish(c, topic, "meanwhile");
    assert_eq!(sim.texts(c, topic), ["meanwhile"]);

    sim.run_for(Duration::from_millis(4_900));
    assert_eq!(sim.texts(c, topic), ["meanwhile"]);
    sim.run_for(Duration::from_millis(200));
    assert_eq!(sim.texts(c, topic), ["meanwhile", "answer"]);
    assert_eq!(
        sim.feed(c, topic)[1].missing,
        1,
        "the message says what it misses"
    );

    // Late is better than never, and the answer does not come twice.
    sim.connect(c, a, topic);
    sim.settle();
    assert_eq!(sim.texts(c, topic), ["meanwhile", "answer", "question"]);
}

#[test]
fn what_waits_for_its_order_survives_a_crash() {
    let (mut sim, topic, nodes) = world(8, 3);
    let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
    sim.publish(a, topic, "question");
    sim.connect(a, b, topic);
    sim.settle();
    sim.publish(b, topic, "answer");
    let answer = content(&sim, b, topic)[&(sim.key(b).as_bytes().to_vec(), 0)].clone();
    sim.inject(
        c,
        topic,
        Operation::decode(answer.0, Some(answer.1)).unwrap(),
    );
    sim.kill(c);
    sim.restart(c);
    assert_eq!(sim.status(c, topic).waiting, 1);
    sim.connect(c, a, topic);
    sim.settle();
    assert_eq!(sim.texts(c, topic), ["question", "answer"]);
}

#[test]
fn an_operation_of_another_topic_does_not_harm_the_log() {
    let (mut sim, topic, nodes) = world(9, 2);
    let other = sim.topic();
    sim.subscribe(nodes[0], other);
    sim.publish(nodes[0], other, "for the other topic");
    let (header, body) = content(&sim, nodes[0], other).into_values().next().unwrap();
    sim.inject(
        nodes[1],
        topic,
        Operation::decode(header, Some(body)).unwrap(),
    );
    assert_eq!(
        sim.status(nodes[1], topic).rejected,
        [(RejectReason::WrongTopic, 1)]
    );

    sim.publish(nodes[0], topic, "the real one");
    sim.connect(nodes[0], nodes[1], topic);
    sim.settle();
    assert_eq!(sim.texts(nodes[1], topic), ["the real one"]);
}

#[test]
fn acking_the_third_only_brings_back_the_first_two() {
    let (mut sim, topic, nodes) = world(10, 1);
    let node = nodes[0];
    for text in ["one", "two", "three"] {
        sim.publish(node, topic, text);
    }
    let offsets: Vec<u64> = sim
        .feed(node, topic)
        .iter()
        .map(|entry| entry.offset)
        .collect();
    sim.ack(node, topic, "reader", &[offsets[2]]);
    sim.kill(node);
    sim.restart(node);
    let seqs: Vec<u32> = sim
        .unacked(node, topic, "reader")
        .iter()
        .map(|entry| entry.seq)
        .collect();
    assert_eq!(seqs, [0, 1]);
}

#[test]
fn a_forked_log_keeps_its_first_branch_and_evidence() {
    let (mut sim, topic, nodes) = world(11, 3);
    let [a, b, c] = [nodes[0], nodes[1], nodes[2]];
    let key = sim.signing_key(a);
    let branch = |text: &str, seq: u32, backlink: Option<Hash>| {
        let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
        let body = [&[0x60 + text.len() as u8], text.as_bytes()].concat();
        let draft = Draft {
            seq,
            backlink,
            body: Some(&body),
            extensions: Some(&extensions),
        };
        Operation::create(&key, draft).unwrap()
    };
    let (first, second) = (branch("first", 0, None), branch("second", 0, None));
    sim.inject(b, topic, first.clone());
    sim.inject(b, topic, second.clone());
    assert_eq!(sim.status(b, topic).forks, 1);
    assert_eq!(sim.status(b, topic).rejected, [(RejectReason::Fork, 1)]);
    sim.inject(b, topic, branch("next", 1, Some(first.header.id())));
    assert_eq!(sim.texts(b, topic), ["first", "next"]);
    sim.inject(c, topic, second);
    sim.connect(b, c, topic);
    sim.settle();
    assert_eq!(
        sim.texts(c, topic),
        ["second"],
        "each node stays on the branch it saw first"
    );
}

#[test]
fn a_node_killed_while_deleting_goes_on_with_it() {
    let (mut sim, topic, nodes) = world(13, 3);
    for n in 0..40 {
        sim.publish(nodes[0], topic, &n.to_string());
    }
    sim.connect(nodes[0], nodes[1], topic);
    sim.settle();
    let point = Bytes::from_static(b"\x65point");
    sim.publish_body(nodes[0], topic, Some(point), true);
    sim.disconnect(nodes[0], nodes[1], topic);
    for _ in 0..5 {
        sim.kill(nodes[0]);
        sim.restart(nodes[0]);
        assert_eq!(sim.texts(nodes[0], topic), ["point"]);
        sim.step(Duration::from_secs(60));
    }
    sim.connect(nodes[0], nodes[1], topic);
    sim.connect(nodes[0], nodes[2], topic);
    sim.settle();
    for node in nodes {
        assert_eq!(sim.texts(node, topic), ["point"]);
        assert_eq!(sim.status(node, topic).totals.operations, 1);
    }
}

#[test]
fn a_pruned_log_reaches_a_late_node_from_the_prune_on() {
    let (mut sim, topic, nodes) = world(12, 2);
    for text in ["one", "two"] {
        sim.publish(nodes[0], topic, text);
    }
    let three = Bytes::from_static(b"\x65three");
    sim.publish_body(nodes[0], topic, Some(three), true);
    sim.publish(nodes[0], topic, "four");
    sim.connect(nodes[0], nodes[1], topic);
    sim.settle();
    for node in nodes {
        assert_eq!(sim.texts(node, topic), ["three", "four"]);
    }
}

#[test]
fn a_peer_that_drips_keeps_no_session_open() {
    for seed in 0..10 {
        for fault in [Fault::Silence, Fault::Dripping] {
            let (mut sim, topic, nodes) = world(seed, 3);
            let [honest, other, faulty] = [nodes[0], nodes[1], nodes[2]];
            sim.set_fault(faulty, Some(fault));
            for node in [honest, other] {
                sim.connect(node, faulty, topic);
            }
            sim.connect(honest, other, topic);
            for round in 0..5 {
                for node in &nodes {
                    sim.publish(*node, topic, &round.to_string());
                }
                let open = sim.links(honest, faulty);
                // A primary has 30 s for each of its windows, and a secondary begins after it.
                sim.run_for(Duration::from_secs(100));
                let still_open = sim.links(honest, faulty);
                let stays = open.iter().find(|link| still_open.contains(link));
                assert_eq!(stays, None, "seed {seed}, {fault:?}");
                assert_eq!(sim.texts(honest, topic).len(), 2 * (round + 1));
                assert_eq!(sim.texts(other, topic).len(), 2 * (round + 1));
            }
            sim.set_fault(faulty, None);
            // The longest delay between two attempts, a quarter more, and 2 s.
            sim.run_for(Duration::from_secs(600));
            assert_converged(&sim, &nodes, topic, 15);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let (mut sim, topic, nodes) = world(seed, 3);
        sim.connect(nodes[0], nodes[1], topic);
        sim.connect(nodes[1], nodes[2], topic);
        for round in 0..30 {
            let node = nodes[sim.chance(3) as usize];
            sim.publish(node, topic, &round.to_string());
            let pause = sim.chance(100);
            sim.run_for(Duration::from_millis(pause));
        }
        sim.settle();
        (sim.texts(nodes[2], topic), sim.sent_operations())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}
