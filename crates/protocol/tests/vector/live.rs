//! `network-live-sessions.json`: frames of a running 0.7.1 node.

use bytes::Bytes;
use p2panda_core::{Header, SigningKey, Topic};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::discovery;
use p2panda_protocol::handshake::{self, Handshake};
use p2panda_protocol::sync::have::Item;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::time::Time;
use serde_json::Value;

use crate::{encoded, hex, hex32, list, load, payload, text};

const FILE: &str = "network-live-sessions.json";

/// Both sides of ours send exactly these frames.
fn check_handshake(topic: Topic, frames: &[Value]) {
    let mut initiator = Handshake::initiate(topic, Time::ZERO);
    let mut acceptor = Handshake::accept(Time::ZERO);
    initiator.handle(handshake::Input::Tick, Time::ZERO);
    for frame in frames {
        let (sender, receiver) = match text(&frame["from"]) {
            "initiator" => (&mut initiator, &mut acceptor),
            _ => (&mut acceptor, &mut initiator),
        };
        let sent = std::iter::from_fn(|| sender.poll()).find_map(|output| match output {
            handshake::Output::Send(bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(sent, Some(hex(&frame["framed"])));
        receiver.handle(handshake::Input::Bytes(hex(&frame["framed"])), Time::ZERO);
    }
    let end = std::iter::from_fn(|| acceptor.poll()).last();
    assert_eq!(end, Some(handshake::Output::Agreed(topic)));
}

fn check_close(close: &Value, code: CloseCode) {
    assert_eq!(close["by"], "acceptor");
    assert_eq!(close["code"], code.code());
    assert_eq!(text(&close["reason"]), code.reason());
}

fn topic(session: &Value) -> Topic {
    Topic::from_bytes(hex32(&session["topic"]))
}

#[test]
fn every_frame_of_the_live_sync_vector() {
    let session = &load(FILE)["log_sync_session_topic_0505"];
    check_handshake(topic(session), list(&session["stream_1_handshake"]));
    for frame in list(&session["stream_2_sync"]) {
        let bytes = hex(&frame["framed"]);
        let message = Message::decode(payload(&bytes)).unwrap();
        assert_eq!(encoded(|out| message.encode(out).unwrap()), bytes);
        match message {
            Message::Have(have) => {
                let log_id = topic(session).log_id();
                for item in have.items() {
                    assert!(!matches!(item.unwrap(), Item::Log(id, _) if id != log_id));
                }
            }
            Message::Operation { header, .. } => {
                let extensions = Header::decode(header).unwrap().node_extensions().unwrap();
                assert_eq!(extensions.log_id, topic(session).log_id());
            }
            _ => {}
        }
    }
    check_close(&session["close"], CloseCode::SyncAccepted);
}

#[test]
fn the_vector_of_a_topic_that_nobody_serves() {
    let session = &load(FILE)["log_sync_unknown_topic_7777"];
    check_handshake(topic(session), list(&session["frames"]));
    assert!(text(&session["outcome"]).contains("code 0, empty reason"));
    assert_eq!(
        (CloseCode::NotServed.code(), CloseCode::NotServed.reason()),
        (0, "")
    );
}

/// The hashes of a set may come in any order, everything else has one form.
fn same_frame(ours: &Bytes, theirs: &Bytes) -> bool {
    let sorted = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    ours == theirs || sorted(ours) == sorted(theirs)
}

#[test]
fn every_frame_of_the_live_discovery_vector() {
    let session = &load(FILE)["discovery_initiator_empty_topics"];
    for (position, frame) in list(&session["frames"]).iter().enumerate() {
        let bytes = hex(&frame["framed"]);
        let message = discovery::message::Message::decode(payload(&bytes)).unwrap();
        let again = encoded(|out| message.encode(out).unwrap());
        assert!(same_frame(&again, &bytes));
        let expected = match message {
            discovery::message::Message::Salt(_) => 0,
            discovery::message::Message::SaltAndHashes(..) => 1,
            discovery::message::Message::Hashes(_) => 2,
            discovery::message::Message::Nodes(records) => {
                for (node, record) in records {
                    assert_eq!(record.verify(&node, record.timestamp().wall), Ok(()));
                    // A node signs its address for itself, so nobody else's id fits.
                    let other = SigningKey::from_bytes(&[1; 32]).verifying_key();
                    assert!(record.verify(&other, record.timestamp().wall).is_err());
                }
                position.max(3)
            }
        };
        assert_eq!(position, expected);
    }
    check_close(&session["close"], CloseCode::Done);
}
