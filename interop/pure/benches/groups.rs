//! What group operations cost, next to the published crate in the same run.
//!
//! `cargo bench --ignore-rust-version --bench groups`, in `interop/pure`. Prints the bars of
//! `docs/protocol/groups.md#14` and fails above one. Times are of the processor, the best of some
//! runs, because what else runs on the machine only adds to it; runs of both sides alternate. The
//! published crate gets only sizes that it finishes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::alloc::System;
use std::process::ExitCode;
use std::time::Duration;

use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, GroupId, Groups, Member, Operation, Rules};
use p2panda_interop_pure::clock::{Cost, timed};
use p2panda_interop_pure::groups::{Answer, Crdt, State, to_published};
use published_auth::GroupsOperation;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RUNS: usize = 5;
const KIB: usize = 1024;

fn main() -> ExitCode {
    let mut table = Table { all_held: true };
    println!(
        "{:<40} {:>11} {:>11} {:>11} {:>8}  bar",
        "", "ours", "on the wall", "0.7.1", "times"
    );
    for rules in [Rules::Reference, Rules::Hardened] {
        println!("{rules:?} rules");
        beside(&mut table, rules);
        alone(&mut table, rules);
    }
    sizes(&mut table);
    match table.all_held {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What both sides finish. The best times hold for the same operations and the same members.
fn beside(table: &mut Table, rules: Rules) {
    let mut stale = adds(500);
    stale[1].arguments.action = Action::Remove { member: person(1) };
    let back = operation(1, 501, &[0], Action::Remove { member: person(0) });
    let workloads = [
        ("1 000 adds in a row", adds(1_000), None, 1_000),
        ("two branches of 100", branches(100), None, 100),
        ("a stale removal after 500", stale, Some(back), 20),
    ];
    for (name, operations, last, bar_ms) in workloads {
        let (ours, theirs) = compare(rules, &operations, last.as_ref());
        table.time(name, ours, Some(theirs), bar_ms);
    }
}

/// The best of both on these operations, or on the last one alone.
fn compare(rules: Rules, operations: &[Operation], last: Option<&Operation>) -> (Cost, Cost) {
    let published: Vec<_> = operations.iter().map(to_published).collect();
    let published_last = last.map(to_published);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // The published crate needs seconds for each run.
    for run in 0..3 {
        let mut groups = Groups::new(rules);
        let (all, _) = timed(|| take(&mut groups, operations));
        let (one, _) = timed(|| last.map(|last| take(&mut groups, std::slice::from_ref(last))));
        ours.push(if last.is_some() { one } else { all });
        if run > 0 {
            continue;
        }
        let (all, state) = timed(|| play(Crdt::init(), &published));
        let last = published_last.as_slice();
        let (one, state) = timed(|| play(state, last));
        theirs.push(if last.is_empty() { all } else { one });
        assert_eq!(
            Answer::ours(&groups, &group()),
            Answer::published(&state, &group())
        );
    }
    (best(ours), best(theirs))
}

fn play(state: State, operations: &[GroupsOperation]) -> State {
    let played = operations.iter().try_fold(state, Crdt::process);
    played.unwrap_or_else(|error| panic!("all are valid: {error}"))
}

/// What only we finish.
fn alone(table: &mut Table, rules: Rules) {
    let linear = adds(9_998);
    let time = repeat(|| {
        let mut groups = Groups::new(rules);
        timed(|| take(&mut groups, &linear)).0
    });
    table.time("10 000 adds in a row", time, None, 1_000);

    let mut operations = adds(2_000);
    operations[1].arguments.action = Action::Remove { member: person(1) };
    let back = operation(1, 2_001, &[0], Action::Remove { member: person(0) });
    let time = repeat(|| {
        let mut groups = Groups::new(rules);
        take(&mut groups, &operations);
        let (cost, ()) = timed(|| take(&mut groups, std::slice::from_ref(&back)));
        assert!(groups.now().direct_members(&group()).is_empty());
        cost
    });
    table.time("a stale removal after 2 000", time, None, 20);

    let branches = branches(200);
    let time = repeat(|| {
        let mut groups = Groups::new(rules);
        timed(|| take(&mut groups, &branches)).0
    });
    table.time("two branches of 200", time, None, 100);

    let mut groups = Groups::new(rules);
    take(&mut groups, &linear);
    let time = repeat(|| {
        let (cost, members) = timed(|| groups.now().members(&group()));
        assert_eq!(members.len(), 10_000);
        cost
    });
    table.time("members of a group of 10 000", time, None, 5);
}

/// What an operation takes on disk and in memory.
fn sizes(table: &mut Table) {
    println!("Sizes");
    let operations = adds(9_998);
    let bytes = operations.iter().map(|operation| operation.encode().len());
    table.bytes("stored per operation, at most", bytes.max().unwrap(), KIB);
    let mut groups = Groups::new(Rules::Hardened);
    take(&mut groups, &operations[..9_000]);
    let region = Region::new(ALLOCATOR);
    take(&mut groups, &operations[9_000..]);
    let change = region.change();
    let grown = change.bytes_allocated - change.bytes_deallocated;
    table.bytes(
        "heap per operation at 10 000 members",
        grown / 1_001,
        6 * KIB,
    );
}

struct Table {
    all_held: bool,
}

impl Table {
    fn time(&mut self, name: &str, ours: Cost, theirs: Option<Cost>, bar_ms: u64) {
        let times = theirs.map(|theirs| theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64());
        let verdict = self.verdict(ours.cpu < Duration::from_millis(bar_ms));
        println!(
            "{name:<40} {:>11} {:>11} {:>11} {:>8}  {bar_ms} ms {verdict}",
            format!("{:.2?}", ours.cpu),
            format!("{:.2?}", ours.wall),
            theirs.map_or(String::from("-"), |theirs| format!("{:.2?}", theirs.cpu)),
            times.map_or(String::from("-"), |times| format!("{times:.0}")),
        );
    }

    fn bytes(&mut self, name: &str, bytes: usize, bar: usize) {
        let verdict = self.verdict(bytes < bar);
        println!(
            "{name:<40} {bytes:>11} {:>11} {:>11} {:>8}  {bar} {verdict}",
            "-", "-", "-"
        );
    }

    fn verdict(&mut self, held: bool) -> &'static str {
        self.all_held &= held;
        if held { "holds" } else { "EXCEEDED" }
    }
}

fn repeat(run: impl FnMut() -> Cost) -> Cost {
    best(std::iter::repeat_with(run).take(RUNS).collect())
}

fn best(costs: Vec<Cost>) -> Cost {
    costs.into_iter().min().unwrap()
}

fn take(groups: &mut Groups, operations: &[Operation]) {
    for operation in operations {
        groups.process(operation).unwrap();
    }
}

/// A create, and adds of as many members, each after the one before.
fn adds(count: u64) -> Vec<Operation> {
    let add = |n| Action::Add {
        member: person(n + 10),
        access: Access::Read,
    };
    let adds = (1..=count).map(|n| operation(0, n, &[n - 1], add(n)));
    std::iter::once(create()).chain(adds).collect()
}

/// Two managers who add members without hearing of each other.
fn branches(length: u64) -> Vec<Operation> {
    let add = |n| Action::Add {
        member: person(n + 10),
        access: Access::Read,
    };
    let adds = (1..=2 * length).map(|n| operation(n % 2, n, &[n.saturating_sub(2)], add(n)));
    std::iter::once(create()).chain(adds).collect()
}

fn create() -> Operation {
    let initial_members = (0..2).map(|n| (person(n), Access::Manage)).collect();
    operation(0, 0, &[], Action::Create { initial_members })
}

fn operation(author: u64, n: u64, dependencies: &[u64], action: Action) -> Operation {
    let arguments = Arguments {
        group: group(),
        dependencies: dependencies.iter().map(|n| id(*n)).collect(),
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

fn key(n: u64) -> VerifyingKey {
    SigningKey::from_bytes(Hash::digest_parts(&[b"key", &n.to_be_bytes()]).as_bytes())
        .verifying_key()
}

fn id(n: u64) -> Hash {
    Hash::digest(&n.to_be_bytes())
}
