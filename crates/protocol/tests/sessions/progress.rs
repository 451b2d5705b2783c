//! A peer that owes something must bring it, and one that owes nothing may be silent.

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::Heights;
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::message::Message;
use p2panda_protocol::sync::session::Input;
use p2panda_protocol::sync::{Have, Path, Prefer, Protocol, SessionId};

use crate::fill;
use crate::world::{LINK, World, frame};

/// A live session of peer 0.
fn live(seed: u64) -> (World, SessionId) {
    let mut world = World::new(seed);
    let id = world.dial(0);
    world.settle();
    assert!(world.side(0, id).session.is_live());
    (world, id)
}

/// The beginning of a frame of a mebibyte.
fn begun() -> Bytes {
    Bytes::from_static(&[0, 16, 0, 0, 1])
}

/// Hands peer 0 that many bytes of a frame again and again, until the session ends.
fn drip(world: &mut World, id: SessionId, bytes: usize, every_ms: u64, until_s: u64) -> u64 {
    for passed_ms in (0..until_s * 1_000).step_by(every_ms as usize) {
        world.now = world.now.after(every_ms);
        world.input(0, id, Input::Tick);
        if world.side(0, id).end.is_none() {
            world.input(0, id, Input::Bytes(vec![1; bytes].into()));
        }
        world.run_until_quiet(0, id);
        if world.side(0, id).end.is_some() {
            return (passed_ms + every_ms) / 1_000;
        }
    }
    until_s
}

fn code(world: &mut World, id: SessionId) -> Option<CloseCode> {
    world.side(0, id).end.map(|end| end.code)
}

#[test]
fn only_a_begun_frame_ends_a_silent_live_session() {
    let (mut world, id) = live(1);
    world.now = world.now.after(24 * 3_600_000);
    world.input(0, id, Input::Tick);
    world.input(0, id, Input::Bytes(begun()));
    assert_eq!(code(&mut world, id), None);
    let wake = world.side(0, id).wake;
    assert_eq!(wake, Some(world.now.after(30_000)));
    world.now = world.now.after(30_000);
    world.input(0, id, Input::Tick);
    assert_eq!(code(&mut world, id), Some(CloseCode::Timeout));
}

#[test]
fn a_live_session_that_lacks_nothing_sets_no_timer() {
    let mut world = World::speaking(1, Some(LINK));
    let id = world.dial(0);
    world.settle();
    for side in [0, 1] {
        assert_eq!(world.side(side, id).wake, None);
    }
    // A frame has its time until it is whole.
    let whole = frame(&Message::Prefer(Prefer::default()));
    world.input(0, id, Input::Bytes(whole.slice(..5)));
    assert!(world.side(0, id).wake.is_some());
    world.input(0, id, Input::Bytes(whole.slice(5..)));
    assert_eq!(world.side(0, id).wake, None);
}

#[test]
fn a_begun_frame_comes_at_64_bytes_per_second() {
    for (bytes, every_ms, ends) in [
        (1, 29_000, true),
        (1, 20, true),
        (63, 1_000, true),
        (67, 1_000, false),
        (1_500, 10_000, false),
    ] {
        let (mut world, id) = live(2);
        world.input(0, id, Input::Bytes(begun()));
        let ended = drip(&mut world, id, bytes, every_ms, 600);
        let expected = ends.then_some(CloseCode::Timeout);
        assert_eq!(code(&mut world, id), expected, "{bytes} per {every_ms} ms");
        assert!(!ends || ended <= 60);
    }
}

#[test]
fn on_a_slow_or_crowded_path_less_is_enough_but_never_nothing() {
    // Two packets under way, 32 s there and back: four sessions at 2.4 kbit/s.
    let path = Path {
        rtt: Duration::from_secs(32),
        window_bytes: 2_400,
        sessions: 4,
    };
    for (bytes, every_ms, ends) in [(1_200, 30_000, false), (1, 29_000, true)] {
        let (mut world, id) = live(3);
        world.input(0, id, Input::Path(path));
        world.input(0, id, Input::Bytes(begun()));
        drip(&mut world, id, bytes, every_ms, 1_200);
        let expected = ends.then_some(CloseCode::Timeout);
        assert_eq!(code(&mut world, id), expected);
    }
}

#[test]
fn small_frames_that_become_whole_are_no_dripping() {
    let (mut world, id) = live(4);
    let forged = frame(&Message::Live {
        header: Bytes::from_static(b"no header"),
        body: None,
    });
    let (head, rest) = (forged.slice(..7), forged.slice(7..));
    for _ in 0..100 {
        world.input(0, id, Input::Bytes(head.clone()));
        world.now = world.now.after(29_000);
        world.input(0, id, Input::Tick);
        world.input(0, id, Input::Bytes(rest.clone()));
        world.run_until_quiet(0, id);
        world.now = world.now.after(29_000);
        world.input(0, id, Input::Tick);
    }
    assert_eq!(code(&mut world, id), None);
}

#[test]
fn own_sending_is_no_progress_of_a_begun_frame() {
    let (mut world, id) = live(5);
    world.input(0, id, Input::Bytes(begun()));
    for second in 0..31 {
        world.now = world.now.after(1_000);
        world.peers[0].publish(&[second; 500]);
        world.run_until_quiet(0, id);
    }
    world.input(0, id, Input::Tick);
    assert_eq!(code(&mut world, id), Some(CloseCode::Timeout));
}

#[test]
fn every_phase_of_catch_up_must_make_progress() {
    let have = frame(&Message::Have(Have::from(&Heights::default())));
    let pre_sync = frame(&Message::PreSync {
        operations: 9,
        bytes: 9_000_000,
    });
    let frames = [have, pre_sync];
    for phase in 0..3 {
        let frames = &frames[..phase];
        for (bytes, every_ms, ends) in [(1, 29_000, true), (0, 10_000, true)] {
            let mut world = World::speaking(6, Some(Protocol::LogSync));
            let id = world.dial(0);
            world.run_until_quiet(0, id);
            for frame in frames {
                world.input(0, id, Input::Bytes(frame.clone()));
                world.run_until_quiet(0, id);
            }
            world.input(0, id, Input::Bytes(Bytes::from_static(&[0, 0, 4, 0, 0, 2])));
            let ended = drip(&mut world, id, bytes, every_ms, 600);
            assert_eq!(code(&mut world, id).is_some(), ends);
            assert!(ended <= 60, "{ended} s");
        }
    }
}

#[test]
fn taking_what_is_lacking_is_progress() {
    for (takes, ends) in [(200, false), (0, true)] {
        let mut world = World::speaking(7, Some(Protocol::LogSync));
        fill(&mut world, 200, 0, 0);
        let id = world.dial(0);
        world.run_until_quiet(0, id);
        let have = frame(&Message::Have(Have::from(&Heights::default())));
        world.input(0, id, Input::Bytes(have));
        // The driver writes as much as the peer takes, so nothing is drained for long.
        while let Some(answer) = world.answer(0, id) {
            if !matches!(answer, Input::Drained | Input::Acked(_)) {
                world.input(0, id, answer);
            }
        }
        for _ in 0..120 {
            world.now = world.now.after(1_000);
            world.input(0, id, Input::Acked(takes));
            world.input(0, id, Input::Tick);
        }
        assert_eq!(code(&mut world, id), ends.then_some(CloseCode::Timeout));
    }
}

#[test]
fn a_peer_that_this_node_holds_back_is_not_blamed() {
    // The store does not answer, or the driver does not read.
    for (seed, reading) in [(8, true), (9, false)] {
        let (mut world, id) = live(seed);
        let large = frame(&Message::Live {
            header: Bytes::from_static(&[0xff]),
            body: Some(vec![0; 1 << 20].into()),
        });
        let operation = crate::world::log(&world.peers[1].key.clone(), 1, 2 << 20).remove(0);
        if reading {
            let live = frame(&Message::Live {
                header: operation.header.as_bytes().clone(),
                body: operation.body,
            });
            world.input(0, id, Input::Bytes(live));
            assert!(!world.side(0, id).session.wants_bytes());
        }
        world.input(0, id, Input::Reading(reading));
        world.input(0, id, Input::Bytes(large.slice(..1_000)));
        for _ in 0..60 {
            world.now = world.now.after(10_000);
            world.input(0, id, Input::Tick);
        }
        assert_eq!(code(&mut world, id), None);
        // Now it is its turn.
        world.input(0, id, Input::Reading(true));
        world.run_until_quiet(0, id);
        world.now = world.now.after(31_000);
        world.input(0, id, Input::Tick);
        assert_eq!(code(&mut world, id), Some(CloseCode::Timeout));
    }
}
