//! Cost of a Have, and what is read in it.

use bytes::{BufMut, Bytes, BytesMut};
use p2panda_core::{LogRange, SigningKey, VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use p2panda_protocol::sync::session::{Event, Input, Output};
use p2panda_protocol::sync::{Protocol, SessionId};

use crate::world::{World, log, topic};

/// A map of authors to maps of log ids to heights, as a Have frame.
struct Map {
    authors: u32,
    bytes: BytesMut,
}

impl Map {
    fn new() -> Map {
        Map {
            authors: 0,
            bytes: BytesMut::new(),
        }
    }

    /// An author with some logs.
    fn author(mut self, author: [u8; 32], logs: &[([u8; 32], u32)]) -> Map {
        self.authors += 1;
        self.bytes.put_u8(32);
        self.bytes.put_slice(&author);
        self.bytes.put_slice(&varint(logs.len() as u32));
        for (log_id, seq) in logs {
            self.bytes.put_u8(32);
            self.bytes.put_slice(log_id);
            self.bytes.put_slice(&varint(*seq));
        }
        self
    }

    fn frame(self) -> Bytes {
        let mut payload = vec![0, 0];
        payload.extend(varint(self.authors));
        payload.extend(&self.bytes);
        let mut frame = (payload.len() as u32).to_be_bytes().to_vec();
        frame.extend(payload);
        frame.into()
    }
}

/// Written longer than needed, which must be accepted.
fn varint(value: u32) -> [u8; 5] {
    let group = |shift: u32| (value >> shift) as u8 & 0x7f;
    [
        group(0) | 0x80,
        group(7) | 0x80,
        group(14) | 0x80,
        group(21) | 0x80,
        group(28),
    ]
}

/// A session of peer 0 that has sent its heights and was told none.
fn asked(seed: u64) -> (World, SessionId) {
    let mut world = World::speaking(seed, Some(Protocol::LogSync));
    for entry in log(&world.peers[0].key.clone(), 6, 10) {
        world.peers[0].store(entry);
    }
    for entry in log(&SigningKey::from_bytes(&[9; 32]), 4, 10) {
        world.peers[0].store(entry);
    }
    let id = world.dial(0);
    world.run_until_quiet(0, id);
    (world, id)
}

/// Returns what peer 0 takes the peer to lack after it was told this.
fn ranges(have: Bytes) -> (Vec<LogRange>, Vec<Event>) {
    let (mut world, id) = asked(3);
    let mut asked = Vec::new();
    let side = world.peers[0].sides.get_mut(&id).unwrap();
    let (pair, now) = (&mut world.peers[0].pair, world.now);
    side.session.handle(Input::Bytes(have), pair, now);
    let mut events = Vec::new();
    let mut ticks = 0;
    while let Some(output) = side.session.poll() {
        match output {
            Output::Totals(ranges) => asked = ranges,
            Output::Event(event) => events.push(event),
            Output::Wake(at) if at <= now => {
                ticks += 1;
                side.session.handle(Input::Tick, pair, now);
            }
            _ => {}
        }
    }
    assert!(ticks < 64);
    (asked, events)
}

fn own_and_other() -> [VerifyingKey; 2] {
    let world = World::new(0);
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    [world.peers[0].key.verifying_key(), other]
}

#[test]
fn unknown_logs_and_foreign_log_ids_are_read_over() {
    let [own, other] = own_and_other();
    let id = *topic().log_id().as_bytes();
    let have = Map::new()
        .author([0xff; 32], &[(id, 7)])
        .author(*own.as_bytes(), &[([1; 32], 5), (id, 2), ([0xfe; 32], 0)])
        .author(*other.as_bytes(), &[([1; 32], 3)]);
    let (ranges, events) = ranges(have.frame());
    let range = |author: VerifyingKey, after: Option<u32>, until: u32| LogRange {
        author,
        log: topic().log_id(),
        after,
        until,
    };
    let mut expected = vec![range(own, Some(2), 5), range(other, None, 3)];
    expected.sort_by_key(|range| range.author);
    assert_eq!(ranges, expected);
    assert!(events.contains(&Event::PeerHas { own_seq: Some(2) }));
}

#[test]
fn the_last_map_of_a_repeated_author_counts() {
    let [own, other] = own_and_other();
    let id = *topic().log_id().as_bytes();
    let have = Map::new()
        .author(*other.as_bytes(), &[(id, 0), (id, 3)])
        .author(*own.as_bytes(), &[(id, 5)])
        .author(*own.as_bytes(), &[([1; 32], 5)]);
    let (ranges, events) = ranges(have.frame());
    let ranges: Vec<_> = ranges.iter().map(|one| (one.author, one.after)).collect();
    assert_eq!(ranges, [(own, None)]);
    assert!(events.contains(&Event::PeerHas { own_seq: None }));
}

#[test]
fn a_have_that_breaks_off_ends_the_session_also_in_a_later_part() {
    let [own, _] = own_and_other();
    for authors in [0, 30_000] {
        let (mut world, id) = asked(4);
        let mut have = Map::new();
        for n in 0..authors {
            let mut key = [1; 32];
            key[..4].copy_from_slice(&u32::to_be_bytes(n));
            have = have.author(key, &[]);
        }
        have = have.author(*own.as_bytes(), &[([2; 32], 1)]);
        have.authors += 1;
        let mut frame = have.frame().to_vec();
        frame.extend([1; 39]);
        let len = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&len.to_be_bytes());
        world.input(0, id, Input::Bytes(frame.into()));
        world.run_until_quiet(0, id);
        let end = world.side(0, id).end.expect("a malformed Have ends it");
        assert_eq!(end.code, CloseCode::Violation);
    }
}

#[test]
fn the_largest_have_takes_its_own_bytes_for_a_moment() {
    let [own, _] = own_and_other();
    let id = *topic().log_id().as_bytes();
    // As many authors as fit, each with nothing or with one log.
    for logs in [&[][..], &[(id, 9)]] {
        let mut have = Map::new();
        let mut number = 0_u32;
        while have.bytes.len() + 76 < limits::HAVE_BYTES_MAX - 76 - 16 {
            let mut key = [1; 32];
            key[..4].copy_from_slice(&number.to_be_bytes());
            have = have.author(key, logs);
            number += 1;
        }
        let frame = have.author(*own.as_bytes(), &[(id, 1)]).frame();
        let (mut world, session) = asked(5);
        let before = world.side(0, session).session.held_bytes();
        for chunk in frame.chunks(60_000) {
            world.input(0, session, Input::Bytes(Bytes::copy_from_slice(chunk)));
            let held = world.side(0, session).session.held_bytes();
            assert!(held < before + limits::HAVE_BYTES_MAX + 200_000, "{held}");
        }
        let parts = world.run_until_quiet(0, session);
        assert!(parts >= number as usize / 8_192, "{parts} parts");
        let side = world.side(0, session);
        assert!(side.end.is_none());
        let own_seq = Some(1);
        assert!(side.events.contains(&Event::PeerHas { own_seq }));
        let held = side.session.held_bytes();
        assert!(held < before + 20_000, "{held} bytes stay");
        // What it owes after that is not forgotten. In the first window it brought enough.
        for _ in 0..2 {
            let wake = world.side(0, session).wake.take();
            world.now = wake.expect("the peer has not said what it sends");
            world.input(0, session, Input::Tick);
        }
        let end = world.side(0, session).end.expect("its time is over");
        assert_eq!(end.code, CloseCode::Timeout);
    }
}
