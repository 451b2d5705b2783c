//! The cost of finding differences.

use p2panda_core::limits::RANGES_FRAME_BYTES_MAX;

use crate::world::{Exchange, Node, Random, author, head, log, run};

/// `logs` logs on both sides, of which each side lacks half of `missing`, and as many entries of
/// others.
fn missing(logs: u64, missing: u64, seed: u64) -> (Node, Node) {
    let mut random = Random::new(seed);
    let all = (0..logs).map(|n| (author(n), log(), head(3, 0)));
    let both: Vec<_> = all.collect();
    let (mut one, mut two) = (Node::new(1, both.iter().copied()), Node::new(2, both));
    for n in 0..missing {
        let node = if n % 2 == 0 { &mut one } else { &mut two };
        let (author, head) = match n % 4 {
            0 | 1 => (author(logs + n), head(0, 0)),
            _ => (author(random.below(logs)), head(4, 0)),
        };
        node.heads.raise(author, log(), head);
    }
    (one, two)
}

fn exchange(logs: u64, differences: u64, eager: bool) -> Exchange {
    let (mut one, mut two) = missing(logs, differences, logs + differences);
    let result = run(&mut one, &mut two, eager);
    assert_eq!(result.found, [one.lacked_by(&two), two.lacked_by(&one)]);
    println!(
        "{logs} logs, {differences} differ, eager {eager}: {} bytes, {} half round trips, \
         {} messages, {} bytes held",
        result.bytes, result.ways, result.messages, result.held_bytes_max
    );
    result
}

#[test]
fn ten_of_fifty_thousand_take_twelve_kilobytes() {
    for eager in [false, true] {
        let result = exchange(50_000, 10, eager);
        assert!(result.bytes <= 12_000, "{}", result.bytes);
        assert!(result.ways <= if eager { 6 } else { 7 }, "{}", result.ways);
    }
}

#[test]
fn ten_of_a_hundred_and_sixty_thousand_take_fifteen_kilobytes() {
    for eager in [false, true] {
        let result = exchange(160_000, 10, eager);
        assert!(result.bytes <= 15_000, "{}", result.bytes);
        assert!(result.ways <= if eager { 6 } else { 7 }, "{}", result.ways);
    }
}

#[test]
fn many_differences_cost_a_fixed_number_of_bytes_each() {
    for (logs, differences) in [(1_000, 10), (1_000, 100), (20_000, 1_000), (20_000, 10_000)] {
        let result = exchange(logs, differences, false);
        let bytes_max = 2_000 + 1_200 * differences as usize;
        assert!(result.bytes <= bytes_max, "{}", result.bytes);
        assert!(result.frame_bytes_max <= RANGES_FRAME_BYTES_MAX);
    }
}

#[test]
fn a_node_with_nothing_costs_next_to_nothing() {
    for turned in [false, true] {
        let all = (0..20_000).map(|n| (author(n), log(), head(3, 0)));
        let (mut one, mut two) = (Node::new(1, all), Node::new(2, []));
        let result = if turned {
            run(&mut two, &mut one, false)
        } else {
            run(&mut one, &mut two, false)
        };
        assert_eq!(result.found[usize::from(turned)].len(), 20_000);
        assert!(result.bytes <= 1_500, "{}", result.bytes);
    }
}

#[test]
fn a_peer_with_many_more_logs_is_not_taken_for_a_hostile_one() {
    for turned in [false, true] {
        let all = |from: u64, to: u64| (from..to).map(|n| (author(n), log(), head(3, 0)));
        let mut few = Node::new(1, all(0, 3_000));
        let mut many = Node::new(2, all(10_000, 130_000));
        let result = if turned {
            run(&mut many, &mut few, false)
        } else {
            run(&mut few, &mut many, false)
        };
        let found = result.found.iter().map(Vec::len).sum::<usize>();
        assert_eq!(found, 123_000);
        println!(
            "3000 and 120000 other ones: {} bytes, {} half round trips",
            result.bytes, result.ways
        );
    }
}

#[test]
fn sets_without_overlap_cost_little_more_than_lists() {
    for (ones, twos) in [(20_000, 20_000), (20_000, 1_000), (1_000, 20_000)] {
        let all = |from: u64, to: u64| (from..to).map(|n| (author(n), log(), head(3, 0)));
        let (mut one, mut two) = (
            Node::new(1, all(0, ones)),
            Node::new(2, all(100_000, 100_000 + twos)),
        );
        let result = run(&mut one, &mut two, false);
        assert_eq!(
            result.found[0].len() + result.found[1].len(),
            (ones + twos) as usize
        );
        println!(
            "{ones} and {twos} other ones: {} bytes, {} half round trips, {} bytes held",
            result.bytes, result.ways, result.held_bytes_max
        );
        assert!(
            result.bytes <= 200 * ones.min(twos) as usize + 60_000,
            "{}",
            result.bytes
        );
    }
}
