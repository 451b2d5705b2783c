//! Memory cost of an operation, counted by an allocator.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::alloc::System;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Arguments, Groups, Member, Operation, Rules};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KIB: usize = 1024;

fn key(n: u64) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(*Hash::digest(&n.to_be_bytes()).as_bytes())
}

fn operation(n: u64, author: u64, before: &[u64], action: Action) -> Operation {
    let id = |n: u64| Hash::digest_parts(&[b"id", &n.to_be_bytes()]);
    let dependencies = before.iter().map(|n| id(*n)).collect();
    let group = key(u64::MAX).into();
    let arguments = Arguments {
        group,
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

/// One test, because the allocator counts for the whole process.
#[test]
fn an_operation_in_a_group_of_ten_thousand_is_small() {
    let member = |n| Member::Individual(key(n));
    let mut groups = Groups::new(Rules::Hardened);
    let initial_members = vec![(member(1), Access::Manage), (member(2), Access::Manage)];
    groups
        .process(&operation(0, 1, &[], Action::Create { initial_members }))
        .unwrap();
    let add = |n: u64| Action::Add {
        member: member(n + 10),
        access: Access::Read,
    };
    for n in 1..8_000 {
        groups.process(&operation(n, 1, &[n - 1], add(n))).unwrap();
    }
    let grown = |region: &Region<'_, System>| {
        let change = region.change();
        change.bytes_allocated - change.bytes_deallocated
    };
    let region = Region::new(ALLOCATOR);
    for n in 8_000..9_000 {
        groups.process(&operation(n, 1, &[n - 1], add(n))).unwrap();
    }
    let in_a_row = grown(&region) / 1_000;
    println!("in a row: {in_a_row} bytes per operation");
    assert!(in_a_row < 6 * KIB);

    let region = Region::new(ALLOCATOR);
    let mut last = [8_999, 8_999];
    for n in 9_000..9_998 {
        let side = (n % 2) as usize;
        groups
            .process(&operation(n, side as u64 + 1, &[last[side]], add(n)))
            .unwrap();
        last[side] = n;
    }
    let in_branches = grown(&region) / 1_000;
    println!("in two branches: {in_branches} bytes per operation");
    assert!(in_branches < 6 * KIB);
}
