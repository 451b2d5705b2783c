//! `vectors/bodies.json`: the question for bodies, the end of its answer, and what is neither.

use p2panda_core::{LogId, LogRange, VerifyingKey};
use p2panda_protocol::sync::{Absence, Message};
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

fn range(value: &Value) -> LogRange {
    let number = |name: &str| u32::try_from(value[name].as_u64().unwrap()).unwrap();
    LogRange {
        author: VerifyingKey::from_bytes(hex32(&value["author"])).unwrap(),
        log: LogId::from_bytes(hex32(&value["log_id"])),
        after: number("first").checked_sub(1),
        until: number("last"),
    }
}

fn message(entry: &Value) -> Message {
    let ranges = list(&entry["ranges"]).iter();
    match text(&entry["message"]) {
        "wanted" => Message::Wanted(ranges.map(range).collect()),
        "absent" => {
            let absence = |one: &Value| match text(&one["reason"]) {
                "dropped" => Absence::Dropped,
                _ => Absence::Lacking,
            };
            Message::Absent(ranges.map(|one| (range(one), absence(one))).collect())
        }
        other => panic!("no message: {other}"),
    }
}

#[test]
fn every_message_about_bodies_has_the_bytes_of_the_vectors() {
    for entry in list(&load("bodies.json")["messages"]) {
        let (message, frame) = (message(entry), hex(&entry["frame"]));
        let name = text(&entry["name"]);
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
        if let Some(parts) = entry["annotated"].as_array() {
            let parts: Vec<u8> = parts.iter().flat_map(|part| hex(&part["bytes"])).collect();
            assert_eq!(parts, frame, "{name}");
        }
    }
}

#[test]
fn every_payload_about_bodies_is_judged_as_the_vectors_say() {
    for entry in list(&load("bodies.json")["payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"])) {
            Ok(Message::Wanted(_)) => "wanted",
            Ok(Message::Absent(_)) => "absent",
            Ok(_) => "another message",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn tampered_messages_about_bodies_never_panic() {
    for entry in list(&load("bodies.json")["messages"]) {
        for changed in tampered(&payload(&hex(&entry["frame"]))) {
            if let Ok(message) = Message::decode(changed) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
        }
    }
}
