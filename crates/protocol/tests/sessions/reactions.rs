//! `vectors/sync-reactions.json`: what a session does with each message, in each of its states.

use bytes::{Bytes, BytesMut};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::{Input, SessionId};
use serde_json::Value;

use crate::vectors::{entry, load, unhex};
use crate::world::World;

/// The peer, which dialled.
const PEER: usize = 0;
/// The node whose reactions are checked.
const NODE: usize = 1;

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Bytes that are given in parts, each as often as the number after it says.
fn parts(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    for part in value.as_array().unwrap() {
        for _ in 0..part[1].as_u64().unwrap() {
            out.extend_from_slice(&unhex(text(&part[0])));
        }
    }
    out.freeze()
}

/// The kinds of the messages that were sent, several of which may have gone at once.
pub fn kinds(sent: &[Bytes]) -> Vec<&'static str> {
    let mut stream = Bytes::from(sent.concat());
    let mut kinds = Vec::new();
    while !stream.is_empty() {
        let length = u32::from_be_bytes(stream.split_to(4).as_ref().try_into().unwrap());
        kinds.push(kind(stream.split_to(length as usize)));
    }
    kinds
}

fn kind(payload: Bytes) -> &'static str {
    if payload.starts_with(&[0, 4]) {
        return "digest";
    }
    match Message::decode(payload).unwrap() {
        Message::Have(_) => "have",
        Message::PreSync { .. } => "presync",
        Message::Operation { .. } => "operation",
        Message::Done => "done",
        Message::Live { .. } => "live",
        Message::Close => "close",
        Message::Absent(_) => "absent",
        other => panic!("{other:?} is not expected"),
    }
}

/// The node does all that it can.
fn settle(world: &mut World, id: SessionId) {
    world.run_until_quiet(NODE, id);
}

fn outcome(world: &mut World, id: SessionId) -> &'static str {
    let side = world.side(NODE, id);
    match side.end {
        None if side.session.is_live() => "live",
        None => "catch-up",
        Some(end) => [
            "completed",
            "violation",
            "limit",
            "timeout",
            "refused",
            "stopped",
            "failed",
        ][end.code.code() as usize],
    }
}

#[test]
fn every_message_in_every_state_has_the_reaction_of_the_page() {
    let file = load("sync-reactions.json");
    let stored = file["operations"].as_array().unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let protocol = match text(&vector["protocol"]) {
            "p2panda/log_sync/v1" => Protocol::LogSync,
            _ => Protocol::DigestSync,
        };
        let mut world = World::speaking(0, Some(protocol));
        let keys = [PEER, NODE].map(|place| world.peers[place].key.verifying_key().to_string());
        assert_eq!(keys, [text(&file["peer"]), text(&file["node"])]);
        for one in &stored[..vector["stored"].as_u64().unwrap() as usize] {
            let body = Some(unhex(text(&one["body"])));
            world.peers[NODE].store(entry(unhex(text(&one["header"])), body));
        }
        let id = world.dial(PEER);
        settle(&mut world, id);
        for step in vector["steps"].as_array().unwrap() {
            let input = match step["do"].as_str() {
                None => Input::Bytes(parts(&step["bytes"])),
                Some("end") => Input::EndOfStream,
                Some(_) => Input::Stop,
            };
            world.input(NODE, id, input);
            settle(&mut world, id);
        }
        let sent = kinds(&world.side(NODE, id).sent);
        let name = &vector["name"];
        assert_eq!(Value::from(sent), vector["sent"], "{name}");
        assert_eq!(outcome(&mut world, id), text(&vector["outcome"]), "{name}");
    }
}
