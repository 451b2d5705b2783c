//! Two sides in one thread, with streams that are cut anywhere; and one side against frames.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{HybridTimestamp, SigningKey, VerifyingKey};
use p2panda_protocol::discovery::message::Records;
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::message::{self, Message};
use p2panda_protocol::link::{
    Control, Failure, Farewell, Input, Instance, Output, Secret, Side, Start, Tag, Told,
};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, TransportInfo};
use p2panda_protocol::time::Time;

pub const SECRET: [u8; 32] = [0x5e; 32];

/// xorshift64*: enough to choose an order, and the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// A moment, in seconds.
pub fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

pub fn key(number: u32) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&bytes)
}

pub fn overlay(number: u32) -> Overlay {
    let mut bytes = [9; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Overlay::from_bytes(bytes)
}

pub fn overlays(numbers: impl IntoIterator<Item = u32>) -> BTreeSet<Overlay> {
    numbers.into_iter().map(overlay).collect()
}

/// A record of a node with this many IP addresses.
pub fn record(number: u32, addresses: u16) -> (VerifyingKey, TransportInfo) {
    let ips = (0..addresses).map(|port| Address::ip(([8, 8, 8, 8], port).into()));
    let timestamp = HybridTimestamp::new(u64::from(number) + 1, 0);
    let info = TransportInfo::sign(&key(number), timestamp, ips.collect()).unwrap();
    (key(number).verifying_key(), info)
}

pub fn start(side: Side, overlays: BTreeSet<Overlay>) -> Start {
    let seed = match side {
        Side::Dialler => 1,
        Side::Acceptor => 2,
    };
    Start {
        node: key(seed).verifying_key(),
        peer: key(3 - seed).verifying_key(),
        side,
        secret: Secret::new(SECRET),
        instance: Instance::from_bytes([seed as u8; 16]),
        record: Some(record(seed, 2).1),
        overlays,
        round_trip: Duration::from_millis(20),
        draws: Draws::from_seed([seed as u8; 32]),
    }
}

pub fn drain(control: &mut Control) -> Vec<Output> {
    std::iter::from_fn(|| control.poll()).collect()
}

/// Splits outputs into the written bytes, and the rest.
pub fn sent(outputs: Vec<Output>) -> (Bytes, Vec<Output>) {
    let (mut bytes, mut rest) = (BytesMut::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Send(part) => bytes.extend_from_slice(&part),
            other => rest.push(other),
        }
    }
    (bytes.freeze(), rest)
}

/// The messages in these bytes.
pub fn messages(mut bytes: Bytes) -> Vec<Message> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.split_to(4);
        let length = u32::from_be_bytes(length[..].try_into().unwrap());
        messages.push(Message::decode(bytes.split_to(length as usize)).unwrap());
    }
    messages
}

pub fn frame(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out).unwrap();
    out.freeze()
}

pub fn hello() -> Message {
    Message::Hello {
        version: message::VERSION,
        instance: Instance::from_bytes([3; 16]),
        record: None,
    }
}

pub fn interest(more: bool, begun: Vec<Tag>, ended: Vec<Tag>) -> Message {
    Message::Interest { more, begun, ended }
}

/// A tag that names nothing.
pub fn stray(number: u32) -> Tag {
    let mut bytes = [0xaa; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Tag::from_bytes(bytes)
}

/// The acceptor of a link, and what a dialler sends to it by hand.
pub struct Alone {
    pub control: Control,
    pub now: Time,
}

impl Alone {
    /// Nothing has come yet.
    pub fn new(overlays: BTreeSet<Overlay>) -> Alone {
        let mut control = Control::new(start(Side::Acceptor, overlays), Time::ZERO);
        drain(&mut control);
        Alone {
            control,
            now: Time::ZERO,
        }
    }

    /// Hello and an Interest in these overlays have come.
    pub fn met(overlays: BTreeSet<Overlay>, theirs: &BTreeSet<Overlay>) -> Alone {
        let mut alone = Alone::new(overlays);
        let tags = theirs.iter().map(dialler_tag).collect();
        alone.receive(&[hello(), interest(false, tags, Vec::new())]);
        alone
    }

    pub fn give(&mut self, input: Input) -> Vec<Output> {
        self.control.handle(input, self.now);
        drain(&mut self.control)
    }

    /// The outputs for these messages, without written bytes.
    pub fn receive(&mut self, messages: &[Message]) -> Vec<Output> {
        let frames: Vec<u8> = messages.iter().flat_map(frame).collect();
        sent(self.give(Input::Bytes(frames.into()))).1
    }

    /// Returns why the link ended with these messages, if it did.
    pub fn failure(&mut self, messages: &[Message]) -> Option<Failure> {
        match self.receive(messages).last() {
            Some(Output::Close(_, failure)) => Some(*failure),
            _ => None,
        }
    }
}

pub fn dialler_tag(overlay: &Overlay) -> Tag {
    Secret::new(SECRET).tag(overlay, Side::Dialler)
}

/// One side of a pair, with what its outputs told.
pub struct Node {
    pub control: Control,
    /// The overlays that it is in.
    pub own: BTreeSet<Overlay>,
    /// Common overlays, by the outputs alone.
    pub told: BTreeSet<Overlay>,
    pub met: bool,
    pub asked: bool,
    pub asks: usize,
    pub answers: usize,
    pub records: Vec<Records>,
    /// Members that were told for each overlay, the last time.
    pub members: BTreeMap<Overlay, BTreeSet<VerifyingKey>>,
    pub gossip: Vec<(Overlay, u32)>,
    pub farewells: Vec<Farewell>,
    pub closed: Option<Failure>,
    /// Answers that the driver owes.
    pub wanted: VecDeque<BTreeSet<Overlay>>,
    /// Bytes that the other side has not read yet.
    pub written: VecDeque<u8>,
    pub said_bytes: usize,
}

impl Node {
    pub fn new(start: Start) -> Node {
        let own = start.overlays.clone();
        let mut node = Node {
            control: Control::new(start, Time::ZERO),
            own,
            told: BTreeSet::new(),
            met: false,
            asked: false,
            asks: 0,
            answers: 0,
            records: Vec::new(),
            members: BTreeMap::new(),
            gossip: Vec::new(),
            farewells: Vec::new(),
            closed: None,
            wanted: VecDeque::new(),
            written: VecDeque::new(),
            said_bytes: 0,
        };
        node.drain();
        node
    }

    pub fn give(&mut self, input: Input) {
        self.control.handle(input, Time::ZERO);
        self.drain();
    }

    fn drain(&mut self) {
        for output in drain(&mut self.control) {
            match output {
                Output::Send(bytes) => {
                    self.said_bytes += bytes.len();
                    self.written.extend(bytes);
                }
                Output::Met(common) => {
                    assert!(!std::mem::replace(&mut self.met, true));
                    assert!(self.told.is_empty());
                    self.told = common;
                }
                Output::Common(overlay) => assert!(self.met && self.told.insert(overlay)),
                Output::Parted(overlay) => assert!(self.met && self.told.remove(&overlay)),
                Output::WantNodes(common) => {
                    assert!(self.wanted.is_empty(), "one question at a time");
                    self.wanted.push_back(common);
                }
                Output::Nodes(Told { records, members }) => {
                    assert!(members.keys().all(|overlay| self.told.contains(overlay)));
                    self.records.push(records);
                    self.members = members;
                }
                Output::Answered => {
                    assert!(std::mem::take(&mut self.asked));
                    self.answers += 1;
                }
                Output::Gossip(overlay, message) => {
                    assert!(self.own.contains(&overlay) && self.told.contains(&overlay));
                    let number = u32::from_be_bytes(message[..].try_into().unwrap());
                    self.gossip.push((overlay, number));
                }
                Output::Farewell(farewell) => self.farewells.push(farewell),
                Output::Close(_, failure) => self.closed = Some(failure),
                Output::Hello { .. } | Output::Wake(_) => {}
                other @ (Output::WantStored { .. } | Output::Stored(..) | Output::Blocked(..)) => {
                    panic!("nobody asks for receipts or blocks logs: {other:?}")
                }
            }
        }
        if self.met {
            assert_eq!(&self.told, self.control.common());
        }
    }

    /// The driver answers what the machine wants.
    pub fn answer(&mut self, records: impl FnOnce() -> Records) {
        if self.wanted.pop_front().is_some() {
            self.give(Input::Nodes(records().into()));
        }
    }

    pub fn begin(&mut self, overlay: Overlay) {
        self.own.insert(overlay);
        self.give(Input::Begin(overlay));
    }

    pub fn end(&mut self, overlay: Overlay) {
        self.own.remove(&overlay);
        self.give(Input::End(overlay));
    }

    pub fn all(&mut self, overlays: BTreeSet<Overlay>) {
        self.own = overlays.clone();
        self.give(Input::All(overlays));
    }

    pub fn ask(&mut self) {
        if !self.asked {
            self.asked = true;
            self.asks += 1;
        }
        self.give(Input::Ask);
    }
}

/// The dialler and the acceptor of a link.
pub struct Pair(pub [Node; 2]);

impl Pair {
    pub fn new(dialler: BTreeSet<Overlay>, acceptor: BTreeSet<Overlay>) -> Pair {
        Pair([
            Node::new(start(Side::Dialler, dialler)),
            Node::new(start(Side::Acceptor, acceptor)),
        ])
    }

    /// This many bytes of what one side wrote, or all that there are, reach the other.
    pub fn pass(&mut self, from: usize, bytes: usize) {
        let written = &mut self.0[from].written;
        let bytes = bytes.min(written.len());
        if bytes > 0 {
            let bytes: Bytes = written.drain(..bytes).collect();
            self.0[1 - from].give(Input::Bytes(bytes));
        }
    }

    /// Until nothing is in progress and no question is open.
    pub fn settle(&mut self) {
        while self
            .0
            .iter()
            .any(|node| !node.written.is_empty() || !node.wanted.is_empty())
        {
            for from in [0, 1] {
                self.pass(from, usize::MAX);
                self.0[from].answer(|| vec![record(from as u32, 1)]);
            }
        }
    }
}
