//! Logs with a name, of which an author may have several in a topic (`docs/protocol/sync.md#5`).

use p2panda_core::{Entry, Refusal, SigningKey};
use p2panda_protocol::sync::Protocol;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::Input;

use crate::SEEDS;
use crate::world::{LINK, World, frame, in_log, log};

fn author() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// Two operations of a log with a name.
fn named(name: &str) -> Vec<Entry> {
    let first = in_log(&author(), name, None);
    let second = in_log(&author(), name, Some(&first));
    vec![first, second]
}

fn put(world: &mut World, place: usize, entries: &[Entry]) {
    for entry in entries {
        world.peers[place].store(entry.clone());
    }
}

#[test]
fn a_session_of_a_link_carries_all_logs() {
    for seed in SEEDS {
        let mut world = World::speaking(seed, Some(LINK));
        let (one, two) = (named("one"), named("two"));
        put(&mut world, 0, &log(&author(), 3, 10));
        put(&mut world, 0, &one[..1]);
        put(&mut world, 1, &two);
        world.dial(0);
        world.settle();
        world.assert_equal();
        assert_eq!(world.peers[1].entries.len(), 6);
        world.peers[0].arrive(one[1].clone());
        world.settle();
        world.assert_equal();
        assert_eq!(world.peers[1].entries.len(), 7);
    }
}

#[test]
fn a_session_for_published_nodes_carries_first_logs() {
    let protocols = [Protocol::LogSync, Protocol::DigestSync];
    for (seed, protocol) in SEEDS.flat_map(|seed| protocols.map(|one| (seed, one))) {
        let mut world = World::speaking(seed, Some(protocol));
        let one = named("one");
        put(&mut world, 0, &log(&author(), 3, 10));
        put(&mut world, 0, &one[..1]);
        world.dial(0);
        world.settle();
        assert_eq!(world.peers[1].entries.len(), 3);
        world.peers[0].arrive(one[1].clone());
        world.peers[0].publish(b"live");
        world.settle();
        let theirs = &world.peers[1].entries;
        assert_eq!(theirs.len(), 4);
        assert!(theirs.iter().all(|entry| !entry.is_in_named_log()));
    }
}

#[test]
fn what_a_published_node_sends_of_a_log_with_a_name_is_refused() {
    let mut world = World::speaking(1, Some(Protocol::LogSync));
    let id = world.dial(0);
    world.settle();
    let entry = in_log(&author(), "one", None);
    let live = Message::Live {
        header: entry.header.as_bytes().clone(),
        body: entry.body.clone(),
    };
    world.input(1, id, Input::Bytes(frame(&live)));
    world.settle();
    let refused = world.side(1, id).refused.pop().unwrap();
    assert_eq!(refused.refusal, Refusal::OtherLog);
    assert_eq!(refused.id, entry.header.id());
    assert!(world.side(1, id).session.is_live());
}
