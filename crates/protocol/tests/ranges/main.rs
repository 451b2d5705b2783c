//! Two nodes find out what they lack of each other, by ranges: always right, within few bytes and
//! round trips, and at a bounded price no matter what the peer says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod cost;
mod hostile;
mod world;

use p2panda_core::LogRange;

use crate::world::{Node, Random, author, head, log, other_log, run};

#[test]
fn both_sides_find_what_the_other_one_lacks() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (mut one, mut two) = world::pair(&mut random);
        let result = run(&mut one, &mut two, seed % 2 == 0);
        assert_eq!(
            result.found,
            [one.lacked_by(&two), two.lacked_by(&one)],
            "{seed}"
        );
        assert_eq!(result.forked, world::forks(&one, &two), "{seed}");
        assert_eq!(result.equal, one.whole() == two.whole(), "{seed}");
    }
}

#[test]
fn after_sending_what_was_found_both_are_equal() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let (mut one, mut two) = world::pair(&mut random);
        let result = run(&mut one, &mut two, false);
        one.take(&result.found[1], &two.clone());
        two.take(&result.found[0], &one.clone());
        for forked in result.forked.iter().flatten() {
            one.heads.set_forked(forked.0, forked.1);
            two.heads.set_forked(forked.0, forked.1);
        }
        assert!(run(&mut one, &mut two, true).equal, "{seed}");
    }
}

#[test]
fn equal_sets_end_after_one_message_each() {
    for eager in [false, true] {
        let logs = || (0..1_000).map(|n| (author(n), log(), head(n as u32, 0)));
        let (mut one, mut two) = (Node::new(1, logs()), Node::new(2, logs()));
        let result = run(&mut one, &mut two, eager);
        assert!(result.equal);
        assert_eq!(result.messages, 2);
        assert!(
            result.bytes <= if eager { 620 } else { 48 },
            "{}",
            result.bytes
        );
    }
}

#[test]
fn the_peer_says_what_it_has_of_our_own_log() {
    let mut one = Node::new(1, []);
    let mut two = Node::new(2, []);
    two.heads.raise(one.id, log(), head(7, 0));
    let result = run(&mut one, &mut two, false);
    assert_eq!(result.own_seq, [Some(7), None]);
    let result = run(&mut two, &mut one, false);
    assert_eq!(result.own_seq, [None, Some(7)]);
}

#[test]
fn evidence_of_a_fork_is_shown_to_those_without_it() {
    let forked = author(3);
    for (height_one, height_two) in [(4, 4), (4, 9), (9, 4)] {
        for turned in [false, true] {
            let all = |seq| (0..100).map(move |n| (author(n), log(), head(seq, 0)));
            let mut one = Node::new(1, all(height_one));
            let mut two = Node::new(2, all(height_two));
            one.heads.set_forked(forked, log());
            let result = if turned {
                let mut result = run(&mut two, &mut one, false);
                result.forked.reverse();
                result
            } else {
                run(&mut one, &mut two, false)
            };
            assert_eq!(result.forked, [vec![(forked, log())], vec![]]);
        }
    }
}

#[test]
fn several_logs_of_one_author_are_told_apart() {
    let all = (0..100).map(|n| (author(1), other_log(n), head(3, 0)));
    let mut one = Node::new(1, all.clone());
    let mut two = Node::new(2, all.skip(1));
    let result = run(&mut one, &mut two, false);
    let lacking = LogRange {
        author: author(1),
        log: other_log(0),
        after: None,
        until: 3,
    };
    assert_eq!(result.found, [vec![lacking], vec![]]);
}

#[test]
fn keys_that_share_many_bits_are_found_all_the_same() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let near = |n: u64| (world::near(n), log(), head(1, 0));
        let mut one = Node::new(1, (0..500).filter(|n| n % 7 != seed % 7).map(near));
        let mut two = Node::new(2, (0..500).filter(|_| random.below(9) > 0).map(near));
        let result = run(&mut one, &mut two, seed % 2 == 0);
        assert_eq!(
            result.found,
            [one.lacked_by(&two), two.lacked_by(&one)],
            "{seed}"
        );
    }
}

#[test]
fn what_changes_meanwhile_breaks_nothing() {
    for seed in 0..50 {
        let mut random = Random::new(seed);
        let (mut one, mut two) = world::pair(&mut random);
        let (lacked_by_two, lacked_by_one) = (one.lacked_by(&two), two.lacked_by(&one));
        let result = world::run_with(&mut one, &mut two, false, |node| {
            for _ in 0..3 {
                let (n, seq) = (random.below(2_000), random.below(20));
                node.heads.raise(author(n), log(), head(seq as u32, 0));
            }
        });
        // All that was lacking at the start is covered, unless it came meanwhile.
        let covered = |lacking: &[LogRange], found: &[LogRange], at: &Node| {
            lacking.iter().all(|range| {
                let has = at.heads.get(&range.author, &range.log);
                let came = has.is_some_and(|head| head.seq >= range.until);
                let same = |one: &LogRange| (one.author, one.log) == (range.author, range.log);
                let found = found.iter().find(|one| same(one));
                came || found.is_some_and(|found| found.until >= range.until)
            })
        };
        assert!(covered(&lacked_by_two, &result.found[0], &two), "{seed}");
        assert!(covered(&lacked_by_one, &result.found[1], &one), "{seed}");
    }
}
