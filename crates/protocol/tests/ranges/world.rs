//! Two nodes, their heads, and the wire between them.

use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{Hash, Heads, LogId, LogRange, Prefix, SigningKey, VerifyingKey};
use p2panda_protocol::frame::{Decoder, Frame};
use p2panda_protocol::ranges::{Output, Reconcile, Role, Start, frame_bytes_max};

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }
}

pub fn author(n: u64) -> VerifyingKey {
    VerifyingKey::from_bytes_unchecked(*Hash::digest(&n.to_be_bytes()).as_bytes())
}

/// Authors whose keys differ in their last bits only.
pub fn near(n: u64) -> VerifyingKey {
    let mut key = [0xaa; 32];
    key[24..].copy_from_slice(&n.to_be_bytes());
    VerifyingKey::from_bytes_unchecked(key)
}

pub fn log() -> LogId {
    LogId::from_bytes([7; 32])
}

pub fn other_log(n: u8) -> LogId {
    LogId::from_bytes([n; 32])
}

pub fn head(seq: u32, branch: u8) -> Head {
    let id = Hash::digest(&[&seq.to_be_bytes()[..], &[branch]].concat());
    Head { seq, id }
}

#[derive(Clone)]
pub struct Node {
    pub id: VerifyingKey,
    pub heads: Heads,
}

impl Node {
    pub fn new(seed: u8, heads: impl IntoIterator<Item = (VerifyingKey, LogId, Head)>) -> Node {
        Node {
            id: SigningKey::from_bytes(&[seed; 32]).verifying_key(),
            heads: heads.into_iter().collect(),
        }
    }

    pub fn whole(&mut self) -> Hash {
        self.heads.hash(&Prefix::WHOLE)
    }

    /// Returns what this node has and the other one has not, by the rule of heights.
    pub fn lacked_by(&self, other: &Node) -> Vec<LogRange> {
        p2panda_core::missing(&self.heads.heights(), &other.heads.heights())
    }

    /// Takes entries from the other node.
    pub fn take(&mut self, ranges: &[LogRange], from: &Node) {
        for range in ranges {
            let head = from.heads.get(&range.author, &range.log).unwrap();
            assert_eq!(head.seq, range.until);
            // The branch is told by the id: all are made by `head`.
            let branch = (0..3).find(|branch| {
                p2panda_core::HeadId::from(self::head(head.seq, *branch).id) == head.id
            });
            let forked = branch.is_none();
            let head = self::head(head.seq, branch.unwrap_or_default());
            self.heads.raise(range.author, range.log, head);
            if forked {
                self.heads.set_forked(range.author, range.log);
            }
        }
    }
}

/// Two nodes with some of the same logs: from nothing to thousands, from equal to all different.
pub fn pair(random: &mut Random) -> (Node, Node) {
    let logs = [0, 1, 10, 100, 2_000][random.below(5) as usize];
    let same = [0, 50, 90, 100][random.below(4) as usize];
    let alone = [0, 5, 50, 100][random.below(4) as usize];
    let (mut one, mut two) = (Node::new(1, []), Node::new(2, []));
    for n in 0..logs {
        let author = author(n);
        let log = if random.below(50) == 0 {
            other_log(n as u8)
        } else {
            log()
        };
        let seq = random.below(10) as u32;
        if random.below(100) < same {
            one.heads.raise(author, log, head(seq, 0));
            two.heads.raise(author, log, head(seq, 0));
            continue;
        }
        let mut with = |node: &mut Node, branch| {
            if random.below(100) >= alone {
                node.heads
                    .raise(author, log, head(random.below(10) as u32, branch));
            }
        };
        with(&mut one, 0);
        with(&mut two, 1);
    }
    (one, two)
}

/// Logs that the other side has to be shown as forked, of each side.
pub fn forks(one: &Node, two: &Node) -> [Vec<(VerifyingKey, LogId)>; 2] {
    let of = |this: &Node, other: &Node| {
        let forked = this.heads.within(&Prefix::WHOLE).filter(|head| {
            let theirs = other.heads.get(&head.author, &head.log);
            theirs.is_some_and(|theirs| {
                let both = theirs.seq == head.seq && theirs.id != head.id;
                let known = theirs.id.is_forked();
                (both || head.id.is_forked()) && !known
            })
        });
        forked.map(|head| (head.author, head.log)).collect()
    };
    [of(one, two), of(two, one)]
}

/// Result of an exchange, first of the initiator and then of the responder.
#[derive(Default)]
pub struct Exchange {
    pub found: [Vec<LogRange>; 2],
    pub forked: [Vec<(VerifyingKey, LogId)>; 2],
    pub own_seq: [Option<u32>; 2],
    pub equal: bool,
    pub messages: usize,
    /// Of all frames.
    pub bytes: usize,
    /// Of the largest one.
    pub frame_bytes_max: usize,
    /// Half round trips until both are done.
    pub ways: usize,
    pub held_bytes_max: usize,
    pub wire: Vec<(usize, Bytes)>,
}

pub fn start(role: Role, local: &Node, remote: &Node) -> Start {
    Start {
        role,
        binding: [9; 32],
        local: local.id,
        remote: remote.id,
        log: log(),
    }
}

/// The payload of the only frame in these bytes.
pub fn payload(framed: &Bytes) -> Bytes {
    let mut decoder = Decoder::new();
    decoder.push(framed.clone());
    let Ok(Some(Frame::Message(payload))) = decoder.next(frame_bytes_max) else {
        panic!("not one frame of a lawful size: {}", framed.len());
    };
    payload
}

pub fn run(one: &mut Node, two: &mut Node, eager: bool) -> Exchange {
    run_with(one, two, eager, |_| {})
}

/// Runs until nobody says anything; `meanwhile` runs on each side before each message.
pub fn run_with(
    one: &mut Node,
    two: &mut Node,
    eager: bool,
    mut meanwhile: impl FnMut(&mut Node),
) -> Exchange {
    let initiator = start(Role::Initiator { eager }, one, two);
    let responder = start(Role::Responder, two, one);
    let mut machines = [
        Reconcile::new(&initiator, &mut one.heads),
        Reconcile::new(&responder, &mut two.heads),
    ];
    let mut exchange = Exchange::default();
    let mut done = [None, None];
    // What is under way, one half round trip after the other.
    let mut way: Vec<(usize, Bytes)> = Vec::new();
    loop {
        for (side, machine) in machines.iter_mut().enumerate() {
            exchange.held_bytes_max = exchange.held_bytes_max.max(machine.held_bytes());
            while let Some(output) = machine.poll() {
                assert_eq!(done[side], None, "nothing comes after the end");
                match output {
                    Output::Send(frame) => way.push((side, frame)),
                    Output::PeerHas { own_seq } => exchange.own_seq[side] = own_seq,
                    Output::Lacks(ranges) => exchange.found[side].extend(ranges),
                    Output::Forked(heads) => {
                        let heads = heads.iter().map(|head| (head.author, head.log));
                        exchange.forked[side].extend(heads);
                    }
                    Output::Done { equal } => done[side] = Some(equal),
                }
            }
        }
        if way.is_empty() {
            break;
        }
        exchange.ways += 1;
        for (side, frame) in way.drain(..) {
            exchange.messages += 1;
            exchange.bytes += frame.len();
            exchange.frame_bytes_max = exchange.frame_bytes_max.max(frame.len());
            exchange.wire.push((side, frame.clone()));
            let node = if side == 0 { &mut *two } else { &mut *one };
            meanwhile(node);
            // What an eager initiator asked for nothing.
            if done[1 - side].is_none() {
                let machine = &mut machines[1 - side];
                machine.handle(payload(&frame), &mut node.heads).unwrap();
            }
        }
    }
    assert!(
        done[0].is_some() && done[0] == done[1],
        "both end alike: {done:?}"
    );
    exchange.equal = done[0] == Some(true);
    for side in 0..2 {
        exchange.found[side].sort_by_key(|range| (range.author, range.log));
        exchange.forked[side].sort();
    }
    exchange
}
