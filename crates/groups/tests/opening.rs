//! Cost of opening groups again, counted by an allocator: time says little on a busy machine.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::System;
use std::collections::BTreeMap;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, Groups, Member, Operation, Rules};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Operations of each of ten groups.
const OPERATIONS: u64 = 2_000;

fn key(n: u64) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(*Hash::digest(&n.to_be_bytes()).as_bytes())
}

fn operation(number: u64) -> Operation {
    let id = |n: u64| Hash::digest_parts(&[b"id", &n.to_be_bytes()]);
    let (group, place) = (number / OPERATIONS, number % OPERATIONS);
    let member = |n| Member::Individual(key(n));
    let (before, action) = match place {
        0 => {
            let initial_members = vec![(member(1), Access::Manage)];
            (None, Action::Create { initial_members })
        }
        _ => {
            let (member, access) = (member(place + 1), Access::Read);
            (Some(id(number - 1)), Action::Add { member, access })
        }
    };
    let arguments = Arguments {
        group: key(u64::MAX - group).into(),
        dependencies: before.into_iter().collect(),
        action,
        nonce: None,
    };
    Operation {
        id: id(number),
        author: key(1),
        arguments,
    }
}

/// One test, because the allocator counts for the whole process.
#[test]
fn opening_groups_allocates_twice_per_operation() {
    let count = 10 * OPERATIONS;
    let mut groups = Groups::new(Rules::Hardened);
    for number in 0..count {
        groups.process(&operation(number)).unwrap();
    }
    let rows = groups.changes().into_iter();
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = rows.map(|row| (row.key, row.value.unwrap())).collect();
    let allocations = |region: &Region<'_, System>| {
        let change = region.change();
        (change.allocations + change.reallocations) as u64
    };

    let region = Region::new(ALLOCATOR);
    let mut opened = Groups::load(Rules::Hardened, &rows).unwrap();
    let of_load = allocations(&region);
    assert!(of_load < 2 * count, "{of_load} allocations to open");

    let mut next = operation(count - 1);
    next.arguments.dependencies = vec![next.id];
    next.id = Hash::digest(b"next");
    next.arguments.action = Action::Remove {
        member: Member::Individual(key(2)),
    };
    let region = Region::new(ALLOCATOR);
    opened.process(&next).unwrap();
    let of_next = allocations(&region);
    assert!(of_next < OPERATIONS, "{of_next} allocations for one input");
}
