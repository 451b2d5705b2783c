//! Promises of the sync session machine, in a seeded order of events.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod announcing;
mod bodies;
mod crowd;
mod digest;
mod have;
mod logs;
mod order;
mod pieces;
mod progress;
mod ranges;
mod reactions;
mod timers;
mod two_dials;
mod vectors;
mod world;

use bytes::Bytes;
use p2panda_core::{Hash, Heights, Refusal, SigningKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::message::{Limits, Message};
use p2panda_protocol::sync::session::{Event, Input};
use p2panda_protocol::sync::{Have, Protocol};
use p2panda_protocol::time::Time;
use world::{LINK, World, frame, log};

const SEEDS: std::ops::Range<u64> = 0..200;

fn fill(world: &mut World, own: usize, other: usize, shared: usize) {
    let keys = [world.peers[0].key.clone(), world.peers[1].key.clone()];
    let third = SigningKey::from_bytes(&[9; 32]);
    for (place, count) in [(0, own), (1, other)] {
        for entry in log(&keys[place], count, 20 + place) {
            world.peers[place].store(entry);
        }
    }
    for entry in log(&third, shared, 5) {
        world.peers[0].store(entry.clone());
        world.peers[1].store(entry);
    }
}

#[test]
fn one_session_brings_each_side_what_it_lacks() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        fill(&mut world, 7, 5, 3);
        world.dial((seed % 2) as usize);
        world.settle();
        world.assert_equal();
        assert_eq!(
            (world.sent_operations(0), world.sent_operations(1)),
            (7, 5),
            "seed {seed}"
        );
    }
}

#[test]
fn both_sides_send_a_lot_at_once_without_waiting_for_each_other() {
    let mut world = World::new(1);
    fill(&mut world, 1_500, 1_500, 0);
    world.dial(0);
    world.settle();
    world.assert_equal();
}

#[test]
fn every_operation_crosses_once_although_both_sides_dial() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        fill(&mut world, 40, 30, 3);
        let first = (seed % 2) as usize;
        let one = world.dial(first);
        for _ in 0..world.rng.below(60) {
            world.step();
        }
        let two = world.dial(1 - first);
        world.settle();
        world.assert_equal();
        assert_eq!(
            (world.sent_operations(0), world.sent_operations(1)),
            (40, 30),
            "seed {seed}"
        );
        let primary = if first == 0 { one } else { two };
        let other = if first == 0 { two } else { one };
        for peer in 0..2 {
            assert!(world.side(peer, primary).session.is_live(), "seed {seed}");
            let end = world.side(peer, other).end;
            assert!(
                end.is_some_and(|end| end.ok),
                "seed {seed}: the second session closes"
            );
        }
    }
}

#[test]
fn when_the_primary_is_cut_the_rest_crosses_in_another_session() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        fill(&mut world, 60, 60, 0);
        let primary = world.dial(0);
        world.dial(1);
        for _ in 0..world.rng.below(150) {
            world.step();
        }
        if world.side(0, primary).end.is_none() && world.side(1, primary).end.is_none() {
            world.cut(primary);
        }
        world.settle();
        // The waiting session continues by itself; what it left to the primary, a new one sends.
        world.dial(0);
        world.settle();
        world.assert_equal();
    }
}

#[test]
fn live_operations_follow_in_order_and_once() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        fill(&mut world, 3, 3, 0);
        world.dial(0);
        for round in 0..30_u32 {
            for _ in 0..world.rng.below(20) {
                world.step();
            }
            let peer = world.rng.below(2);
            world.peers[peer].publish(&round.to_be_bytes());
        }
        world.settle();
        world.assert_equal();
        let published = world.peers[0].entries.len() as u64;
        assert_eq!(
            world.sent_operations(0) + world.sent_operations(1),
            published,
            "seed {seed}"
        );
    }
}

#[test]
fn a_stop_in_live_mode_says_close_and_both_end_cleanly() {
    let mut world = World::new(3);
    fill(&mut world, 2, 2, 0);
    let id = world.dial(1);
    world.settle();
    world.input(0, id, Input::Stop);
    world.settle();
    let ends = [
        world.side(0, id).end.unwrap(),
        world.side(1, id).end.unwrap(),
    ];
    assert!(ends.iter().all(|end| end.ok));
    assert_eq!(ends[1].code, CloseCode::SyncInitiated);
    assert_eq!(
        world.side(0, id).sent.last().unwrap(),
        &frame(&Message::Close)
    );
}

#[test]
fn a_stop_in_catch_up_cuts_the_connection() {
    let mut world = World::new(4);
    fill(&mut world, 50, 0, 0);
    let id = world.dial(0);
    for _ in 0..4 {
        world.step();
    }
    world.input(0, id, Input::Stop);
    let end = world.side(0, id).end.unwrap();
    assert_eq!(end.code, CloseCode::Stopped);
    assert!(!world.side(0, id).sent.contains(&frame(&Message::Close)));
}

#[test]
fn a_stream_that_ends_without_done_is_a_failure_not_a_loop() {
    let mut world = World::new(5);
    fill(&mut world, 5, 0, 0);
    let id = world.dial(0);
    for _ in 0..3 {
        world.step();
    }
    world.input(1, id, Input::EndOfStream);
    assert!(!world.side(1, id).end.unwrap().ok);
}

#[test]
fn messages_out_of_order_end_the_session_with_a_violation() {
    let have = frame(&Message::Have(Have::from(&Heights::default())));
    let done = frame(&Message::Done);
    let close = frame(&Message::Close);
    let garbage = Bytes::from_static(&[0, 0, 0, 2, 9, 9]);
    let cases: Vec<Vec<Bytes>> = vec![
        vec![done.clone()],
        vec![close.clone()],
        vec![have.clone(), have.clone()],
        vec![have.clone(), close],
        vec![garbage],
        vec![Bytes::from_static(&[0, 0, 0, 0])],
        vec![Bytes::from_static(&[0xff; 4])],
        vec![have.clone(), done, have],
    ];
    for (case, frames) in cases.into_iter().enumerate() {
        let mut world = World::new(0);
        let id = world.dial(0);
        world.input(1, id, Input::Tick);
        for bytes in frames {
            world.input(1, id, Input::Bytes(bytes));
        }
        let end = world
            .side(1, id)
            .end
            .unwrap_or_else(|| panic!("case {case} goes on"));
        assert_eq!(
            (end.code, end.ok),
            (CloseCode::Violation, false),
            "case {case}"
        );
    }
}

#[test]
fn random_bytes_neither_panic_a_session_nor_grow_it() {
    for seed in SEEDS {
        let mut world = World::new(seed);
        let id = world.dial(0);
        world.input(1, id, Input::Tick);
        let before = world.side(1, id).session.held_bytes();
        let mut received = 0;
        for _ in 0..50 {
            let bytes: Vec<u8> = (0..world.rng.below(64))
                .map(|_| world.rng.below(4) as u8)
                .collect();
            received += bytes.len();
            world.input(1, id, Input::Bytes(bytes.into()));
            // A frame that announces megabytes reserves only twice what has arrived of it.
            let held = world.side(1, id).session.held_bytes();
            let most = before + 2 * received + 16 * 1_024;
            assert!(
                held <= most,
                "seed {seed}: {held} bytes are held, not {most}"
            );
        }
    }
}

#[test]
fn an_oversize_control_frame_ends_the_session() {
    for protocol in [LINK, Protocol::DigestSync, Protocol::LogSync] {
        let mut world = World::speaking(6, Some(protocol));
        let id = world.dial(0);
        world.settle();
        let mut prefer = limits::CONTROL_BYTES_MAX.to_be_bytes()[4..].to_vec();
        prefer[3] += 1;
        prefer.extend([0, 18]);
        prefer.resize(4 + limits::CONTROL_BYTES_MAX + 1, 0);
        world.input(0, id, Input::Bytes(prefer.into()));
        world.run_until_quiet(0, id);
        let side = world.side(0, id);
        assert_eq!(side.end.map(|end| end.code), Some(CloseCode::Limit));
        assert!(side.refused.is_empty());
    }
}

#[test]
fn an_operation_above_the_limit_is_drained() {
    let mut world = World::new(6);
    let key = world.peers[0].key.clone();
    let other = SigningKey::from_bytes(&[9; 32]);
    for entry in log(&key, 1, 5_000).into_iter().chain(log(&other, 3, 10)) {
        world.peers[0].store(entry);
    }
    let limits = Limits {
        operation_bytes_max: 4_000,
        ..Limits::default()
    };
    let id = world.dial_with(0, limits);
    world.settle();
    let refused = world.side(1, id).refused.clone();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].refusal, Refusal::TooLarge);
    let header = world.peers[0].entries[0].header.as_bytes();
    assert_eq!(
        (&refused[0].header, refused[0].id),
        (header, Hash::digest(header))
    );
    assert_eq!(world.peers[1].entries.len(), 3);
    assert!(world.side(1, id).session.is_live());
}

#[test]
fn a_silent_peer_is_given_up_after_thirty_seconds() {
    let mut world = World::new(7);
    let id = world.dial(0);
    world.input(0, id, Input::Tick);
    while let Some(answer) = world.side(0, id).answers.pop_front() {
        world.input(0, id, answer);
    }
    let wake = world.side(0, id).wake.unwrap();
    world.now = Time::from_micros(world.now.as_micros() + 29_000_000);
    world.input(0, id, Input::Tick);
    assert!(world.side(0, id).end.is_none());
    world.now = wake.after(1_000);
    world.input(0, id, Input::Tick);
    assert_eq!(world.side(0, id).end.unwrap().code, CloseCode::Timeout);
}

/// Second by second: these peers do what is due, and nothing arrives from the other side.
fn run_unanswered(world: &mut World, peers: &[usize], seconds: u64) {
    for _ in 0..seconds {
        world.now = world.now.after(1_000);
        for peer in peers {
            for id in world.running(*peer) {
                while let Some(answer) = world.answer(*peer, id) {
                    world.input(*peer, id, answer);
                }
                if world.side(*peer, id).end.is_none() {
                    world.input(*peer, id, Input::Tick);
                }
            }
        }
    }
}

#[test]
fn sessions_of_a_silent_peer_do_not_keep_each_other_alive() {
    for (peer, dials) in [
        (0, &[0, 1][..]),
        (1, &[0, 1]),
        (0, &[0, 0]),
        (0, &[1, 1]),
        (1, &[1, 0, 1, 0]),
    ] {
        let mut world = World::new(8);
        for dialler in dials {
            world.dial(*dialler);
        }
        // A secondary starts its own 30 s when the primary has ended.
        run_unanswered(&mut world, &[peer], 65);
        let sides = world.peers[peer].sides.values();
        for side in sides {
            let end = side.end.expect("a session of a silent peer ends");
            assert_eq!(end.code, CloseCode::Timeout);
        }
    }
}

#[test]
fn the_secondary_goes_on_when_the_primary_fails_silently() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        fill(&mut world, 12, 9, 0);
        let primary = world.dial(0);
        let other = world.dial(1);
        // Nothing of the primary arrives any more, and neither side is told.
        world.lose(primary);
        world.settle();
        assert!(!world.side(0, other).session.is_live(), "seed {seed}");
        run_unanswered(&mut world, &[0, 1], 31);
        for peer in 0..2 {
            let end = world.side(peer, primary).end;
            assert_eq!(end.map(|end| end.code), Some(CloseCode::Timeout));
        }
        world.settle();
        world.assert_equal();
        for peer in 0..2 {
            assert!(world.side(peer, other).session.is_live(), "seed {seed}");
        }
    }
}

#[test]
fn the_second_session_rests_while_the_primary_catches_up() {
    let mut world = World::new(8);
    fill(&mut world, 10, 10, 0);
    let primary = world.dial(0);
    let other = world.dial(1);
    for id in [primary, other] {
        world.input(0, id, Input::Tick);
    }
    for _ in 0..10 {
        world.now = world.now.after(40_000);
        world.input(0, other, Input::Tick);
        assert!(world.side(0, other).end.is_none());
    }
    assert!(
        world.side(0, other).sent.is_empty(),
        "it holds its heights back"
    );
}

#[test]
fn a_slow_store_stops_the_reading_and_not_the_session() {
    let mut world = World::new(9);
    let key = world.peers[0].key.clone();
    for entry in log(&key, 40, 300_000) {
        world.peers[0].store(entry);
    }
    let id = world.dial(0);
    // Peer 1 never hears from its store.
    for _ in 0..100_000 {
        world.step();
        let side = world.side(1, id);
        side.answers
            .retain(|answer| !matches!(answer, Input::Stored { .. }));
    }
    assert!(!world.side(1, id).session.wants_bytes());
    assert!(world.side(1, id).end.is_none());
    assert!(world.side(1, id).session.counters().received_bytes < 6 * 1024 * 1024);
}

#[test]
fn the_peers_claim_about_our_own_log_is_reported() {
    let mut world = World::new(10);
    fill(&mut world, 4, 0, 0);
    let id = world.dial(0);
    world.settle();
    world.dial(0);
    world.settle();
    let claims = world.side(0, id).events.clone();
    assert!(claims.contains(&Event::PeerHas { own_seq: None }));
}

#[test]
fn a_thousand_forged_operations_end_a_session() {
    let mut world = World::new(11);
    let id = world.dial(0);
    world.settle();
    let forged = frame(&Message::Live {
        header: Bytes::from_static(b"no header"),
        body: None,
    });
    for _ in 0..1_000 {
        world.input(1, id, Input::Bytes(forged.clone()));
        world.settle();
    }
    assert!(world.side(1, id).end.is_none());
    world.input(1, id, Input::Bytes(forged));
    world.settle();
    assert_eq!(world.side(1, id).end.unwrap().code, CloseCode::Violation);
}

/// A session of peer 1 that is live and never hears from its store.
fn live_without_a_store(seed: u64) -> (World, p2panda_protocol::sync::SessionId) {
    let mut world = World::new(seed);
    let id = world.dial(0);
    world.settle();
    (world, id)
}

#[test]
fn headers_that_do_not_decode_push_back_by_all_that_came() {
    let (mut world, id) = live_without_a_store(12);
    // Next to nothing of these is kept.
    for (header, body) in [
        (vec![0xff; 1_000_000], Some(vec![0; 100_000])),
        (vec![0xff; 10], Some(vec![0; 15 * 1024 * 1024])),
        (Vec::new(), None),
    ] {
        let mut came = 0;
        let forged = frame(&Message::Live {
            header: header.into(),
            body: body.map(Bytes::from),
        });
        while world.side(1, id).session.wants_bytes() && came < 4 * limits::UNSTORED_BYTES_MAX {
            world.input(1, id, Input::Bytes(forged.clone()));
            came += forged.len();
        }
        let read = came - forged.len();
        assert!(read < limits::UNSTORED_BYTES_MAX, "{read} bytes were read");
        let held = world.side(1, id).session.held_bytes();
        assert!(
            held < limits::UNSTORED_BYTES_MAX + 20_000,
            "{held} bytes are held"
        );
        world.run_until_quiet(1, id);
    }
}

#[test]
fn of_an_oversize_header_only_the_beginning_is_kept() {
    let (mut world, id) = live_without_a_store(13);
    let len = limits::HEADER_BYTES_MAX;
    let live = |len: usize| {
        frame(&Message::Live {
            header: vec![0xff; len].into(),
            body: Some(vec![0; 1024 * 1024].into()),
        })
    };
    for bytes in [live(len), live(len + 1), live(len + 2), live(8 * len)] {
        for chunk in bytes.chunks(100_000) {
            let chunk = Bytes::copy_from_slice(chunk);
            world.input(1, id, Input::Bytes(chunk));
            let held = world.side(1, id).session.held_bytes();
            let small = bytes.len() == live(len).len() || held < 300_000;
            assert!(small, "{held} bytes are held");
        }
        world.run_until_quiet(1, id);
    }
    let refused = world.side(1, id).refused.clone();
    let refusals: Vec<Refusal> = refused.iter().map(|one| one.refusal).collect();
    let large = Refusal::TooLarge;
    assert_eq!(refusals, [Refusal::Undecodable, large, large, large]);
    for one in &refused {
        assert_eq!(one.header.len(), limits::REJECTED_HEADER_BYTES_MAX);
    }
    // One row each, although they begin with the same bytes.
    let ids: std::collections::BTreeSet<_> = refused.iter().map(|one| *one.id.as_bytes()).collect();
    assert_eq!(ids.len(), 4);
    assert!(world.side(1, id).end.is_none());
}
