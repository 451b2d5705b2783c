//! Promises about acknowledgements that nobody waits for.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Duration;

use p2panda_sim::Sim;

const APP: &str = "app";

#[test]
fn acks_that_a_crash_took_come_again() {
    for seed in 0..10 {
        let mut sim = Sim::new(seed);
        let topic = sim.topic();
        let node = sim.node();
        sim.subscribe(node, topic);
        for number in 0..20 {
            sim.publish(node, topic, &number.to_string());
        }
        let offsets: Vec<u64> = sim.feed(node, topic).iter().map(|one| one.offset).collect();
        // A reader that handles one message every now and then, until the process dies.
        let handled = 1 + sim.chance(19) as usize;
        for offset in &offsets[..handled] {
            sim.ack_soon(node, topic, APP, *offset);
            let pause = Duration::from_micros(sim.chance(1_000));
            sim.run_for(pause);
        }
        sim.kill(node);
        sim.restart(node);
        let again = sim.unacked(node, topic, APP);
        let first = offsets.len() - again.len();
        // In order, and nothing that was not handled is left out.
        assert!(first <= handled, "seed {seed}");
        let again: Vec<u64> = again.iter().map(|one| one.offset).collect();
        assert_eq!(again, offsets[first..], "seed {seed}");

        for offset in again {
            sim.ack_soon(node, topic, APP, offset);
        }
        sim.run_for(Duration::from_secs(1));
        sim.kill(node);
        sim.restart(node);
        assert_eq!(sim.unacked(node, topic, APP), [], "seed {seed}");
    }
}
