//! Attacks; each test is named after what it prevents.

use p2panda_core::limits::{GROUP_DEPENDENCIES_MAX, GROUP_MEMBERS_MAX, GROUP_NESTING_MAX};
use p2panda_groups::{
    Access, Action, Admitted, Event, Filter, GroupId, Groups, Limit, Member, NoEffect, Operation,
    ProcessError, Processed, Reason, Rule, Rules, Status, Verdict, bound_group_id,
};

use crate::replay::{process, tables};
use crate::scenario::{self, group, id, key};
use crate::story::{Author, add, admit, create, honest, members, nest, one, person, remove};

const FORBIDDEN: fn(Rule) -> Status = |rule| Status::NoEffect(NoEffect::Hardened(rule));

#[test]
fn a_second_create_in_sequence_does_not_take_the_group_over() {
    let mut groups = honest();
    let before = tables(&groups.now());
    let second = Author("Z").does(2, one(), &[1], create(&[("Z", Access::Manage)]));
    let admitted = admit(&mut groups, second.clone());
    assert_eq!(admitted.status, FORBIDDEN(Rule::OneCreate));
    let event = Event::Diverges {
        operation: second.id,
        rule: Rule::OneCreate,
    };
    assert_eq!(admitted.events, [event]);
    assert_eq!(tables(&groups.now()), before);

    let mut reference = Groups::new(Rules::Reference);
    for operation in groups.operations() {
        admit(&mut reference, operation);
    }
    assert_eq!(members(&reference, one()), [("Z".into(), Access::Manage)]);
}

#[test]
fn operations_on_a_second_create_have_no_effect() {
    let mut groups = honest();
    admit(
        &mut groups,
        Author("Z").does(2, one(), &[1], create(&[("Z", Access::Manage)])),
    );
    let built = Author("Z").does(3, one(), &[2], add("Y", Access::Manage));
    let built = admit(&mut groups, built);
    let stranger = Status::NoEffect(NoEffect::Reason(Reason::UnrecognisedActor));
    assert_eq!(built.status, stranger);
    let removal = admit(&mut groups, Author("Z").does(4, one(), &[2], remove("A")));
    assert_eq!(removal.status, stranger);
    assert!(removal.changed.is_empty());
    // An honest manager that knows the poisoned heads continues, also next to them.
    let honest = Author("A").does(5, one(), &[3, 4], add("C", Access::Write));
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
    let beside = Author("A").does(6, one(), &[2], add("D", Access::Write));
    assert_eq!(admit(&mut groups, beside).status, Status::Applied);
    let expected = [
        ("A", Access::Manage),
        ("B", Access::Read),
        ("C", Access::Write),
    ];
    let expected = expected.into_iter().chain([("D", Access::Write)]);
    let expected: Vec<_> = expected
        .map(|(name, access)| (name.to_string(), access))
        .collect();
    assert_eq!(members(&groups, one()), expected);
}

#[test]
fn a_concurrent_create_does_not_take_a_bound_group_over() {
    let nonce = [9; 32];
    let bound = bound_group_id(&key("A"), &nonce);
    let mut honest = Author("A").does(500, bound, &[], create(&[("A", Access::Manage)]));
    honest.arguments.nonce = Some(nonce);
    let add_b = Author("A").does(501, bound, &[500], add("B", Access::Read));
    // The smaller id would win among equals; the stolen nonce does not fit another author.
    let mut thief = Author("Z").does(1, bound, &[], create(&[("Z", Access::Manage)]));
    thief.arguments.nonce = Some(nonce);
    let evict = Author("Z").does(2, bound, &[1], remove("Z"));
    let operations = [honest, add_b, thief, evict];
    for order in [[0, 1, 2, 3], [2, 3, 0, 1], [2, 0, 3, 1]] {
        let mut groups = Groups::new(Rules::Hardened);
        for at in order {
            admit(&mut groups, operations[at].clone());
        }
        assert!(groups.is_bound(&bound));
        // What the nonce says is that of the create that counts at each point.
        let nonce_at = |at: usize| groups.view_of(&[operations[at].id]).unwrap().nonce(&bound);
        assert_eq!((nonce_at(1), nonce_at(3)), (Some(nonce), None));
        assert_eq!(groups.now().nonce(&bound), Some(nonce));
        let expected = [("A".into(), Access::Manage), ("B".into(), Access::Read)];
        assert_eq!(members(&groups, bound), expected);
        for at in [2, 3] {
            assert_eq!(
                groups.status(&operations[at].id),
                Some(FORBIDDEN(Rule::OneCreate))
            );
        }
    }
}

#[test]
fn an_unbound_group_is_flagged_and_has_one_owner() {
    let first = Author("A").does(7, one(), &[], create(&[("A", Access::Manage)]));
    let other = Author("Z").does(3, one(), &[], create(&[("Z", Access::Manage)]));
    for order in [[&first, &other], [&other, &first]] {
        let mut groups = Groups::new(Rules::Hardened);
        for operation in order {
            admit(&mut groups, operation.clone());
        }
        assert!(!groups.is_bound(&one()));
        assert_eq!(groups.now().nonce(&one()), None);
        assert_eq!(members(&groups, one()), [("Z".into(), Access::Manage)]);
    }
}

#[test]
fn a_strangers_empty_demote_filters_nobody() {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[("A", Access::Manage), ("C", Access::Pull)]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    let promote = Action::Promote {
        member: person("C"),
        access: Access::Manage,
    };
    admit(&mut groups, Author("A").does(1, one(), &[0], promote));
    admit(
        &mut groups,
        Author("C").does(2, one(), &[1], add("D", Access::Read)),
    );
    let demote = Action::Demote {
        member: person("C"),
        access: Access::Pull,
    };
    let admitted = admit(&mut groups, Author("Z").does(3, one(), &[0], demote));
    assert_eq!(admitted.status, FORBIDDEN(Rule::Standing));
    assert!(admitted.changed.is_empty());
    assert_eq!(groups.status(&id(2)), Some(Status::Applied));
}

#[test]
fn a_demote_to_a_higher_access_gives_nothing() {
    let mut groups = honest();
    let demote = Action::Demote {
        member: person("B"),
        access: Access::Manage,
    };
    let admitted = admit(&mut groups, Author("A").does(2, one(), &[1], demote));
    assert_eq!(admitted.status, FORBIDDEN(Rule::Direction));
    assert_eq!(groups.now().access(&one(), &key("B")), Some(Access::Read));
}

#[test]
fn a_create_makes_no_group_a_manager_and_closes_no_cycle() {
    let mut groups = honest();
    admit(&mut groups, Author("A").does(2, one(), &[1], nest("2")));
    let initial_members = vec![
        (person("C"), Access::Manage),
        (Member::Group(group("3")), Access::Manage),
        (Member::Group(one()), Access::Read),
    ];
    let operation = Author("C").does(3, group("2"), &[2], Action::Create { initial_members });
    let admitted = admit(&mut groups, operation);
    assert_eq!(admitted.status, Status::Applied);
    let rule = |rule| Event::Diverges {
        operation: id(3),
        rule,
    };
    assert_eq!(
        admitted.events,
        [rule(Rule::ManagerGroup), rule(Rule::NestingCycle)]
    );
    let direct = groups.now().direct_members(&group("2"));
    assert_eq!(direct, [(person("C"), Access::Manage)]);
}

#[test]
fn a_branching_nesting_cycle_does_not_blow_up_a_query() {
    const WIDTH: usize = 12;
    const DEPTH: usize = 40;
    let mut groups = Groups::new(Rules::Reference);
    let label = |level: usize, at: usize| group(&format!("g{}-{at}", level % DEPTH));
    let mut next = 0;
    for level in 0..DEPTH {
        for at in 0..WIDTH {
            let child = |to| (Member::Group(label(level + 1, to)), Access::Read);
            let mut initial_members: Vec<_> = (0..WIDTH).map(child).collect();
            initial_members.push((person("A"), Access::Manage));
            let action = Action::Create { initial_members };
            let deps: &[u64] = if next == 0 { &[] } else { &[next - 1] };
            admit(
                &mut groups,
                Author("A").does(next, label(level, at), deps, action),
            );
            next += 1;
        }
    }
    // There are 12^40 paths around the cycle.
    let now = groups.now();
    assert_eq!(
        members(&groups, label(0, 0)),
        [("A".into(), Access::Manage)]
    );
    assert_eq!(now.nested_groups(&label(0, 0)).len(), WIDTH * DEPTH);
}

#[test]
fn a_bubble_of_ten_thousand_operations_needs_no_stack() {
    let work = || {
        let mut groups = Groups::new(Rules::Hardened);
        let start = create(&[("A", Access::Manage), ("B", Access::Manage)]);
        admit(&mut groups, Author("A").does(0, one(), &[], start));
        let mut last = [0, 0];
        for n in 1..10_000_u64 {
            let side = (n % 2) as usize;
            let member = format!("m{}-{side}", (n - 1) / 8);
            let action = match (n - 1) / 2 % 4 {
                0 => add(&member, Access::Read),
                1 => Action::Promote {
                    member: person(&member),
                    access: Access::Write,
                },
                2 => remove(&member),
                _ => add(&member, Access::Manage),
            };
            let operation = Author(["A", "B"][side]).does(n, one(), &[last[side]], action);
            last[side] = n;
            groups.process(&operation).unwrap();
        }
        assert_eq!(groups.len(), 10_000);
        // The two now remove each other, which overturns all of it and waits for its turn.
        let against_b = Author("A").does(20_000, one(), &[last[0]], remove("B"));
        let against_a = Author("B").does(20_001, one(), &[last[1]], remove("A"));
        let mut last = None;
        for operation in [against_b, against_a] {
            assert_eq!(groups.process(&operation), Ok(Processed::Postponed));
            last = groups.process_within(&operation, usize::MAX).ok();
        }
        let Some(Processed::Admitted(admitted)) = last else {
            panic!("{last:?}");
        };
        assert_eq!(admitted.status, Status::ForcedRemoval);
        assert_eq!(groups.now().access(&one(), &key("A")), None);
    };
    let thread = std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(work);
    thread.unwrap().join().unwrap();
}

#[test]
fn ten_thousand_stale_operations_of_a_removed_manager_fail() {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[("A", Access::Manage), ("B", Access::Manage)]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    admit(&mut groups, Author("A").does(1, one(), &[0], remove("B")));
    let before = tables(&groups.now());
    // It never claims to know of its removal.
    let (mut last, mut postponed, mut waiting) = (0, 0, 0);
    for n in 2..10_102_u64 {
        let member = format!("m{}", n / 2 % 50);
        let action = match n % 2 {
            0 => add(&member, Access::Manage),
            _ => remove(&member),
        };
        let operation = Author("B").does(n, one(), &[last], action);
        match groups.process(&operation) {
            Ok(Processed::Admitted(admitted)) => {
                assert_eq!(postponed, 0);
                assert!(admitted.changed.is_empty(), "{n}: {admitted:?}");
            }
            // The work for them is bounded; the rest waits for the first of them.
            Ok(Processed::Postponed) => postponed += 1,
            Err(ProcessError::MissingDependency(_)) => waiting += 1,
            refused => panic!("{n}: {refused:?}"),
        }
        last = n;
    }
    assert_eq!(postponed, 1);
    assert!(waiting > 0);
    assert_eq!(tables(&groups.now()), before);
    // An honest one takes effect, at the latest when there is nothing else to do.
    let honest = Author("A").does(20_000, one(), &[1], add("C", Access::Read));
    let Ok(Processed::Admitted(admitted)) = groups.process_within(&honest, usize::MAX) else {
        panic!("it is admitted");
    };
    assert_eq!(admitted.status, Status::Applied);
    let expected = [("A".into(), Access::Manage), ("C".into(), Access::Read)];
    assert_eq!(members(&groups, one()), expected);
}

#[test]
fn a_long_ring_of_removals_needs_no_stack() {
    let work = || {
        const PEOPLE: u64 = 3_000;
        let mut groups = Groups::new(Rules::Hardened);
        let people: Vec<String> = (0..PEOPLE).map(|n| format!("p{n}")).collect();
        let entries: Vec<_> = people
            .iter()
            .map(|p| (p.as_str(), Access::Manage))
            .collect();
        admit(
            &mut groups,
            Author("p0").does(0, one(), &[], create(&entries)),
        );
        for n in 0..PEOPLE {
            let next = &people[((n + 1) % PEOPLE) as usize];
            let operation = Author(&people[n as usize]).does(n + 1, one(), &[0], remove(next));
            admit(&mut groups, operation);
        }
        assert!(groups.now().direct_members(&one()).is_empty());
    };
    let thread = std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(work);
    thread.unwrap().join().unwrap();
}

/// A removes B (1) and works on for a while; then B removes A as of 0.
fn return_of_b(rounds: u64) -> (Groups, Admitted, u64) {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[
        ("A", Access::Manage),
        ("B", Access::Manage),
        ("C", Access::Manage),
    ]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    admit(&mut groups, Author("A").does(1, one(), &[0], remove("B")));
    for n in 2..rounds {
        let author = Author(["A", "C"][(n % 2) as usize]);
        let operation = author.does(n, one(), &[n - 1], add(&format!("m{n}"), Access::Read));
        admit(&mut groups, operation);
    }
    let admitted = admit(
        &mut groups,
        Author("B").does(rounds, one(), &[0], remove("A")),
    );
    (groups, admitted, rounds)
}

#[test]
fn a_returning_manager_has_the_effect_of_the_rule() {
    let (groups, admitted, rounds) = return_of_b(100);
    assert_eq!(admitted.status, Status::ForcedRemoval);
    // Both are out, A's later work is undone, C's stays.
    let filtered = Status::Filtered {
        rule: Filter::Author,
        by: id(rounds),
    };
    for n in 2..rounds {
        let expected = if n % 2 == 0 {
            filtered
        } else {
            Status::Applied
        };
        assert_eq!(groups.status(&id(n)), Some(expected), "{n}");
    }
    assert_eq!(groups.status(&id(1)), Some(Status::ForcedRemoval));
    let now = groups.now();
    assert_eq!(
        (now.access(&one(), &key("A")), now.access(&one(), &key("B"))),
        (None, None)
    );
    assert_eq!(now.access(&one(), &key("C")), Some(Access::Manage));
    let overturned = admitted.changed.len();
    assert_eq!(overturned, 50);
    let event = Event::Overturns {
        operation: id(rounds),
        overturned,
    };
    assert_eq!(admitted.events, [event]);
    let why = groups.why(&one(), &person("A"));
    assert_eq!(why.verdict, Verdict::FormerMember);
    assert_eq!(why.decided_by, [id(1), id(rounds)]);
}

#[test]
fn the_work_of_a_returning_manager_is_bounded() {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[("A", Access::Manage), ("B", Access::Manage)]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    admit(&mut groups, Author("A").does(1, one(), &[0], remove("B")));
    for n in 2..60 {
        let operation = Author("A").does(n, one(), &[n - 1], add(&format!("m{n}"), Access::Read));
        admit(&mut groups, operation);
    }
    let back = Author("B").does(100, one(), &[0], remove("A"));
    let before = groups.len();
    assert_eq!(groups.process_within(&back, 50), Ok(Processed::Postponed));
    assert_eq!((groups.len(), groups.contains(&back.id)), (before, false));
    let after = Author("B").does(101, one(), &[100], add("Y", Access::Read));
    assert_eq!(groups.missing(&after), [back.id]);
    let missing = ProcessError::MissingDependency(back.id);
    assert_eq!(groups.process(&after), Err(missing));
    // Honest work continues meanwhile.
    let honest = Author("A").does(60, one(), &[59], add("m60", Access::Read));
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
    assert_eq!(groups.process_within(&back, 50), Ok(Processed::Postponed));
    let back = admit(&mut groups, back);
    assert_eq!(back.status, Status::ForcedRemoval);
    assert!(groups.missing(&after).is_empty());
    admit(&mut groups, after);
    // The same as without the wait.
    let mut others = Groups::new(Rules::Hardened);
    for operation in groups.operations() {
        admit(&mut others, operation);
    }
    assert_eq!(tables(&others.now()), tables(&groups.now()));
}

#[test]
fn two_colluding_managers_do_not_hold_up_the_others() {
    // They remove and add each other, each unseen by the other: all conflicts with all.
    let duel = |touched_max: usize| {
        let mut groups = Groups::new(Rules::Hardened);
        let start = create(&[("X", Access::Manage), ("Y", Access::Manage)]);
        admit(&mut groups, Author("X").does(0, one(), &[], start));
        let mut waiting = Vec::new();
        for n in 1..=600_u64 {
            let [author, other] = if n % 2 == 0 { ["X", "Y"] } else { ["Y", "X"] };
            let action = match (n - 1) / 2 % 2 {
                0 => remove(other),
                _ => add(other, Access::Manage),
            };
            let operation = Author(author).does(n, one(), &[n.saturating_sub(2)], action);
            if groups.missing(&operation).is_empty()
                && groups.process_within(&operation, touched_max) != Ok(Processed::Postponed)
            {
                continue;
            }
            waiting.push(operation);
        }
        (groups, waiting)
    };
    let (mut groups, waiting) = duel(700);
    assert!(!waiting.is_empty());
    let other = group("2");
    admit(
        &mut groups,
        Author("A").does(1_000, other, &[], create(&[("A", Access::Manage)])),
    );
    let honest = Author("A").does(1_001, other, &[1_000], add("B", Access::Read));
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
    for operation in waiting {
        groups.process_within(&operation, usize::MAX).unwrap();
    }
    let (at_once, waiting) = duel(usize::MAX);
    assert!(waiting.is_empty());
    for n in 0..=600 {
        assert_eq!(groups.status(&id(n)), at_once.status(&id(n)), "{n}");
    }
    assert!(groups.now().direct_members(&one()).is_empty());
}

#[test]
fn an_operation_touches_only_conflicting_history() {
    let mut groups = honest();
    for n in 2..3_000 {
        let operation = Author("A").does(n, one(), &[n - 1], add(&format!("m{n}"), Access::Read));
        admit(&mut groups, operation);
    }
    let mut touch = |touched_max: usize, operation: Operation| {
        let processed = groups.process_within(&operation, touched_max);
        assert!(
            matches!(processed, Ok(Processed::Admitted(_))),
            "{processed:?}"
        );
    };
    touch(
        0,
        Author("A").does(3_000, one(), &[2_999], add("C", Access::Read)),
    );
    // One that saw nothing and so is concurrent with everything, in a group of its own; and the
    // next one, which looks at that group only.
    touch(
        0,
        Author("Z").does(3_001, group("2"), &[], create(&[("Z", Access::Manage)])),
    );
    touch(
        1,
        Author("Z").does(3_002, group("2"), &[3_001], add("A", Access::Read)),
    );
    // Both branches become one past.
    touch(
        0,
        Author("A").does(3_003, one(), &[3_000, 3_002], add("D", Access::Read)),
    );
}

#[test]
fn too_many_dependencies_are_refused() {
    let mut groups = honest();
    let create = |n: u64| {
        Author("A").does(
            n,
            group(&format!("x{n}")),
            &[1],
            create(&[("A", Access::Manage)]),
        )
    };
    let many: Vec<u64> = (10..11 + GROUP_DEPENDENCIES_MAX as u64).collect();
    for n in &many {
        admit(&mut groups, create(*n));
    }
    let with = |id, deps: &[u64]| Author("A").does(id, one(), deps, add("C", Access::Read));
    let refused = groups.process(&with(2, &many));
    assert_eq!(refused, Err(ProcessError::Limit(Limit::Dependencies)));
    admit(&mut groups, with(2, &many[1..]));
}

#[test]
fn too_many_members_are_refused() {
    let people: Vec<String> = (0..=GROUP_MEMBERS_MAX).map(|n| format!("p{n}")).collect();
    let mut entries: Vec<_> = people
        .iter()
        .map(|p| (p.as_str(), Access::Manage))
        .collect();
    let mut groups = Groups::new(Rules::Hardened);
    let too_large = Author("p0").does(0, one(), &[], create(&entries));
    assert_eq!(
        groups.process(&too_large),
        Err(ProcessError::Limit(Limit::Members))
    );
    entries.pop();
    admit(
        &mut groups,
        Author("p0").does(0, one(), &[], create(&entries)),
    );
    let one_more = Author("p0").does(1, one(), &[0], add("C", Access::Read));
    assert_eq!(
        groups.process(&one_more),
        Err(ProcessError::Limit(Limit::Members))
    );
    // Members that come back need no more room.
    admit(&mut groups, Author("p0").does(2, one(), &[0], remove("p1")));
    admit(
        &mut groups,
        Author("p0").does(3, one(), &[2], add("p1", Access::Read)),
    );
}

#[test]
fn too_deep_nesting_is_refused_from_above_and_from_below() {
    let label = |n: usize| format!("g{n}");
    let mut groups = Groups::new(Rules::Hardened);
    let mut next = 0;
    let mut deliver = |groups: &mut Groups, group: GroupId, action: Action| {
        let deps: Vec<u64> = groups.heads().into_iter().map(scenario::number).collect();
        next += 1;
        process(groups, &Author("A").does(next, group, &deps, action))
    };
    for n in 0..GROUP_NESTING_MAX + 4 {
        deliver(
            &mut groups,
            group(&label(n)),
            create(&[("A", Access::Manage)]),
        )
        .unwrap();
    }
    // One more group that nests another, so that levels are counted for the last one allowed.
    let apart = group(&label(GROUP_NESTING_MAX + 2));
    deliver(&mut groups, apart, nest(&label(GROUP_NESTING_MAX + 3))).unwrap();
    for n in 0..GROUP_NESTING_MAX {
        deliver(&mut groups, group(&label(n)), nest(&label(n + 1))).unwrap();
    }
    let below = deliver(
        &mut groups,
        group(&label(GROUP_NESTING_MAX)),
        nest(&label(GROUP_NESTING_MAX + 1)),
    );
    assert_eq!(below.unwrap_err(), "Nesting");
    let above = deliver(
        &mut groups,
        group(&label(GROUP_NESTING_MAX + 1)),
        nest(&label(0)),
    );
    assert_eq!(above.unwrap_err(), "Nesting");
}

#[test]
fn hardened_rules_admit_all_that_the_reference_admits() {
    for seed in 7_000..8_000 {
        let mut oracle = crate::oracle::Oracle::new(false);
        let made = crate::random::graph(seed, 14, &mut oracle);
        let mut groups = Groups::new(Rules::Hardened);
        for (operation, outcome) in made {
            if outcome.is_ok() {
                let found = process(&mut groups, &operation);
                assert!(found.is_ok(), "seed {seed}: {} {found:?}", operation.id);
            }
        }
    }
}
