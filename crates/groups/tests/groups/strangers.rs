//! Limits of those without rights, and of managers with many operations.

use p2panda_core::limits::{GROUP_DEPENDENCIES_MAX, GROUP_DEPENDENCIES_SENT, GROUP_NESTING_MAX};
use p2panda_groups::{
    Access, Action, Event, GroupId, Groups, Member, Operation, Processed, Rules, Status,
    bound_group_id,
};

use crate::random::{Dice, shuffled};
use crate::replay::tables;
use crate::scenario::{self, group, id, key};
use crate::story::{Author, add, admit, create, honest, nest, one, person, remove};

/// The operation as its author would make it here.
fn drafted(
    groups: &Groups,
    author: &str,
    number: u64,
    group: GroupId,
    action: Action,
) -> Operation {
    let draft = groups.draft(&key(author), &group, action);
    Operation {
        id: id(number),
        author: key(author),
        arguments: draft.arguments,
    }
}

#[test]
fn creates_of_a_stranger_are_no_dependencies() {
    let mut groups = honest();
    let settled = groups.settled(&one());
    assert_eq!(settled, 2);
    for n in 0..600 {
        let label = group(&format!("z{n}"));
        let entries = create(&[("Z", Access::Manage)]);
        let deps: &[u64] = if n % 2 == 0 { &[0] } else { &[] };
        admit(
            &mut groups,
            Author("Z").does(1_000 + n, label, deps, entries),
        );
    }
    assert!(groups.heads().len() > GROUP_DEPENDENCIES_MAX);
    assert_eq!(groups.heads_of(&[one()]), [id(1)]);
    assert_eq!(groups.settled(&one()), settled);
    let honest = drafted(&groups, "A", 2, one(), add("C", Access::Read));
    assert_eq!(honest.arguments.dependencies, [id(1)]);
    // It touches nothing of what the stranger did.
    let Ok(Processed::Admitted(admitted)) = groups.process_within(&honest, 0) else {
        panic!("not admitted");
    };
    assert_eq!(admitted.status, Status::Applied);
    assert_eq!(groups.settled(&one()), settled + 1);
}

#[test]
fn what_strangers_do_to_a_group_without_effect_is_no_dependency() {
    let nonce = [3; 32];
    let own = bound_group_id(&key("A"), &nonce);
    let mut groups = Groups::new(Rules::Hardened);
    let mut first = Author("A").does(0, own, &[], create(&[("A", Access::Manage)]));
    first.arguments.nonce = Some(nonce);
    admit(&mut groups, first);
    admit(
        &mut groups,
        Author("A").does(1, own, &[0], add("B", Access::Read)),
    );
    let promote = || Action::Promote {
        member: person("A"),
        access: Access::Read,
    };
    // Promotes of a manager by a stranger, creates of the group, and what builds on those.
    for n in 0..100 {
        admit(
            &mut groups,
            Author("Z").does(100 + 3 * n, own, &[0], promote()),
        );
        let second = create(&[("Z", Access::Manage)]);
        admit(&mut groups, Author("Z").does(101 + 3 * n, own, &[], second));
        let built = add("Y", Access::Manage);
        admit(
            &mut groups,
            Author("Z").does(102 + 3 * n, own, &[101 + 3 * n], built),
        );
    }
    assert_eq!(groups.heads_of(&[own]), [id(1)]);
    assert_eq!(groups.settled(&own), 2);
    let honest = drafted(&groups, "A", 2, own, remove("B"));
    assert_eq!(honest.arguments.dependencies, [id(1)]);
    assert!(matches!(
        groups.process_within(&honest, 0),
        Ok(Processed::Admitted(_))
    ));
}

/// A removes B, who makes many operations as of before; the last ones remove A.
fn returned(adds: u64, removals: u64) -> Vec<Operation> {
    let start = create(&[
        ("A", Access::Manage),
        ("B", Access::Manage),
        ("C", Access::Manage),
    ]);
    let mut made = vec![
        Author("A").does(0, one(), &[], start),
        Author("C").does(1, one(), &[0], remove("B")),
        Author("A").does(2, one(), &[1], add("D", Access::Read)),
    ];
    for n in 0..adds {
        let action = add(&format!("m{n}"), Access::Read);
        made.push(Author("B").does(10_000 - n, one(), &[0], action));
    }
    for n in 0..removals {
        made.push(Author("B").does(20_000 + n, one(), &[0], remove("A")));
    }
    made
}

fn grown(made: &[Operation]) -> Groups {
    let mut groups = Groups::new(Rules::Hardened);
    for operation in made {
        admit(&mut groups, operation.clone());
    }
    groups
}

#[test]
fn of_many_heads_few_are_named_and_no_removal_is_left_out() {
    let mut groups = grown(&returned(300, 1));
    let honest = drafted(&groups, "A", 3, one(), add("E", Access::Read));
    let named = &honest.arguments.dependencies;
    assert_eq!(named.len(), GROUP_DEPENDENCIES_SENT);
    assert!(named.contains(&id(2)) && named.contains(&id(20_000)));
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
    // Removals alone can be more.
    let mut groups = grown(&returned(10, 100));
    let honest = drafted(&groups, "A", 3, one(), add("E", Access::Read));
    assert_eq!(honest.arguments.dependencies.len(), 101);
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
}

#[test]
fn the_dependencies_do_not_depend_on_the_order() {
    let made: Vec<(Operation, ())> = returned(90, 70).into_iter().map(|o| (o, ())).collect();
    let mut named = Vec::new();
    for seed in 0..3 {
        let order = shuffled(&made, &mut Dice::new(seed));
        let order: Vec<Operation> = order.into_iter().map(|at| made[at].0.clone()).collect();
        let groups = grown(&order);
        named.push(groups.dependencies(&key("A"), &one(), &remove("D")));
    }
    assert_eq!((&named[0], &named[0]), (&named[1], &named[2]));
}

#[test]
fn an_operation_depends_on_what_its_group_contains() {
    let mut groups = honest();
    let manager = || create(&[("A", Access::Manage)]);
    for (n, name) in [(10, "2"), (11, "3"), (12, "4"), (13, "5")] {
        admit(
            &mut groups,
            Author("A").does(n, group(name), &[], manager()),
        );
    }
    admit(
        &mut groups,
        Author("A").does(20, group("2"), &[10, 11], nest("3")),
    );
    admit(
        &mut groups,
        Author("A").does(21, group("4"), &[12, 1], nest("1")),
    );
    let nested = groups.dependencies(&key("A"), &one(), &nest("2"));
    assert_eq!(nested, [id(1), id(20)]);
    let created = Action::Create {
        initial_members: vec![(Member::Group(group("5")), Access::Read)],
    };
    assert_eq!(
        groups.dependencies(&key("A"), &group("6"), &created),
        [id(13)]
    );
    assert!(
        groups
            .dependencies(&key("A"), &group("7"), &manager())
            .is_empty()
    );
    assert_eq!(groups.heads_of(&[group("4")]), [id(21)]);
}

#[test]
fn a_strangers_tower_does_not_stop_nesting() {
    let mut groups = honest();
    let name = |n: usize| format!("z{n}");
    let mut last = 1;
    for n in 0..=GROUP_NESTING_MAX {
        let number = 1_000 + n as u64;
        let inner = if n == 0 { one() } else { group(&name(n - 1)) };
        let initial_members = vec![
            (person("Z"), Access::Manage),
            (Member::Group(inner), Access::Read),
        ];
        let action = Action::Create { initial_members };
        let made = Author("Z").does(number, group(&name(n)), &[last], action);
        if groups.process(&made).is_err() {
            assert_eq!(n, GROUP_NESTING_MAX, "a stranger's own limit");
            break;
        }
        last = number;
    }
    admit(
        &mut groups,
        Author("A").does(2, group("2"), &[1], create(&[("A", Access::Manage)])),
    );
    // Also for somebody who names all heads, as 0.7.1 does.
    let heads: Vec<u64> = groups.heads().into_iter().map(scenario::number).collect();
    let honest = Author("A").does(3, one(), &heads, nest("2"));
    assert_eq!(admit(&mut groups, honest).status, Status::Applied);
}

#[test]
fn the_last_managers_leave_is_flagged_before_and_after() {
    let mut groups = honest();
    let draft = |groups: &Groups, action| groups.draft(&key("A"), &one(), action).freezes;
    assert!(draft(&groups, remove("A")));
    let demote = Action::Demote {
        member: person("A"),
        access: Access::Write,
    };
    assert!(draft(&groups, demote.clone()));
    assert!(!draft(&groups, remove("B")));
    assert!(
        groups
            .draft(&key("B"), &group("9"), create(&[("B", Access::Read)]))
            .freezes
    );
    admit(
        &mut groups,
        Author("A").does(2, one(), &[1], add("C", Access::Manage)),
    );
    assert!(!draft(&groups, demote));
    let left = admit(&mut groups, Author("A").does(3, one(), &[2], remove("A")));
    assert!(left.events.is_empty());
    assert!(groups.draft(&key("C"), &one(), remove("C")).freezes);
    let last = admit(&mut groups, Author("C").does(4, one(), &[3], remove("C")));
    let (group, operation) = (one(), id(4));
    assert_eq!(last.events, [Event::Frozen { group, operation }]);
}

/// Several nodes that make operations with few dependencies and hear of each other late, and a
/// stranger that floods them.
#[test]
fn honest_authors_agree_despite_a_stranger() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let names = ["A", "B", "C", "D"];
        let start = create(&[
            ("A", Access::Manage),
            ("B", Access::Manage),
            ("C", Access::Manage),
        ]);
        let mut made = vec![Author("A").does(0, one(), &[], start)];
        let mut nodes: Vec<(Groups, usize)> = Vec::new();
        nodes.resize_with(4, || (Groups::new(Rules::Hardened), 0));
        for n in 1..60 {
            // A node hears of some more, in the order in which it was made.
            let at = dice.below(4);
            let (node, known) = &mut nodes[at];
            while *known < made.len() && !dice.percent(25) {
                admit(node, made[*known].clone());
                *known += 1;
            }
            if dice.percent(40) {
                let deps: Vec<u64> = (0..dice.below(3))
                    .map(|_| dice.below(made.len()) as u64)
                    .collect();
                let known: Vec<u64> = deps
                    .into_iter()
                    .filter(|n| made.iter().any(|o| o.id == id(*n)))
                    .collect();
                let label = group(&format!("z{n}"));
                made.push(Author("Z").does(n, label, &known, create(&[("Z", Access::Manage)])));
                continue;
            }
            let author = names[dice.below(3)];
            let member = names[dice.below(4)];
            let access = Access::ALL[dice.below(4)];
            let now = node.now();
            let manages = now.access(&one(), &key(author)) == Some(Access::Manage);
            let action = match now.access(&one(), &key(member)) {
                None => add(member, access),
                Some(known) if known < access => Action::Promote {
                    member: person(member),
                    access,
                },
                Some(known) if known > access => Action::Demote {
                    member: person(member),
                    access,
                },
                Some(_) => remove(member),
            };
            // The author is here with what it knows; the others do not know it yet.
            if manages && *known == made.len() {
                made.push(drafted(node, author, n, one(), action));
            } else if manages {
                let known: Vec<u64> = node
                    .heads_of(&[one()])
                    .into_iter()
                    .map(scenario::number)
                    .collect();
                made.push(Author(author).does(n, one(), &known, action));
            }
        }
        let mut results = Vec::new();
        for (node, known) in &mut nodes {
            for operation in &made[*known..] {
                admit(node, operation.clone());
            }
            assert!(node.heads_of(&[one()]).len() <= GROUP_DEPENDENCIES_SENT);
            results.push(tables(&node.now()));
        }
        assert!(
            results.iter().all(|result| result == &results[0]),
            "seed {seed}"
        );
    }
}
