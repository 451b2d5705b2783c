//! Disks that are busy, full or slow now and then. Each test prints the seed that broke it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use p2panda_engine::PublishError;
use p2panda_sim::{Disk, NodeId, Sim};

fn any_disk(sim: &mut Sim) -> Disk {
    match sim.chance(4) {
        0 => Disk::Busy,
        1 => Disk::Full,
        2 => Disk::Slow(Duration::from_millis(sim.chance(2_000))),
        _ => Disk::Sound,
    }
}

#[test]
fn what_was_confirmed_is_everywhere_in_the_end() {
    let (mut refused_in_all, mut confirmed_in_all) = (0, 0);
    for seed in 0..20 {
        let mut sim = Sim::new(seed);
        let topic = sim.topic();
        let nodes: Vec<NodeId> = (0..3).map(|_| sim.node()).collect();
        for node in &nodes {
            sim.subscribe(*node, topic);
        }
        for (one, other) in [(0, 1), (1, 2), (2, 0)] {
            sim.connect(nodes[one], nodes[other], topic);
        }
        let mut answers = Vec::new();
        for round in 0..60 {
            let at = nodes[sim.chance(3) as usize];
            let disk = any_disk(&mut sim);
            sim.set_disk(at, disk);
            let by = nodes[sim.chance(3) as usize];
            let text = format!("{round}");
            answers.push((sim.publish_later(by, topic, &text), text));
            let pause = Duration::from_millis(sim.chance(3_000));
            sim.run_for(pause);
        }
        for node in &nodes {
            sim.set_disk(*node, Disk::Sound);
        }
        sim.settle();
        let mut confirmed = BTreeSet::new();
        for (answer, text) in answers {
            match answer.try_recv().expect("an answer") {
                Ok(_) => drop(confirmed.insert(text)),
                Err(PublishError::Storage(_)) => refused_in_all += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        confirmed_in_all += confirmed.len();
        for node in &nodes {
            let texts = sim.texts(*node, topic);
            let found: BTreeSet<String> = texts.iter().cloned().collect();
            assert_eq!(found, confirmed, "seed {seed}, {node:?}");
            assert_eq!(texts.len(), found.len(), "seed {seed}, {node:?}: twice");
        }
    }
    assert!(refused_in_all > 10 && confirmed_in_all > 100);
}

#[test]
fn a_peer_with_a_full_disk_takes_all_once_there_is_room() {
    for seed in 0..5 {
        let mut sim = Sim::new(seed);
        let topic = sim.topic();
        let [a, b] = [sim.node(), sim.node()];
        sim.subscribe(a, topic);
        sim.subscribe(b, topic);
        sim.connect(a, b, topic);
        sim.settle();
        sim.set_disk(b, Disk::Full);
        for number in 0..50 {
            sim.publish(a, topic, &number.to_string());
        }
        sim.run_for(Duration::from_secs(600));
        assert_eq!(sim.texts(b, topic), [""; 0], "seed {seed}");
        sim.set_disk(b, Disk::Sound);
        sim.settle();
        assert_eq!(sim.texts(b, topic).len(), 50, "seed {seed}");
    }
}
