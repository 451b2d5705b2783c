//! `vectors/receipts.json`: what asks for a receipt and what gives one.

use p2panda_core::Label;
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{Level, Tag};
use serde_json::Value;

use crate::{encoded, hex, list, load, payload, tampered, text};

fn message(entry: &Value) -> Message {
    let overlay = Tag::from_bytes(hex(&entry["overlay"]).as_ref().try_into().unwrap());
    let height = u32::try_from(entry["height"].as_u64().unwrap()).unwrap();
    let label = entry.get("label");
    let label = label.map(|label| Label::from_bytes(hex(label).as_ref().try_into().unwrap()));
    match text(&entry["message"]) {
        "confirm" => Message::Confirm {
            overlay,
            label,
            height,
        },
        "stored" => {
            let check = hex(&entry["check"]).as_ref().try_into().unwrap();
            let level = Level { height, check };
            Message::Stored {
                overlay,
                label,
                level,
            }
        }
        other => panic!("no message: {other}"),
    }
}

#[test]
fn every_receipt_has_the_bytes_of_the_vectors() {
    for entry in list(&load("receipts.json")["messages"]) {
        let (message, frame) = (message(entry), hex(&entry["frame"]));
        let name = text(&entry["name"]);
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
    }
}

#[test]
fn every_payload_of_a_receipt_is_judged_as_the_vectors_say() {
    for entry in list(&load("receipts.json")["payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"])) {
            Ok(Message::Confirm { .. }) => "confirm",
            Ok(Message::Stored { .. }) => "stored",
            Ok(_) => "another message",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn tampered_receipts_never_panic() {
    for entry in list(&load("receipts.json")["messages"]) {
        for changed in tampered(&payload(&hex(&entry["frame"]))) {
            if let Ok(message) = Message::decode(changed) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
        }
    }
}
