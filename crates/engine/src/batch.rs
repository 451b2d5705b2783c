//! The content of one transaction, which passes from stage to stage.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use p2panda_core::limits::{RECENT_BYTES_MAX, RECENT_OPERATIONS_MAX};
use p2panda_core::log::Head;
use p2panda_core::{
    Dependency, Hash, Header, HeadsChange, LogId, LogName, NodeExtensions, Operation, Timestamp,
    Topic, VerifyingKey,
};
use p2panda_store::{LogKey, Ready, TopicKey};

use crate::allowance::Allowance;
use crate::answer::{
    Committed, EngineEvent, PublishError, Published, RecentOperation, TopicChange,
};
use crate::authors::Authors;
use crate::command::{Command, Restated};
use crate::kept::{Kept, Quotas};
use crate::reply::Reply;
use crate::shares::Origin;
use crate::topics::TopicRef;

#[derive(Default)]
pub(crate) struct Batch {
    /// Operations that passed ingest, in order of arrival. They are written by the last stage.
    pub arrived: Vec<Arrived>,
    /// Index in `arrived` of each operation.
    pub places: HashMap<(LogKey, u32), usize>,
    /// The highest prune point of each log.
    pub prunes: BTreeMap<LogKey, Prune>,
    /// Stored operations that passed the order stage earlier and are ready only now, or stand
    /// differently now.
    pub late: Vec<Ordered>,
    /// Bodies to drop on purpose.
    pub drops: Vec<BodyDrop>,
    /// Operations whose meaning changes.
    pub restated: Vec<Restatement>,
    /// Operations that passed the order stage, in that order.
    pub ordered: Vec<Ordered>,
    /// Allowance for passing operations that were stored earlier.
    pub passing: Allowance,
    /// Allowance for judging earlier operations again.
    pub rejudging: Allowance,
    /// Commands that wait for what is computed elsewhere, in order.
    pub postponed: Vec<(Topic, Command)>,
    /// Publishes to be answered.
    pub published: Vec<Unanswered>,
    /// By log and hash of the key.
    pub keyed: BTreeMap<(LogKey, Hash), Keyed>,
    /// Logs of ours, by topic and label, of which the newest operation is of this batch.
    pub implied: HashSet<(TopicKey, VerifyingKey)>,
    /// To be called after the commit.
    pub answers: Vec<Box<dyn FnOnce() + Send>>,
    pub events: Vec<EngineEvent>,
    pub changes: BTreeMap<Topic, TopicChange>,
    pub own: bool,
    /// Changes of the amounts that are kept.
    pub kept: Kept,
    /// The quotas after this batch, if they change.
    pub quotas: Option<Quotas>,
    /// Bodies were deleted by age.
    pub aged: bool,
    /// Entries that were added to feeds.
    pub entries: u64,
}

/// An operation that passed ingest.
pub(crate) struct Arrived {
    pub arrival: u64,
    pub topic: TopicRef,
    pub origin: Origin,
    pub log: LogKey,
    /// The label that represents its author where logs of a topic are distinguished.
    pub label: VerifyingKey,
    pub header: Header,
    pub body: Option<Bytes>,
    pub extensions: NodeExtensions,
    pub bytes_before: u64,
    pub offset: Option<u64>,
    /// Its entry in the feed.
    pub ready: Ready,
    /// Dependencies that it was delivered without.
    pub missing: Vec<Dependency>,
    /// A later one of the same batch pruned it.
    pub pruned: bool,
}

/// A publish that is answered after the commit.
pub(crate) enum Unanswered {
    One(Made, Reply<Result<Published, PublishError>>),
    All(Vec<Made>, Reply<Result<Vec<Published>, PublishError>>),
}

/// An operation of our own that answers a publish.
#[derive(Clone)]
pub(crate) enum Made {
    /// It is of this batch, at this place in `arrived`.
    New {
        index: usize,
        timestamp: Timestamp,
        log: Option<LogName>,
    },
    /// It was published before, with the same idempotency key.
    Before(Published),
}

/// A publish of this batch with an idempotency key.
#[derive(Clone)]
pub(crate) struct Keyed {
    pub content: Hash,
    pub made: Made,
}

/// Everything of a log below `seq` goes.
pub(crate) struct Prune {
    pub topic: TopicRef,
    /// Label of the log.
    pub label: VerifyingKey,
    pub seq: u32,
    pub bytes_before: u64,
}

/// A body to drop, once the batch is written.
pub(crate) struct BodyDrop {
    pub topic: TopicRef,
    /// Label of the log.
    pub label: VerifyingKey,
    pub seq: u32,
    pub reply: Option<Reply<bool>>,
}

/// The new meaning of an operation.
pub(crate) struct Restatement {
    pub topic: TopicRef,
    pub label: VerifyingKey,
    pub seq: u32,
    pub to: Restated,
    pub reply: Option<Reply<bool>>,
}

/// An operation that passed the order stage.
pub(crate) struct Ordered {
    pub topic: Topic,
    pub location: Location,
    /// Its new entry in the feed; `None` if it is not ready.
    pub ready: Option<Ready>,
    pub missing: Vec<Dependency>,
}

/// Location of an operation while the batch is processed.
pub(crate) enum Location {
    /// In `arrived`.
    Arrived(usize),
    /// In the store.
    Stored(Box<Stored>),
}

/// The part of an operation from an earlier batch that passes the stages.
pub(crate) struct Stored {
    pub arrival: u64,
    pub extensions: NodeExtensions,
}

impl Batch {
    /// The operation of this batch at a place in a log.
    pub fn arrived_at(&mut self, log: LogKey, seq: u32) -> Option<(usize, &mut Arrived)> {
        let index = *self.places.get(&(log, seq))?;
        self.arrived.get_mut(index).map(|arrived| (index, arrived))
    }

    /// Returns the answer to a publish.
    pub fn published(&self, made: &Made) -> Option<Published> {
        match made {
            Made::New {
                index,
                timestamp,
                log,
            } => {
                let arrived = self.arrived.get(*index);
                arrived.map(|arrived| arrived.published(*timestamp, *log))
            }
            Made::Before(published) => Some(published.clone()),
        }
    }

    /// The extensions of an operation, wherever it is.
    pub fn extensions<'a>(&'a self, location: &'a Location) -> &'a NodeExtensions {
        match location {
            Location::Arrived(index) => {
                let arrived = self.arrived.get(*index);
                &arrived.expect("nothing is taken out of it").extensions
            }
            Location::Stored(stored) => &stored.extensions,
        }
    }

    /// Everything of a log below this goes, unless more of it does already.
    pub fn prune(&mut self, log: LogKey, prune: Prune) {
        let known = self.prunes.get(&log);
        if known.is_none_or(|known| known.seq < prune.seq) {
            self.prunes.insert(log, prune);
        }
    }

    pub fn change(&mut self, topic: Topic) -> &mut TopicChange {
        self.changes.entry(topic).or_insert(TopicChange {
            topic,
            last_arrival: None,
            last_offset: None,
            recent: Vec::new(),
            rewritten: false,
            heads_anew: false,
            heads: HeadsChange::default(),
        })
    }

    /// Returns the heights of our own logs.
    pub fn own_heights(&self, authors: &Authors) -> Vec<(LogId, u32)> {
        let own = self
            .arrived
            .iter()
            .filter(|arrived| authors.is_own(&arrived.topic.topic, &arrived.header.author()));
        let heights: BTreeMap<LogId, u32> = own
            .map(|arrived| (arrived.extensions.log_id, arrived.header.seq()))
            .collect();
        heights.into_iter().collect()
    }

    fn published_now(&self) -> usize {
        let published = self.arrived.iter();
        published.filter(|one| one.origin == Origin::Node).count()
    }

    pub fn committed(mut self) -> Committed {
        self.hand_out_recent();
        self.hand_out_heads();
        let published = self.published_now() as u64;
        Committed {
            topics: self.changes.into_values().collect(),
            own: self.own,
            events: self.events,
            operations: self.arrived.len() as u64,
            published,
            entries: self.entries,
        }
    }

    /// Gives each change the heads of its logs. Operations of a log mostly follow each other: of those
    /// only the last one is named.
    fn hand_out_heads(&mut self) {
        for arrived in &self.arrived {
            let Some(change) = self.changes.get_mut(&arrived.topic.topic) else {
                continue;
            };
            let (label, head) = (arrived.label, Head::of(&arrived.header));
            match change.heads.raised.last_mut() {
                Some((last, known)) if *last == label => *known = head,
                _ => change.heads.raised.push((label, head)),
            }
        }
        for change in self.changes.values_mut() {
            change.heads.arrival = change.last_arrival.unwrap_or_default();
        }
    }

    /// Gives each change its operations, if they are few. Where stored ones changed nobody may
    /// rely on them.
    fn hand_out_recent(&mut self) {
        let mut sizes: BTreeMap<Topic, (usize, usize)> = BTreeMap::new();
        for arrived in &self.arrived {
            let (operations, bytes) = sizes.entry(arrived.topic.topic).or_default();
            *operations += 1;
            *bytes += arrived.bytes();
        }
        sizes.retain(|topic, (operations, bytes)| {
            let rewritten = self.changes.get(topic).is_some_and(|one| one.rewritten);
            !rewritten && *operations <= RECENT_OPERATIONS_MAX && *bytes <= RECENT_BYTES_MAX
        });
        for arrived in &self.arrived {
            let topic = &arrived.topic.topic;
            if sizes.contains_key(topic)
                && let Some(change) = self.changes.get_mut(topic)
            {
                change.recent.push(arrived.recent());
            }
        }
    }
}

impl Arrived {
    fn bytes(&self) -> usize {
        let body = self.body.as_ref().map_or(0, Bytes::len);
        let plaintext = self.ready.plaintext().map_or(0, <[u8]>::len);
        self.header.as_bytes().len() + body + plaintext
    }

    /// A copy, since these bytes are often a small part of what a packet brought.
    fn recent(&self) -> RecentOperation {
        let body = self.body.as_deref().map(Bytes::copy_from_slice);
        let shown = self.ready.content(body.as_ref());
        RecentOperation {
            arrival: self.arrival,
            offset: self.offset,
            content: shown.filter(|_| self.offset.is_some()),
            operation: Operation {
                header: self.header.detached(),
                body,
            },
            missing: self.missing.clone(),
        }
    }

    fn published(&self, timestamp: Timestamp, log: Option<LogName>) -> Published {
        Published {
            id: self.header.id(),
            log,
            seq: self.header.seq(),
            timestamp,
            arrival: self.arrival,
            offset: self.offset,
        }
    }
}
