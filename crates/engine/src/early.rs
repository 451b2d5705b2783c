//! Operations that came before those they follow, in memory, within limits: of all topics together,
//! and where there is no room the one who brought most loses its newest
//! (`docs/protocol/streams.md#4`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use p2panda_core::budget::{Budget, Charge};
use p2panda_core::limits::{EARLY_BYTES_MAX, EARLY_OPERATIONS_MAX};
use p2panda_core::{Hash, NodeExtensions, Operation, Topic, VerifyingKey};

use crate::command::Source;
use crate::shares::{Origin, Shares};

/// Bytes that each operation counts in addition to its own, so that neither many small nor few
/// large operations fill the buffer.
const OPERATION_BYTES: usize = EARLY_BYTES_MAX / EARLY_OPERATIONS_MAX;

/// The early operations of a node.
#[derive(Default)]
pub(crate) struct Early {
    /// Budget for everything that peers make the node hold.
    budget: Option<Budget>,
    logs: HashMap<(Topic, VerifyingKey), BTreeMap<u32, Numbered>>,
    /// The last one of an origin is its newest.
    origins: BTreeMap<(Origin, u64), Position>,
    /// By session or import, with which they are forgotten.
    sources: BTreeMap<(Ending, u64), Position>,
    shares: Shares,
    bytes: usize,
    numbers: u64,
    dropped: BTreeSet<(Topic, VerifyingKey)>,
    /// Changes by the running transaction.
    undo: Undo,
}

/// State to restore if a transaction is rolled back.
#[derive(Default)]
struct Undo {
    taken: Vec<(Topic, Candidate)>,
    told: BTreeSet<(Topic, VerifyingKey)>,
}

/// An operation on its way into its log, at once or when those before it have come.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub operation: Operation,
    pub extensions: NodeExtensions,
    pub source: Source,
}

struct Numbered {
    number: u64,
    candidate: Candidate,
    _charge: Charge,
}

type Position = (Topic, VerifyingKey, u32);

/// Way in which an early operation leaves the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    Session(u64),
    Import(u64),
}

impl Early {
    pub fn new(budget: Option<Budget>) -> Early {
        Early {
            budget,
            ..Early::default()
        }
    }

    /// Keeps an operation; false if there is no room and nobody who shares the room has more than its
    /// origin. One that is there already stays, unless it lacks the body that comes now.
    pub fn keep(&mut self, topic: Topic, candidate: Candidate) -> bool {
        let (author, seq) = (candidate.label(), candidate.operation.header.seq());
        let known = self
            .logs
            .get(&(topic, author))
            .and_then(|log| log.get(&seq));
        if let Some(known) = known {
            if !known.candidate.lacks_body_of(&candidate) {
                return true;
            }
            self.remove(topic, author, seq);
        }
        let origin = Origin::from(candidate.source);
        let bytes = candidate.bytes();
        while !self.fits(bytes) {
            let most = self.shares.above(origin, charge(bytes)).next();
            if !most.is_some_and(|most| self.lose_newest(most)) {
                return false;
            }
        }
        let charge_of_peer = loop {
            if let Some(charge_of_peer) = self.charge_for(candidate.source, charge(bytes)) {
                break charge_of_peer;
            }
            let most = self.fullest_in_the_way(candidate.source, charge(bytes));
            if !most.is_some_and(|most| self.lose_newest(most)) {
                return false;
            }
        };
        self.insert(topic, candidate.detached(), charge_of_peer);
        true
    }

    /// Takes out the operation at a place of a log, and forgets those before it.
    pub fn take(&mut self, topic: Topic, author: VerifyingKey, seq: u32) -> Option<Candidate> {
        loop {
            let log = self.logs.get(&(topic, author))?;
            let at = *log.first_key_value()?.0;
            if at > seq {
                return None;
            }
            let candidate = self.remove(topic, author, at);
            self.undo
                .taken
                .extend(candidate.iter().map(|one| (topic, one.clone())));
            if at == seq {
                return candidate;
            }
        }
    }

    /// Forgets what a session or an import brought: nobody sends the rest any more. Another session with
    /// the peer takes it for sent, so the peer is to be asked for it again.
    pub fn end(&mut self, ending: Ending) {
        loop {
            let mut of_it = self.sources.range((ending, 0)..=(ending, u64::MAX));
            let Some((_, (topic, author, seq))) = of_it.next() else {
                return;
            };
            let (topic, author, seq) = (*topic, *author, *seq);
            let forgotten = self.remove(topic, author, seq);
            if let Some(peer) = forgotten.and_then(|one| one.source.peer()) {
                self.dropped.insert((topic, peer));
            }
        }
    }

    /// Finds an operation by its id, with its topic and origin. Searches the whole buffer.
    pub fn find(&self, id: &Hash) -> Option<(Topic, &Candidate)> {
        let mut logs = self.logs.iter();
        logs.find_map(|((topic, _), log)| {
            let mut kept = log.values().map(|numbered| &numbered.candidate);
            let found = kept.find(|kept| kept.operation.header.id() == *id)?;
            Some((*topic, found))
        })
    }

    /// Header and body bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Peers that brought operations which have been dropped since, by topic.
    pub fn take_dropped(&mut self) -> BTreeSet<(Topic, VerifyingKey)> {
        let dropped = std::mem::take(&mut self.dropped);
        self.undo.told.extend(&dropped);
        dropped
    }

    /// Ends the transaction: operations that left the buffer are stored.
    pub fn settle(&mut self) {
        if !self.undo.taken.is_empty() || !self.undo.told.is_empty() {
            self.undo = Undo::default();
        }
    }

    /// The transaction was rolled back: what it took out is kept again, and who was to be told of a
    /// loss was not.
    pub fn take_back(&mut self) {
        let Undo { taken, told } = std::mem::take(&mut self.undo);
        self.dropped.extend(told);
        for (topic, candidate) in taken {
            let peer = candidate.source.peer();
            if !self.keep(topic, candidate) {
                self.dropped.extend(peer.map(|peer| (topic, peer)));
            }
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.origins.len() < EARLY_OPERATIONS_MAX
            && self.bytes.saturating_add(bytes) <= EARLY_BYTES_MAX
    }

    /// Drops the newest operation of an origin, to be asked for again. False if it has none.
    fn lose_newest(&mut self, origin: Origin) -> bool {
        let mut of_it = self.origins.range((origin, 0)..=(origin, u64::MAX));
        let Some((_, (topic, author, seq))) = of_it.next_back() else {
            return false;
        };
        let (topic, author, seq) = (*topic, *author, *seq);
        let lost = self.remove(topic, author, seq);
        if let Some(peer) = lost.and_then(|lost| lost.source.peer()) {
            self.dropped.insert((topic, peer));
        }
        true
    }

    /// Returns the origin with the most bytes among those that share the part of the budget which
    /// the operation needs, if it has more than the operation's origin would have.
    fn fullest_in_the_way(&self, source: Source, bytes: usize) -> Option<Origin> {
        let (budget, peer) = (self.budget.as_ref()?, source.peer()?);
        let mut fuller = self.shares.above(source.into(), bytes);
        fuller.find(|origin| match origin {
            Origin::Peer(other) => budget.crowds(&peer, other, bytes),
            Origin::Node | Origin::Import(_) => false,
        })
    }

    /// `None`: the peer, or those that share with it, made us hold enough.
    fn charge_for(&self, source: Source, bytes: usize) -> Option<Charge> {
        match (&self.budget, source.peer()) {
            (Some(budget), Some(peer)) => budget.try_keep(&peer, bytes),
            _ => Some(Charge::default()),
        }
    }

    fn insert(&mut self, topic: Topic, candidate: Candidate, charge_of_peer: Charge) {
        let (author, seq) = (candidate.label(), candidate.operation.header.seq());
        let (place, bytes, source) = ((topic, author, seq), candidate.bytes(), candidate.source);
        self.numbers += 1;
        let number = self.numbers;
        self.bytes += bytes;
        self.shares.add(source.into(), charge(bytes));
        self.origins.insert((source.into(), number), place);
        self.sources.insert((source.into(), number), place);
        let log = self.logs.entry((topic, author)).or_default();
        let numbered = Numbered {
            number,
            candidate,
            _charge: charge_of_peer,
        };
        log.insert(seq, numbered);
    }

    fn remove(&mut self, topic: Topic, author: VerifyingKey, seq: u32) -> Option<Candidate> {
        let log = self.logs.get_mut(&(topic, author))?;
        let Numbered {
            number, candidate, ..
        } = log.remove(&seq)?;
        if log.is_empty() {
            self.logs.remove(&(topic, author));
        }
        let bytes = candidate.bytes();
        self.bytes -= bytes;
        self.shares.remove(candidate.source.into(), charge(bytes));
        self.origins.remove(&(candidate.source.into(), number));
        self.sources.remove(&(candidate.source.into(), number));
        Some(candidate)
    }
}

fn charge(bytes: usize) -> usize {
    bytes.saturating_add(OPERATION_BYTES)
}

impl Candidate {
    /// Returns the label that represents the author where logs of a topic are distinguished.
    pub fn label(&self) -> VerifyingKey {
        self.extensions.label(&self.operation.header.author())
    }

    pub fn bytes(&self) -> usize {
        let body = self.operation.body.as_ref().map_or(0, Bytes::len);
        self.operation.header.as_bytes().len() + body
    }

    /// Returns `true` if the other one is the same operation with its body, and this one is not.
    fn lacks_body_of(&self, other: &Candidate) -> bool {
        self.operation.body.is_none()
            && other.operation.body.is_some()
            && self.operation.header == other.operation.header
    }

    /// With bytes of its own, since they are often a small part of what a packet brought.
    fn detached(self) -> Candidate {
        let Operation { header, body } = self.operation;
        Candidate {
            operation: Operation {
                header: header.detached(),
                body: body.map(|body| Bytes::copy_from_slice(&body)),
            },
            ..self
        }
    }
}

impl From<Source> for Ending {
    fn from(source: Source) -> Ending {
        match source {
            Source::Session { id, .. } => Ending::Session(id),
            Source::Import { id } => Ending::Import(id),
        }
    }
}
