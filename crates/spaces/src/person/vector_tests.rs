//! `vectors/spaces-persons.json`: what devices say of their persons, and what a new device is given.

use p2panda_core::Topic;
use p2panda_groups::GroupId;
use serde_json::{Value, json};

use crate::native_world::{Node, Op, heal_all, nodes, ops, sync};
use crate::recorded::{hex, is_recorded};
use crate::sealed::{Body, GroupOperation, Note, Structure, open};
use crate::{Log, PersonCard, Role, Settings, SpaceId, Telling};

/// The second node becomes a device of the person of the first.
fn link(old: &mut Node, new: &mut Node, person: GroupId) {
    let device = new.id;
    old.try_act(|spaces, desk| spaces.add_device(person, device, desk))
        .unwrap();
    new.spaces
        .take_card(&old.spaces.card(person).unwrap())
        .unwrap();
    new.space = old.space;
    old.try_do(|spaces, s, desk| spaces.follow_person(s, person, desk))
        .unwrap();
}

fn person_of(node: &mut Node) -> GroupId {
    let made = node.try_act(|spaces, desk| spaces.create_person(&[], desk));
    made.unwrap().0
}

/// An owner, and a person with two devices that introduces itself, is admitted, and leaves.
fn comes_and_goes() -> (Node, Node, GroupId) {
    let [mut ada, mut ben, mut ben2] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    let person = person_of(&mut ben);
    link(&mut ben, &mut ben2, person);
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    let me = ben.id;
    ben.try_do(|spaces, s, desk| spaces.remove_members(s, &[me], desk))
        .unwrap();
    heal_all(&mut [&mut ada, &mut ben, &mut ben2]);
    assert_eq!(ada.members().len(), 1);
    (ada, ben, person)
}

fn told(number: u8) -> (Topic, SpaceId) {
    (
        Topic::from_bytes([number; 32]),
        SpaceId::from_bytes([number + 100; 32]),
    )
}

/// The space of the devices of a person, in which both tell each other of spaces.
fn devices() -> (Node, GroupId) {
    let [mut ada, mut ada2] = nodes();
    let person = person_of(&mut ada);
    let owner = ada.spaces.owner(&person);
    ada.create(Settings::with_history(), &owner);
    link(&mut ada, &mut ada2, person);
    sync(&mut [&mut ada, &mut ada2]);
    let [(one, one_id), (two, two_id)] = [told(1), told(2)];
    let both = [Telling::Joined(one, one_id), Telling::Joined(two, two_id)];
    ada.try_do(|spaces, s, desk| spaces.tell_devices(s, &both, desk))
        .unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    let key = ada.id;
    let left = [
        Telling::Left(one, one_id),
        Telling::Recovery(key, 1_700_000_000),
    ];
    ada2.try_do(|spaces, s, desk| spaces.tell_devices(s, &left, desk))
        .unwrap();
    sync(&mut [&mut ada, &mut ada2]);
    (ada, person)
}

fn note(note: &Note) -> Value {
    match note {
        Note::Person(person) => json!(["person", hex(person.as_bytes())]),
        Note::Leaves => json!(["leaves"]),
        Note::Joined(topic, space) => {
            json!(["joined", hex(topic.as_bytes()), hex(space.as_bytes())])
        }
        Note::Left(topic, space) => json!(["left", hex(topic.as_bytes()), hex(space.as_bytes())]),
        Note::Recovery(key, written) => json!(["recovery", hex(key.as_bytes()), written]),
        _ => json!(["other"]),
    }
}

/// A control message, if it says something of persons.
fn message(node: &Node, op: &Op) -> Option<Value> {
    let space = node.s();
    let Ok(Body::Control(envelope)) = Body::decode(&op.body) else {
        return None;
    };
    let (_, native) = node.spaces.native(&space).unwrap();
    let key = native.ring.get(&envelope.key).unwrap();
    let bound = ("control", &space, &op.author);
    let plain = open(key, &envelope.nonce, bound, &envelope.sealed).unwrap();
    let structure = Structure::decode(&plain).unwrap();
    assert_eq!(structure.encode(), plain);
    let carried = structure.operations.iter().map(|op| hex(op.id.as_bytes()));
    (!structure.notes.is_empty()).then(|| {
        json!({
            "space": hex(space.as_bytes()),
            "author": hex(op.author.as_bytes()),
            "structure_key": hex(key.as_bytes()),
            "body": hex(&op.body),
            "plaintext": hex(&plain),
            "operations": carried.collect::<Vec<_>>(),
            "notes": structure.notes.iter().map(note).collect::<Vec<_>>(),
        })
    })
}

fn card(node: &Node, person: GroupId, of_devices: Option<(Topic, SpaceId)>) -> Value {
    let mut card = node.spaces.card(person).unwrap();
    card.spaces = vec![told(1), told(2)];
    card.of_devices = of_devices;
    let bytes = card.encode();
    assert_eq!(PersonCard::decode(&bytes).unwrap(), card);
    let named =
        |(topic, space): &(Topic, SpaceId)| json!([hex(topic.as_bytes()), hex(space.as_bytes())]);
    let id = |bytes: &Vec<u8>| hex(GroupOperation::decode(bytes).unwrap().id.as_bytes());
    let devices = node.spaces.devices(&person);
    json!({
        "bytes": hex(&bytes),
        "person": hex(person.as_bytes()),
        "operations": card.operations.iter().map(id).collect::<Vec<_>>(),
        "devices": devices.iter().map(|key| hex(key.as_bytes())).collect::<Vec<_>>(),
        "spaces": card.spaces.iter().map(named).collect::<Vec<_>>(),
        "of_devices": card.of_devices.as_ref().map(named),
    })
}

fn made() -> Value {
    let (ada, ben, person) = comes_and_goes();
    let (first, own) = devices();
    let said = |node: &Node| -> Vec<Value> {
        let all = ops(node).into_iter().filter(|op| op.log == Log::Control);
        all.filter_map(|op| message(node, &op)).collect()
    };
    let messages: Vec<Value> = said(&ada).into_iter().chain(said(&first)).collect();
    let of_devices = (Topic::from_bytes([9; 32]), first.s());
    json!({
        "format": "docs/protocol/spaces.md 14.4",
        "generator": "crates/spaces/src/person/vector_tests.rs",
        "messages": messages,
        "cards": [card(&ben, person, None), card(&first, own, Some(of_devices))],
    })
}

#[test]
fn what_devices_say_has_the_bytes_of_the_vector() {
    let made = made();
    is_recorded("spaces-persons.json", &made);
    let notes = made["messages"].as_array().unwrap().iter();
    let kinds = notes.flat_map(|message| message["notes"].as_array().unwrap());
    let kinds: std::collections::BTreeSet<&str> =
        kinds.filter_map(|note| note[0].as_str()).collect();
    assert_eq!(
        kinds,
        ["joined", "leaves", "left", "person", "recovery"].into()
    );
}

/// Only owners say in a space which spaces their person is in: of others it has no effect.
#[test]
fn a_note_to_devices_by_no_owner_is_refused() {
    let [mut ada, mut ben] = nodes();
    ada.create(Settings::with_history(), &[(ben.member(), Role::Editor)]);
    ben.space = ada.space;
    sync(&mut [&mut ada, &mut ben]);
    ben.try_do(|spaces, s, desk| {
        let (topic, space) = told(1);
        spaces.notes = vec![Note::Joined(topic, space)];
        spaces.plain(s, false, desk)?;
        Ok(Vec::new())
    })
    .unwrap();
    sync(&mut [&mut ada, &mut ben]);
    assert!(ada.spaces.told_spaces(&ada.s()).is_empty());
}
