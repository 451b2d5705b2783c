//! `vectors/announcements.json`: what is announced, fetched and preferred, and what is neither.

use p2panda_core::VerifyingKey;
use p2panda_protocol::sync::{Announced, Entries, Message, Prefer};
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

fn key(value: &Value) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(hex32(value))
}

fn entries(value: &Value) -> Entries {
    let number = |name: &str| u32::try_from(value[name].as_u64().unwrap()).unwrap();
    Entries {
        author: key(&value["author"]),
        first: number("first"),
        last: number("last"),
    }
}

fn announced(value: &Value) -> Announced {
    Announced {
        entries: entries(value),
        check: hex(&value["check"]).as_ref().try_into().unwrap(),
    }
}

fn message(entry: &Value) -> Message {
    let ranges = || list(&entry["entries"]).iter();
    let authors = |name: &str| list(&entry[name]).iter().map(key).collect();
    match text(&entry["message"]) {
        "announce" => Message::Announce(ranges().map(announced).collect()),
        "fetch" => Message::Fetch(ranges().map(entries).collect()),
        "prefer" => Message::Prefer(Prefer {
            rest: entry["rest"].as_bool(),
            begin: authors("begin"),
            end: authors("end"),
        }),
        other => panic!("no message: {other}"),
    }
}

#[test]
fn every_announcement_has_the_bytes_of_the_vectors() {
    for entry in list(&load("announcements.json")["messages"]) {
        let (message, frame) = (message(entry), hex(&entry["frame"]));
        let name = text(&entry["name"]);
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
    }
}

#[test]
fn every_announcement_is_judged_as_the_vectors_say() {
    for entry in list(&load("announcements.json")["payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"])) {
            Ok(Message::Announce(_)) => "announce",
            Ok(Message::Fetch(_)) => "fetch",
            Ok(Message::Prefer(_)) => "prefer",
            Ok(_) => "another message",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn tampered_announcements_never_panic() {
    for entry in list(&load("announcements.json")["messages"]) {
        for changed in tampered(&payload(&hex(&entry["frame"]))) {
            if let Ok(message) = Message::decode(changed) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
        }
    }
}
