//! Targets of `p2panda_protocol::link`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{HybridTimestamp, SigningKey, Topic, VerifyingKey};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::message::{Message, VERSION};
use p2panda_protocol::link::opening::payload_bytes;
use p2panda_protocol::link::{
    AuthorLog, Block, BlockChange, Control, Farewell, Input, Instance, Opening, Output, Quota,
    Refusal, Secret, Side, Start, Told,
};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, TransportInfo};
use p2panda_protocol::time::Time;

/// More than this no peer makes a control stream hold: tags, records, and a frame.
const HELD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The decoders of both kinds of stream, chosen by the first byte.
pub fn decoders(input: &[u8]) {
    let Some((selector, bytes)) = input.split_first() else {
        return;
    };
    let payload = Bytes::copy_from_slice(bytes);
    match selector % 2 {
        0 => message(payload),
        _ => opening(payload),
    }
}

/// Checks that what decodes has one encoding, which decodes again.
fn message(payload: Bytes) {
    let Ok(message) = Message::decode(payload) else {
        return;
    };
    let first = frame(&message);
    let again = Message::decode(first.slice(4..)).expect("own output decodes");
    assert_eq!(frame(&again), first);
}

fn opening(payload: Bytes) {
    if let Some(length) = payload.first_chunk() {
        assert!(payload_bytes(*length).is_ok_and(|bytes| bytes > 0) == fits(*length));
    }
    let Ok(opening) = Opening::decode(payload) else {
        return;
    };
    let frame = opening.encode();
    assert!(frame.first_chunk().is_some_and(|length| fits(*length)));
    assert_eq!(Opening::decode(frame.slice(4..)), Ok(opening));
}

fn fits(length: [u8; 4]) -> bool {
    (1..=64).contains(&u32::from_be_bytes(length))
}

fn frame(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message
        .encode(&mut out)
        .expect("what was read can be written");
    out.freeze()
}

/// One control stream: a script of what the node does and of what a hostile peer sends.
pub fn control(input: &[u8]) {
    let mut world = World::new();
    let mut rest = input;
    while let Some((&[op, number], after)) = rest.split_first_chunk() {
        rest = after;
        let mut take = |bytes: u8| {
            let (taken, after) = rest.split_at(rest.len().min(usize::from(bytes)));
            rest = after;
            taken
        };
        match op % 16 {
            0 => world.begin(number),
            1 => world.end(number),
            2 => world.give(Input::Ask),
            3 if number >= 128 => world.give(Input::Tell(told(number))),
            3 => world.give(Input::Nodes(told(number))),
            4 if number >= 128 => world.give(blocks(number)),
            4 => world.give(Input::Gossip(overlay(number), Bytes::from_static(b"ours"))),
            5 if number == 0 => world.give(Input::Farewell(Farewell::Unneeded)),
            5 => world.all(number),
            6 => world.wait(number),
            7 if number == 0 => world.give(Input::Lost),
            7 => world.give(Input::Record(own_record().1)),
            8 => world.hear(&hello()),
            9 => world.hear(&interest(number, false)),
            10 => world.hear(&interest(number, true)),
            11 => world.hear(&gossip(number)),
            12 => world.hear(&nodes(number)),
            13 if number >= 128 => world.hear(&blocked(number)),
            13 => world.hear(&Message::Ask),
            14 => world.give(Input::Bytes(Bytes::copy_from_slice(take(number)))),
            _ => {
                let payload = take(number);
                let length = (payload.len() as u32).to_be_bytes();
                world.give(Input::Bytes([&length, payload].concat().into()));
            }
        }
    }
}

/// Logs in an overlay that this node blocks, of which it tells a peer that knows the topic.
fn blocks(number: u8) -> Input {
    let overlay = overlay(number % 8);
    match number % 3 {
        0 => Input::Proved(overlay),
        more => {
            let logs = (0..usize::from(number / 8) * usize::from(more)).map(block_of);
            let blocks = logs.filter_map(|(log, block)| Some((log, block?)));
            Input::Blocked(overlay, Arc::new(blocks.collect()))
        }
    }
}

fn blocked(number: u8) -> Message {
    let entries = (0..usize::from(number)).map(|log| {
        let (log, block) = block_of(log * usize::from(number));
        (log, block.filter(|_| number % 3 > 0))
    });
    Message::Blocked {
        overlay: secret().tag(&overlay(number % 8), Side::Dialler),
        entries: entries.collect(),
    }
}

fn block_of(number: usize) -> BlockChange {
    let mut author = [8; 32];
    author[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let log = AuthorLog {
        author: VerifyingKey::from_bytes_unchecked(author),
        label: None,
    };
    let height = number as u32;
    let quota = Quota::Author;
    (log, Some(Block { height, quota }))
}

struct World {
    control: Control,
    now: Time,
    own: BTreeSet<Overlay>,
    /// Common overlays by the outputs alone, from Met on.
    told: Option<BTreeSet<Overlay>>,
    owes: bool,
    closed: bool,
}

impl World {
    fn new() -> World {
        let own: BTreeSet<Overlay> = (0..4).map(overlay).collect();
        let start = Start {
            node: key().verifying_key(),
            peer: key().verifying_key(),
            side: Side::Acceptor,
            secret: secret(),
            instance: Instance::from_bytes([1; 16]),
            record: None,
            overlays: own.clone(),
            round_trip: Duration::from_millis(5),
            draws: Draws::from_seed([4; 32]),
        };
        let mut world = World {
            control: Control::new(start, Time::ZERO),
            now: Time::ZERO,
            own,
            told: None,
            owes: false,
            closed: false,
        };
        world.drain();
        world
    }

    fn begin(&mut self, number: u8) {
        self.own.insert(overlay(number));
        self.give(Input::Begin(overlay(number)));
    }

    fn end(&mut self, number: u8) {
        self.own.remove(&overlay(number));
        self.give(Input::End(overlay(number)));
    }

    /// The highest bits say how many, from which on the others.
    fn all(&mut self, number: u8) {
        let first = number % 32;
        self.own = (first..first + number / 32).map(overlay).collect();
        self.give(Input::All(self.own.clone()));
    }

    fn wait(&mut self, seconds: u8) {
        self.now = self.now + Duration::from_secs(seconds.into());
        self.give(Input::Tick);
    }

    fn hear(&mut self, message: &Message) {
        self.give(Input::Bytes(frame(message)));
    }

    fn give(&mut self, input: Input) {
        self.owes &= !matches!(input, Input::Nodes(_));
        self.control.handle(input, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.control.poll() {
            assert!(!self.closed, "nothing comes after the end");
            match output {
                Output::Send(bytes) => {
                    Message::decode(bytes.slice(4..)).expect("a message");
                }
                Output::Met(common) => assert!(self.told.replace(common).is_none()),
                Output::Common(overlay) => assert!(self.common().insert(overlay)),
                Output::Parted(overlay) => assert!(self.common().remove(&overlay)),
                Output::Gossip(overlay, _) => assert!(self.common().contains(&overlay)),
                Output::WantNodes(_) => assert!(!std::mem::replace(&mut self.owes, true)),
                Output::Close(..) => self.closed = true,
                _ => {}
            }
        }
        let common = self.control.common();
        assert!(self.closed || common.is_subset(&self.own));
        assert!(self.closed || self.told.as_ref().is_none_or(|told| told == common));
        assert!(self.control.held_bytes() < HELD_BYTES_MAX);
    }

    fn common(&mut self) -> &mut BTreeSet<Overlay> {
        self.told.as_mut().expect("the first Interest is whole")
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn secret() -> Secret {
    Secret::new([6; 32])
}

fn overlay(number: u8) -> Overlay {
    Overlay::from_bytes([number; 32])
}

fn own_record() -> (VerifyingKey, TransportInfo) {
    thread_local! {
        static OWN: RefCell<Option<(VerifyingKey, TransportInfo)>> = const { RefCell::new(None) };
    }
    OWN.with_borrow_mut(|own| own.get_or_insert_with(sign).clone())
}

fn sign() -> (VerifyingKey, TransportInfo) {
    let addresses = [1, 2].map(|port| Address::ip(([8, 8, 8, 8], port).into()));
    let timestamp = HybridTimestamp::new(7, 0);
    let info = TransportInfo::sign(&key(), timestamp, addresses.into());
    (key().verifying_key(), info.expect("a small record"))
}

fn hello() -> Message {
    Message::Hello {
        version: VERSION,
        instance: Instance::from_bytes([2; 16]),
        record: Some(own_record().1),
    }
}

/// The lowest bit says whether it continues, the others what it is about.
fn interest(number: u8, ended: bool) -> Message {
    let tag = secret().tag(&overlay(number / 2), Side::Dialler);
    let tags = |is: bool| is.then_some(tag).into_iter().collect();
    Message::Interest {
        more: number % 2 == 1,
        begun: tags(!ended),
        ended: tags(ended),
    }
}

fn gossip(number: u8) -> Message {
    Message::Gossip {
        overlay: secret().tag(&overlay(number), Side::Dialler),
        message: Bytes::from_static(b"theirs"),
    }
}

fn nodes(number: u8) -> Message {
    Message::Nodes {
        more: number % 2 == 1,
        records: vec![own_record(); usize::from(number / 2 % 2)],
        members: match number {
            0..4 => vec![],
            _ => vec![(
                secret().tag(&overlay(number / 4), Side::Dialler),
                vec![0, u32::from(number) / 64],
            )],
        },
    }
}

/// Makes what is told of a node, and of one that is left out.
fn told(number: u8) -> Told {
    let records = vec![own_record(); usize::from(number % 2)];
    let nodes = BTreeSet::from([key().verifying_key()]);
    let members = BTreeMap::from([(overlay(number / 2), nodes)]);
    Told { records, members }
}

/// Inputs to start from: honest messages, and what an honest peer does.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let messages = [
        hello(),
        interest(0, false),
        interest(3, true),
        Message::Ask,
        nodes(2),
        nodes(6),
        gossip(1),
        Message::Farewell(Farewell::Replaced),
        Message::Skipped,
    ];
    let messages = messages
        .iter()
        .map(|message| [&[0], &frame(message)[4..]].concat());
    let proof = secret().proof(&Topic::from_bytes([1; 32]), Side::Dialler);
    let openings = [
        Opening::Open {
            tag: secret().tag(&overlay(1), Side::Dialler),
            proof,
        },
        Opening::Accept(proof),
        Opening::Refuse {
            refusal: Refusal::Full,
            wait: Duration::from_secs(9),
        },
    ];
    let openings = openings
        .iter()
        .map(|opening| [&[1], &opening.encode()[4..]].concat());
    // Hello, an Interest of two frames, gossip, both sides ask, an overlay ends and one begins.
    let honest = [
        8, 0, 9, 1, 9, 4, 11, 0, 4, 0, 2, 0, 3, 1, 13, 0, 12, 3, 12, 0, 3, 1, 10, 0, 0, 9, 9, 18,
        11, 9, 6, 90, 7, 1, 5, 0,
    ];
    let hello = frame(&hello());
    let (first, second) = hello.split_at(9);
    let cut = [
        &[14, 9],
        first,
        &[14, second.len() as u8],
        second,
        &[15, 1, 16, 9, 0],
    ]
    .concat();
    vec![
        ("link_decoders", messages.chain(openings).collect()),
        ("link_control", vec![honest.to_vec(), cut]),
    ]
}
