//! Promises of sessions that compare a digest first (`docs/protocol/digest.md`).

use bytes::Bytes;
use p2panda_core::{Heights, SigningKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::digest::{Digest, State};
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::{Event, Input};
use p2panda_protocol::sync::{Have, Protocol, SessionId};

use crate::world::{World, frame, log};
use crate::{SEEDS, fill};

/// Bytes of both streams until both sides of a session were told the topic and agreed.
const HANDSHAKE_BYTES: usize = 38 + 5 + 5;

fn digest_world(seed: u64) -> World {
    World::speaking(seed, Some(Protocol::DigestSync))
}

fn digest_frame(digest: Digest) -> Bytes {
    let mut out = bytes::BytesMut::new();
    digest.encode(&mut out);
    out.freeze()
}

/// Returns the digest of what peer `place` stores.
fn digest_of(world: &World, place: usize) -> Bytes {
    let key = world.peers[place].key.verifying_key();
    digest_frame(State::of(&world.peers[place].heights()).digest(&key))
}

/// Starts one side and answers what it asks, until it has sent its digest.
fn say_digest(world: &mut World, place: usize, id: SessionId) {
    while let Some(answer) = world.side(place, id).answers.pop_front() {
        world.input(place, id, answer);
    }
    let digest = digest_of(world, place);
    assert!(world.side(place, id).sent.contains(&digest));
}

fn have_sent(world: &mut World, place: usize, id: SessionId) -> bool {
    let sent = &world.side(place, id).sent;
    sent.iter().any(|bytes| bytes[4..].starts_with(&[0, 0]))
}

#[test]
fn a_thousand_equal_logs_cost_one_digest_each_way() {
    for seed in 0..2 {
        let mut world = digest_world(seed);
        for author in 0..1_000_u32 {
            let mut secret = [9; 32];
            secret[..4].copy_from_slice(&author.to_be_bytes());
            for entry in log(&SigningKey::from_bytes(&secret), 1, 10) {
                world.peers[0].store(entry.clone());
                world.peers[1].store(entry);
            }
        }
        let id = world.dial((seed % 2) as usize);
        world.settle();
        let mut stream_bytes = HANDSHAKE_BYTES;
        for place in 0..2 {
            let side = world.side(place, id);
            assert!(side.session.is_live());
            assert_eq!(side.sent.len(), 1);
            stream_bytes += side.sent[0].len();
            let started = Event::CatchUpStarted {
                send_operations: 0,
                send_bytes: 0,
                receive_operations: 0,
                receive_bytes: 0,
            };
            let arrival = 1_000;
            let events = [
                Event::PeerHas { own_seq: None },
                started,
                Event::CatchUpEnded,
                Event::Sent { arrival },
            ];
            assert_eq!(side.events, events);
        }
        assert_eq!(stream_bytes, 128);
    }
}

#[test]
fn two_empty_nodes_are_live_at_once() {
    let mut world = digest_world(1);
    let id = world.dial(0);
    world.settle();
    assert!(world.side(0, id).session.is_live() && world.side(1, id).session.is_live());
    fill(&mut world, 3, 0, 0);
    world.input(0, id, Input::Arrived(3));
    world.settle();
    world.assert_equal();
    let again = world.dial(0);
    world.settle();
    let events = &world.side(0, again).events;
    assert_eq!(events.first(), Some(&Event::PeerHas { own_seq: Some(2) }));
}

#[test]
fn after_a_digest_unequal_nodes_speak_as_without_one() {
    for (own, other, shared) in [(7, 5, 3), (9, 0, 0), (0, 4, 2), (1_200, 30, 0)] {
        let sent = |protocol, skip: usize| {
            let mut world = World::speaking(5, Some(protocol));
            fill(&mut world, own, other, shared);
            let id = world.dial(0);
            world.settle();
            world.assert_equal();
            [0, 1].map(|place| {
                let side = world.side(place, id);
                assert!(side.session.is_live());
                side.sent.iter().skip(skip).cloned().collect::<Vec<Bytes>>()
            })
        };
        let (with, without) = (sent(Protocol::DigestSync, 1), sent(Protocol::LogSync, 0));
        assert!(with == without, "{own}, {other}, {shared}");
    }
}

#[test]
fn what_is_published_during_digests_arrives_once() {
    for seed in SEEDS {
        let mut world = digest_world(seed);
        fill(&mut world, 0, 0, 4);
        let dialler = (seed % 2) as usize;
        let both_dial = seed % 3 == 0;
        world.dial(dialler);
        if both_dial {
            world.dial(1 - dialler);
        }
        for round in 0..12_u32 {
            for _ in 0..world.rng.below(3) {
                world.step();
            }
            let place = world.rng.below(2);
            world.peers[place].publish(&round.to_be_bytes());
        }
        world.settle();
        world.assert_equal();
        let sent = world.sent_operations(0) + world.sent_operations(1);
        assert!(both_dial || sent == 12, "seed {seed}: {sent} were sent");
    }
}

#[test]
fn a_connection_that_breaks_at_any_moment_loses_nothing() {
    for seed in SEEDS {
        let mut world = digest_world(seed);
        fill(&mut world, 3, 2, 1);
        let first = world.dial((seed % 2) as usize);
        for _ in 0..world.rng.below(16) {
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
    for stalls in [false, true] {
        let mut world = digest_world(1);
        fill(&mut world, 20, 20, 0);
        let secondary = world.dial(1);
        say_digest(&mut world, 0, secondary);
        say_digest(&mut world, 1, secondary);
        // The primary comes in between the digests of the other session and its heights.
        let primary = world.dial(0);
        for place in 0..2 {
            let theirs = world.side(place, secondary).inbox.pop_front().unwrap();
            world.input(place, secondary, Input::Bytes(theirs));
            assert!(!have_sent(&mut world, place, secondary), "it waits");
        }
        if stalls {
            // No byte of the primary arrives; the other session must not wait forever.
            for place in 0..2 {
                world.input(place, primary, Input::Tick);
                world.run_until_quiet(place, primary);
                let wake = world.side(place, primary).wake.unwrap();
                world.now = world.now.max(wake).after(1);
                world.input(place, primary, Input::Tick);
                let end = world.side(place, primary).end.unwrap();
                assert_eq!(end.code, CloseCode::Timeout);
            }
        }
        world.settle();
        world.assert_equal();
        assert_eq!(
            (world.sent_operations(0), world.sent_operations(1)),
            (20, 20)
        );
        let ended = world.side(0, secondary).end.is_some_and(|end| end.ok);
        assert_eq!(ended, !stalls, "it ends once the primary is live");
    }
}

#[test]
fn a_peer_that_sends_the_digest_back_is_not_taken_for_equal() {
    let mut world = digest_world(1);
    fill(&mut world, 2, 0, 0);
    let id = world.dial(0);
    say_digest(&mut world, 0, id);
    let echo = world.side(0, id).sent[0].clone();
    world.input(0, id, Input::Bytes(echo));
    say_digest(&mut world, 0, id);
    assert!(!world.side(0, id).session.is_live());
    assert!(have_sent(&mut world, 0, id));
}

#[test]
fn a_version_of_a_later_day_leads_to_heights() {
    let mut world = digest_world(1);
    let id = world.dial(0);
    say_digest(&mut world, 1, id);
    let later = Bytes::from_static(&[0, 0, 0, 6, 0, 4, 2, 7, 7, 7]);
    world.input(1, id, Input::Bytes(later));
    say_digest(&mut world, 1, id);
    assert!(have_sent(&mut world, 1, id));
    let have = frame(&Message::Have(Have::from(&Heights::default())));
    for bytes in [have, frame(&Message::Done)] {
        world.input(1, id, Input::Bytes(bytes));
    }
    assert!(world.side(1, id).session.is_live());
}

#[test]
fn messages_out_of_order_end_the_session() {
    let have = frame(&Message::Have(Have::from(&Heights::default())));
    let (done, close) = (frame(&Message::Done), frame(&Message::Close));
    let state = |seq| {
        let log = p2panda_core::LogId::from_bytes([3; 32]);
        let author = SigningKey::from_bytes(&[3; 32]).verifying_key();
        State::of(&[(author, log, seq)].into_iter().collect())
    };
    let other = digest_frame(state(1).digest(&SigningKey::from_bytes(&[4; 32]).verifying_key()));
    let framed = |payload: &[u8]| {
        let mut out = bytes::BytesMut::new();
        p2panda_protocol::frame::encode(&mut out, |out| out.extend_from_slice(payload)).unwrap();
        out.freeze()
    };
    let later = |len: usize| [&[0, 4, 2][..], &vec![7; len - 3]].concat();
    let at_limit = framed(&later(limits::DIGEST_BYTES_MAX));
    let past_it = framed(&later(limits::DIGEST_BYTES_MAX + 1));
    let (violation, limit) = (CloseCode::Violation, CloseCode::Limit);
    let cases: Vec<(Vec<Bytes>, Option<CloseCode>)> = vec![
        (vec![have.clone()], Some(violation)),
        (vec![done.clone()], Some(violation)),
        (vec![close.clone()], Some(violation)),
        (vec![framed(&[0, 4, 1, 0x20, 9])], Some(violation)),
        (vec![Bytes::from_static(&[0, 0, 0, 0])], Some(violation)),
        (vec![Bytes::from_static(&[0xff; 4])], Some(violation)),
        (vec![other.clone(), other.clone()], Some(violation)),
        (vec![other.clone(), done], Some(violation)),
        (vec![other.clone(), close], Some(violation)),
        (
            vec![other.clone(), have.clone(), have.clone()],
            Some(violation),
        ),
        (vec![past_it], Some(limit)),
        (vec![at_limit], None),
        (vec![other.clone(), have], None),
    ];
    for (case, (frames, code)) in cases.into_iter().enumerate() {
        let mut world = digest_world(0);
        let id = world.dial(0);
        say_digest(&mut world, 1, id);
        for bytes in frames {
            world.input(1, id, Input::Bytes(bytes));
        }
        let end = world.side(1, id).end;
        assert_eq!(end.map(|end| end.code), code, "case {case}");
    }
}

#[test]
fn a_second_digest_before_ours_is_sent_ends_the_session_too() {
    let mut world = digest_world(0);
    let id = world.dial(0);
    let digest = digest_of(&world, 0);
    world.input(1, id, Input::Bytes(digest.clone()));
    assert!(world.side(1, id).end.is_none());
    world.input(1, id, Input::Bytes(digest));
    assert_eq!(world.side(1, id).end.unwrap().code, CloseCode::Violation);
}

#[test]
fn a_peer_without_its_digest_is_given_up_after_30_s() {
    let mut world = digest_world(0);
    let id = world.dial(0);
    say_digest(&mut world, 0, id);
    let wake = world.side(0, id).wake.unwrap();
    world.now = wake.after(1_000);
    world.input(0, id, Input::Tick);
    assert_eq!(world.side(0, id).end.unwrap().code, CloseCode::Timeout);
}
