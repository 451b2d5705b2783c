//! Knowledge of groups about their past, and the changes by each operation.

use p2panda_core::Hash;
use p2panda_groups::{Access, Groups, Operation, Rules, View};

use crate::random::{Dice, graph, shuffled};
use crate::replay::tables;
use crate::scenario::{group, id, key, name};
use crate::story::{Author, add, admit, create, honest, nest, one, remove};

type Change<'a> = (&'a str, Option<Access>, Option<Access>);

fn changes(
    admitted: &p2panda_groups::Admitted,
    of: &str,
) -> Vec<(String, Option<Access>, Option<Access>)> {
    let of = group(of);
    let here = admitted
        .members_changed
        .iter()
        .filter(|change| change.group == of);
    here.map(|change| (name(&change.member), change.before, change.after))
        .collect()
}

fn expected(changes: &[Change<'_>]) -> Vec<(String, Option<Access>, Option<Access>)> {
    changes
        .iter()
        .map(|(who, before, after)| (who.to_string(), *before, *after))
        .collect()
}

#[test]
fn a_view_of_a_past_knows_nothing_that_is_not_in_it() {
    let mut groups = honest();
    admit(
        &mut groups,
        Author("A").does(2, one(), &[1], add("C", Access::Manage)),
    );
    // C works on; A removes C in addition.
    admit(
        &mut groups,
        Author("C").does(3, one(), &[2], add("D", Access::Write)),
    );
    admit(&mut groups, Author("A").does(4, one(), &[2], remove("C")));
    let access = |view: View<'_>, who: &str| view.access(&one(), &key(who));
    assert_eq!(access(groups.at(&[id(3)]).unwrap(), "D"), None);
    assert_eq!(
        access(groups.view_of(&[id(3)]).unwrap(), "D"),
        Some(Access::Write)
    );
    assert_eq!(
        access(groups.view_of(&[id(3)]).unwrap(), "C"),
        Some(Access::Manage)
    );
    assert_eq!(access(groups.view_of(&[id(3), id(4)]).unwrap(), "D"), None);
    assert!(groups.view_of(&[]).unwrap().groups().is_empty());
    assert!(groups.view_of(&[Hash::from_bytes([9; 32])]).is_err());
}

#[test]
fn a_view_of_a_past_is_what_somebody_has_who_knows_only_that() {
    for seed in 20_000..20_400 {
        for rules in [Rules::Hardened, Rules::Reference] {
            let mut oracle = crate::oracle::Oracle::new(rules == Rules::Hardened);
            let made = graph(seed, 14, &mut oracle);
            let mut dice = Dice::new(seed);
            let mut groups = Groups::new(rules);
            for at in shuffled(&made, &mut dice) {
                let _ = groups.process(&made[at].0);
            }
            let all: Vec<Operation> = groups.operations().collect();
            for _ in 0..4 {
                let past = [dice.pick(&all).id, dice.pick(&all).id];
                let past = &past[..1 + dice.below(2)];
                let mut alone = Groups::new(rules);
                for operation in all.iter().filter(|o| before(&all, &o.id, past)) {
                    admit(&mut alone, operation.clone());
                }
                let view = groups.view_of(past).unwrap();
                assert_eq!(tables(&view), tables(&alone.now()), "{rules:?} seed {seed}");
                // What they lack is all the rest.
                let mut heads = past.to_vec();
                heads.extend(alone.heads());
                for operation in groups.since(&heads) {
                    admit(&mut alone, operation);
                }
                assert_eq!(
                    tables(&alone.now()),
                    tables(&groups.now()),
                    "{rules:?} seed {seed}"
                );
                assert_eq!(alone.len(), groups.len());
            }
        }
    }
}

/// One of the heads is the operation or comes after it.
fn before(all: &[Operation], id: &Hash, heads: &[Hash]) -> bool {
    let mut todo = heads.to_vec();
    while let Some(head) = todo.pop() {
        if head == *id {
            return true;
        }
        let operation = all.iter().find(|operation| operation.id == head).unwrap();
        todo.extend(&operation.arguments.dependencies);
    }
    false
}

#[test]
fn an_operation_says_whose_access_it_changed() {
    let mut groups = Groups::new(Rules::Hardened);
    groups.watch(group("9"));
    let team = create(&[("A", Access::Manage), ("B", Access::Read)]);
    let created = admit(&mut groups, Author("A").does(0, one(), &[], team));
    let (manage, read, write) = (
        Some(Access::Manage),
        Some(Access::Read),
        Some(Access::Write),
    );
    assert_eq!(
        changes(&created, "1"),
        expected(&[("A", None, manage), ("B", None, read)])
    );
    let all = create(&[("X", Access::Manage), ("B", Access::Write)]);
    admit(&mut groups, Author("X").does(1, group("9"), &[], all));
    let nested = admit(
        &mut groups,
        Author("X").does(2, group("9"), &[0, 1], nest("1")),
    );
    // B has more directly.
    assert_eq!(changes(&nested, "9"), expected(&[("A", None, read)]));
    let added = admit(
        &mut groups,
        Author("A").does(3, one(), &[0], add("C", Access::Write)),
    );
    assert_eq!(changes(&added, "1"), expected(&[("C", None, write)]));
    assert_eq!(changes(&added, "9"), expected(&[("C", None, read)]));
    let removed = admit(&mut groups, Author("A").does(4, one(), &[3], remove("B")));
    assert_eq!(changes(&removed, "1"), expected(&[("B", read, None)]));
    assert_eq!(changes(&removed, "9"), []);
    // What a removal undoes is told as well.
    let back = admit(
        &mut groups,
        Author("X").does(5, group("9"), &[2], remove("B")),
    );
    assert_eq!(changes(&back, "9"), expected(&[("B", write, None)]));
    admit(
        &mut groups,
        Author("A").does(6, one(), &[4], add("M", Access::Manage)),
    );
    admit(
        &mut groups,
        Author("M").does(7, one(), &[6], add("N", Access::Write)),
    );
    let overruled = admit(&mut groups, Author("A").does(8, one(), &[6], remove("M")));
    assert_eq!(
        changes(&overruled, "1"),
        expected(&[("M", manage, None), ("N", write, None)])
    );
    assert_eq!(
        changes(&overruled, "9"),
        expected(&[("M", read, None), ("N", read, None)])
    );
    groups.unwatch(&group("9"));
    let unwatched = admit(&mut groups, Author("A").does(9, one(), &[8], remove("C")));
    assert_eq!(
        (changes(&unwatched, "1").len(), changes(&unwatched, "9")),
        (1, vec![])
    );
}

#[test]
fn the_changes_of_members_add_up_to_the_members() {
    for seed in 21_000..21_300 {
        let mut oracle = crate::oracle::Oracle::new(true);
        let made = graph(seed, 16, &mut oracle);
        let mut groups = Groups::new(Rules::Hardened);
        let labels: std::collections::BTreeSet<_> =
            made.iter().map(|(o, _)| o.arguments.group).collect();
        labels.iter().for_each(|label| groups.watch(*label));
        let mut known = std::collections::BTreeMap::new();
        for at in shuffled(&made, &mut Dice::new(seed)) {
            let Ok(p2panda_groups::Processed::Admitted(admitted)) = groups.process(&made[at].0)
            else {
                continue;
            };
            for change in admitted.members_changed {
                let place = (change.group, change.member);
                assert_eq!(known.get(&place).copied(), change.before, "seed {seed}");
                match change.after {
                    Some(access) => known.insert(place, access),
                    None => known.remove(&place),
                };
            }
            let now = groups.now();
            let members = labels.iter().flat_map(|label| {
                let members = now.members(label).into_iter();
                members
                    .map(|(key, access)| ((*label, key), access))
                    .collect::<Vec<_>>()
            });
            assert_eq!(known, members.collect(), "seed {seed}");
        }
    }
}

#[test]
fn containing_groups_and_single_operations_can_be_asked_for() {
    let mut groups = honest();
    let manager = || create(&[("A", Access::Manage)]);
    admit(&mut groups, Author("A").does(2, group("2"), &[], manager()));
    admit(&mut groups, Author("A").does(3, group("3"), &[], manager()));
    admit(
        &mut groups,
        Author("A").does(4, group("2"), &[1, 2], nest("1")),
    );
    let outer = Author("A").does(5, group("3"), &[3, 4], nest("2"));
    admit(&mut groups, outer.clone());
    assert_eq!(groups.now().containing(&one()), [group("2"), group("3")]);
    assert_eq!(
        groups.at(&[id(4)]).unwrap().containing(&one()),
        [group("2")]
    );
    assert!(groups.now().containing(&group("3")).is_empty());
    assert_eq!(groups.get(&id(5)), Some(outer));
    assert_eq!(groups.get(&id(6)), None);
}
