//! `vectors/link.json`: tags, proofs, and every frame of a link.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{NetworkId, Topic, VerifyingKey};
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::opening::payload_bytes;
use p2panda_protocol::link::{
    Farewell, Instance, LABEL, Opening, Proof, Refusal, Secret, Side, Tag,
};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::TransportInfo;
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

fn tag(value: &Value) -> Tag {
    Tag::from_bytes(hex(value).as_ref().try_into().unwrap())
}

fn tags(value: &Value) -> Vec<Tag> {
    list(value).iter().map(tag).collect()
}

fn record(value: &Value) -> TransportInfo {
    TransportInfo::decode(hex(value)).unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn control(entry: &Value) -> Message {
    let more = || entry["more"].as_bool().unwrap();
    match text(&entry["message"]) {
        "hello" => Message::Hello {
            version: number(&entry["version"]),
            instance: Instance::from_bytes(hex(&entry["instance"]).as_ref().try_into().unwrap()),
            record: (!entry["record"].is_null()).then(|| record(&entry["record"])),
        },
        "interest" => Message::Interest {
            more: more(),
            begun: tags(&entry["begun"]),
            ended: tags(&entry["ended"]),
        },
        "ask" => Message::Ask,
        "nodes" => Message::Nodes {
            more: more(),
            records: list(&entry["records"])
                .iter()
                .map(|one| {
                    let node = VerifyingKey::from_bytes(hex32(&one["node"])).unwrap();
                    (node, record(&one["record"]))
                })
                .collect(),
            members: list(&entry["members"])
                .iter()
                .map(|one| {
                    let places = list(&one["places"]).iter().map(number).collect();
                    (tag(&one["tag"]), places)
                })
                .collect(),
        },
        "gossip" => Message::Gossip {
            overlay: tag(&entry["overlay"]),
            message: hex(&entry["bytes"]),
        },
        "farewell" => Message::Farewell(match number(&entry["reason"]) {
            0 => Farewell::Stopping,
            1 => Farewell::Unneeded,
            2 => Farewell::Replaced,
            reason => Farewell::Other(reason),
        }),
        other => panic!("no message: {other}"),
    }
}

fn refuse(entry: &Value) -> Opening {
    let refusals = [Refusal::Unknown, Refusal::Full, Refusal::Stopping];
    Opening::Refuse {
        refusal: refusals[number(&entry["reason"]) as usize],
        wait: Duration::from_secs(number(&entry["wait_seconds"]).into()),
    }
}

fn opening(entry: &Value) -> Opening {
    let proof = || Proof::from_bytes(hex32(&entry["proof"]));
    match text(&entry["message"]) {
        "open" => Opening::Open {
            tag: tag(&entry["tag"]),
            proof: proof(),
        },
        "accept" => Opening::Accept(proof()),
        "refuse" => refuse(entry),
        other => panic!("no message: {other}"),
    }
}

#[test]
fn the_link_has_an_alpn_of_its_own_in_every_network() {
    let file = load("link.json");
    assert_eq!(text(&file["exporter_label_utf8"]).as_bytes(), LABEL);
    for network in list(&file["alpn"]) {
        let id = text(&network["network_id"]).parse::<NetworkId>().unwrap();
        let protocol = text(&network["protocol_id_utf8"]).as_bytes();
        assert_eq!(id.alpn(protocol)[..], hex(&network["alpn"]));
    }
}

#[test]
fn every_tag_proof_and_binding_is_that_of_the_vectors() {
    let mut seen = BTreeSet::new();
    for entry in list(&load("link.json")["names"]) {
        let secret = Secret::new(hex32(&entry["secret"]));
        let (overlay, topic) = (hex32(&entry["id"]), hex32(&entry["id"]));
        let (overlay, topic) = (Overlay::from_bytes(overlay), Topic::from_bytes(topic));
        let binding = hex32(&entry["binding"]);
        assert_eq!(secret.binding(&topic), binding);
        assert!(seen.insert(Bytes::copy_from_slice(&binding)));
        for (side, name) in [(Side::Dialler, "dialler"), (Side::Acceptor, "acceptor")] {
            let expected = &entry[name];
            let proof = Proof::from_bytes(hex32(&expected["proof"]));
            assert_eq!(secret.tag(&overlay, side), tag(&expected["tag"]));
            assert_eq!(secret.proof(&topic, side), proof);
            assert!(seen.insert(hex(&expected["tag"])) && seen.insert(hex(&expected["proof"])));
        }
    }
}

#[test]
fn every_message_of_a_link_has_the_bytes_of_the_vectors() {
    for entry in list(&load("link.json")["control"]) {
        let (message, frame) = (control(entry), hex(&entry["frame"]));
        let name = text(&entry["name"]);
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
    }
}

#[test]
fn every_frame_before_a_session_has_its_bytes() {
    for entry in list(&load("link.json")["opening"]) {
        let (opening, frame) = (opening(entry), hex(&entry["frame"]));
        let length = frame.first_chunk().copied().unwrap();
        assert_eq!(opening.encode(), frame, "{}", entry["name"]);
        assert_eq!(payload_bytes(length), Ok(frame.len() - 4));
        assert_eq!(Opening::decode(payload(&frame)), Ok(opening));
    }
}

#[test]
fn every_payload_of_a_link_is_judged_as_the_vectors_say() {
    let file = load("link.json");
    for entry in list(&file["control_payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"])) {
            Ok(Message::Hello { .. }) => "hello",
            Ok(Message::Interest { .. }) => "interest",
            Ok(Message::Ask) => "ask",
            Ok(Message::Nodes { .. }) => "nodes",
            Ok(Message::Gossip { .. }) => "gossip",
            Ok(Message::Farewell(_)) => "farewell",
            Ok(Message::Confirm { .. } | Message::Stored { .. }) => "receipt",
            Ok(Message::Blocked { .. }) => "blocked",
            Ok(Message::Skipped) => "skipped",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
    for entry in list(&file["opening_payloads"]) {
        let decoded = Opening::decode(hex(&entry["payload"]));
        let verdict = match decoded {
            Ok(Opening::Open { .. }) => "open",
            Ok(Opening::Accept(_)) => "accept",
            Ok(Opening::Refuse { .. }) => "refuse",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
        if verdict == "refuse" {
            assert_eq!(decoded, Ok(refuse(entry)), "{}", entry["name"]);
        }
    }
    for entry in list(&file["opening_lengths"]) {
        let length: [u8; 4] = hex(&entry["length"]).as_ref().try_into().unwrap();
        let is_payload = text(&entry["verdict"]) == "payload";
        assert_eq!(payload_bytes(length).is_ok(), is_payload, "{length:?}");
    }
}

#[test]
fn tampered_link_messages_never_panic() {
    let file = load("link.json");
    let short = |frame: &Bytes| frame.len() < 1_000;
    let frames = |name: &str| list(&file[name]).iter().map(|entry| hex(&entry["frame"]));
    for frame in frames("control").filter(short) {
        for changed in tampered(&payload(&frame)) {
            if let Ok(message) = Message::decode(changed) {
                // Records come back in order.
                let again = encoded(|out| message.encode(out).unwrap());
                let message = Message::decode(payload(&again)).unwrap();
                assert_eq!(encoded(|out| message.encode(out).unwrap()), again);
            }
        }
    }
    for frame in frames("opening") {
        for changed in tampered(&payload(&frame)) {
            if let Ok(opening) = Opening::decode(changed) {
                assert_eq!(Opening::decode(opening.encode().slice(4..)), Ok(opening));
            }
        }
    }
}
