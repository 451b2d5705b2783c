//! Confidential discovery: which overlays two nodes share, and where other nodes are.
//!
//! Rules: docs/protocol/discovery.md#4. One machine per session, for Alice (who dialled) or Bob.

pub mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::budget::Standing;
use p2panda_core::{VerifyingKey, limits};
use thiserror::Error;

use self::message::{Message, MessageError, Records, Role, fit, pad, salted_hash};
use crate::close::CloseCode;
use crate::draws::Draws;
use crate::frame::{Decoder, Frame, FrameError};
use crate::overlay::Overlay;
use crate::record::TransportInfo;
use crate::time::{Time, patience};

/// Own state with which a session is opened.
#[derive(Clone, Debug)]
pub struct Local {
    /// Id of this node.
    pub node: VerifyingKey,
    /// The own record, which every answer contains.
    pub record: TransportInfo,
    /// The overlays that the own node is in.
    pub overlays: BTreeSet<Overlay>,
}

/// Input from the driver.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, or a moment asked for with [`Output::Wake`] has come.
    Tick,
    /// Bytes received on the stream.
    Bytes(Bytes),
    /// The answer to [`Output::Nodes`], most wanted first.
    Nodes(Records),
    /// The peer finished its side of the stream.
    EndOfStream,
    /// The peer closed the connection with this application code.
    Closed(u64),
    /// The stream or the connection failed.
    Lost,
    /// The node no longer wants this session.
    Stop,
}

/// Action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write these bytes to the stream.
    Send(Bytes),
    /// Give [`Input::Tick`] at this moment, unless the session ended before.
    Wake(Time),
    /// Give [`Input::Nodes`]: records for a peer with which we share these overlays.
    Nodes(BTreeSet<Overlay>),
    /// The session succeeded. Book it under the peer's proven identity.
    Finished(Outcome),
    /// The session failed; nothing of it counts.
    Failed(Failure),
    /// Close the connection.
    Close(CloseCode),
}

/// Result of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The overlays that both are in; they replace what was known.
    pub common: BTreeSet<Overlay>,
    /// The records received, not verified: for [`crate::book::Book::apply`].
    pub records: Records,
}

/// Reason why a session failed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The bytes cannot be cut into frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame is larger than 1 MiB, or more was sent than the session has room for.
    #[error("a discovery message is too large")]
    Oversize,
    /// A payload is not a message.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message came out of order.
    #[error("a discovery message came out of order")]
    Unexpected,
    /// The peer ended the session early.
    #[error("the peer ended the discovery session early")]
    Ended,
    /// The session took longer than ten seconds.
    #[error("the discovery session took too long")]
    Timeout,
    /// The node no longer wants the session.
    #[error("the discovery session was stopped")]
    Stopped,
}

impl Failure {
    /// The code to close with.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Failure::Frame(FrameError::TooLarge { .. })
            | Failure::Oversize
            | Failure::Message(MessageError::TooMany) => CloseCode::Limit,
            Failure::Frame(_) | Failure::Message(_) | Failure::Unexpected | Failure::Ended => {
                CloseCode::Violation
            }
            Failure::Timeout => CloseCode::Timeout,
            Failure::Stopped => CloseCode::Stopped,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Alice has not sent anything.
    Start,
    /// Waits for the peer's next message.
    Receive,
    /// Waits for the driver's records.
    AwaitNodes,
    /// Alice sent everything and waits for Bob to close.
    AwaitClose,
    Ended,
}

/// One discovery session. Ends by itself after [`limits::DISCOVERY_TIMEOUT`], or
/// later on a slow path.
#[derive(Debug)]
pub struct Discovery {
    role: Role,
    state: State,
    local: Local,
    half: [u8; 32],
    peer_half: Option<[u8; 32]>,
    draws: Draws,
    common: Option<BTreeSet<Overlay>>,
    records: Records,
    began: Time,
    deadline: Time,
    decoder: Decoder,
    outputs: VecDeque<Output>,
}

impl Discovery {
    /// The side that dialled and opened the stream. `draws` is this session's own.
    pub fn alice(local: Local, draws: Draws, now: Time) -> Discovery {
        Discovery::new(Role::Alice, State::Start, local, draws, now)
    }

    /// The side that accepted the stream. `draws` is this session's own.
    pub fn bob(local: Local, draws: Draws, now: Time) -> Discovery {
        Discovery::new(Role::Bob, State::Receive, local, draws, now)
    }

    /// The path takes that long there and back: waits accordingly. Said before anything is handled.
    #[must_use]
    pub fn over(mut self, round_trip: Duration) -> Discovery {
        self.deadline = self.began + patience(limits::DISCOVERY_TIMEOUT, round_trip);
        self.outputs = VecDeque::from([Output::Wake(self.deadline)]);
        self
    }

    /// Takes one input; drain [`Discovery::poll`] afterwards. Nothing happens after the end.
    pub fn handle(&mut self, input: Input, now: Time) {
        if self.state == State::Ended {
            return;
        }
        let step = if now >= self.deadline {
            Err(Failure::Timeout)
        } else {
            self.step(input)
        };
        if let Err(failure) = step {
            self.state = State::Ended;
            self.decoder = Decoder::new();
            self.outputs.push_back(Output::Failed(failure));
            self.outputs.push_back(Output::Close(failure.close_code()));
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn new(role: Role, state: State, local: Local, mut draws: Draws, now: Time) -> Discovery {
        let deadline = now + limits::DISCOVERY_TIMEOUT;
        Discovery {
            role,
            state,
            local,
            half: draws.bytes(),
            peer_half: None,
            draws,
            common: None,
            records: Records::new(),
            began: now,
            deadline,
            decoder: Decoder::new(),
            outputs: VecDeque::from([Output::Wake(deadline)]),
        }
    }

    fn step(&mut self, input: Input) -> Result<(), Failure> {
        match input {
            Input::Tick => {}
            // What comes after the last message is of no use to anybody.
            Input::Bytes(_) if self.state == State::AwaitClose => {}
            Input::Bytes(bytes) => {
                // One message, never more; nobody sends the next before this one was answered.
                let room = limits::DISCOVERY_BYTES_MAX + limits::DISCOVERY_BESIDE_BYTES_MAX;
                if self.decoder.buffered_bytes() + bytes.len() > room {
                    return Err(Failure::Oversize);
                }
                self.decoder.push(bytes);
            }
            Input::Nodes(records) => self.send_nodes(records)?,
            Input::EndOfStream if self.state == State::AwaitClose => {}
            Input::Closed(0) if self.state == State::AwaitClose => self.finish(),
            Input::EndOfStream | Input::Closed(_) | Input::Lost => return Err(Failure::Ended),
            Input::Stop => return Err(Failure::Stopped),
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<(), Failure> {
        if self.state == State::Start {
            self.send(&Message::Salt(self.half))?;
            self.state = State::Receive;
        }
        while self.state == State::Receive {
            match self.decoder.next(|_| limits::DISCOVERY_BYTES_MAX as u32)? {
                None => return Ok(()),
                Some(Frame::Oversize { .. }) => return Err(Failure::Oversize),
                Some(Frame::Message(payload)) => self.receive(Message::decode(payload)?)?,
            }
        }
        Ok(())
    }

    fn receive(&mut self, message: Message) -> Result<(), Failure> {
        let started = self.peer_half.is_some();
        match (self.role, message) {
            (Role::Bob, Message::Salt(half)) if !started => {
                self.peer_half = Some(half);
                let hashes = self.own_hashes();
                self.send(&Message::SaltAndHashes(self.half, hashes))
            }
            (Role::Alice, Message::SaltAndHashes(half, theirs)) if !started => {
                self.peer_half = Some(half);
                self.common = Some(self.intersect(&theirs));
                let hashes = self.own_hashes();
                self.send(&Message::Hashes(hashes))
            }
            (Role::Bob, Message::Hashes(theirs)) if started && self.common.is_none() => {
                let common = self.intersect(&theirs);
                self.ask_nodes(common);
                Ok(())
            }
            (role, Message::Nodes(records)) => {
                let Some(common) = self.common.clone() else {
                    return Err(Failure::Unexpected);
                };
                self.records = records;
                match role {
                    Role::Alice => self.ask_nodes(common),
                    Role::Bob => {
                        self.finish();
                        self.outputs.push_back(Output::Close(CloseCode::Done));
                    }
                }
                Ok(())
            }
            _ => Err(Failure::Unexpected),
        }
    }

    fn ask_nodes(&mut self, common: BTreeSet<Overlay>) {
        self.outputs.push_back(Output::Nodes(common.clone()));
        self.common = Some(common);
        self.state = State::AwaitNodes;
    }

    fn send_nodes(&mut self, mut records: Records) -> Result<(), Failure> {
        if self.state != State::AwaitNodes {
            return Ok(());
        }
        // Without its own record a peer of release 0.7.1 would ask again at once, forever.
        records.retain(|(node, _)| *node != self.local.node);
        records.insert(0, (self.local.node, self.local.record.clone()));
        self.send(&Message::Nodes(fit(records)))?;
        self.state = match self.role {
            Role::Alice => State::AwaitClose,
            Role::Bob => State::Receive,
        };
        Ok(())
    }

    fn finish(&mut self) {
        self.state = State::Ended;
        self.decoder = Decoder::new();
        let common = self.common.take().unwrap_or_default();
        let records = std::mem::take(&mut self.records);
        self.outputs
            .push_back(Output::Finished(Outcome { common, records }));
    }

    fn own_hashes(&mut self) -> BTreeSet<[u8; 32]> {
        let role = self.role;
        let overlays = &self.local.overlays;
        // With more overlays than fit, each session tells another random stretch of them.
        let start = self.draws.position(overlays.len()).unwrap_or_default();
        let cyclic = overlays
            .iter()
            .skip(start)
            .chain(overlays.iter().take(start));
        let mut hashes: BTreeSet<[u8; 32]> = cyclic
            .take(limits::DISCOVERY_HASHES_MAX)
            .map(|overlay| self.hash(overlay, role))
            .collect();
        pad(&mut hashes, &mut self.draws);
        hashes
    }

    fn intersect(&self, theirs: &BTreeSet<[u8; 32]>) -> BTreeSet<Overlay> {
        let sender = match self.role {
            Role::Alice => Role::Bob,
            Role::Bob => Role::Alice,
        };
        let shared = |overlay: &&Overlay| theirs.contains(&self.hash(overlay, sender));
        self.local.overlays.iter().filter(shared).copied().collect()
    }

    fn hash(&self, overlay: &Overlay, sender: Role) -> [u8; 32] {
        let peer_half = self.peer_half.as_ref().unwrap_or(&[0; 32]);
        match self.role {
            Role::Alice => salted_hash(overlay, &self.half, peer_half, sender),
            Role::Bob => salted_hash(overlay, peer_half, &self.half, sender),
        }
    }

    fn send(&mut self, message: &Message) -> Result<(), Failure> {
        let mut out = BytesMut::new();
        message.encode(&mut out)?;
        self.outputs.push_back(Output::Send(out.freeze()));
        Ok(())
    }
}

/// Admission of incoming sessions: a few at once, one per peer, and not too many a minute
/// (docs/protocol/discovery.md#10).
#[derive(Debug, Default)]
pub struct Admission {
    /// By number, so that the oldest comes first.
    open: BTreeMap<u64, (VerifyingKey, Standing)>,
    number: u64,
    minutes: BTreeMap<VerifyingKey, (Time, usize)>,
}

/// A session that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its number: [`Admission::ended`] must follow with it.
    pub number: u64,
    /// The session that has to end for it.
    pub instead_of: Option<u64>,
}

impl Admission {
    /// Nothing is open.
    pub fn new() -> Admission {
        Admission::default()
    }

    /// Decides whether to serve a session with `peer`.
    pub fn admit(&mut self, peer: VerifyingKey, standing: Standing, now: Time) -> Option<Admitted> {
        if self.open.values().any(|(other, _)| *other == peer) || !self.count(peer, standing, now) {
            return None;
        }
        let is_proven = |other: &Standing| *other == Standing::Proven;
        let same = self.open.values();
        let same = same.filter(|(_, other)| is_proven(other) == is_proven(&standing));
        let (count, mut instead_of) = (same.count(), None);
        if is_proven(&standing) {
            if count >= limits::DISCOVERY_SESSIONS_PROVEN_MAX {
                return None;
            }
        } else if count >= limits::DISCOVERY_SESSIONS_MAX {
            instead_of = self.oldest_of_crowd();
        }
        if let Some(number) = instead_of {
            self.open.remove(&number);
        }
        self.number += 1;
        self.open.insert(self.number, (peer, standing));
        let number = self.number;
        Some(Admitted { number, instead_of })
    }

    /// An admitted session ended, however.
    pub fn ended(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Counts a session of this minute, if the peer may have another one.
    fn count(&mut self, peer: VerifyingKey, standing: Standing, now: Time) -> bool {
        const MINUTE: Duration = Duration::from_secs(60);
        self.minutes.retain(|_, (start, _)| now < *start + MINUTE);
        let known = self.minutes.contains_key(&peer) || standing == Standing::Proven;
        if !known && self.minutes.len() >= limits::BOOK_NODES_MAX {
            return false;
        }
        let (_, count) = self.minutes.entry(peer).or_insert((now, 0));
        let may = *count < limits::DISCOVERY_SESSIONS_PER_MINUTE_MAX;
        *count += usize::from(may);
        may
    }

    /// Of the unproven ones of the address prefix with the most of them, the one that takes
    /// longest: a session that continues is over within a few round trips.
    fn oldest_of_crowd(&self) -> Option<u64> {
        let of = |prefix: &Standing| {
            let same = self.open.values().filter(|(_, other)| other == prefix);
            same.count()
        };
        let unproven = self.open.iter();
        let unproven = unproven.filter(|(_, (_, standing))| *standing != Standing::Proven);
        let oldest =
            unproven.max_by_key(|(number, (_, standing))| (of(standing), u64::MAX - *number));
        oldest.map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use p2panda_core::budget::Prefix;
    use p2panda_core::{HybridTimestamp, SigningKey};

    use super::*;

    fn node(byte: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[byte; 32]).verifying_key()
    }

    fn record(byte: u8) -> TransportInfo {
        let key = SigningKey::from_bytes(&[byte; 32]);
        TransportInfo::sign(&key, HybridTimestamp::new(1, 0), BTreeSet::new()).unwrap()
    }

    fn local(byte: u8, overlays: &[u8]) -> Local {
        let overlays = overlays
            .iter()
            .map(|byte| Overlay::from_bytes([*byte; 32]))
            .collect();
        Local {
            node: node(byte),
            record: record(byte),
            overlays,
        }
    }

    fn draws(byte: u8) -> Draws {
        Draws::from_seed([byte; 32])
    }

    fn drain(session: &mut Discovery) -> Vec<Output> {
        std::iter::from_fn(|| session.poll()).collect()
    }

    /// Drains a session, answers its questions, and gives back what it sends.
    fn turn(session: &mut Discovery, records: &Records, log: &mut Vec<Output>) -> Vec<u8> {
        let mut sent = Vec::new();
        while let Some(output) = session.poll() {
            match &output {
                Output::Send(bytes) => sent.extend_from_slice(bytes),
                Output::Nodes(_) => session.handle(Input::Nodes(records.clone()), Time::ZERO),
                _ => {}
            }
            log.push(output);
        }
        sent
    }

    fn run(alice: Local, bob: Local, records: &Records, size: usize) -> [Vec<Output>; 2] {
        let mut alice = Discovery::alice(alice, draws(1), Time::ZERO);
        let mut bob = Discovery::bob(bob, draws(2), Time::ZERO);
        let mut logs = [Vec::new(), Vec::new()];
        alice.handle(Input::Tick, Time::ZERO);
        let [alice_log, bob_log] = &mut logs;
        loop {
            let to_bob = turn(&mut alice, records, alice_log);
            for piece in to_bob.chunks(size) {
                bob.handle(Input::Bytes(Bytes::copy_from_slice(piece)), Time::ZERO);
            }
            let to_alice = turn(&mut bob, records, bob_log);
            for piece in to_alice.chunks(size) {
                alice.handle(Input::Bytes(Bytes::copy_from_slice(piece)), Time::ZERO);
            }
            if to_bob.is_empty() && to_alice.is_empty() {
                break;
            }
        }
        if bob_log.contains(&Output::Close(CloseCode::Done)) {
            alice.handle(Input::Closed(0), Time::ZERO);
            turn(&mut alice, records, alice_log);
        }
        logs
    }

    fn outcome(log: &[Output]) -> &Outcome {
        let outcome = log.iter().find_map(|output| match output {
            Output::Finished(outcome) => Some(outcome),
            _ => None,
        });
        outcome.unwrap()
    }

    #[test]
    fn both_learn_what_they_share_and_nothing_else() {
        let third = vec![(node(3), record(3))];
        for size in [1, 7, 100_000] {
            let [alice, bob] = run(local(1, &[1, 2, 3]), local(2, &[2, 3, 4]), &third, size);
            let common = BTreeSet::from([2, 3].map(|byte| Overlay::from_bytes([byte; 32])));
            assert_eq!(outcome(&alice).common, common);
            assert_eq!(outcome(&bob).common, common);
            let from_bob: BTreeSet<_> = outcome(&alice).records.iter().map(|r| r.0).collect();
            assert_eq!(from_bob, BTreeSet::from([node(2), node(3)]));
            assert_eq!(bob.last(), Some(&Output::Close(CloseCode::Done)));
        }
    }

    #[test]
    fn an_answer_always_holds_the_own_record() {
        let [alice, bob] = run(local(1, &[]), local(2, &[]), &Vec::new(), 64);
        assert_eq!(outcome(&alice).records, [(node(2), record(2))]);
        assert_eq!(outcome(&bob).records, [(node(1), record(1))]);
    }

    #[test]
    fn a_session_over_a_slow_path_has_twenty_round_trips() {
        let bob = Discovery::bob(local(2, &[]), draws(2), Time::ZERO);
        let mut bob = bob.over(Duration::from_secs(3));
        assert_eq!(drain(&mut bob), [Output::Wake(Time::ZERO.after(60_000))]);
        bob.handle(Input::Tick, Time::ZERO.after(59_999));
        assert_eq!(drain(&mut bob), []);
    }

    #[test]
    fn a_session_ends_after_ten_seconds_of_talk() {
        let mut bob = Discovery::bob(local(2, &[]), draws(2), Time::ZERO);
        let deadline = Time::ZERO.after(10_000);
        assert_eq!(drain(&mut bob), [Output::Wake(deadline)]);
        bob.handle(
            Input::Bytes(Bytes::from_static(&[0])),
            Time::ZERO.after(9_999),
        );
        assert_eq!(drain(&mut bob), []);
        bob.handle(Input::Bytes(Bytes::from_static(&[0])), deadline);
        let expected = [
            Output::Failed(Failure::Timeout),
            Output::Close(CloseCode::Timeout),
        ];
        assert_eq!(drain(&mut bob), expected);
    }

    #[test]
    fn broken_sessions_fail_with_their_reason() {
        let frame = |message: Message| {
            let mut out = BytesMut::new();
            message.encode(&mut out).unwrap();
            out.freeze()
        };
        let salt = frame(Message::Salt([1; 32]));
        let twice = Bytes::from([&salt[..], &salt[..]].concat());
        let large = (limits::DISCOVERY_BYTES_MAX as u32 + 1).to_be_bytes();
        let large = Bytes::from([&large[..], &[0; 65_536]].concat());
        for (input, code) in [
            (
                Input::Bytes(frame(Message::Nodes(Vec::new()))),
                CloseCode::Violation,
            ),
            (
                Input::Bytes(frame(Message::Hashes(BTreeSet::new()))),
                CloseCode::Violation,
            ),
            (Input::Bytes(twice), CloseCode::Violation),
            (
                Input::Bytes(Bytes::from_static(&[0, 0, 0, 1, 9])),
                CloseCode::Violation,
            ),
            (Input::Bytes(large), CloseCode::Limit),
            (Input::EndOfStream, CloseCode::Violation),
            (Input::Closed(0), CloseCode::Violation),
            (Input::Lost, CloseCode::Violation),
            (Input::Stop, CloseCode::Stopped),
        ] {
            let mut bob = Discovery::bob(local(2, &[]), draws(2), Time::ZERO);
            bob.handle(input, Time::ZERO);
            assert_eq!(drain(&mut bob).last(), Some(&Output::Close(code)));
        }
    }

    #[test]
    fn a_talkative_peer_cannot_fill_the_memory() {
        let mut bob = Discovery::bob(local(2, &[]), draws(2), Time::ZERO);
        let mut out = BytesMut::new();
        Message::Salt([1; 32]).encode(&mut out).unwrap();
        Message::Hashes(BTreeSet::new()).encode(&mut out).unwrap();
        bob.handle(Input::Bytes(out.freeze()), Time::ZERO);
        let chunk = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..20 {
            bob.handle(Input::Bytes(chunk.clone()), Time::ZERO);
        }
        assert_eq!(
            drain(&mut bob).last(),
            Some(&Output::Close(CloseCode::Limit))
        );
    }

    fn unproven(prefix: u8) -> Standing {
        Standing::Unproven(Prefix::of([10, 0, prefix, 1].into()))
    }

    #[test]
    fn sessions_are_bounded_at_once_per_peer_and_per_minute() {
        let mut admission = Admission::new();
        for byte in 0..limits::DISCOVERY_SESSIONS_PROVEN_MAX as u8 {
            let mut admit = || admission.admit(node(byte), Standing::Proven, Time::ZERO);
            assert!(admit().is_some());
            assert!(admit().is_none());
        }
        assert!(
            admission
                .admit(node(200), Standing::Proven, Time::ZERO)
                .is_none()
        );
        for minute in 0..2 {
            let now = Time::ZERO.after(minute * 60_000);
            for _ in 0..limits::DISCOVERY_SESSIONS_PER_MINUTE_MAX {
                let admitted = admission.admit(node(100), unproven(1), now).unwrap();
                admission.ended(admitted.number);
            }
            assert!(admission.admit(node(100), unproven(1), now).is_none());
        }
    }

    #[test]
    fn the_slowest_visitor_of_the_largest_crowd_ends() {
        let mut admission = Admission::new();
        let alone = admission.admit(node(1), unproven(1), Time::ZERO).unwrap();
        let mut crowd = Vec::new();
        for byte in 2..=limits::DISCOVERY_SESSIONS_MAX as u8 {
            let admitted = admission.admit(node(byte), unproven(2), Time::ZERO);
            let admitted = admitted.unwrap();
            assert_eq!(admitted.instead_of, None);
            crowd.push(admitted.number);
        }
        // Proven ones have places of their own.
        let proven = admission.admit(node(150), Standing::Proven, Time::ZERO);
        assert_eq!(proven.unwrap().instead_of, None);
        for (place, byte) in (160..180).enumerate() {
            let prefix = unproven(1 + (byte % 2));
            let newcomer = admission.admit(node(byte), prefix, Time::ZERO).unwrap();
            assert_eq!(newcomer.instead_of, Some(crowd[place]));
        }
        assert!(!crowd.contains(&alone.number));
        assert_eq!(admission.open.len(), limits::DISCOVERY_SESSIONS_MAX + 1);
    }
}
