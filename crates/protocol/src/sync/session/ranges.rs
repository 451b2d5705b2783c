//! Opening of a session of a link: both sides find out by ranges what the other one lacks
//! (`docs/protocol/ranges.md#5`).

use bytes::Bytes;
use p2panda_core::{LogRange, VerifyingKey};

use super::{Event, Output, Receiving, Sending, Session};
use crate::close::CloseCode;
use crate::ranges::{self, Reconcile, Role, SharedHeads, Start};
use crate::sync::message::Message;
use crate::sync::pair::{Dialled, Pair};

/// The comparison, until it is over.
#[derive(Debug)]
pub(super) struct Comparison {
    binding: [u8; 32],
    /// The peer's first message, if it came before this side had sent its own.
    first: Option<Bytes>,
    running: Option<(Reconcile, SharedHeads)>,
    /// Ranges that the peer lacks, as far as they were found.
    lacks: Vec<LogRange>,
    /// Of whose logs the peer needs to be shown that they are forked.
    forked: Vec<VerifyingKey>,
}

impl Comparison {
    pub(super) fn new(binding: [u8; 32]) -> Comparison {
        Comparison {
            binding,
            first: None,
            running: None,
            lacks: Vec::new(),
            forked: Vec::new(),
        }
    }

    /// Bytes that are held for it; the heads belong to the topic.
    pub(super) fn held_bytes(&self) -> usize {
        let running = self.running.as_ref().map(|(machine, _)| machine);
        self.first.as_ref().map_or(0, Bytes::len)
            + running.map_or(0, Reconcile::held_bytes)
            + self.lacks.capacity() * size_of::<LogRange>()
            + self.forked.capacity() * size_of::<VerifyingKey>()
    }
}

impl Session {
    /// Begins to compare. What comes to this node from here on is sent in live mode.
    pub(super) fn local_heads(&mut self, heads: SharedHeads, pair: &mut Pair) {
        self.asked = false;
        let Some(comparison) = &mut self.comparison else {
            return;
        };
        let start = Start {
            // The question goes with the proof: half a round trip less where something differs.
            role: match self.dialled {
                Dialled::ByUs => Role::Initiator { eager: true },
                Dialled::ByThem => Role::Responder,
            },
            binding: comparison.binding,
            local: pair.local(),
            remote: pair.remote(),
            log: self.log_id,
        };
        let (machine, arrival) = {
            let mut known = heads.lock();
            (Reconcile::new(&start, known.heads()), known.arrival())
        };
        comparison.running = Some((machine, heads));
        let first = comparison.first.take();
        self.position = arrival;
        self.arrived = self.arrived.max(arrival);
        self.sending = Sending::Ranges;
        self.found(pair);
        if let Some(first) = first {
            self.compare_ranges(first, pair);
        }
    }

    /// Takes the payload of a frame of the comparison.
    pub(super) fn compare_ranges(&mut self, payload: Bytes, pair: &mut Pair) {
        let Some(comparison) = &mut self.comparison else {
            return;
        };
        let Some((machine, heads)) = &mut comparison.running else {
            // The peer waits for the own first message before it says anything else.
            if comparison.first.replace(payload).is_some() {
                self.fail(CloseCode::Violation, pair);
            }
            return;
        };
        let handled = machine.handle(payload, heads.lock().heads());
        match handled {
            Ok(()) => self.found(pair),
            Err(error) => self.fail(error.code(), pair),
        }
    }

    /// Does what the comparison came to.
    fn found(&mut self, pair: &mut Pair) {
        let next = |session: &mut Session| {
            let comparison = session.comparison.as_mut()?;
            comparison.running.as_mut()?.0.poll()
        };
        while let Some(output) = next(self) {
            let Some(comparison) = &mut self.comparison else {
                return;
            };
            match output {
                ranges::Output::Send(frame) => {
                    self.drained = false;
                    self.outputs.push_back(Output::Send(frame));
                }
                ranges::Output::PeerHas { own_seq } => {
                    self.outputs
                        .push_back(Output::Event(Event::PeerHas { own_seq }));
                }
                ranges::Output::Lacks(found) => comparison.lacks.extend(found),
                ranges::Output::Forked(heads) => {
                    let authors = heads.iter().map(|head| head.author);
                    comparison.forked.extend(authors);
                }
                ranges::Output::Done { equal } => self.found_all(equal, pair),
            }
        }
    }

    fn found_all(&mut self, equal: bool, pair: &mut Pair) {
        let Some(comparison) = self.comparison.take() else {
            return;
        };
        if equal {
            self.sending = Sending::Done;
            self.receiving = Receiving::Done;
            (self.totals_out, self.totals_in) = (Some((0, 0)), Some((0, 0)));
            return;
        }
        self.receiving = Receiving::PreSync;
        self.forked = comparison.forked.into();
        let is_forked = |range: &LogRange| {
            comparison.running.as_ref().is_some_and(|(_, heads)| {
                let mut known = heads.lock();
                let head = known.heads().get(&range.author, &range.log);
                head.is_some_and(|head| head.id.is_forked())
            })
        };
        let ranges = pair.uncovered(&comparison.lacks, is_forked);
        self.send_ranges(ranges, pair);
    }

    /// Sends the headers that show that a log is forked (`docs/protocol/ranges.md#6`).
    pub(super) fn evidence(&mut self, headers: Vec<Bytes>) {
        self.asked = false;
        let mut out = bytes::BytesMut::new();
        for header in headers {
            let bytes = header.len() as u64;
            let message = Message::Operation { header, body: None };
            // A stored header is far below the limit of every frame.
            if message.encode(&mut out).is_ok() {
                self.counters.sent_operations += 1;
                self.counters.sent_bytes += bytes;
            }
        }
        self.hand_out(out);
    }

    /// Returns `true` if answers wait to be written. A side that answers reads no further question
    /// before they are; one that asks reads on, so that no two sides wait for each other.
    pub(super) fn answers_wait(&self) -> bool {
        self.comparison.is_some() && self.dialled == Dialled::ByThem && !self.drained
    }
}
