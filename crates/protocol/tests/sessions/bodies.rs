//! Promises about bodies that have not arrived (`docs/protocol/digest.md#5`,
//! `docs/protocol/sync.md#5`).

use bytes::Bytes;
use p2panda_core::{Absent, Entry, LogRange, SigningKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::Input;
use p2panda_protocol::sync::{Absence, Prefer, Protocol, SessionId};
use p2panda_protocol::time::Time;

use crate::world::{LINK, WANTED, World, frame, log, topic};

const DIGEST: Option<Protocol> = Some(Protocol::DigestSync);
const HEIGHTS: Option<Protocol> = Some(Protocol::LogSync);

fn author() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn without_body(entry: &Entry) -> Entry {
    Entry {
        body: None,
        absent: Some(WANTED),
        ..entry.clone()
    }
}

/// Peer 0 has a log with all bodies, peer 1 that log without those that `lacks` names.
fn world(seed: u64, protocol: Option<Protocol>, len: usize, lacks: fn(u32) -> bool) -> World {
    let mut world = World::speaking(seed, protocol);
    for entry in log(&author(), len, 10) {
        let other = match lacks(entry.seq()) {
            true => without_body(&entry),
            false => entry.clone(),
        };
        world.peers[0].store(entry);
        world.peers[1].store(other);
    }
    world
}

fn messages(world: &mut World, place: usize, id: SessionId) -> Vec<Message> {
    let mut sent = Vec::new();
    for bytes in world.side(place, id).sent.clone() {
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            let payload = rest.split_to(4 + len).slice(4..);
            // The digest is not one of them.
            sent.extend(Message::decode(payload).ok());
        }
    }
    sent
}

fn range(first: u32, until: u32) -> LogRange {
    LogRange {
        author: author().verifying_key(),
        log: topic().log_id(),
        after: first.checked_sub(1),
        until,
    }
}

#[test]
fn with_equal_digests_the_bodies_cross_and_nothing_else() {
    for seed in 0..20 {
        let mut world = world(seed, DIGEST, 1_500, |seq| seq % 2 == 0);
        let id = world.dial((seed % 2) as usize);
        world.settle();
        world.assert_equal();
        assert_eq!(world.sent_operations(0), 750);
        assert_eq!(world.sent_operations(1), 0);
        // Those that follow are live as ever.
        world.peers[0].publish(b"later");
        world.settle();
        world.assert_equal();
        assert!(world.side(0, id).session.is_live());
    }
}

#[test]
fn a_session_without_missing_bodies_asks_nothing() {
    let mut world = world(1, DIGEST, 10, |_| false);
    let id = world.dial(0);
    world.settle();
    assert_eq!(messages(&mut world, 0, id), []);
    assert_eq!(messages(&mut world, 1, id), []);
}

/// Does what is due at a side until nothing is. Returns how often.
fn wait_for_rest(world: &mut World, place: usize, id: SessionId) -> usize {
    for looks in 0..100 {
        let Some(wake) = world.side(place, id).wake.take() else {
            return looks;
        };
        world.now = wake;
        world.input(place, id, Input::Tick);
        world.settle();
    }
    panic!("it never rests");
}

#[test]
fn a_complete_node_looks_once_and_rests() {
    let mut world = world(1, DIGEST, 10, |_| false);
    let id = world.dial(0);
    world.settle();
    assert!(wait_for_rest(&mut world, 1, id) <= 1);
    // From elsewhere: neither of the two has the body.
    let key = SigningKey::from_bytes(&[8; 32]);
    for entry in log(&key, 1, 10) {
        world.peers[0].store(without_body(&entry));
        world.peers[1].store(without_body(&entry));
    }
    world.input(1, id, Input::Arrived(11));
    world.settle();
    let asked = |world: &mut World| {
        let sent = messages(world, 1, id).into_iter();
        sent.filter(|one| matches!(one, Message::Wanted(_))).count()
    };
    assert_eq!(asked(&mut world), 1);
    let soon = world.side(1, id).wake.unwrap();
    let wait_ms = soon.ms_since(world.now);
    assert!((59_000..=60_000).contains(&wait_ms), "{wait_ms}");
    world.now = soon;
    world.input(1, id, Input::Tick);
    world.settle();
    assert_eq!(asked(&mut world), 2);
}

#[test]
fn a_wanted_body_holds_its_header_back() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        let entries = log(&author(), 8, 10);
        for entry in &entries {
            let whole = entry.seq() != 3 && entry.seq() != 5;
            world.peers[0].store(if whole {
                entry.clone()
            } else {
                without_body(entry)
            });
        }
        let id = world.dial(0);
        world.settle();
        assert_eq!(
            world.peers[1].heights().iter().map(|one| one.2).max(),
            Some(2)
        );
        for place in [5, 3] {
            world.peers[0].store(entries[place].clone());
        }
        world.input(0, id, Input::Arrived(10));
        world.settle();
        world.assert_equal();
        assert_eq!(world.sent_operations(0), 8, "seed {seed}: crossed twice");
    }
}

#[test]
fn a_body_asked_for_in_vain_is_sent_when_it_comes() {
    for seed in 0..10 {
        let mut world = world(seed, DIGEST, 4, |seq| seq == 2);
        let whole = world.peers[0].entries.remove(2);
        world.peers[0].entries.insert(2, without_body(&whole));
        let id = world.dial(0);
        world.settle();
        let lacking = Message::Absent(vec![(range(2, 2), Absence::Lacking)]);
        assert!(messages(&mut world, 0, id).contains(&lacking));
        world.peers[0].store(whole);
        world.input(0, id, Input::Arrived(5));
        world.settle();
        world.assert_equal();
        assert_eq!(world.sent_operations(0), 1);
    }
}

/// Counts how often peer 1 asked for bodies.
fn questions(world: &mut World, id: SessionId) -> usize {
    let asked = messages(world, 1, id).into_iter();
    let asked = asked.filter(|message| matches!(message, Message::Wanted(_)));
    asked.count()
}

/// Time passes until the one timer that the driver has.
fn next_timer(world: &mut World, place: usize, id: SessionId) {
    let wake = world.side(place, id).wake.take();
    world.now = wake.expect("the session waits for something");
    world.input(place, id, Input::Tick);
    world.settle();
}

#[test]
fn bodies_are_asked_for_again_although_another_timer_came_first() {
    let mut world = world(3, Some(LINK), 4, |seq| seq == 1);
    let entry = &mut world.peers[0].entries[1];
    (entry.body, entry.absent) = (None, Some(WANTED));
    let id = world.dial(0);
    world.settle();
    let (begun, before) = (world.now, questions(&mut world, id));
    // A frame that begins sets the timer of the progress rule, which comes first; soon it is whole.
    let whole = frame(&Message::Prefer(Prefer::default()));
    world.input(1, id, Input::Bytes(whole.slice(..5)));
    assert!(world.side(1, id).wake < Some(begun.after(31_000)));
    world.input(1, id, Input::Bytes(whole.slice(5..)));
    world.settle();
    while questions(&mut world, id) == before {
        next_timer(&mut world, 1, id);
    }
    let took_ms = world.now.ms_since(begun);
    assert!(took_ms <= 61_000, "{took_ms}");
}

#[test]
fn a_body_dropped_there_is_not_asked_for_again() {
    let mut world = world(3, DIGEST, 4, |seq| seq < 2);
    for (place, absent) in [(0, Absent::Dropped), (1, WANTED)] {
        let entry = &mut world.peers[0].entries[place];
        (entry.body, entry.absent) = (None, Some(absent));
    }
    let id = world.dial(0);
    world.settle();
    let answer = Message::Absent(vec![
        (range(0, 0), Absence::Dropped),
        (range(1, 1), Absence::Lacking),
    ]);
    assert!(messages(&mut world, 0, id).contains(&answer));
    let mut waits = Vec::new();
    for _ in 0..8 {
        let (since, before) = (world.now, questions(&mut world, id));
        while questions(&mut world, id) == before {
            next_timer(&mut world, 1, id);
        }
        waits.push(world.now.ms_since(since) / 1_000);
    }
    let grow = |pair: &[u64]| pair[0] <= pair[1] + 1;
    assert!(waits.windows(2).all(grow), "{waits:?}");
    assert!(
        waits[0] <= 60 && *waits.last().unwrap() >= 3_500,
        "{waits:?}"
    );
    let asked = messages(&mut world, 1, id).into_iter();
    let asked = asked.filter(|message| matches!(message, Message::Wanted(_)));
    let asked: Vec<Message> = asked.collect();
    assert_eq!(asked.len(), 9);
    // One range per entry in this world.
    assert_eq!(asked[0], Message::Wanted(vec![range(0, 0), range(1, 1)]));
    assert!(
        asked[1..]
            .iter()
            .all(|one| *one == Message::Wanted(vec![range(1, 1)]))
    );
}

/// A live session of which the test plays the side of peer 1.
fn live(protocol: Option<Protocol>) -> (World, SessionId) {
    let mut world = world(1, protocol, 3, |_| false);
    let id = world.dial(0);
    world.settle();
    assert!(world.side(0, id).session.is_live());
    (world, id)
}

fn code_after(protocol: Option<Protocol>, messages: &[Message]) -> Option<CloseCode> {
    let (mut world, id) = live(protocol);
    for message in messages {
        world.input(0, id, Input::Bytes(frame(message)));
    }
    world.side(0, id).end.map(|end| end.code)
}

#[test]
fn questions_and_answers_out_of_place_end_the_session() {
    let wanted = || Message::Wanted(vec![range(0, 2)]);
    let absent = || Message::Absent(Vec::new());
    let violation = Some(CloseCode::Violation);
    assert_eq!(code_after(DIGEST, &[wanted()]), None);
    assert_eq!(code_after(DIGEST, &[wanted(), wanted()]), violation);
    assert_eq!(code_after(DIGEST, &[absent()]), violation, "not asked");
    assert_eq!(code_after(HEIGHTS, &[wanted()]), violation, "not of 0.7.1");
    assert_eq!(code_after(HEIGHTS, &[absent()]), violation);
    let most = limits::BODIES_ASKED_MAX as u32;
    let asks = |count: u32| code_after(DIGEST, &[Message::Wanted(vec![range(0, count - 1)])]);
    assert_eq!(asks(most), None);
    assert_eq!(asks(most + 1), Some(CloseCode::Limit));
}

#[test]
fn what_is_asked_for_and_not_known_is_lacking() {
    let (mut world, id) = live(DIGEST);
    let other = LogRange {
        log: p2panda_core::LogId::from_bytes([1; 32]),
        ..range(0, 1)
    };
    let question = Message::Wanted(vec![range(1, 5), other]);
    world.input(0, id, Input::Bytes(frame(&question)));
    while let Some(answer) = world.side(0, id).answers.pop_front() {
        world.input(0, id, answer);
    }
    let sent = messages(&mut world, 0, id);
    let bodies = sent
        .iter()
        .filter(|one| matches!(one, Message::Live { .. }));
    assert_eq!(bodies.count(), 2);
    let lacking = [other, range(3, 5)].map(|range| (range, Absence::Lacking));
    assert_eq!(sent.last(), Some(&Message::Absent(lacking.to_vec())));
}

#[test]
fn a_heights_only_peer_is_told_less_until_it_has_no_body() {
    let mut world = world(4, HEIGHTS, 10, |seq| seq == 4);
    // Peer 0 lacks the body as well, and says so in the only way that 0.7.1 has.
    let entry = &mut world.peers[0].entries[4];
    (entry.body, entry.absent) = (None, Some(Absent::Dropped));
    let session = |world: &mut World| {
        let before = world.sent_operations(0);
        let id = world.dial(0);
        world.settle();
        world.cut(id);
        world.sent_operations(0) - before
    };
    assert_eq!(session(&mut world), 6, "asked");
    assert_eq!(session(&mut world), 0, "told the full height");
    let hour = 3_600_000;
    world.now = world.now.after(hour - 1_000);
    assert_eq!(session(&mut world), 0);
    world.now = world.now.after(2_000);
    assert_eq!(session(&mut world), 6, "asked again after an hour");
    world.now = world.now.after(2 * hour - 1_000);
    assert_eq!(session(&mut world), 0);
    // At last it has the body.
    let whole = log(&author(), 10, 10).swap_remove(4);
    world.peers[0].entries[4] = whole;
    world.now = world.now.after(2_000);
    assert_eq!(session(&mut world), 6);
    assert!(
        world.peers[1]
            .entries
            .iter()
            .all(|entry| entry.body.is_some())
    );
    assert_eq!(session(&mut world), 0, "nothing is lacking any more");
}

#[test]
fn the_first_entry_of_a_log_is_asked_for_by_leaving_the_log_out() {
    let mut world = world(5, HEIGHTS, 3, |seq| seq == 0);
    world.dial(0);
    world.settle();
    world.assert_equal();
}

#[test]
fn an_unread_answer_holds_no_more_than_a_page() {
    let mut world = world(6, DIGEST, 600, |_| true);
    world.peers[0].entries.clear();
    for entry in log(&author(), 600, 20_000) {
        world.peers[0].store(entry);
    }
    world.peers[1].entries.clear();
    for entry in log(&author(), 600, 20_000) {
        world.peers[1].store(without_body(&entry));
    }
    let id = world.dial(0);
    world.settle();
    world.assert_equal();
    let largest = world.side(0, id).sent.iter().map(Bytes::len).max();
    assert!(largest.unwrap() < 512 * 1024);
    assert!(Time::ZERO < world.now);
}
