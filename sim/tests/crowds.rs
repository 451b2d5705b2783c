//! Two hundred nodes on a topic: all come to hold everything with few sessions and little change,
//! no matter what strangers among them do.

use std::time::Duration;

use p2panda_sim::Crowd;

const NODES: usize = 200;
const SEEDS: std::ops::Range<u64> = 0..2;

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn mean(counts: &[usize]) -> f64 {
    counts.iter().sum::<usize>() as f64 / counts.len() as f64
}

/// Every tenth node publishes.
fn publish(crowd: &mut Crowd, honest: usize) {
    for number in (0..honest).step_by(10) {
        crowd.publish(number);
    }
}

fn check_bounds(crowd: &Crowd, seed: u64) {
    let sessions = crowd.session_counts();
    assert!(mean(&sessions) <= 16.0, "seed {seed}: {sessions:?}");
    assert!(
        sessions.iter().max() <= Some(&40),
        "seed {seed}: {sessions:?}"
    );
}

#[test]
fn two_hundred_nodes_settle_and_hold_everything() {
    for seed in SEEDS {
        let mut crowd = Crowd::new(seed, NODES, 0);
        publish(&mut crowd, NODES);
        crowd.run_for(minutes(2));
        assert_eq!(crowd.missing(), 0, "seed {seed}");
        let changes = crowd.changes();
        assert!(mean(&changes) <= 10.0, "seed {seed}: {changes:?}");
        check_bounds(&crowd, seed);
        // At rest nothing changes any more.
        crowd.run_for(minutes(10));
        assert_eq!(crowd.changes(), changes, "seed {seed}");
    }
}

#[test]
fn nodes_that_come_and_go_hold_everything_in_the_end() {
    for seed in SEEDS {
        let mut crowd = Crowd::new(seed, NODES, 0);
        for round in 0..20 {
            crowd.publish(round * 10);
            for turn in 0..5 {
                let gone = (round * 37 + turn * 41) % NODES;
                crowd.restart_after(gone, Duration::from_secs(5 + 7 * turn as u64));
            }
            crowd.run_for(Duration::from_secs(10));
        }
        crowd.run_for(minutes(5));
        assert_eq!(crowd.missing(), 0, "seed {seed}");
        check_bounds(&crowd, seed);
    }
}

#[test]
fn honest_nodes_hold_everything_among_sixty_strangers() {
    for seed in SEEDS {
        let honest = NODES - 60;
        let mut crowd = Crowd::new(seed, honest, 60);
        publish(&mut crowd, honest);
        crowd.run_for(minutes(5));
        publish(&mut crowd, honest);
        crowd.run_for(minutes(1));
        assert_eq!(crowd.missing(), 0, "seed {seed}");
    }
}

#[test]
fn strangers_in_every_view_make_nobody_miss_anything() {
    for seed in SEEDS {
        let honest = NODES - 60;
        let mut crowd = Crowd::new(seed, honest, 60);
        crowd.serve_neighbours(8);
        publish(&mut crowd, honest);
        crowd.run_for(minutes(5));
        assert_eq!(crowd.missing(), 0, "seed {seed}");
        assert!(crowd.most_neighbours() <= 8, "seed {seed}");
    }
}
