//! Persons that list keys which have not said that they belong to them (`docs/protocol/spaces.md#18`).

use p2panda_core::VerifyingKey;
use p2panda_groups::{Access, Action, GroupId, Member};
use p2panda_spaces::{LocalError, Role, Settings};

use crate::native_world::{Node, deliver, heal_all, nodes, ops, sync};

/// The person of a node lists these keys, and the space hears of it.
pub fn claim(node: &mut Node, keys: &[VerifyingKey]) -> GroupId {
    let person = node.person();
    list(node, person, keys);
    person
}

fn list(node: &mut Node, person: GroupId, keys: &[VerifyingKey]) {
    for key in keys {
        let (member, access) = (Member::Individual(*key), Access::Manage);
        let add = Action::Add { member, access };
        node.try_act(|spaces, desk| spaces.change_group(person, add, desk))
            .unwrap();
    }
    node.follow(person);
}

fn set_role(node: &mut Node, member: VerifyingKey, role: Role) {
    node.try_do(|spaces, s, desk| spaces.set_member_role(s, member, role, desk))
        .unwrap();
}

/// The devices that a person has in the space, as a node sees it.
fn devices(node: &Node, person: GroupId) -> Vec<VerifyingKey> {
    let all = node.spaces.persons(&node.s()).into_iter();
    let of_person = all.filter(|one| one.person == Some(person));
    of_person
        .flat_map(|one| one.devices)
        .map(|(key, _)| key)
        .collect()
}

#[test]
fn who_lists_the_key_of_another_gets_nothing_meant_for_it() {
    // Before the others have persons, and after.
    for have_persons in [false, true] {
        let [mut ada, mut ben, mut eve] = nodes();
        let members = [(ben.member(), Role::Editor), (eve.member(), Role::Reader)];
        ada.create(Settings::with_history(), &members);
        ben.space = ada.space;
        eve.space = ada.space;
        sync(&mut [&mut ada, &mut ben, &mut eve]);
        if have_persons {
            let of_ada = ada.person();
            ada.follow(of_ada);
            let of_ben = ben.person();
            ben.follow(of_ben);
            heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        }
        // Those of an owner and of an editor, who may do more than it may.
        let person = claim(&mut eve, &[ada.id, ben.id]);
        heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        for node in [&ada, &ben, &eve] {
            assert_eq!(node.role(eve.id), Some(Role::Reader), "it is no owner");
            assert_eq!(node.role(ada.id), Some(Role::Owner));
            assert_eq!(node.role(ben.id), Some(Role::Editor));
        }
        assert_eq!(devices(&ada, person), [eve.id]);
        assert_eq!(devices(&ben, person), [eve.id]);
        set_role(&mut ada, ben.id, Role::Owner);
        heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        assert_eq!(ada.role(ben.id), Some(Role::Owner));
        assert_eq!(ada.role(eve.id), Some(Role::Reader));
        // What is meant for the one that lists them does not reach them.
        set_role(&mut ada, eve.id, Role::Courier);
        set_role(&mut ada, eve.id, Role::Editor);
        heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        let (of_ada, of_ben) = (ada.id, ben.id);
        for listed in [of_ada, of_ben] {
            eve.try_revoke(person, listed).unwrap();
        }
        eve.follow(person);
        heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        assert_eq!(ada.role(eve.id), Some(Role::Editor));
        ada.remove_member(eve.id).unwrap();
        heal_all(&mut [&mut ada, &mut ben, &mut eve]);
        for node in [&ada, &ben] {
            assert_eq!(node.role(eve.id), None);
            for owner in [of_ada, of_ben] {
                assert_eq!(node.role(owner), Some(Role::Owner));
            }
        }
    }
}

/// A space with an owner, two editors, and one that was removed.
fn with_one_removed() -> [Node; 4] {
    let [mut ada, mut ben, mut dan, mut eve] = nodes();
    let members = [ben.member(), dan.member(), eve.member()].map(|one| (one, Role::Editor));
    ada.create(Settings::with_history(), &members);
    for node in [&mut ben, &mut dan, &mut eve] {
        node.space = ada.space;
    }
    sync(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    ada.remove(dan.member());
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    [ada, ben, dan, eve]
}

/// A person is out by the key of a removed member that it lists. The owners, which it lists too, are not.
#[test]
fn who_is_out_takes_nobody_else_with_it() {
    let [mut ada, mut ben, dan, mut eve] = with_one_removed();
    let person = claim(&mut eve, &[ada.id, ben.id]);
    heal_all(&mut [&mut ada, &mut ben, &mut eve]);
    list(&mut eve, person, &[dan.id]);
    heal_all(&mut [&mut ada, &mut ben, &mut eve]);
    for node in [&ada, &ben] {
        assert_eq!(node.role(ada.id), Some(Role::Owner));
        assert_eq!(node.role(ben.id), Some(Role::Editor));
        assert_eq!((node.role(dan.id), node.role(eve.id)), (None, None));
        assert_eq!(devices(node, person), []);
    }
    ada.publish("for both");
    sync(&mut [&mut ada, &mut ben, &mut eve]);
    assert!(ben.reads("for both") && !eve.reads("for both"));
}

/// It would be out at once. Its device stays a member by itself, and the removed one comes back to nothing.
#[test]
fn a_person_that_lists_a_removed_member_is_not_admitted() {
    let [mut ada, mut ben, mut dan, mut eve] = with_one_removed();
    let person = claim(&mut eve, &[ada.id, ben.id, dan.id]);
    heal_all(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    for node in [&ada, &ben, &eve] {
        assert_eq!(node.role(ada.id), Some(Role::Owner));
        assert_eq!(node.role(ben.id), Some(Role::Editor));
        assert_eq!(node.role(eve.id), Some(Role::Editor));
        assert_eq!(node.role(dan.id), None);
        assert_eq!(devices(node, person), []);
    }
    let before = ada.topic.ops.len();
    heal_all(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    assert_eq!(ada.topic.ops.len(), before, "nobody tries again");
    ada.publish("for three");
    sync(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    assert!(ben.reads("for three") && eve.reads("for three") && !dan.reads("for three"));
}

/// Of two persons that list a key it belongs to the one that it names, at all members, in any order of
/// arrival.
#[test]
fn a_key_that_two_persons_list_is_of_the_one_it_names() {
    let [mut ada, mut ben, mut dan, mut eve, mut late, mut later] = nodes();
    let others = [ben.member(), dan.member(), eve.member()];
    let readers = [late.member(), later.member()];
    let editors = others.map(|one| (one, Role::Editor));
    let readers = readers.map(|one| (one, Role::Reader));
    ada.create(
        Settings::with_history(),
        &[&editors[..], &readers[..]].concat(),
    );
    for node in [&mut ben, &mut dan, &mut eve, &mut late, &mut later] {
        node.space = ada.space;
    }
    sync(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    let of_ben = claim(&mut ben, &[dan.id]);
    let of_eve = claim(&mut eve, &[dan.id]);
    heal_all(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    let space = ada.s();
    for node in [&ada, &dan] {
        assert_eq!(node.spaces.person_of(&space, &dan.id), None);
        assert_eq!(devices(node, of_ben), [ben.id]);
        assert_eq!(devices(node, of_eve), [eve.id]);
    }
    let card = ben.spaces.card(of_ben).unwrap();
    dan.spaces.take_card(&card).unwrap();
    dan.follow(of_ben);
    heal_all(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    let all = ops(&ada);
    while late.topic.ops.len() < ada.topic.ops.len() {
        deliver(&mut late, all.iter().rev());
    }
    deliver(&mut later, all.iter());
    for node in [&ada, &late, &later] {
        assert_eq!(node.spaces.person_of(&space, &dan.id), Some(of_ben));
        assert_eq!(devices(node, of_eve), [eve.id]);
        assert_eq!(node.spaces.persons(&space), ada.spaces.persons(&space));
    }
    // A role for the key is one for that person, and for nobody else.
    set_role(&mut ada, dan.id, Role::Reader);
    heal_all(&mut [&mut ada, &mut ben, &mut dan, &mut eve]);
    assert_eq!(ada.role(ben.id), Some(Role::Reader));
    assert_eq!(ada.role(eve.id), Some(Role::Editor));
}

/// Others cannot know whether a silent key agreed to be listed. The person can be named in any case.
#[test]
fn a_key_that_is_listed_and_silent_is_named_by_its_person() {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    ben2.space = ada.space;
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    let person = claim(&mut ben, &[ben2.id]);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.role(ben2.id), Some(Role::Editor), "it is a member");
    let refused = Err(LocalError::ByPerson(person));
    assert_eq!(ada.remove_member(ben2.id), refused);
    let id = ben2.id;
    let set = ada.try_do(|spaces, s, desk| spaces.set_member_role(s, id, Role::Owner, desk));
    assert_eq!(set, refused);
    // Its own device knows, and says so once.
    let card = ben.spaces.card(person).unwrap();
    ben2.spaces.take_card(&card).unwrap();
    let before = ben2.topic.ops.len();
    ben2.follow(person);
    ben2.follow(person);
    assert_eq!(ben2.topic.ops.len(), before + 1);
    assert_eq!(ben2.pending(person), []);
    sync(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(devices(&ada, person).len(), 2);
    ada.remove_member(ben2.id).unwrap();
    assert_eq!((ada.role(ben.id), ada.role(ben2.id)), (None, None));
    // By its person, it is removed in any case.
    ada.try_do(|spaces, s, desk| spaces.add_person(s, person, Role::Reader, desk))
        .unwrap();
    assert_eq!(ada.role(ben2.id), Some(Role::Reader));
    ada.try_do(|spaces, s, desk| spaces.remove_person(s, person, desk))
        .unwrap();
    assert_eq!((ada.role(ben.id), ada.role(ben2.id)), (None, None));
    let gone = ada.try_do(|spaces, s, desk| spaces.remove_person(s, person, desk));
    assert_eq!(gone, Err(LocalError::NoDevice));
}
