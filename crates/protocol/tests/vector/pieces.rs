//! `vectors/pieces.json`: large operations in pieces, and what is none.

use bytes::{Bytes, BytesMut};
use p2panda_protocol::sync::Message;
use serde_json::Value;

use crate::{encoded, hex, list, load, payload, tampered, text};

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

fn message(entry: &Value) -> Message {
    match text(&entry["message"]) {
        "large" => Message::Large(number(&entry["length"])),
        "piece" => Message::Piece(hex(&entry["bytes"])),
        other => panic!("no message: {other}"),
    }
}

#[test]
fn every_piece_has_the_bytes_of_the_vectors() {
    for entry in list(&load("pieces.json")["messages"]) {
        let (message, frame) = (message(entry), hex(&entry["frame"]));
        let name = text(&entry["name"]);
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame, "{name}");
        assert_eq!(Message::decode(payload(&frame)), Ok(message), "{name}");
    }
}

#[test]
fn every_payload_of_a_piece_is_judged_as_the_vectors_say() {
    for entry in list(&load("pieces.json")["payloads"]) {
        let verdict = match Message::decode(hex(&entry["payload"])) {
            Ok(Message::Large(_)) => "large",
            Ok(Message::Piece(_)) => "piece",
            Ok(_) => "another message",
            Err(_) => "invalid",
        };
        assert_eq!(verdict, text(&entry["verdict"]), "{}", entry["name"]);
    }
}

#[test]
fn an_operation_is_the_bytes_of_its_pieces() {
    for entry in list(&load("pieces.json")["operations"]) {
        let mut stream = hex(&entry["stream"]);
        let (mut length, mut whole) = (0, BytesMut::new());
        while !stream.is_empty() {
            let bytes = u32::from_be_bytes(stream[..4].try_into().unwrap()) as usize;
            match Message::decode(stream.split_to(4 + bytes).slice(4..)).unwrap() {
                Message::Large(bytes) => length = bytes as usize,
                Message::Piece(bytes) => whole.extend_from_slice(&bytes),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            (length, number(&entry["length"])),
            (whole.len(), whole.len() as u32)
        );
        let body = (0..number(&entry["body_bytes"])).map(|at| (at % 251) as u8);
        let live = Message::Live {
            header: hex(&entry["header"]),
            body: Some(body.collect::<Vec<u8>>().into()),
        };
        let whole: Bytes = whole.freeze();
        assert_eq!(payload(&encoded(|out| live.encode(out).unwrap())), whole);
        assert_eq!(Message::decode(whole), Ok(live));
    }
}

#[test]
fn no_tampered_piece_panics_and_what_decodes_keeps_its_meaning() {
    for entry in list(&load("pieces.json")["messages"]) {
        for changed in tampered(&payload(&hex(&entry["frame"]))) {
            if let Ok(message) = Message::decode(changed) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
        }
    }
}
