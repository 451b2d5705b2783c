//! `sync_messages.json` and the frames of `sync_exchange.json`.

use std::collections::BTreeMap;

use bytes::Bytes;
use p2panda_core::limits::FRAME_BYTES_MAX;
use p2panda_core::{Header, Heights, LogId, Topic, VerifyingKey};
use p2panda_protocol::frame::{Decoder, Frame, FrameError};
use p2panda_protocol::handshake;
use p2panda_protocol::sync::have::{Have, Item};
use p2panda_protocol::sync::message::{Limits, Message, MessageError, frame_limit};
use p2panda_protocol::wire::WireError;
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, tampered, text};

/// Limits that nothing in the vectors exceeds.
const LIMITS: Limits = Limits {
    have_bytes_max: FRAME_BYTES_MAX,
    operation_bytes_max: FRAME_BYTES_MAX,
    control_bytes_max: FRAME_BYTES_MAX,
};

fn author(value: &Value) -> VerifyingKey {
    VerifyingKey::from_bytes(hex32(value)).unwrap()
}

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn have(inputs: &Value) -> Heights {
    let mut heights = Heights::new();
    let (authors, seqs) = match (&inputs["authors"], &inputs["author"]) {
        (Value::Array(authors), _) => (authors.clone(), list(&inputs["seq_nums"]).clone()),
        (_, Value::String(author)) => {
            (vec![author.clone().into()], vec![inputs["seq_num"].clone()])
        }
        _ => (Vec::new(), Vec::new()),
    };
    for (key, seq) in authors.iter().zip(&seqs) {
        heights.raise(
            author(key),
            LogId::from_bytes(hex32(&inputs["log_id"])),
            number(seq),
        );
    }
    heights
}

/// The message that an entry describes.
fn described(entry: &Value) -> Message {
    let (name, inputs) = (text(&entry["name"]), &entry["inputs"]);
    let operation = || {
        let body = (!inputs["body"].is_null()).then(|| hex(&inputs["body"]));
        (hex(&inputs["header"]), body)
    };
    match name.split('_').next().unwrap() {
        "have" => Message::Have(Have::from(&have(inputs))),
        "presync" => Message::PreSync {
            operations: number(&inputs["total_operations"]),
            bytes: number(&inputs["total_bytes"]),
        },
        "operation" => {
            let (header, body) = operation();
            Message::Operation { header, body }
        }
        "live" => {
            let (header, body) = operation();
            Message::Live { header, body }
        }
        "done" => Message::Done,
        "close" => Message::Close,
        _ => panic!("{name} is not a message"),
    }
}

fn check_encoding(entry: &Value) {
    let frame = hex(&entry["expected"]["frame"]);
    assert_eq!(payload(&frame), hex(&entry["expected"]["payload"]));
    if text(&entry["name"]).starts_with("handshake") {
        let message = match &entry["inputs"]["topic"] {
            Value::Null => handshake::Message::Done,
            topic => handshake::Message::Topic(Topic::from_bytes(hex32(topic))),
        };
        assert_eq!(
            handshake::Message::decode(payload(&frame)),
            Ok(message.clone())
        );
        assert_eq!(encoded(|out| message.encode(out)), frame);
    } else {
        let message = described(entry);
        assert_eq!(Message::decode(payload(&frame)), Ok(message.clone()));
        assert_eq!(encoded(|out| message.encode(out).unwrap()), frame);
        let payload = payload(&frame);
        let kind = &payload[..2.min(payload.len())];
        assert!(payload.len() as u32 <= frame_limit(kind, &Limits::default()));
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    NeedMore,
    Message(Message),
    Frame(FrameError),
    Refused(MessageError, Bytes),
    /// A Have with an author that is not a key.
    BadKey,
}

/// Everything that a Have lists, by author and log.
type Listed = BTreeMap<[u8; 32], BTreeMap<[u8; 32], u32>>;

fn listed(have: &Have) -> Result<Listed, WireError> {
    let mut all = Listed::new();
    let mut last = [0; 32];
    for item in have.clone().items() {
        match item? {
            Item::Author(author) => {
                all.insert(author, BTreeMap::new());
                last = author;
            }
            Item::Log(log_id, seq) => {
                let logs = all.get_mut(&last).unwrap();
                logs.insert(*log_id.as_bytes(), seq);
            }
        }
    }
    Ok(all)
}

/// Returns the verdict on a message once its list was read as well.
fn read(message: Message, payload: Bytes) -> Verdict {
    let Message::Have(have) = &message else {
        return Verdict::Message(message);
    };
    match listed(have) {
        Err(error) => Verdict::Refused(error.into(), payload),
        Ok(all)
            if all
                .keys()
                .any(|key| VerifyingKey::from_bytes(*key).is_err()) =>
        {
            Verdict::BadKey
        }
        Ok(_) => Verdict::Message(message),
    }
}

fn decode(stream: Bytes) -> (Verdict, usize) {
    let mut decoder = Decoder::new();
    decoder.push(stream);
    let verdict = match decoder.next(|kind| frame_limit(kind, &LIMITS)) {
        Err(error) => Verdict::Frame(error),
        Ok(None) => Verdict::NeedMore,
        Ok(Some(Frame::Oversize { .. })) => panic!("nothing is oversize here"),
        Ok(Some(Frame::Message(payload))) => match Message::decode(payload.clone()) {
            Ok(message) => read(message, payload),
            Err(error) => Verdict::Refused(error, payload),
        },
    };
    (verdict, decoder.buffered_bytes())
}

/// A message as the vectors print it.
fn printed(message: &Message) -> String {
    let Message::Have(have) = message else {
        return format!("{message:?}");
    };
    let Ok(all) = listed(have) else {
        return String::from("a Have that cannot be read");
    };
    let logs = |logs: &BTreeMap<[u8; 32], u32>| {
        let logs = logs.iter();
        let logs = logs.map(|(id, seq)| format!("LogId(Hash({id:?})): {seq}"));
        logs.collect::<Vec<_>>().join(", ")
    };
    let authors = all.iter();
    let authors = authors.map(|(key, l)| format!("VerifyingKey({key:?}): {{{}}}", logs(l)));
    format!("Sync(Have({{{}}}))", authors.collect::<Vec<_>>().join(", "))
}

fn check_decoding(entry: &Value) {
    let expected = &entry["expected"];
    let (verdict, left) = decode(hex(&entry["inputs"]["stream"]));
    let (kind, rest) = text(&expected["result"]).split_once(' ').unwrap();
    match (kind, &verdict) {
        ("need", Verdict::NeedMore) => {
            assert_eq!(left as u64, expected["left"].as_u64().unwrap());
        }
        ("message", Verdict::Message(message)) => {
            assert_eq!(printed(message), rest);
            assert_eq!(left as u64, expected["left"].as_u64().unwrap());
        }
        // Rule: a node looks only at the authors whose logs it has, and those are keys.
        ("error", Verdict::BadKey) => assert!(rest.starts_with("Postcard")),
        // Rule: bytes after the message in a frame are refused. So there must be such bytes.
        ("message", Verdict::Refused(MessageError::Wire(WireError::Trailing), payload)) => {
            let shorter = (0..payload.len()).map(|len| Message::decode(payload.slice(..len)));
            assert!(shorter.flatten().any(|message| printed(&message) == rest));
        }
        ("error", Verdict::Frame(FrameError::TooLarge { .. })) => {
            assert!(rest.starts_with("TooLargeMessage"));
        }
        ("error", Verdict::Frame(FrameError::Empty) | Verdict::Refused(..)) => {
            assert!(rest.starts_with("Postcard"));
        }
        _ => panic!("{verdict:?} is not {}", expected["result"]),
    }
}

#[test]
fn every_sync_message_vector() {
    for entry in list(&load("sync_messages.json")["vectors"]) {
        println!("{}", entry["name"]);
        if entry["inputs"]["stream"].is_null() {
            check_encoding(entry);
        } else {
            check_decoding(entry);
        }
    }
}

#[test]
fn every_frame_of_the_sync_exchange_vector() {
    for entry in list(&load("sync_exchange.json")["vectors"]) {
        let operations =
            ["a_operations", "b_operations"].map(|side| list(&entry["inputs"][side]).clone());
        let operations = operations.concat();
        for operation in &operations {
            let header = Header::decode(hex(&operation["header"])).unwrap();
            assert_eq!(header.id().as_bytes(), &hex32(&operation["operation_id"]));
        }
        for sent in list(&entry["expected"]["messages"]) {
            let frame = hex(&sent["frame"]);
            let message = Message::decode(payload(&frame)).unwrap();
            let kind = match &message {
                Message::Have(_) => "Sync/Have",
                Message::PreSync { .. } => "Sync/PreSync",
                Message::Operation { header, body } => {
                    let same = |operation: &&Value| hex(&operation["header"]) == header;
                    let known = operations.iter().find(same).unwrap();
                    assert_eq!(body.as_ref(), Some(&hex(&known["body"])));
                    "Sync/Operation"
                }
                Message::Done => "Sync/Done",
                Message::Live { header, .. } => {
                    Header::decode(header.clone()).unwrap();
                    "Live"
                }
                Message::Close => "Close",
                other => panic!("not a message of 0.7.1: {other:?}"),
            };
            assert_eq!(kind, text(&sent["message"]));
            assert_eq!(encoded(|out| message.encode(out).unwrap()), frame);
        }
    }
}

#[test]
fn tampered_sync_messages_never_panic() {
    for entry in list(&load("sync_messages.json")["vectors"]) {
        let frame = match &entry["expected"]["frame"] {
            Value::Null => hex(&entry["inputs"]["stream"]),
            frame => hex(frame),
        };
        for stream in tampered(&frame) {
            if let (Verdict::Message(message), _) = decode(stream.clone()) {
                let again = encoded(|out| message.encode(out).unwrap());
                assert_eq!(Message::decode(payload(&again)), Ok(message));
            }
            let mut handshake = handshake::Handshake::accept(Default::default());
            handshake.handle(handshake::Input::Bytes(stream), Default::default());
        }
    }
}
