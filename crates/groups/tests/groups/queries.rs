//! Queries about groups.

use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, Filter, Groups, Member, Rules, Status, Verdict};

use crate::replay::tables;
use crate::scenario::{group, id, key};
use crate::story::{Author, add, admit, create, honest, nest, one, person, remove};

#[test]
fn a_component_is_settled_once_every_manager_has_seen_it() {
    let mut groups = Groups::new(Rules::Hardened);
    let start = create(&[("A", Access::Manage), ("B", Access::Manage)]);
    admit(&mut groups, Author("A").does(0, one(), &[], start));
    admit(
        &mut groups,
        Author("A").does(1, one(), &[0], add("C", Access::Read)),
    );
    // B has shown nothing since it became a manager.
    assert_eq!(groups.settled(&one()), 1);
    admit(
        &mut groups,
        Author("B").does(2, one(), &[1], add("D", Access::Read)),
    );
    assert!(groups.is_settled(&id(1)) && !groups.is_settled(&id(2)));
    admit(
        &mut groups,
        Author("A").does(3, one(), &[2], add("E", Access::Read)),
    );
    assert!(groups.is_settled(&id(2)) && !groups.is_settled(&id(3)));
    // Two branches are one component, and settled when both have merged it.
    admit(
        &mut groups,
        Author("A").does(4, one(), &[3], add("F", Access::Read)),
    );
    admit(
        &mut groups,
        Author("B").does(5, one(), &[3], add("G", Access::Read)),
    );
    admit(
        &mut groups,
        Author("A").does(6, one(), &[4, 5], add("H", Access::Read)),
    );
    assert!(groups.is_settled(&id(3)) && !groups.is_settled(&id(4)));
    admit(
        &mut groups,
        Author("B").does(7, one(), &[6], add("I", Access::Read)),
    );
    assert!(groups.is_settled(&id(4)) && groups.is_settled(&id(6)));
}

#[test]
fn why_names_the_path_and_the_operations_that_decided() {
    let mut groups = honest();
    let two = create(&[("C", Access::Manage), ("D", Access::Write)]);
    admit(&mut groups, Author("C").does(2, group("2"), &[1], two));
    admit(&mut groups, Author("A").does(3, one(), &[2], nest("2")));
    admit(&mut groups, Author("A").does(4, one(), &[3], remove("B")));
    let removed = groups.why(&one(), &person("B"));
    assert_eq!(
        (removed.verdict, removed.decided_by),
        (Verdict::FormerMember, vec![id(4)])
    );
    let nested = groups.why(&one(), &person("D"));
    let path = vec![group("2")];
    assert_eq!(
        nested.verdict,
        Verdict::Nested {
            access: Access::Read,
            path
        }
    );
    assert_eq!(nested.decided_by, [id(2), id(3)]);
    let sentence = nested.to_string();
    assert!(sentence.contains(" may read in group ") && sentence.contains(&id(3).to_string()));
    let direct = groups.why(&one(), &person("A"));
    assert_eq!(
        direct.verdict,
        Verdict::Member {
            access: Access::Manage
        }
    );
    assert_eq!(direct.decided_by, [id(0)]);
    assert_eq!(
        groups.why(&one(), &person("Z")).verdict,
        Verdict::NeverMember
    );
    assert_eq!(
        groups.why(&group("9"), &person("A")).verdict,
        Verdict::UnknownGroup
    );
    // A concurrent removal overrules an add.
    admit(
        &mut groups,
        Author("A").does(5, one(), &[4], add("E", Access::Read)),
    );
    admit(
        &mut groups,
        Author("A").does(6, one(), &[4], add("E", Access::Read)),
    );
    admit(&mut groups, Author("A").does(7, one(), &[5], remove("E")));
    let gone = groups.why(&one(), &person("E"));
    assert_eq!(gone.decided_by, [id(7)]);
    let by = Status::Filtered {
        rule: Filter::Add,
        by: id(7),
    };
    assert_eq!(gone.overruled, [(id(6), by)]);
}

#[test]
fn a_membership_through_a_nested_group_has_ended() {
    let mut groups = honest();
    let two = create(&[("C", Access::Manage), ("D", Access::Write)]);
    admit(&mut groups, Author("C").does(2, group("2"), &[1], two));
    admit(&mut groups, Author("A").does(3, one(), &[2], nest("2")));
    let without_d = remove("D");
    admit(
        &mut groups,
        Author("C").does(4, group("2"), &[3], without_d),
    );
    let removed = groups.why(&one(), &person("D"));
    assert_eq!(
        (removed.verdict, removed.decided_by),
        (Verdict::FormerMember, vec![id(4)])
    );
    let without = Action::Remove {
        member: Member::Group(group("2")),
    };
    admit(&mut groups, Author("A").does(5, one(), &[4], without));
    let outside = groups.why(&one(), &person("C"));
    assert_eq!(
        (outside.verdict, outside.decided_by),
        (Verdict::FormerMember, vec![id(5)])
    );
}

#[test]
fn stored_operations_rebuild_the_same_groups() {
    for seed in 8_000..8_050 {
        let mut oracle = crate::oracle::Oracle::new(true);
        let mut groups = Groups::new(Rules::Hardened);
        for (operation, _) in crate::random::graph(seed, 14, &mut oracle) {
            let _ = groups.process(&operation);
        }
        let stored: Vec<Vec<u8>> = groups.operations().map(|o| o.encode()).collect();
        let mut rebuilt = Groups::new(Rules::Hardened);
        for (operation, bytes) in groups.operations().zip(stored) {
            assert!(bytes.len() < 1024);
            admit(&mut rebuilt, operation);
        }
        assert_eq!(tables(&rebuilt.now()), tables(&groups.now()), "seed {seed}");
        assert_eq!(rebuilt.heads(), groups.heads(), "seed {seed}");
    }
}

#[test]
fn the_past_can_be_asked_as_well_as_the_present() {
    let mut groups = honest();
    admit(&mut groups, Author("A").does(2, one(), &[1], remove("B")));
    admit(
        &mut groups,
        Author("X").does(3, group("2"), &[], create(&[("A", Access::Read)])),
    );
    assert_eq!(
        groups.at(&[id(1)]).unwrap().access(&one(), &key("B")),
        Some(Access::Read)
    );
    assert_eq!(groups.now().access(&one(), &key("B")), None);
    assert!(groups.at(&[Hash::from_bytes([9; 32])]).is_err());
    assert_eq!(groups.heads_of(&[one()]), [id(2)]);
    assert_eq!(groups.heads(), [id(2), id(3)]);
    let of_a = groups.now().groups_of(&person("A"));
    assert_eq!(of_a, [(one(), Access::Manage), (group("2"), Access::Read)]);
    let unknown: Vec<(VerifyingKey, Access)> = groups.now().members(&group("9"));
    assert!(unknown.is_empty());
    assert!(groups.now().has(&group("2")) && !groups.now().has(&group("9")));
    for view in [groups.at(&[id(2)]), groups.view_of(&[id(2)])] {
        let view = view.unwrap();
        assert!(view.has(&one()) && !view.has(&group("2")));
    }
}
