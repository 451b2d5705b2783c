//! `network-records.json`: which records are refused, how they are forwarded, and which one stays.

use p2panda_core::{Timestamp, VerifyingKey};
use p2panda_protocol::book::{Book, Handover, Inserted, Source, Teller};
use p2panda_protocol::record::{RecordError, TransportInfo};
use p2panda_protocol::time::Time;
use serde_json::{Value, json};

use crate::{encoded, hex, hex32, list, load, text};

fn key(value: &Value) -> VerifyingKey {
    VerifyingKey::from_bytes(hex32(value)).unwrap()
}

fn now(value: &Value) -> Timestamp {
    Timestamp::from_micros(value["now"].as_u64().unwrap())
}

fn record(value: &Value) -> TransportInfo {
    TransportInfo::decode(hex(&value["record"])).unwrap()
}

fn word(error: RecordError) -> String {
    match error {
        RecordError::Signature => "InvalidSignature".into(),
        error => format!("{error:?}"),
    }
}

#[test]
fn every_record_is_judged_and_passed_on_as_the_page_says() {
    for vector in list(&load("network-records.json")["vectors"]) {
        let (info, node) = (record(vector), key(&vector["node"]));
        let verdict = match vector["handed_over"].as_bool().unwrap() {
            true => info.verify_any_time(&node),
            false => info.verify(&node, now(vector)),
        };
        let name = &vector["name"];
        let verdict = verdict.map_or_else(word, |()| "ok".into());
        assert_eq!(verdict, text(&vector["verdict"]), "{name}");
        if verdict == "ok" {
            let kept = encoded(|out| info.encode(out));
            assert_eq!(kept, hex(&vector["kept"]), "{name}");
        }
    }
}

#[test]
fn of_two_records_the_one_stays_that_the_page_says() {
    for vector in list(&load("network-records.json")["contests"]) {
        let node = key(&vector["node"]);
        let mut book = Book::new(VerifyingKey::from_bytes_unchecked([7; 32]));
        let teller = |node| Teller { node, from: None };
        for step in list(&vector["steps"]) {
            let source = match text(&step["how"]) {
                "told" => Source::Peer(teller(VerifyingKey::from_bytes_unchecked([8; 32]))),
                _ => Source::Signer(Handover {
                    teller: teller(node),
                    began: Time::from_micros(step["began"].as_u64().unwrap()),
                }),
            };
            let at = Time::from_micros(step["at"].as_u64().unwrap());
            let outcome = match book.insert(node, record(step), source, now(vector), at) {
                Ok(Inserted::Kept) => "kept".into(),
                Ok(_) => "taken".into(),
                Err(error) => word(error),
            };
            assert_eq!(outcome, text(&step["outcome"]), "{}", vector["name"]);
        }
        let stored = book.get(&node).unwrap().record().unwrap().timestamp();
        let stored = json!([stored.wall.as_micros(), stored.logical.get()]);
        assert_eq!(stored, vector["stored"], "{}", vector["name"]);
    }
}
