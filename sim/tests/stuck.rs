//! Peers whose sessions stay in catch-up. Each test prints the seed that broke it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{Draft, NodeExtensions, Operation, SigningKey, Timestamp, Topic};
use p2panda_sim::{NodeId, Sim, Stuck};

fn world(seed: u64, count: usize) -> (Sim, Topic, Vec<NodeId>) {
    let mut sim = Sim::new(seed);
    let topic = sim.topic();
    let nodes: Vec<NodeId> = (0..count).map(|_| sim.node()).collect();
    for node in &nodes {
        sim.subscribe(*node, topic);
    }
    (sim, topic, nodes)
}

/// An operation that names one which nobody has.
fn orphan(key: &SigningKey, topic: Topic, nobody: &SigningKey) -> Operation {
    let missing = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1));
    let missing = create(nobody, &missing, None);
    let dependency = p2panda_core::Dependency {
        log: None,
        author: nobody.verifying_key(),
        seq: 0,
        id: missing.header.id(),
    };
    let extensions = NodeExtensions {
        deps: vec![dependency],
        name: None,
        ..NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1))
    };
    create(key, &extensions, None)
}

fn create(key: &SigningKey, extensions: &NodeExtensions, head: Option<Head>) -> Operation {
    let draft = Draft {
        seq: head.map_or(0, |head| head.seq + 1),
        backlink: head.map(|head| head.id),
        body: Some(&Bytes::from_static(b"\x66hidden")),
        extensions: Some(&extensions.encode()),
    };
    Operation::create(key, draft).unwrap()
}

#[test]
fn liars_delay_publishes_by_ten_seconds_in_all() {
    for seed in 0..20 {
        let (mut sim, topic, nodes) = world(seed, 2);
        let mut delayed_ms = 0;
        let mut liars: Vec<Stuck> = Vec::new();
        let mut published = 0;
        for round in 0..60 {
            let liar = sim.stuck(nodes[0], topic);
            let claimed = published + 1 + sim.chance(1_000) as u32;
            sim.claim(&liar, claimed);
            liars.push(liar);
            let answer = sim.publish_later(nodes[0], topic, &round.to_string());
            loop {
                if let Ok(answer) = answer.try_recv() {
                    assert_eq!(answer.unwrap().seq, published, "seed {seed}");
                    break;
                }
                sim.run_for(Duration::from_millis(10));
                delayed_ms += 10;
                if sim.chance(40) == 0 {
                    let place = sim.chance(liars.len() as u64) as usize;
                    let liar = liars.swap_remove(place);
                    sim.end_stuck(liar);
                }
                if liars.is_empty() {
                    let liar = sim.stuck(nodes[0], topic);
                    liars.push(liar);
                }
            }
            published += 1;
            let pause = sim.chance(500);
            sim.run_for(Duration::from_millis(pause));
        }
        assert!(delayed_ms <= 11_000, "seed {seed}: {delayed_ms} ms");

        // A copy of the node continues with its log elsewhere.
        sim.connect(nodes[0], nodes[1], topic);
        sim.settle();
        sim.disconnect(nodes[0], nodes[1], topic);
        sim.settle();
        let last = sim.feed(nodes[1], topic).pop().unwrap();
        let header = p2panda_core::Header::decode_unverified(last.header).unwrap();
        let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1));
        let copy = create(
            &sim.signing_key(nodes[0]),
            &extensions,
            Some(Head::of(&header)),
        );
        sim.inject(nodes[1], topic, copy);
        sim.connect(nodes[0], nodes[1], topic);
        sim.settle();
        let answer = sim.publish_later(nodes[0], topic, "after the copy");
        sim.settle();
        let after = answer.try_recv().unwrap().unwrap();
        assert_eq!(after.seq, published + 1, "seed {seed}: the log is forked");
        assert_eq!(sim.status(nodes[0], topic).forks, 0, "seed {seed}");
    }
}

#[test]
fn a_dripping_session_hides_a_message_for_30_s_at_most() {
    for seed in 0..20 {
        let (mut sim, topic, nodes) = world(seed, 3);
        sim.connect(nodes[0], nodes[1], topic);
        sim.connect(nodes[0], nodes[2], topic);
        sim.settle();
        let mut drips = sim.stuck(nodes[0], topic);
        let nobody = SigningKey::from_bytes(sim.topic().as_bytes());
        let operation = orphan(&sim.signing_key(nodes[1]), topic, &nobody);
        sim.inject(nodes[1], topic, operation);
        sim.run_for(Duration::from_secs(2));
        sim.publish(nodes[1], topic, "behind it");
        let start = sim.elapsed();
        while !sim.texts(nodes[0], topic).contains(&"behind it".to_owned()) {
            // Below 64 bytes a second.
            sim.drip(&mut drips);
            let pause = 4_000 + sim.chance(1_000);
            sim.run_for(Duration::from_millis(pause));
            let waited = sim.elapsed() - start;
            assert!(waited < Duration::from_secs(40), "seed {seed}: {waited:?}");
        }
        // Nor does the rest of the world notice.
        sim.publish(nodes[2], topic, "hello");
        sim.run_for(Duration::from_secs(10));
        assert!(sim.texts(nodes[1], topic).contains(&"hello".to_owned()));
    }
}

#[test]
fn after_a_flood_a_newcomer_gets_long_known_authors_first() {
    for seed in 0..4 {
        let (mut sim, topic, nodes) = world(seed, 4);
        sim.connect(nodes[0], nodes[1], topic);
        sim.connect(nodes[0], nodes[2], topic);
        for round in 0..30 {
            let node = nodes[sim.chance(3) as usize];
            sim.publish(node, topic, &round.to_string());
            let pause = sim.chance(300);
            sim.run_for(Duration::from_millis(pause));
        }
        sim.settle();
        let flood = sim.stuck(nodes[0], topic);
        for _ in 0..5 {
            sim.flood(&flood, 100);
        }
        sim.settle();
        sim.connect(nodes[0], nodes[3], topic);
        let mut first = Vec::new();
        while first.len() < 30 {
            sim.run_for(Duration::from_millis(1));
            first = sim.texts(nodes[3], topic);
        }
        let spam = first[..30].iter().filter(|text| *text == "spam").count();
        assert_eq!(spam, 0, "seed {seed}");
        sim.settle();
        for node in &nodes {
            assert_eq!(sim.texts(*node, topic).len(), 530, "seed {seed}: {node:?}");
        }
    }
}
