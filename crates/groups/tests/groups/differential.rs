//! The incremental resolver against the plain one, on random graphs in random orders.

use std::collections::BTreeMap;
use std::ops::Range;

use p2panda_core::Hash;
use p2panda_groups::{Groups, ProcessError, Processed, Rules};

use crate::oracle::Oracle;
use crate::random::{Dice, graph, shuffled};
use crate::replay::{Expected, error_word, process};

const ORDERS: usize = 5;

#[test]
fn hardened_agrees_with_the_plain_resolver_on_random_graphs_1() {
    agree(Rules::Hardened, 0..1250);
}

#[test]
fn hardened_agrees_with_the_plain_resolver_on_random_graphs_2() {
    agree(Rules::Hardened, 1250..2500);
}

#[test]
fn reference_agrees_with_the_plain_resolver_on_random_graphs_1() {
    agree(Rules::Reference, 2500..3750);
}

#[test]
fn reference_agrees_with_the_plain_resolver_on_random_graphs_2() {
    agree(Rules::Reference, 3750..5000);
}

#[test]
fn every_prefix_agrees_with_the_plain_resolver() {
    for seed in 5000..5100 {
        for rules in [Rules::Hardened, Rules::Reference] {
            let mut oracle = Oracle::new(rules == Rules::Hardened);
            let made = graph(seed, 12, &mut oracle);
            let order = shuffled(&made, &mut Dice::new(seed));
            let mut oracle = Oracle::new(rules == Rules::Hardened);
            let mut groups = Groups::new(rules);
            for at in order {
                let operation = &made[at].0;
                let expected = oracle.process(operation);
                assert_eq!(
                    process(&mut groups, operation).map(|_| ()),
                    expected,
                    "seed {seed}"
                );
                let expected = Expected::of(&oracle, Default::default());
                expected.check(&groups, &format!("{rules:?} seed {seed}"));
            }
        }
    }
}

#[test]
fn larger_random_graphs_agree_too() {
    for seed in 6000..6040 {
        agree_on(Rules::Hardened, seed, 40);
        agree_on(Rules::Reference, seed, 40);
    }
}

fn agree(rules: Rules, seeds: Range<u64>) {
    println!("{rules:?}, seeds {seeds:?}");
    for seed in seeds {
        let size = 6 + seed as usize % 12;
        agree_on(rules, seed, size);
    }
}

fn agree_on(rules: Rules, seed: u64, size: usize) {
    let mut oracle = Oracle::new(rules == Rules::Hardened);
    let made = graph(seed, size, &mut oracle);
    let outcomes = made
        .iter()
        .map(|(op, outcome)| (op.id, outcome.clone()))
        .collect();
    let expected = Expected::of(&oracle, outcomes);
    let mut dice = Dice::new(seed ^ 0xabcd);
    for order in 0..ORDERS {
        let what = format!("{rules:?}, seed {seed}, order {order}");
        let mut groups = Groups::new(rules);
        for at in shuffled(&made, &mut dice) {
            let operation = &made[at].0;
            let outcome = process(&mut groups, operation).map(|_| ());
            assert_eq!(
                outcome, expected.outcomes[&operation.id],
                "{} of {what}",
                operation.id
            );
        }
        expected.check(&groups, &what);
    }
}

#[test]
fn the_random_graphs_contain_every_verdict() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..1250 {
        for hardened in [true, false] {
            let mut oracle = Oracle::new(hardened);
            let made = graph(seed, 6 + seed as usize % 12, &mut oracle);
            let resolution = oracle.resolve(&oracle.all());
            let outcomes = made.iter().filter_map(|(_, outcome)| outcome.clone().err());
            let statuses = resolution.statuses.values().cloned();
            for word in outcomes
                .map(|reason| format!("rejected:{reason}"))
                .chain(statuses)
            {
                let word = word.split(':').take(2).collect::<Vec<_>>().join(":");
                *seen.entry(format!("{hardened} {word}")).or_default() += 1;
            }
        }
    }
    println!("{seen:#?}");
    for word in [
        "true applied",
        "true filtered:F1",
        "true filtered:F2",
        "true forced_removal",
        "true no_effect:hardened(Q1)",
        "true no_effect:hardened(Q4)",
        "true no_effect:hardened(Q5)",
        "true no_effect:unrecognised_actor",
        "true no_effect:inactive_actor",
        "true no_effect:group_cycle",
        "true rejected:group_cycle",
        "true rejected:unknown_group",
        "true rejected:manager_groups_not_allowed",
        "false filtered:F1",
        "false filtered:F2",
        "false forced_removal",
        "false no_effect:unrecognised_actor",
        "false rejected:inactive_member",
    ] {
        assert!(
            seen.get(word).is_some_and(|count| *count >= 10),
            "{word} in {seen:#?}"
        );
    }
}

#[test]
fn limits_on_the_work_change_no_result() {
    for seed in 9_000..9_500 {
        let rules = Rules::Hardened;
        let mut oracle = Oracle::new(true);
        let made = graph(seed, 14, &mut oracle);
        let outcomes = made
            .iter()
            .map(|(op, outcome)| (op.id, outcome.clone()))
            .collect();
        let expected = Expected::of(&oracle, outcomes);
        let mut dice = Dice::new(seed);
        let mut groups = Groups::new(rules);
        let mut found: BTreeMap<Hash, Result<(), String>> = BTreeMap::new();
        // Some are put off, and those that build on them wait.
        let mut waiting: Vec<_> = shuffled(&made, &mut dice);
        let mut touched_max = 0;
        while !waiting.is_empty() {
            waiting.retain(|at| {
                let operation = &made[*at].0;
                let outcome = match groups.process_within(operation, dice.below(12) + touched_max) {
                    Ok(Processed::Postponed) => return true,
                    Err(ProcessError::MissingDependency(_)) if touched_max < 60 => return true,
                    outcome => outcome,
                };
                found.insert(operation.id, outcome.map(|_| ()).map_err(error_word));
                false
            });
            touched_max += 10;
        }
        assert_eq!(found, expected.outcomes, "seed {seed}");
        expected.check(&groups, &format!("seed {seed}"));
    }
}
