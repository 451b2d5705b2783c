//! The bars of `docs/protocol/groups.md#14`: prints what each costs, and fails above the bar.
//!
//! `cargo bench -p p2panda-groups`. The time is the best of several runs, because what else runs
//! on the machine only adds to it. The duel is not among the bars of the page; it shows what
//! two hostile managers cost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, GroupId, Groups, Member, Operation, Rules};

const RUNS: usize = 5;

/// A bar: what is timed, how many milliseconds it may take, and how it is done.
type Bar = (&'static str, u64, fn(Rules) -> Duration);

const BARS: [Bar; 10] = [
    ("10 000 adds in a row", 1_000, |rules| adds(rules, ADDS)),
    ("1 000 adds in a row", 1_000, |rules| adds(rules, 1_000)),
    ("a stale removal after 2 000 operations", 20, |rules| {
        stale(rules, 2_000)
    }),
    ("a stale removal after 500 operations", 20, |rules| {
        stale(rules, 500)
    }),
    ("two branches of 200 operations", 100, |rules| {
        branches(rules, 200, Access::Read)
    }),
    ("two branches of 100 operations", 100, |rules| {
        branches(rules, 100, Access::Read)
    }),
    ("two branches of 200 delegations", 100, |rules| {
        branches(rules, 200, Access::Manage)
    }),
    ("members of a group of 10 000", 5, members),
    ("a duel of twice 500 operations", 2_000, |rules| {
        duel(rules, 500)
    }),
    ("20 000 operations opened and asked", 20, opened),
];

/// All bars, or those whose name contains an argument.
fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|part| name.contains(part));
    let mut all_held = true;
    for rules in [Rules::Hardened, Rules::Reference] {
        println!("{rules:?}");
        for (name, bar_ms, run) in BARS.into_iter().filter(|(name, ..)| is_wanted(name)) {
            let time = run(rules);
            let held = time < Duration::from_millis(bar_ms);
            all_held &= held;
            let verdict = if held { "holds" } else { "EXCEEDED" };
            println!("  {name:<42} {time:>12.2?}  bar {bar_ms} ms {verdict}");
        }
    }
    let bytes = operations(ADDS)
        .iter()
        .map(|operation| operation.encode().len())
        .max();
    let bytes = bytes.unwrap();
    all_held &= bytes < 1024;
    println!("bytes to store per operation: {bytes}, bar 1024");
    if all_held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Adds to a group of two, up to the most members that there can be.
const ADDS: u64 = 9_998;

fn adds(rules: Rules, count: u64) -> Duration {
    let operations = operations(count);
    best(|| {
        let (mut groups, operations) = (Groups::new(rules), operations.clone());
        let start = Instant::now();
        take(&mut groups, operations);
        start.elapsed()
    })
}

fn stale(rules: Rules, count: u64) -> Duration {
    let mut operations = operations(count);
    let back = operation(1, count + 1, &[0], Action::Remove { member: person(0) });
    operations[1].arguments.action = Action::Remove { member: person(1) };
    best(|| {
        let mut groups = Groups::new(rules);
        take(&mut groups, operations.clone());
        let start = Instant::now();
        take(&mut groups, vec![back.clone()]);
        let time = start.elapsed();
        assert!(groups.now().direct_members(&group()).is_empty());
        time
    })
}

fn branches(rules: Rules, length: u64, access: Access) -> Duration {
    let mut operations = vec![create()];
    for n in 1..=2 * length {
        let before = n.saturating_sub(2);
        let action = Action::Add {
            member: person(n + 10),
            access,
        };
        operations.push(operation(n % 2, n, &[before], action));
    }
    best(|| {
        let (mut groups, operations) = (Groups::new(rules), operations.clone());
        let start = Instant::now();
        take(&mut groups, operations);
        start.elapsed()
    })
}

/// Two who remove and add each other again and again, each unseen by the other.
fn duel(rules: Rules, length: u64) -> Duration {
    let mut operations = vec![create()];
    for n in 1..=2 * length {
        let member = person((n + 1) % 2);
        let action = match (n - 1) / 2 % 2 {
            0 => Action::Remove { member },
            _ => Action::Add {
                member,
                access: Access::Manage,
            },
        };
        operations.push(operation(n % 2, n, &[n.saturating_sub(2)], action));
    }
    best(|| {
        let (mut groups, operations) = (Groups::new(rules), operations.clone());
        let start = Instant::now();
        take(&mut groups, operations);
        let time = start.elapsed();
        assert!(groups.now().direct_members(&group()).is_empty());
        time
    })
}

fn members(rules: Rules) -> Duration {
    let mut groups = Groups::new(rules);
    take(&mut groups, operations(ADDS));
    best(|| {
        let start = Instant::now();
        let members = groups.now().members(&group());
        let time = start.elapsed();
        assert_eq!(members.len(), 10_000);
        time
    })
}

/// Ten groups, loaded from their rows, and the members of the last one.
fn opened(rules: Rules) -> Duration {
    let mut groups = Groups::new(rules);
    for number in 0..10 {
        let mut operations = operations(1_999);
        for (n, operation) in (number * 2_000..).zip(&mut operations) {
            operation.arguments.group = key(u64::MAX - number).into();
            operation.id = id(n);
            if let Some(before) = operation.arguments.dependencies.first_mut() {
                *before = id(n - 1);
            }
        }
        take(&mut groups, operations);
    }
    let rows = groups.changes().into_iter();
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = rows.map(|row| (row.key, row.value.unwrap())).collect();
    best(|| {
        let start = Instant::now();
        let groups = Groups::load(rules, &rows).unwrap();
        let members = groups.now().members(&key(u64::MAX - 9).into());
        let time = start.elapsed();
        assert_eq!((groups.len(), members.len()), (20_000, 2_001));
        time
    })
}

/// The best of several runs.
fn best(run: impl Fn() -> Duration) -> Duration {
    (0..RUNS).map(|_| run()).min().unwrap()
}

fn take(groups: &mut Groups, operations: Vec<Operation>) {
    for operation in operations {
        groups.process(&operation).unwrap();
    }
}

/// A create, and adds of as many members, each after the one before.
fn operations(count: u64) -> Vec<Operation> {
    let add = |n| Action::Add {
        member: person(n + 10),
        access: Access::Read,
    };
    let adds = (1..=count).map(|n| operation(0, n, &[n - 1], add(n)));
    std::iter::once(create()).chain(adds).collect()
}

fn create() -> Operation {
    let initial_members = (0..2).map(|n| (person(n), Access::Manage)).collect();
    operation(0, 0, &[], Action::Create { initial_members })
}

fn operation(author: u64, n: u64, dependencies: &[u64], action: Action) -> Operation {
    let dependencies = dependencies.iter().map(|n| id(*n)).collect();
    let arguments = Arguments {
        group: group(),
        dependencies,
        action,
        nonce: None,
    };
    Operation {
        id: id(n),
        author: key(author),
        arguments,
    }
}

fn group() -> GroupId {
    key(u64::MAX).into()
}

fn person(n: u64) -> Member {
    Member::Individual(key(n))
}

/// Spread like real keys.
fn key(n: u64) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(*Hash::digest_parts(&[b"key", &n.to_be_bytes()]).as_bytes())
}

fn id(n: u64) -> Hash {
    Hash::digest(&n.to_be_bytes())
}
