//! A session has one timer: all that is due is done when that comes, no matter what happened
//! before.

use std::time::Duration;

use bytes::Bytes;
use p2panda_core::{Entry, SigningKey};
use p2panda_protocol::sync::session::Input;
use p2panda_protocol::sync::{Announced, Entries, Message, Path, Protocol, SessionId};
use p2panda_protocol::time::Time;

use crate::crowd::Crowd;
use crate::world::{LINK, Rng, WANTED, frame, operation};

/// Bytes that each end of a session sent, and when. Without bytes: it ended.
type Trace = Vec<(Time, SessionId, usize, Bytes)>;

/// Some minutes of anything that sets a timer.
fn minutes(seed: u64, protocol: Protocol, ticks_every_ms: Option<u64>) -> Trace {
    let mut crowd = Crowd::meshed(seed, 4, 2, protocol);
    crowd.slow = true;
    crowd.looks_up = seed.is_multiple_of(2);
    crowd.ticks_every_ms = ticks_every_ms;
    crowd.begin_ticks();
    let mut rng = Rng::new(seed + 1);
    for round in 0..80 {
        let ids: Vec<SessionId> = crowd.links.keys().copied().collect();
        let (id, end) = (ids[rng.below(ids.len())], rng.below(2));
        match rng.below(9) {
            0..3 => drop(crowd.publish(rng.below(4), &[round])),
            3 => {
                let rtt = Duration::from_millis(rng.below(2_000) as u64);
                let (window_bytes, sessions) = (12_000, 1);
                let path = Path {
                    rtt,
                    window_bytes,
                    sessions,
                };
                crowd.inject_input(id, end, Input::Path(path));
            }
            4 => crowd.inject_input(id, end, Input::PairChanged),
            5 => crowd.inject_input(id, end, Input::Reading(rng.below(2) == 0)),
            6 if protocol == LINK => crowd.deliver(id, end, announcement(round)),
            7 => lack_a_body(&mut crowd, round),
            8 if round % 8 == 0 => {
                let ends = crowd.link(id).ends.each_ref().map(|end| end.node);
                crowd.cut(id);
                crowd.dial(ends[0], ends[1]);
            }
            _ => {}
        }
        crowd.run(rng.below(3_000) as u64);
    }
    let silent = *crowd.links.keys().last().unwrap();
    crowd.deliver(silent, 0, Bytes::from_static(&[0, 0, 4, 0, 1]));
    crowd.link(silent).silent = true;
    crowd.run(200_000);
    crowd.trace
}

/// Of an entry that the peer does not send.
fn announcement(round: u8) -> Bytes {
    let author = SigningKey::from_bytes(&[100 + round; 32]).verifying_key();
    let (first, last) = (0, 0);
    let entries = Entries {
        author,
        first,
        last,
    };
    let check = [0; 8];
    frame(&Message::Announce(vec![Announced { entries, check }]))
}

/// A header comes to a node from elsewhere, its body nowhere.
fn lack_a_body(crowd: &mut Crowd, round: u8) {
    let author = SigningKey::from_bytes(&[100 + round; 32]);
    let entry = operation(&author, None, b"kept back");
    let (body, absent) = (None, Some(WANTED));
    crowd.store_elsewhere(
        usize::from(round) % 4,
        Entry {
            body,
            absent,
            ..entry
        },
    );
}

#[test]
fn all_that_is_due_is_done_at_the_requested_timer() {
    for protocol in [LINK, Protocol::DigestSync, Protocol::LogSync] {
        for seed in 0..10 {
            let asked = minutes(seed, protocol, None);
            let all_the_time = minutes(seed, protocol, Some(97));
            let differ = asked
                .iter()
                .zip(&all_the_time)
                .find(|(one, other)| one != other);
            assert_eq!(differ, None, "seed {seed}, {protocol:?}");
            assert_eq!(asked.len(), all_the_time.len(), "seed {seed}");
        }
    }
}
