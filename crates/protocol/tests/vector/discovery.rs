//! `network-discovery.json`.

use std::collections::BTreeSet;

use bytes::Bytes;
use p2panda_core::{HybridTimestamp, SigningKey};
use p2panda_protocol::discovery::message::{Message, Role, salted_hash};
use p2panda_protocol::discovery::{Discovery, Input, Local, Output};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::TransportInfo;
use p2panda_protocol::time::Time;
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered};

const FILE: &str = "network-discovery.json";

fn overlays(value: &Value) -> BTreeSet<Overlay> {
    list(value)
        .iter()
        .map(|topic| Overlay::from_bytes(hex32(topic)))
        .collect()
}

fn framed(message: &Message) -> Bytes {
    encoded(|out| message.encode(out).unwrap())
}

#[test]
fn every_salted_hash_vector() {
    let fixed = &load(FILE)["fixed"];
    let (alice, bob) = (hex32(&fixed["alice_half"]), hex32(&fixed["bob_half"]));
    for entry in list(&fixed["hashes"]) {
        let topic = Overlay::from_bytes(hex32(&entry["topic"]));
        for (role, name) in [(Role::Alice, "sent_by_alice"), (Role::Bob, "sent_by_bob")] {
            assert_eq!(salted_hash(&topic, &alice, &bob, role), hex32(&entry[name]));
        }
    }
}

#[test]
fn every_discovery_message_vector() {
    let file = load(FILE);
    let fixed = &file["fixed"];
    let (alice, bob) = (hex32(&fixed["alice_half"]), hex32(&fixed["bob_half"]));
    for (name, entry) in file["messages_with_fixed_values"].as_object().unwrap() {
        println!("{name}");
        let hash = |by: &str| hex32(&fixed["hashes"][0][by]);
        let expected = match name.as_str() {
            "1_alice_salt_half" => Some(Message::Salt(alice)),
            "2_bob_salt_half_and_hashed_data_no_topics" => {
                Some(Message::SaltAndHashes(bob, BTreeSet::new()))
            }
            "2_bob_salt_half_and_hashed_data_one_topic" => Some(Message::SaltAndHashes(
                bob,
                BTreeSet::from([hash("sent_by_bob")]),
            )),
            "3_alice_hashed_data_no_topics" => Some(Message::Hashes(BTreeSet::new())),
            "3_alice_hashed_data_one_topic" => {
                Some(Message::Hashes(BTreeSet::from([hash("sent_by_alice")])))
            }
            "4_nodes_empty" => Some(Message::Nodes(Vec::new())),
            _ => None,
        };
        let frame = hex(&entry["framed"]);
        assert_eq!(payload(&frame), hex(&entry["postcard"]));
        let message = Message::decode(payload(&frame)).unwrap();
        assert_eq!(framed(&message), frame);
        match (expected, &message) {
            (Some(expected), message) => assert_eq!(*message, expected),
            (None, Message::Nodes(records)) => check_records(records),
            (None, message) => panic!("{message:?}"),
        }
    }
}

fn check_records(records: &[(p2panda_core::VerifyingKey, TransportInfo)]) {
    assert!(!records.is_empty());
    for (node, record) in records {
        assert_eq!(record.verify(node, record.timestamp().wall), Ok(()));
    }
}

#[test]
fn the_captured_discovery_session_vector() {
    let session = &load(FILE)["captured_session_upstream_alice"];
    let (alice, bob) = (hex32(&session["alice_half"]), hex32(&session["bob_half"]));
    let topics = overlays(&session["alice_topics"]);
    let hashes = topics
        .iter()
        .map(|topic| salted_hash(topic, &alice, &bob, Role::Alice));
    let hashes: BTreeSet<_> = hashes.collect();
    let sent: Vec<_> = list(&session["alice_sent_hashes_sorted"])
        .iter()
        .map(hex32)
        .collect();
    assert_eq!(hashes.into_iter().collect::<Vec<_>>(), sent);
    let theirs = hex32(&session["bob_sent_hash"]);
    let common = topics
        .iter()
        .filter(|t| salted_hash(t, &alice, &bob, Role::Bob) == theirs);
    let common: BTreeSet<_> = common.copied().collect();
    assert_eq!(common, overlays(&session["alice_result_topics"]));
    assert!(common.is_subset(&overlays(&session["bob_topics"])));
    let nodes = Message::decode(hex(&session["alice_nodes_message_postcard"])).unwrap();
    let Message::Nodes(records) = nodes else {
        panic!("no nodes")
    };
    check_records(&records);
}

/// The session's Alice speaks to our Bob.
#[test]
fn our_bob_answers_the_captured_vector_alice() {
    let session = &load(FILE)["captured_session_upstream_alice"];
    let key = SigningKey::from_bytes(&[1; 32]);
    let timestamp = HybridTimestamp::new(1, 0);
    let record = TransportInfo::sign(&key, timestamp, BTreeSet::new()).unwrap();
    let node = key.verifying_key();
    let local = Local {
        node,
        record,
        overlays: overlays(&session["bob_topics"]),
    };
    let mut bob = Discovery::bob(local, Draws::from_seed([5; 32]), Time::ZERO);

    let alice_half = hex32(&session["alice_half"]);
    bob.handle(Input::Bytes(framed(&Message::Salt(alice_half))), Time::ZERO);
    let outputs: Vec<_> = std::iter::from_fn(|| bob.poll()).collect();
    let Some(Output::Send(frame)) = outputs.last() else {
        panic!("{outputs:?}")
    };
    let Ok(Message::SaltAndHashes(bob_half, theirs)) = Message::decode(payload(frame)) else {
        panic!("not message 1");
    };
    assert_eq!(theirs.len(), 8);
    let topics = overlays(&session["alice_topics"]);
    let hash = |topic: &Overlay, role| salted_hash(topic, &alice_half, &bob_half, role);
    let common: BTreeSet<_> = topics
        .iter()
        .filter(|t| theirs.contains(&hash(t, Role::Bob)))
        .copied()
        .collect();
    assert_eq!(common, overlays(&session["alice_result_topics"]));

    let hashes = topics
        .iter()
        .map(|topic| hash(topic, Role::Alice))
        .collect();
    bob.handle(Input::Bytes(framed(&Message::Hashes(hashes))), Time::ZERO);
    assert_eq!(bob.poll(), Some(Output::Nodes(common.clone())));
    bob.handle(Input::Nodes(Vec::new()), Time::ZERO);
    assert!(matches!(bob.poll(), Some(Output::Send(_))));
    let nodes = Message::decode(hex(&session["alice_nodes_message_postcard"])).unwrap();
    bob.handle(Input::Bytes(framed(&nodes)), Time::ZERO);
    let Some(Output::Finished(outcome)) = bob.poll() else {
        panic!("not finished")
    };
    assert_eq!(outcome.common, common);
    assert_eq!(Message::Nodes(outcome.records), nodes);
}

#[test]
fn tampered_discovery_messages_never_panic() {
    let file = load(FILE);
    for entry in file["messages_with_fixed_values"]
        .as_object()
        .unwrap()
        .values()
    {
        for changed in tampered(&hex(&entry["postcard"])) {
            let Ok(message) = Message::decode(changed) else {
                continue;
            };
            let again = Message::decode(payload(&framed(&message)));
            assert!(matches!(message, Message::Nodes(_)) || again == Ok(message));
        }
        for changed in tampered(&hex(&entry["framed"])) {
            let key = SigningKey::from_bytes(&[1; 32]);
            let timestamp = HybridTimestamp::new(1, 0);
            let record = TransportInfo::sign(&key, timestamp, BTreeSet::new()).unwrap();
            let overlays = BTreeSet::new();
            let local = Local {
                node: key.verifying_key(),
                record,
                overlays,
            };
            let mut bob = Discovery::bob(local, Draws::from_seed([5; 32]), Time::ZERO);
            bob.handle(Input::Bytes(changed), Time::ZERO);
        }
    }
}
