//! The machine of both sides (`docs/protocol/ranges.md#5`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use p2panda_core::limits::{RANGE_LIST_MAX, RANGE_SPLIT_BITS_MAX};
use p2panda_core::{Heads, LogHead, LogId, LogRange, Prefix, VerifyingKey};

use super::RangesError;
use super::compare::Findings;
use super::initiator::Initiator;
use super::keys::Key;
use super::message::{Fingerprint, Has, Message, Open, Split, VERSION};

/// About how many logs each part of a range has that is divided.
const LOGS_PER_PART: usize = 8;

/// Role of a node: it asks, or it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks. With `eager` it asks in its first message, before it knows whether anything differs:
    /// half a round trip less if it does, up to 560 bytes more if it does not. The peer learns about
    /// how many logs there are, also if it does not know the topic; no log is named.
    Initiator {
        /// `true` if it asks in its first message.
        eager: bool,
    },
    /// Answers.
    Responder,
}

/// Knowledge of both sides about a session before it begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Role of this node.
    pub role: Role,
    /// 32 bytes that both sides have and that no other connection has.
    pub binding: [u8; 32],
    /// This node.
    pub local: VerifyingKey,
    /// The peer, as TLS proved it.
    pub remote: VerifyingKey,
    /// The log id of the topic.
    pub log: LogId,
}

/// Action for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this frame.
    Send(Bytes),
    /// The peer's height of this node's own log. Once, before anything else about the peer.
    PeerHas {
        /// `None` if it has nothing of it.
        own_seq: Option<u32>,
    },
    /// The peer lacks these entries. Each log is named once.
    Lacks(Vec<LogRange>),
    /// The peer is on another branch of these logs, or has no evidence of a fork that this node has
    /// evidence of: it is sent the header of this node's head, and the evidence if there is some.
    Forked(Vec<LogHead>),
    /// All is known that the peer lacks. Nothing comes after it.
    Done {
        /// `true` if both sides have the same.
        equal: bool,
    },
}

/// Finds out what the peer lacks of the heads of a topic, while the peer finds out the reverse.
///
/// The heads may change between any two messages: what a log gained after the session began may or
/// may not be among what is found.
#[derive(Debug)]
pub struct Reconcile {
    pub(super) log: LogId,
    /// Key that this side's fingerprints are bound to, and the peer's.
    pub(super) ours: Key,
    pub(super) theirs: Key,
    pub(super) findings: Findings,
    outputs: VecDeque<Output>,
    state: State,
    side: Side,
}

#[derive(Debug)]
enum State {
    /// Waits for the peer's first message, which says this if it has the same.
    Opening {
        equal: Fingerprint,
    },
    Comparing,
    /// Nothing more is taken.
    Over {
        equal: bool,
    },
}

#[derive(Debug)]
enum Side {
    Initiator(Initiator),
    Responder,
}

impl Reconcile {
    /// Begins: [`Reconcile::poll`] has the first message.
    pub fn new(start: &Start, heads: &mut Heads) -> Reconcile {
        let ours = Key::new(&start.binding, &start.local);
        let theirs = Key::new(&start.binding, &start.remote);
        let mut this = Reconcile {
            log: start.log,
            ours,
            theirs,
            findings: Findings::new(ours),
            outputs: VecDeque::new(),
            state: State::Opening {
                equal: theirs.fingerprint(heads, &Prefix::WHOLE),
            },
            side: Side::Responder,
        };
        let mut asked = Vec::new();
        if let Role::Initiator { eager } = start.role {
            let mut initiator = Initiator::new();
            if eager {
                let first = this.first_question(&mut initiator, heads);
                asked = first.expect("one range is within what a session may cost");
            }
            this.side = Side::Initiator(initiator);
        }
        let yours = heads.get(&start.remote, &start.log);
        this.send(&Message::Open(Open {
            version: VERSION,
            whole: ours.fingerprint(heads, &Prefix::WHOLE),
            yours: yours.map(|head| head.seq),
            asked,
        }));
        this
    }

    /// Takes the payload of one frame. After an error the machine is over.
    pub fn handle(&mut self, payload: Bytes, heads: &mut Heads) -> Result<(), RangesError> {
        let message = Message::decode(payload, &self.log);
        let result = message.and_then(|message| self.message(message, heads));
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                self.finish(false);
                self.outputs.clear();
                return Err(error);
            }
        };
        self.hand_out();
        answer.into_iter().for_each(|answer| self.send(&answer));
        if let State::Over { equal } = self.state {
            self.outputs.push_back(Output::Done { equal });
        }
        Ok(())
    }

    /// Returns the next action, until there is none.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Bytes that are held, outputs that were not taken included.
    pub fn held_bytes(&self) -> usize {
        let held = |output: &Output| match output {
            Output::Send(frame) => frame.len(),
            Output::Lacks(ranges) => ranges.capacity() * size_of::<LogRange>(),
            Output::Forked(heads) => heads.capacity() * size_of::<LogHead>(),
            Output::PeerHas { .. } | Output::Done { .. } => 0,
        };
        let side = match &self.side {
            Side::Initiator(initiator) => initiator.held_bytes(),
            Side::Responder => 0,
        };
        let outputs = self.outputs.iter().map(held).sum::<usize>();
        outputs + side + self.findings.held_bytes()
    }

    fn message(
        &mut self,
        message: Message,
        heads: &mut Heads,
    ) -> Result<Vec<Message>, RangesError> {
        match (&self.state, message) {
            (State::Opening { equal }, Message::Open(open)) => {
                let equal = *equal == open.whole;
                self.opened(open, equal, heads)
            }
            (State::Comparing, message) => self.compared(message, heads),
            _ => Err(RangesError::Unexpected),
        }
    }

    fn opened(
        &mut self,
        open: Open,
        equal: bool,
        heads: &mut Heads,
    ) -> Result<Vec<Message>, RangesError> {
        let from_responder = matches!(self.side, Side::Initiator(_));
        if from_responder && !open.asked.is_empty() {
            return Err(RangesError::Unexpected);
        }
        let own_seq = open.yours;
        self.outputs.push_back(Output::PeerHas { own_seq });
        if equal {
            self.finish(true);
            return Ok(Vec::new());
        }
        self.state = State::Comparing;
        if from_responder {
            return self.ask_on(heads);
        }
        if open.asked.is_empty() {
            return Ok(Vec::new());
        }
        let told = self.answer(&open.asked, heads)?;
        Ok(vec![Message::Tell(told)])
    }

    fn compared(
        &mut self,
        message: Message,
        heads: &mut Heads,
    ) -> Result<Vec<Message>, RangesError> {
        match (&mut self.side, message) {
            (Side::Initiator(_), Message::Tell(told)) => {
                self.told(told, heads)?;
                self.ask_on(heads)
            }
            (Side::Responder, Message::Ask(ask)) => {
                self.findings.spend(1 + ask.behind.len(), heads)?;
                for behind in &ask.behind {
                    let own = heads.get(&behind.author, &behind.log);
                    self.findings.behind(own, &behind.known);
                }
                if ask.asked.is_empty() {
                    return Ok(Vec::new());
                }
                let told = self.answer(&ask.asked, heads)?;
                Ok(vec![Message::Tell(told)])
            }
            (Side::Responder, Message::Done) => {
                self.finish(false);
                Ok(Vec::new())
            }
            _ => Err(RangesError::Unexpected),
        }
    }

    /// Runs a step of the initiator, which is taken out for that long.
    pub(super) fn with_initiator<T>(
        &mut self,
        step: impl FnOnce(&mut Reconcile, &mut Initiator) -> T,
    ) -> Result<T, RangesError> {
        match std::mem::replace(&mut self.side, Side::Responder) {
            Side::Responder => Err(RangesError::Unexpected),
            Side::Initiator(mut initiator) => {
                let result = step(self, &mut initiator);
                self.side = Side::Initiator(initiator);
                Ok(result)
            }
        }
    }

    pub(super) fn finish(&mut self, equal: bool) {
        self.state = State::Over { equal };
    }

    /// Returns the state of this side in a range: all of few logs, or a fingerprint for each part.
    pub(super) fn has(&mut self, range: &Prefix, heads: &mut Heads) -> Result<Has, RangesError> {
        let count = heads.count(range);
        if count <= RANGE_LIST_MAX {
            self.findings.spend(1 + count, heads)?;
            return Ok(Has::Few(heads.within(range).collect()));
        }
        let base = heads.shared(range);
        let parts = count.div_ceil(LOGS_PER_PART).next_power_of_two();
        let bits = (parts.trailing_zeros() as u8).clamp(1, RANGE_SPLIT_BITS_MAX);
        let room = Prefix::BITS.saturating_sub(base.bits());
        let bits = bits.min(u8::try_from(room).unwrap_or(u8::MAX));
        self.findings.spend(1 << bits, heads)?;
        let parts = (0..1_u8 << bits).map(|number| {
            let part = base.child(bits, number)?;
            self.ours.fingerprint_of_any(heads, &part)
        });
        Ok(Has::Many(Split {
            path: base.behind(range),
            bits,
            parts: parts.collect(),
        }))
    }

    /// Returns `true` if the peer's fingerprint of a range says that it has the same.
    pub(super) fn is_equal(&self, range: &Prefix, told: &Fingerprint, heads: &mut Heads) -> bool {
        self.theirs.fingerprint(heads, range) == *told
    }

    fn hand_out(&mut self) {
        let lacks = std::mem::take(&mut self.findings.lacks);
        if !lacks.is_empty() {
            self.outputs.push_back(Output::Lacks(lacks));
        }
        let forked = std::mem::take(&mut self.findings.forked);
        if !forked.is_empty() {
            self.outputs.push_back(Output::Forked(forked));
        }
    }

    fn send(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        message.encode(&self.log, &mut out);
        self.outputs.push_back(Output::Send(out.freeze()));
    }
}
