//! The recorded session of `vectors/sync_exchange.json`, driven through the machine on both sides.

use bytes::{Bytes, BytesMut};
use p2panda_core::{Entry, Header};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::{Event, Input};
use serde_json::Value;

use crate::world::World;

pub fn unhex(text: &str) -> Bytes {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

pub fn entry(header: Bytes, body: Option<Bytes>) -> Entry {
    Entry {
        arrival: 0,
        header: Header::decode(header).unwrap(),
        body,
        absent: None,
    }
}

fn stored(operation: &Value) -> Entry {
    let body = unhex(operation["body"].as_str().unwrap());
    entry(unhex(operation["header"].as_str().unwrap()), Some(body))
}

fn frames<'a>(vector: &'a Value, direction: &str) -> Vec<&'a str> {
    let messages = vector["expected"]["messages"].as_array().unwrap().iter();
    let ours = messages.filter(|message| message["direction"] == direction);
    ours.map(|message| message["frame"].as_str().unwrap())
        .collect()
}

/// The events of one side in the words of the recording.
fn events(world: &mut World, peer: usize, id: p2panda_protocol::sync::SessionId) -> Vec<String> {
    let side = world.side(peer, id);
    let mut names: Vec<&str> = Vec::new();
    for event in &side.events {
        match event {
            Event::CatchUpStarted { .. } => names.push("SyncStarted"),
            Event::CatchUpEnded => names.extend(["SyncFinished", "LiveModeStarted"]),
            _ => {}
        }
    }
    if side.end.is_some_and(|end| end.ok) {
        names.push("SessionFinished");
    }
    let received = side.session.counters().received_operations as usize;
    names.extend(std::iter::repeat_n("OperationReceived", received));
    names.sort_unstable();
    names.into_iter().map(str::to_owned).collect()
}

pub fn load(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    serde_json::from_slice(&std::fs::read(path.join(name)).unwrap()).unwrap()
}

/// The digest with which a side of the recording opens, when that was agreed on.
fn opening(world: &World, peer: usize, state: &str) -> Bytes {
    let file = load("digest.json");
    let states = file["states"].as_array().unwrap();
    let state = states.iter().find(|entry| entry["name"] == state).unwrap();
    let sender = world.peers[peer].key.verifying_key().to_string();
    let frame = &state["expected"]["frame_by_sender"][sender];
    unhex(frame.as_str().unwrap())
}

#[test]
fn vector_sync_exchange_is_reproduced_byte_for_byte() {
    reproduce(Protocol::LogSync);
}

#[test]
fn with_digests_the_same_exchange_follows_them_byte_for_byte() {
    reproduce(Protocol::DigestSync);
}

fn reproduce(protocol: Protocol) {
    let file = load("sync_exchange.json");
    for vector in file["vectors"].as_array().unwrap() {
        // The keys of the recording are those of the world: B has the smaller node id.
        let (b, a) = (0, 1);
        let mut world = World::speaking(0, Some(protocol));
        for (peer, name) in [(a, "a_operations"), (b, "b_operations")] {
            for operation in vector["inputs"][name].as_array().unwrap() {
                world.peers[peer].store(stored(operation));
            }
        }
        let id = world.dial(a);
        world.settle();

        let live = frames(vector, "A->B").into_iter().filter_map(|frame| {
            match Message::decode(unhex(frame).slice(4..)).unwrap() {
                Message::Live { header, body } => Some(entry(header, body)),
                _ => None,
            }
        });
        for operation in live {
            world.peers[a].store(operation);
            let arrival = world.peers[a].entries.len() as u64;
            world.input(a, id, Input::Arrived(arrival));
        }
        world.settle();
        world.input(a, id, Input::Stop);
        world.settle();

        let sides = [
            (a, "A->B", "events_a", "exchange_a"),
            (b, "B->A", "events_b", "exchange_b"),
        ];
        for (peer, direction, name, state) in sides {
            let mut sent = BytesMut::new();
            for bytes in &world.side(peer, id).sent {
                sent.extend_from_slice(bytes);
            }
            let digest = match protocol {
                Protocol::LogSync | Protocol::Link { .. } => None,
                Protocol::DigestSync => Some(opening(&world, peer, state)),
            };
            let recorded = frames(vector, direction).into_iter().map(unhex);
            let expected: Vec<Bytes> = digest.into_iter().chain(recorded).collect();
            assert_eq!(sent.freeze(), expected.concat(), "{direction}");

            let recorded = vector["expected"][name].as_array().unwrap().iter();
            let mut recorded: Vec<&str> = recorded.map(|event| event.as_str().unwrap()).collect();
            recorded.sort_unstable();
            assert_eq!(events(&mut world, peer, id), recorded, "{name}");
        }
    }
}
