//! A node of the simulation: engine, store, sessions, and no network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use p2panda_core::limits::{BODIES_ASKED_MAX, HEADER_HELD_BACK_MAX};
use p2panda_core::{Operation, SigningKey, Timestamp, Topic, VerifyingKey};
use p2panda_engine::{Command, Committed, Engine, Incoming, Now, Options, Outcome, Source};
use p2panda_protocol::sync::{
    Absent, Dialer, Entry, Gap, Input, Look, Page, Pair, Read, Received, Refusal, SessionId, Turn,
    Wanted,
};
use p2panda_protocol::time::Time;
use p2panda_store::{PageLimits, Reader, RejectReason, SkipAcked};

use crate::meeting::Contacts;
use crate::network::LinkId;

/// One node of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A message in a node's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Place in the node's feed.
    pub offset: u64,
    /// Who signed it.
    pub author: VerifyingKey,
    /// Place in the author's log.
    pub seq: u32,
    /// Header bytes.
    pub header: Bytes,
    /// Body bytes.
    pub body: Bytes,
    /// Number of dependencies that had not come.
    pub missing: usize,
}

pub(crate) struct SimNode {
    pub(crate) key: SigningKey,
    pub(crate) dir: PathBuf,
    pub(crate) engine: Option<Engine>,
    pub(crate) reader: Option<Reader>,
    pub(crate) contacts: Option<Contacts>,
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) dialers: BTreeMap<Topic, Dialer>,
    pub(crate) pairs: BTreeMap<(Topic, NodeId), Pair>,
    /// Commands for the next batch.
    pub(crate) queue: Vec<Command>,
    /// Who asks for the bodies of a topic.
    pub(crate) turns: BTreeMap<Topic, Turn>,
    /// It sends headers without their bodies.
    pub(crate) withholds: bool,
    /// It speaks the published protocol only.
    pub(crate) published: bool,
    /// Batches that the engine has answered: link, end, invalid operations.
    pub(crate) stored: Arc<Mutex<Vec<(LinkId, usize, usize)>>>,
}

/// Rows of one page.
const PAGE: PageLimits = PageLimits {
    rows: 64,
    bytes: 64 * 1024,
};

impl SimNode {
    pub(crate) fn open(&mut self, at: NodeId, now: Now, causal_wait: std::time::Duration) {
        let options = Options {
            key: Some(self.key.clone()),
            causal_wait,
            // So few that pruned operations are deleted in several slices.
            prune_rows_max: 3,
            ..Options::default()
        };
        let engine = Engine::open(&self.dir, options, now).expect("the directory opens");
        self.reader = Some(engine.readers().open().expect("the database opens"));
        self.engine = Some(engine);
        self.contacts = Some(Contacts::open(self, &self.key, at, now.wall));
    }

    pub(crate) fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    /// What a crash leaves: the directory.
    pub(crate) fn crash(&mut self) {
        self.engine = None;
        self.reader = None;
        self.contacts = None;
        self.queue.clear();
        self.dialers.clear();
        self.pairs.clear();
        self.turns.clear();
        self.stored = Arc::default();
    }

    pub(crate) fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("the node is up")
    }

    pub(crate) fn contacts(&self) -> &Contacts {
        self.contacts.as_ref().expect("the node is up")
    }

    pub(crate) fn contacts_mut(&mut self) -> &mut Contacts {
        self.contacts.as_mut().expect("the node is up")
    }

    /// Queues what a session received, verified as a real node does it.
    pub(crate) fn ingest(
        &mut self,
        topic: Topic,
        link: LinkId,
        end: usize,
        peer: VerifyingKey,
        operations: Vec<Received>,
    ) {
        let operations: Vec<Incoming> = operations.into_iter().map(verify).collect();
        let stored = Arc::clone(&self.stored);
        self.queue.push(Command::Ingest {
            topic,
            source: Source::Session { id: link.0, peer },
            operations,
            reply: Some(Box::new(move |outcomes: Vec<Outcome>| {
                let invalid = |outcome: &&Outcome| {
                    matches!(
                        outcome,
                        Outcome::Rejected(
                            RejectReason::InvalidSignature
                                | RejectReason::PayloadMismatch
                                | RejectReason::Undecodable
                        )
                    )
                };
                let invalid = outcomes.iter().filter(invalid).count();
                let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                stored.push((link, end, invalid));
            })),
        });
    }

    /// One batch of the engine: everything queued, in one transaction.
    pub(crate) fn run_engine(&mut self, now: Now) -> Committed {
        let commands = std::mem::take(&mut self.queue);
        let engine = self.engine.as_mut().expect("the node is up");
        let committed = match commands.is_empty() {
            true => engine.tick(now),
            false => engine.process(commands, now),
        };
        committed.expect("the simulated disk does not fail")
    }

    pub(crate) fn take_stored(&mut self) -> Vec<(LinkId, usize, usize)> {
        std::mem::take(&mut self.stored.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn page(&self, topic: &Topic, read: &Read, now: Timestamp) -> Page {
        let reader = self.reader();
        let found = match read {
            Read::Log { range, .. } => {
                reader.log_page(topic, &range.author, range.after, range.until, PAGE)
            }
            Read::Arrivals { after, .. } => reader.arrivals_page(topic, *after, PAGE),
        };
        let found = found.expect("the database can be read");
        let next = match read {
            Read::Log { .. } => found.last_arrival,
            Read::Arrivals { after, .. } => found.last_arrival.max(*after),
        };
        let entries = found.entries.into_iter().map(|entry| Entry {
            author: entry.header.author(),
            log_id: topic.log_id(),
            seq: entry.header.seq(),
            arrival: entry.arrival,
            header: entry.header.as_bytes().clone(),
            body: entry.body.filter(|_| !self.withholds),
            absent: entry.absent.map(|absent| why(absent, now)),
        });
        Page {
            entries: entries.collect(),
            next,
            more: found.more,
        }
    }

    /// One consistent look at a topic, for a session.
    pub(crate) fn holdings(&self, topic: &Topic) -> Input {
        let held = self.reader().holdings(topic);
        let held = held.expect("the database can be read");
        let gaps = held.wanted.iter().map(|log| Gap {
            author: log.author,
            seq: log.seq,
        });
        Input::Heights {
            heights: held.heights,
            arrival: held.arrival,
            gaps: gaps.collect(),
        }
    }

    /// Bodies to ask for; `None` if another session asks.
    pub(crate) fn wanted(
        &mut self,
        topic: Topic,
        session: SessionId,
        look: Look,
        now: Time,
    ) -> Option<Wanted> {
        let turn = self.turns.entry(topic).or_default();
        if !turn.take(session, now) {
            return None;
        }
        let wanted = match look {
            Look::After(after) => {
                let page = self.reader().wanted_page(&topic, after, BODIES_ASKED_MAX);
                let page = page.expect("the database can be read");
                let (ranges, more) = (page.ranges, page.more);
                Wanted { ranges, more }
            }
            Look::Of(ranges) => {
                let ranges = self.reader().wanted_of(&topic, &ranges, BODIES_ASKED_MAX);
                let ranges = ranges.expect("the database can be read");
                let more = false;
                Wanted { ranges, more }
            }
        };
        if wanted.ranges.is_empty() {
            self.turns.entry(topic).or_default().end(session);
        }
        Some(wanted)
    }

    pub(crate) fn feed(&self, topic: &Topic, skip_acked_of: Option<&str>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut after = 0;
        let skip_acked = skip_acked_of.map(|consumer| SkipAcked {
            consumer,
            until: u64::MAX,
        });
        loop {
            let page = self.reader().feed_page(topic, after, PAGE, skip_acked);
            let page = page.expect("the database can be read");
            if page.entries.is_empty() && !page.more {
                return deliveries;
            }
            after = page.last_offset;
            deliveries.extend(page.entries.into_iter().map(|entry| Delivery {
                offset: entry.offset,
                author: entry.header.author(),
                seq: entry.header.seq(),
                header: entry.header.as_bytes().clone(),
                body: entry.content.bytes().cloned().unwrap_or_default(),
                missing: entry.missing.len(),
            }));
        }
    }
}

fn why(absent: p2panda_store::Absent, now: Timestamp) -> Absent {
    use p2panda_store::Absent::{Dropped, Wanted};
    let overdue = |since: Timestamp| {
        let held_us = now.as_micros().saturating_sub(since.as_micros());
        u128::from(held_us) > HEADER_HELD_BACK_MAX.as_micros()
    };
    match absent {
        Dropped => Absent::Dropped,
        Wanted { since: Some(since) } if overdue(since) => Absent::Overdue,
        Wanted { .. } => Absent::Wanted,
    }
}

fn verify(received: Received) -> Incoming {
    let (header, body) = match received {
        Received::Operation { header, body } => (header, body),
        Received::Refused(refused) => {
            return Incoming::Invalid {
                id: refused.id,
                header: refused.header,
                reason: match refused.refusal {
                    Refusal::Undecodable => RejectReason::Undecodable,
                    Refusal::TooLarge => RejectReason::TooLarge,
                },
            };
        }
    };
    let invalid = |reason| Incoming::Invalid {
        id: header.id(),
        header: header.as_bytes().clone(),
        reason,
    };
    if header.verify().is_err() {
        return invalid(RejectReason::InvalidSignature);
    }
    match Operation::check_body(&header, body.as_deref()) {
        Ok(()) => Incoming::Valid(Operation { header, body }),
        Err(_) => invalid(RejectReason::PayloadMismatch),
    }
}
