//! The recorded session of `vectors/sync_exchange.json`, driven through the machine on both sides.

use bytes::{Bytes, BytesMut};
use p2panda_core::Header;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::{Entry, Event, Input};
use serde_json::Value;

use crate::world::{World, topic};

fn unhex(text: &str) -> Bytes {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn entry(header: Bytes, body: Option<Bytes>) -> Entry {
    let decoded = Header::decode(header.clone()).unwrap();
    Entry {
        author: decoded.author(),
        log_id: topic().log_id(),
        seq: decoded.seq(),
        arrival: 0,
        header,
        body,
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

#[test]
fn vector_sync_exchange_is_reproduced_byte_for_byte() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../vectors/sync_exchange.json"
    );
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        // The keys of the recording are those of the world: B has the smaller node id.
        let (b, a) = (0, 1);
        let mut world = World::new(0);
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

        for (peer, direction, name) in [(a, "A->B", "events_a"), (b, "B->A", "events_b")] {
            let mut sent = BytesMut::new();
            for bytes in &world.side(peer, id).sent {
                sent.extend_from_slice(bytes);
            }
            let expected: Vec<Bytes> = frames(vector, direction).into_iter().map(unhex).collect();
            assert_eq!(sent.freeze(), expected.concat(), "{direction}");

            let recorded = vector["expected"][name].as_array().unwrap().iter();
            let mut recorded: Vec<&str> = recorded.map(|event| event.as_str().unwrap()).collect();
            recorded.sort_unstable();
            assert_eq!(events(&mut world, peer, id), recorded, "{name}");
        }
    }
}
