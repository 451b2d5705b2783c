//! `vectors/spaces-rotation.json`: what owners ask for, and what of it counts.

use p2panda_core::cbor::{self, Reader};
use p2panda_core::{Hash, SigningKey, VerifyingKey};
use p2panda_encryption::Secret;
use p2panda_groups::Action;
use serde_json::Value;

use super::super::body::{self, Body, Envelope, KeyId, Structure};
use super::{Note, asked_by, days_of};
use crate::graph::{self, Graph, Kind};
use crate::native_world::{Node, nodes, sync};
use crate::recorded::{hex, recorded, unhex};
use crate::{Event, Refusal, Role, Settings, SpaceId};

const FILE: &str = "spaces-rotation.json";

fn list(values: &Value) -> std::slice::Iter<'_, Value> {
    values.as_array().unwrap().iter()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().unwrap()
}

fn days(value: &Value) -> Option<u32> {
    value.as_u64().map(|days| days.try_into().unwrap())
}

fn notes(values: &Value) -> Vec<Note> {
    let note = |value: &Value| match value[0].as_u64() {
        Some(3) => Note::Name(value[1].as_str().unwrap().to_owned()),
        Some(11) => Note::Rotation(days(&value[1]).unwrap()),
        _ => panic!("{value}"),
    };
    list(values).map(note).collect()
}

fn read_note(bytes: &[u8]) -> Option<u32> {
    let mut r = Reader::checked(bytes, cbor::VALUE).ok()?;
    let note = Note::read(&mut r).ok()?;
    r.finish().ok()?;
    asked_by(&[note])
}

#[test]
fn notes_of_a_rotation_by_age_are_read_as_recorded() {
    for vector in list(&recorded(FILE)["notes"]) {
        let (bytes, expected) = (unhex(&vector["bytes"]), days(&vector["days"]));
        assert_eq!(read_note(&bytes), expected, "{}", vector["name"]);
        if let Some(days) = expected {
            let mut w = cbor::Writer::new();
            Note::Rotation(days).write(&mut w);
            assert_eq!(w.into_bytes(), bytes, "{}", vector["name"]);
        }
    }
}

#[test]
fn messages_with_a_rotation_by_age_have_the_recorded_bytes() {
    for vector in list(&recorded(FILE)["messages"]) {
        let name = &vector["name"];
        let space = SpaceId::from_bytes(array(&vector["space"]));
        let author = VerifyingKey::from_bytes(array(&vector["author"])).unwrap();
        let key = Secret::from_bytes(array(&vector["structure_key"]));
        let bound = ("control", &space, &author);
        let Ok(Body::Control(envelope)) = Body::decode(&unhex(&vector["body"])) else {
            panic!("{name} is no control message");
        };
        assert_eq!(envelope.key, KeyId::of(&key), "{name}");
        let plain = body::open(&key, &envelope.nonce, bound, &envelope.sealed).unwrap();
        assert_eq!(hex(&plain), vector["plaintext"], "{name}");
        let structure = Structure::decode(&plain);
        if vector["days"] == "Malformed" {
            assert!(structure.is_err(), "{name}");
            continue;
        }
        let structure = structure.unwrap();
        assert_eq!(asked_by(&structure.notes), days(&vector["days"]), "{name}");
        let nonce = array(&vector["nonce"]);
        let again = Envelope {
            boxes: Vec::new(),
            key: KeyId::of(&key),
            nonce,
            sealed: body::seal(&key, &nonce, bound, &structure.encode()).unwrap(),
        };
        assert_eq!(
            hex(&Body::Control(again).encode()),
            vector["body"],
            "{name}"
        );
    }
}

/// The messages of a vector; ids have the order of the messages, or the reverse one.
fn graph_of(messages: &Value, is_reversed: bool) -> Graph {
    let id = |name: &Value| {
        let letter = name.as_str().unwrap().as_bytes()[0];
        Hash::from_bytes([if is_reversed { !letter } else { letter }; 32])
    };
    let mut graph = Graph::default();
    for message in list(messages) {
        let letter = message["author"].as_str().unwrap().as_bytes()[0];
        let author = SigningKey::from_bytes(&[letter; 32]).verifying_key();
        let named: Vec<Hash> = list(&message["names"]).map(id).collect();
        let node = graph::Node {
            place: graph.place(author, &named),
            kind: match message["refused"].as_bool() {
                Some(true) => Kind::Refused,
                _ => Kind::Plain,
            },
            notes: notes(&message["notes"]),
        };
        graph.insert(id(&message["name"]), node);
    }
    graph
}

#[test]
fn of_several_notes_the_recorded_one_counts() {
    for vector in list(&recorded(FILE)["settings"]) {
        for is_reversed in [false, true] {
            let graph = graph_of(&vector["messages"], is_reversed);
            let expected = days(&vector["days"]);
            assert_eq!(days_of(&graph), expected, "{}", vector["name"]);
        }
    }
}

fn role(value: &Value) -> Role {
    match value.as_str() {
        Some("owner") => Role::Owner,
        Some("editor") => Role::Editor,
        Some("reader") => Role::Reader,
        _ => panic!("{value}"),
    }
}

/// Says it in a message without pointer, or with one to an addition.
fn say(node: &mut Node, notes: Vec<Note>, adds: Option<VerifyingKey>) {
    let said = node.try_do(|spaces, s, desk| {
        let Some(key) = adds else {
            spaces.notes = notes;
            spaces.plain(s, false, desk)?;
            return Ok(Vec::new());
        };
        let action = Action::Add {
            member: p2panda_groups::Member::Individual(key),
            access: Role::Reader.into(),
        };
        spaces.change_with(s, action, notes, desk)
    });
    said.unwrap();
}

#[test]
fn who_asks_for_rotation_by_age_is_judged_as_recorded() {
    for vector in list(&recorded(FILE)["verdicts"]) {
        let [mut a, mut b, c] = nodes();
        let at_past = role(&vector["role"]);
        a.create(Settings::with_history(), &[(b.member(), at_past)]);
        sync(&mut [&mut a, &mut b]);
        if vector["role_now"] != vector["role"] {
            a.set_role(b.member(), role(&vector["role_now"]));
        }
        let adds = vector["pointer"].as_bool().unwrap().then_some(c.id);
        say(&mut b, notes(&vector["notes"]), adds);
        sync(&mut [&mut a, &mut b]);
        let refused = |event: &Event| match event {
            Event::Refused { refusal, .. } => Some(*refusal),
            _ => None,
        };
        let refusals: Vec<Refusal> = a.events.iter().filter_map(refused).collect();
        let expected = match vector["verdict"].as_str() {
            Some("counts") => Vec::new(),
            Some("Role") => vec![Refusal::Role(Some(at_past))],
            _ => vec![Refusal::Malformed],
        };
        assert_eq!(refusals, expected, "{}", vector["name"]);
        let asked = a.spaces.rotation_days(&a.s());
        assert_eq!(asked, days(&vector["days"]), "{}", vector["name"]);
    }
}
