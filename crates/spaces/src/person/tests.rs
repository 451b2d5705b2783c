//! Messages about persons that the library does not write, but others might.

use p2panda_core::SigningKey;
use p2panda_groups::{Access, Action, GroupId, Member};

use crate::native_world::{Node, heal_all, nodes, sync};
use crate::sealed::Note;
use crate::{Event, Refusal, Role, Settings};

/// An owner, and an editor that has a person.
fn world() -> ([Node; 2], GroupId) {
    let [mut ada, mut ben] = nodes();
    let members = [(ben.member(), Role::Editor)];
    ada.create(Settings::with_history(), &members);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    let made = ben.try_act(|spaces, desk| spaces.create_person(&[], desk));
    let person = made.unwrap().0;
    ([ada, ben], person)
}

/// Says of which person it is a device, with operations on a group.
fn say(node: &mut Node, person: GroupId, of: GroupId) {
    node.try_do(|spaces, s, desk| {
        let carried = spaces.groups.heads_of(&[of]);
        spaces.notes = vec![Note::Person(person)];
        spaces.plain_with(s, false, &carried, desk)?;
        Ok(Vec::new())
    })
    .unwrap();
}

fn refusals(node: &Node) -> Vec<Refusal> {
    let refusal = |event: &Event| match event {
        Event::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    };
    node.events.iter().filter_map(refusal).collect()
}

/// Checks that what changes members comes with a pointer, and with secrets.
#[test]
fn a_person_that_is_in_is_not_introduced_again() {
    let ([mut ada, mut ben], person) = world();
    say(&mut ben, person, person);
    sync(&mut [&mut ada, &mut ben]);
    heal_all(&mut [&mut ada, &mut ben]);
    assert_eq!(refusals(&ada), []);
    let third = SigningKey::from_bytes(&[9; 32]).verifying_key();
    ben.try_act(|spaces, desk| spaces.add_device(person, third, desk))
        .unwrap();
    say(&mut ben, person, person);
    sync(&mut [&mut ada, &mut ben]);
    assert_eq!(refusals(&ada), [Refusal::Operation]);
    assert!(!ada.members().contains_key(&third));
}

#[test]
fn operations_on_another_group_are_no_introduction() {
    let ([mut ada, mut ben], person) = world();
    let made = ben.try_act(|spaces, desk| spaces.create_person(&[], desk));
    say(&mut ben, person, made.unwrap().0);
    sync(&mut [&mut ada, &mut ben]);
    assert_eq!(refusals(&ada), [Refusal::Malformed]);
    // Two persons in one message.
    let both = [Note::Person(person), Note::Person(person)];
    ben.try_do(|spaces, s, desk| {
        spaces.notes = both.to_vec();
        spaces.plain(s, false, desk)?;
        Ok(Vec::new())
    })
    .unwrap();
    sync(&mut [&mut ada, &mut ben]);
    assert_eq!(refusals(&ada), [Refusal::Malformed, Refusal::Malformed]);
}

#[test]
fn a_claim_by_somebody_else_takes_nobody_in() {
    let [mut ada, mut ben, mut cai] = nodes();
    let members = [(ben.member(), Role::Editor), (cai.member(), Role::Editor)];
    ada.create(Settings::with_history(), &members);
    sync(&mut [&mut ada, &mut ben, &mut cai]);
    let made = ben.try_act(|spaces, desk| spaces.create_person(&[], desk));
    let person = made.unwrap().0;
    let card = ben.spaces.card(person).unwrap();
    cai.spaces.take_card(&card).unwrap();
    say(&mut cai, person, person);
    sync(&mut [&mut ada, &mut ben, &mut cai]);
    assert!(ada.is_healthy(), "there is nothing to do");
    // A group in which the author does not decide is not a person.
    let mut members = vec![(cai.member(), Access::Read)];
    members.push((ada.member(), Access::Manage));
    let members: Vec<(Member, Role)> = members
        .into_iter()
        .map(|(member, access)| (member, access.into()))
        .collect();
    let made = cai.try_act(|spaces, desk| spaces.create_group(&members, desk));
    let group = made.unwrap().0;
    say(&mut cai, group, group);
    sync(&mut [&mut ada, &mut ben, &mut cai]);
    assert!(ada.is_healthy(), "there is nothing to do");
    assert_eq!(ada.members().len(), 3);
}

/// Two devices say so at the same time, the second one with more.
#[test]
fn an_introduction_during_another_brings_all_devices() {
    let ([mut ada, mut ben], person) = world();
    let mut third = Node::new(9);
    third.announce();
    sync(&mut [&mut ada, &mut ben, &mut third]);
    let mut cai = Node::new(8);
    cai.announce();
    sync(&mut [&mut ada, &mut cai, &mut ben]);
    ada.add(cai.member(), Role::Editor);
    cai.space = ada.space;
    third.space = ada.space;
    sync(&mut [&mut ada, &mut ben, &mut cai, &mut third]);
    // Both are members by themselves, and become devices of one person.
    let id = cai.id;
    ben.try_act(|spaces, desk| spaces.add_device(person, id, desk))
        .unwrap();
    say(&mut ben, person, person);
    cai.spaces
        .take_card(&ben.spaces.card(person).unwrap())
        .unwrap();
    let id = third.id;
    cai.try_act(|spaces, desk| spaces.add_device(person, id, desk))
        .unwrap();
    say(&mut cai, person, person);
    sync(&mut [&mut ada, &mut ben]);
    ada.heal();
    sync(&mut [&mut ada, &mut ben, &mut cai, &mut third]);
    heal_all(&mut [&mut ada, &mut ben, &mut cai, &mut third]);
    assert!(ada.is_healthy() && cai.is_healthy());
    assert_eq!(ada.members().get(&third.id), Some(&Role::Editor));
    assert_eq!(third.members(), ada.members());
    ada.publish("for all");
    sync(&mut [&mut ada, &mut ben, &mut cai, &mut third]);
    for node in [&ben, &cai, &third] {
        assert!(node.reads("for all"));
    }
}

#[test]
fn a_hand_over_of_the_space_is_no_introduction() {
    let ([mut ada, mut ben], _) = world();
    let space = ada.s();
    let group = ada.spaces.group(&space).unwrap();
    let member = ben.member();
    let access = Access::Read;
    ada.try_act(|spaces, desk| spaces.change_group(group, Action::Demote { member, access }, desk))
        .unwrap();
    say(&mut ada, group, group);
    sync(&mut [&mut ada, &mut ben]);
    assert_eq!(refusals(&ben), [Refusal::Operation]);
    assert_eq!(ben.members().get(&ben.id), Some(&Role::Editor));
}
