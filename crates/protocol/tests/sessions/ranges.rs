//! Promises of sessions of a link, which find differences by ranges (`docs/protocol/ranges.md`).

use bytes::{Bytes, BytesMut};
use p2panda_core::{Entry, SigningKey, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::frame;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::{Event, Input};
use p2panda_protocol::sync::{Protocol, SessionId};

use crate::world::{LINK, Peer, WANTED, World, log, operation};
use crate::{SEEDS, fill};

fn link_world(seed: u64) -> World {
    World::speaking(seed, Some(LINK))
}

fn author(number: u32) -> SigningKey {
    let mut secret = [9; 32];
    secret[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&secret)
}

/// Logs of one operation, which both have but for those that `lacks` says.
fn many_logs(world: &mut World, logs: u32, lacks: impl Fn(u32) -> Option<usize>) {
    for number in 0..logs {
        for entry in log(&author(number), 1, 10) {
            for place in (0..2).filter(|place| lacks(number) != Some(*place)) {
                world.peers[place].store(entry.clone());
            }
        }
    }
}

fn sent_bytes(world: &mut World, id: SessionId) -> usize {
    let sent = |side: &crate::world::Side| side.sent.iter().map(Bytes::len).sum::<usize>();
    (0..2).map(|place| sent(world.side(place, id))).sum()
}

/// Starts one side and answers what it asks, until it has sent its first message.
fn say_first(world: &mut World, place: usize, id: SessionId) -> Bytes {
    world.run_until_quiet(place, id);
    world.side(place, id).sent.first().unwrap().clone()
}

/// Two branches of a log, of which each side has one. Whose log it is.
fn fork(world: &mut World, ours: usize, theirs: usize) -> VerifyingKey {
    fork_of(&author(77), world, ours, theirs)
}

fn fork_of(key: &SigningKey, world: &mut World, ours: usize, theirs: usize) -> VerifyingKey {
    let root = operation(key, None, b"root");
    for (place, count) in [(0, ours), (1, theirs)] {
        world.peers[place].store(root.clone());
        let mut last = root.clone();
        for number in 0..count {
            last = operation(key, Some(&last), &[place as u8, number as u8]);
            world.peers[place].store(last.clone());
        }
    }
    key.verifying_key()
}

#[test]
fn equal_nodes_say_one_message_each() {
    for logs in [0, 16, 1_000] {
        let mut world = link_world(1);
        many_logs(&mut world, logs, |_| None);
        let id = world.dial((logs % 3 % 2) as usize);
        world.settle();
        for place in 0..2 {
            let side = world.side(place, id);
            assert!(side.session.is_live());
            assert_eq!(side.sent.len(), 1, "{logs}");
            let arrival = u64::from(logs);
            let started = Event::CatchUpStarted {
                send_operations: 0,
                send_bytes: 0,
                receive_operations: 0,
                receive_bytes: 0,
            };
            let events = [
                Event::PeerHas { own_seq: None },
                started,
                Event::CatchUpEnded,
                Event::Sent { arrival },
            ];
            assert_eq!(side.events, events);
        }
        // The question that goes with the first message.
        let asked = if logs > 16 { 560 } else { 2 };
        assert!(sent_bytes(&mut world, id) <= 48 + asked, "{logs}");
    }
}

#[test]
fn a_few_missing_of_many_logs_cross_alone() {
    let mut world = link_world(1);
    let lacks = |number| (number % 200 == 0).then_some(number as usize / 200 % 2);
    many_logs(&mut world, 2_000, lacks);
    let id = world.dial(0);
    world.settle();
    world.assert_equal();
    assert_eq!(world.sent_operations(0) + world.sent_operations(1), 10);
    let bytes = sent_bytes(&mut world, id);
    assert!(bytes < 12_000, "{bytes}");
}

#[test]
fn each_side_hears_of_its_own_log_before_anything_is_compared() {
    let mut world = link_world(1);
    fill(&mut world, 3, 5, 0);
    let id = world.dial(0);
    world.settle();
    let again = world.dial(1);
    world.settle();
    for (place, own) in [(0, 2), (1, 4)] {
        let first = |id, world: &mut World| world.side(place, id).events.first().cloned();
        let has = |own_seq| Some(Event::PeerHas { own_seq });
        assert_eq!(first(id, &mut world), has(None));
        assert_eq!(first(again, &mut world), has(Some(own)));
    }
}

#[test]
fn any_two_states_end_as_with_heights() {
    for seed in 0..60 {
        let after = |protocol: Protocol| {
            let mut world = World::speaking(seed, Some(protocol));
            let mut rng = crate::world::Rng::new(seed + 1);
            for number in 0..[3, 20, 90][seed as usize % 3] {
                let entries = log(&author(number), 1 + rng.below(6), 5);
                for place in 0..2 {
                    let has = match rng.below(3) {
                        0 => 0,
                        1 => rng.below(entries.len() + 1),
                        _ => entries.len(),
                    };
                    for entry in entries.iter().take(has) {
                        world.peers[place].store(entry.clone());
                    }
                }
            }
            let id = world.dial(rng.below(2));
            world.settle();
            world.assert_equal();
            assert!(world.side(0, id).session.is_live());
            let sent = [world.sent_operations(0), world.sent_operations(1)];
            (world.peers[0].content(), sent)
        };
        assert!(after(LINK) == after(Protocol::LogSync), "seed {seed}");
    }
}

#[test]
fn what_is_published_during_a_comparison_arrives_once() {
    for seed in SEEDS {
        let mut world = link_world(seed);
        many_logs(&mut world, 40, |number| Some(number as usize % 5));
        let before = world.sent_operations(0);
        assert_eq!(before, 0);
        let lacking = 16;
        let dialler = (seed % 2) as usize;
        let both_dial = seed % 3 == 0;
        world.dial(dialler);
        if both_dial {
            world.dial(1 - dialler);
        }
        for round in 0..12_u32 {
            for _ in 0..world.rng.below(5) {
                world.step();
            }
            let place = world.rng.below(2);
            world.peers[place].publish(&round.to_be_bytes());
        }
        world.settle();
        world.assert_equal();
        let sent = world.sent_operations(0) + world.sent_operations(1);
        let expected = 12 + lacking;
        assert!(
            both_dial || sent == expected,
            "seed {seed}: {sent} were sent"
        );
    }
}

#[test]
fn a_connection_that_breaks_at_any_moment_loses_nothing() {
    for seed in SEEDS {
        let mut world = link_world(seed);
        many_logs(&mut world, 60, |number| Some(number as usize % 4));
        fill(&mut world, 3, 2, 1);
        let first = world.dial((seed % 2) as usize);
        for _ in 0..world.rng.below(30) {
            world.step();
        }
        if world.side(0, first).end.is_none() && world.side(1, first).end.is_none() {
            world.cut(first);
        }
        world.settle();
        let again = world.dial(0);
        world.settle();
        world.assert_equal();
        assert!(world.side(0, again).session.is_live(), "seed {seed}");
    }
}

#[test]
fn a_session_that_gave_way_asks_for_nothing_twice() {
    for late in [false, true] {
        let mut world = link_world(1);
        fill(&mut world, 20, 20, 0);
        let secondary = world.dial(1);
        if late {
            say_first(&mut world, 1, secondary);
            say_first(&mut world, 0, secondary);
        }
        let primary = world.dial(0);
        world.settle();
        world.assert_equal();
        let sent = world.sent_operations(0) + world.sent_operations(1);
        assert_eq!(sent, 40, "{late}");
        assert!(world.side(0, primary).session.is_live());
        assert!(world.side(0, secondary).end.is_some_and(|end| end.ok));
    }
}

#[test]
fn a_fork_is_known_to_both_after_one_session() {
    for (dialler, branch) in [(0, 1), (1, 1), (0, 3), (1, 3)] {
        let mut world = link_world(1);
        let author = fork(&mut world, branch, branch);
        many_logs(&mut world, 100, |_| None);
        let id = world.dial(dialler);
        world.settle();
        for place in 0..2 {
            assert!(world.side(place, id).session.is_live());
            let knows = world.peers[place].forks.contains_key(&author);
            assert!(knows, "{dialler} {branch} {place}");
        }
        let again = world.dial(dialler);
        world.settle();
        let equal = |place: usize| world.peers[place].sides[&again].sent.len() == 1;
        assert!(equal(0) && equal(1), "{dialler} {branch}");
    }
}

#[test]
fn evidence_of_a_fork_reaches_a_node_with_one_branch() {
    for (dialler, holder) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut world = link_world(1);
        let key = author(77);
        let root = operation(&key, None, b"root");
        let [first, second] = [b"one", b"two"].map(|text| operation(&key, Some(&root), text));
        for place in 0..2 {
            world.peers[place].store(root.clone());
            world.peers[place].store(first.clone());
        }
        world.peers[holder].store(second);
        world.dial(dialler);
        world.settle();
        let knows = |peer: &Peer| peer.forks.contains_key(&key.verifying_key());
        assert!(world.peers.iter().all(knows), "{dialler} {holder}");
        world.assert_equal();
        let again = world.dial(dialler);
        world.settle();
        assert_eq!(world.side(holder, again).sent.len(), 1);
    }
}

/// The node with the closed log asks for the other branch while a session still runs in which it has sent
/// its own: what was refused does not show that it has what it asks for.
#[test]
fn the_other_branch_comes_to_a_closed_log() {
    for diallers in 0..8 {
        let dialler = |session: usize| diallers >> session & 1;
        let mut world = link_world(1);
        let own = world.peers[0].key.clone();
        fork_of(&own, &mut world, 5, 2);
        let first = world.dial(dialler(0));
        world.settle();
        world.dial(dialler(1));
        world.settle();
        let knows = |peer: &Peer| peer.forks.contains_key(&own.verifying_key());
        assert!(world.peers.iter().all(knows), "{diallers}");
        world.peers[0].tell_lower(0);
        let third = world.dial(dialler(2));
        world.settle();
        let sent = world.side(1, third).session.counters().sent_operations;
        let still_ran = world.side(0, first).end.is_none();
        assert_eq!(
            sent, 2,
            "dialled {diallers:03b}, the first one still ran: {still_ran}"
        );
    }
}

#[test]
fn missing_bodies_are_asked_for_although_all_heads_are_equal() {
    let mut world = link_world(1);
    let entries = log(&author(3), 4, 10);
    for entry in &entries {
        world.peers[0].store(entry.clone());
        world.peers[1].store(Entry {
            body: None,
            absent: Some(WANTED),
            ..entry.clone()
        });
    }
    let id = world.dial(0);
    world.settle();
    world.assert_equal();
    // Nothing but the bodies crossed.
    assert_eq!(world.sent_operations(0), 4);
    assert!(world.side(1, id).session.is_live());
}

#[test]
fn a_message_out_of_place_ends_the_session() {
    let framed = |payload: &[u8]| {
        let mut out = BytesMut::new();
        frame::encode(&mut out, |out| out.extend_from_slice(payload)).unwrap();
        out.freeze()
    };
    let (violation, limit) = (CloseCode::Violation, CloseCode::Limit);
    let past_it = limits::RANGES_FRAME_BYTES_MAX as u32 + 1;
    let mut too_large = BytesMut::from(&past_it.to_be_bytes()[..]);
    too_large.resize(4 + past_it as usize, 0);
    let mut other = link_world(2);
    fill(&mut other, 40, 1, 0);
    let theirs = other.dial(0);
    let open = say_first(&mut other, 0, theirs);
    let done = crate::world::frame(&Message::Done);
    let cases = [
        (vec![framed(&[9])], violation),
        (vec![framed(&[0, 0])], violation),
        (vec![Bytes::from_static(&[0, 0, 0, 0])], violation),
        (vec![done.clone()], violation),
        (vec![crate::world::frame(&Message::Close)], violation),
        (vec![too_large.freeze()], limit),
        (vec![open.clone(), open.clone()], violation),
        (vec![open, done], violation),
    ];
    for (case, (frames, code)) in cases.into_iter().enumerate() {
        let mut world = link_world(2);
        let id = world.dial(0);
        say_first(&mut world, 1, id);
        for bytes in frames {
            world.input(1, id, Input::Bytes(bytes));
            world.run_until_quiet(1, id);
        }
        let end = world.side(1, id).end;
        assert_eq!(end.map(|end| end.code), Some(code), "case {case}");
    }
}

#[test]
fn a_second_message_before_ours_is_sent_ends_the_session_too() {
    let mut world = link_world(0);
    let id = world.dial(0);
    let first = say_first(&mut world, 0, id);
    world.input(1, id, Input::Bytes(first.clone()));
    assert!(world.side(1, id).end.is_none());
    world.input(1, id, Input::Bytes(first));
    assert_eq!(world.side(1, id).end.unwrap().code, CloseCode::Violation);
}

#[test]
fn a_peer_that_says_nothing_is_given_up_after_thirty_seconds() {
    let mut world = link_world(0);
    let id = world.dial(0);
    say_first(&mut world, 0, id);
    let wake = world.side(0, id).wake.unwrap();
    world.now = wake.after(1_000);
    world.input(0, id, Input::Tick);
    assert_eq!(world.side(0, id).end.unwrap().code, CloseCode::Timeout);
}

#[test]
fn questions_are_answered_as_they_are_read() {
    let mut world = link_world(0);
    many_logs(&mut world, 1_500, |number| (number % 3 == 0).then_some(0));
    let id = world.dial(0);
    say_first(&mut world, 0, id);
    say_first(&mut world, 1, id);
    let first = world.side(1, id).inbox.pop_front().unwrap();
    world.input(1, id, Input::Bytes(first));
    // The answer waits to be written: nothing more is read.
    assert_eq!(world.side(1, id).sent.len(), 2);
    assert!(!world.side(1, id).session.wants_bytes());
    world.run_until_quiet(1, id);
    assert!(world.side(1, id).session.wants_bytes());
    while let Some(bytes) = world.side(0, id).inbox.pop_front() {
        world.input(0, id, Input::Bytes(bytes));
    }
    let questions: Vec<Bytes> = world.side(1, id).inbox.drain(..).collect();
    assert!(questions.len() > 1);
    let before = world.side(1, id).sent.len();
    world.input(1, id, Input::Bytes(questions.concat().into()));
    assert_eq!(world.side(1, id).sent.len(), before + 1);
    assert!(!world.side(1, id).session.wants_bytes());
    world.settle();
    world.assert_equal();
}
