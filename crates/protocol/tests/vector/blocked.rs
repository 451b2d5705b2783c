//! `vectors/blocked.json`: what says that a quota blocks logs.

use p2panda_core::{Label, VerifyingKey};
use p2panda_protocol::link::message::Message;
use p2panda_protocol::link::{AuthorLog, Block, BlockChange, Quota, Tag};
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn entry(value: &Value) -> BlockChange {
    let label = &value["label"];
    let log = AuthorLog {
        author: VerifyingKey::from_bytes(hex32(&value["author"])).unwrap(),
        label: (!label.is_null()).then(|| Label::from_bytes(hex32(label))),
    };
    let at = value["at"].as_array();
    let block = at.map(|at| Block {
        height: number(&at[0]),
        quota: match number(&at[1]) {
            1 => Quota::All,
            2 => Quota::Topic,
            3 => Quota::Author,
            other => Quota::Other(other),
        },
    });
    (log, block)
}

#[test]
fn every_message_of_blocked_logs_has_the_bytes_of_the_vectors() {
    for vector in list(&load("blocked.json")["messages"]) {
        let message = Message::Blocked {
            overlay: Tag::from_bytes(hex(&vector["overlay"]).as_ref().try_into().unwrap()),
            entries: list(&vector["entries"]).iter().map(entry).collect(),
        };
        let (frame, name) = (hex(&vector["frame"]), text(&vector["name"]));
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
        for changed in tampered(&payload(&frame)) {
            if let Ok(message) = Message::decode(changed) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
        }
    }
}

#[test]
fn every_payload_of_blocked_logs_is_judged_as_the_vectors_say() {
    for vector in list(&load("blocked.json")["payloads"]) {
        let verdict = match Message::decode(hex(&vector["payload"])) {
            Ok(Message::Blocked { .. }) => "blocked",
            Ok(_) => "another message",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&vector["verdict"]), "{}", vector["name"]);
    }
}
