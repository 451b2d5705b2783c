//! Order in which catch-up brings the logs, and which heights are told when not all fit.

use bytes::Bytes;
use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_protocol::frame::{Decoder, Frame};
use p2panda_protocol::sync::have::Item;
use p2panda_protocol::sync::message::{Limits, Message};
use p2panda_protocol::sync::{Protocol, SessionId};

use crate::SEEDS;
use crate::world::{World, log};

fn author(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// Peer 0 knows logs in this order: four of others, its own, the peer's own.
fn knows_six(world: &mut World, operations: usize) -> Vec<VerifyingKey> {
    let others = [40, 13, 27, 32].map(author);
    let own = [world.peers[0].key.clone(), world.peers[1].key.clone()];
    let keys: Vec<SigningKey> = others.into_iter().chain(own).collect();
    for key in &keys {
        for entry in log(key, operations, 5) {
            world.peers[0].store(entry);
        }
    }
    keys.iter().map(SigningKey::verifying_key).collect()
}

fn messages(world: &mut World, peer: usize, id: SessionId) -> Vec<Message> {
    let mut decoder = Decoder::default();
    let sent: Vec<Bytes> = world.side(peer, id).sent.clone();
    let mut messages = Vec::new();
    for bytes in sent {
        decoder.push(bytes);
        while let Ok(Some(Frame::Message(payload))) = decoder.next(|_| u32::MAX) {
            // The digest is none of them.
            messages.extend(Message::decode(payload));
        }
    }
    messages
}

#[test]
fn catch_up_brings_own_logs_and_long_known_ones_first() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let known = knows_six(&mut world, 3);
        world.dial((seed % 2) as usize);
        world.settle();
        world.assert_equal();
        let mut came: Vec<VerifyingKey> = world.peers[1]
            .entries
            .iter()
            .map(|entry| entry.label())
            .collect();
        came.dedup();
        let expected = [known[5], known[4], known[0], known[1], known[2], known[3]];
        assert_eq!(came, expected, "seed {seed}");
    }
}

#[test]
fn a_full_have_tells_own_logs_and_long_known_ones() {
    let mut world = World::speaking(1, Some(Protocol::LogSync));
    let known = knows_six(&mut world, 2);
    // 72 bytes for each of four.
    let limits = Limits {
        have_bytes_max: 4 * 72,
        ..Limits::default()
    };
    let id = world.dial_with(0, limits);
    world.settle();
    world.assert_equal();
    let messages = messages(&mut world, 0, id);
    let Some(Message::Have(have)) = messages.first() else {
        panic!("no heights: {messages:?}");
    };
    let author = |item| match item {
        Ok(Item::Author(author)) => VerifyingKey::from_bytes(author).ok(),
        _ => None,
    };
    let mut told: Vec<VerifyingKey> = have.clone().items().filter_map(author).collect();
    let mut expected = vec![known[0], known[1], known[4], known[5]];
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    // A session after this one brings again only what was not told.
    world.cut(id);
    let id = world.dial_with(0, limits);
    world.settle();
    let counters = world.side(1, id).session.counters();
    assert_eq!(counters.sent_operations, 4);
}
