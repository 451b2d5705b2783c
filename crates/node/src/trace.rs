//! Trace of one operation (`docs/guide/observe.md`).

use p2panda_core::limits::TRACED_OPERATIONS_MAX;
use p2panda_core::{Hash, LogName, Timestamp, Topic, VerifyingKey};
use p2panda_engine::EarlyTrace;
use p2panda_protocol::link::AuthorLog;
use p2panda_store::{ConsumerTrace, Progress, Reader, RejectReason, RejectedRow, StoredTrace};

use crate::Error;
use crate::inner::receipts::Place;
use crate::node::Node;
use crate::not_kept::NotKept;
use crate::publisher::label_of;

/// The state of an operation on this node, and what is known of it at others. Made by [`Node::trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// Id of the operation.
    pub id: Hash,
    /// The topic in which it arrived.
    pub topic: Topic,
    /// Author, and place in the log of that author; `None` if it was refused.
    pub place: Option<TracePlace>,
    /// Its progress on this node.
    pub state: TraceState,
    /// The copies that arrived since the node was opened, oldest first: from which peer, and when
    /// by this node's clock. Empty for this node's own and for imported operations.
    pub received: Vec<(VerifyingKey, Timestamp)>,
    /// The durable consumers that have a position in the topic, once it is in the feed.
    pub consumers: Vec<ConsumerTrace>,
    /// The peers whose transport has acknowledged it, or who had it, since the node was opened;
    /// without those from which it came.
    pub sent_to: Vec<VerifyingKey>,
    /// For an operation of this node: the peers that claim to have stored it, since the node was
    /// opened (`docs/protocol/link.md#10`).
    pub stored_by: Vec<VerifyingKey>,
    /// The peers that say that they do not keep it, because a quota of theirs is used up
    /// (`docs/protocol/link.md#12`).
    pub not_kept: Vec<NotKept>,
}

/// The position of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TracePlace {
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Hash of the name of its log, if it is not the first one of its author; none for one that is not
    /// stored.
    pub log: Option<LogName>,
    /// Sequence number in the log.
    pub seq: u32,
    /// Time at which it was made, by the author's clock; none for one that is not stored.
    pub timestamp: Option<Timestamp>,
    /// Its arrival number on this node; none for one that is not stored.
    pub arrival: Option<u64>,
}

/// The progress of an operation on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TraceState {
    /// It was refused.
    Refused {
        /// Reason for the refusal; none for a reason that only a newer version knows.
        reason: Option<RejectReason>,
        /// Time of the refusal, by this node's clock.
        at: Timestamp,
    },
    /// It arrived before its predecessors in its log, and is kept in memory until they arrive.
    Early {
        /// The sequence number that the log continues with.
        next: u32,
    },
    /// Its signature was verified and it is stored.
    Stored(Progress),
}

pub(crate) async fn trace(node: &Node, id: Hash) -> Result<Option<Trace>, Error> {
    let read = node
        .storage()
        .read(move |reader| reader.trace(&id, TRACED_OPERATIONS_MAX));
    let mut trace = if let Some(stored) = read.await? {
        Trace::stored(stored)
    } else if let Some(early) = node.queue().find_early(id).await? {
        Trace::early(id, &early)
    } else {
        let read = node.storage().read(move |reader| reader.refused(&id));
        match read.await? {
            Some((topic, row)) => Trace::refused(topic, &row),
            None => return Ok(None),
        }
    };
    trace.received = node.hops().of(&id);
    trace.add_receipts(node);
    Ok(Some(trace))
}

impl Trace {
    /// The trace from the database alone.
    pub(crate) fn of_store(reader: &Reader, id: Hash) -> Result<Option<Trace>, Error> {
        if let Some(stored) = reader.trace(&id, TRACED_OPERATIONS_MAX)? {
            return Ok(Some(Trace::stored(stored)));
        }
        let refused = reader.refused(&id)?;
        Ok(refused.map(|(topic, row)| Trace::refused(topic, &row)))
    }

    fn stored(stored: StoredTrace) -> Trace {
        let header = stored.header;
        let extensions = header.node_extensions().ok();
        let place = TracePlace {
            author: header.author(),
            log: extensions.as_ref().and_then(|extensions| extensions.name),
            seq: header.seq(),
            timestamp: extensions.map(|extensions| extensions.timestamp),
            arrival: Some(stored.arrival),
        };
        let state = TraceState::Stored(stored.progress);
        Trace {
            consumers: stored.consumers,
            ..Trace::new(header.id(), stored.topic, Some(place), state)
        }
    }

    fn early(id: Hash, early: &EarlyTrace) -> Trace {
        let place = TracePlace {
            author: early.author,
            log: None,
            seq: early.seq,
            timestamp: None,
            arrival: None,
        };
        let state = TraceState::Early { next: early.next };
        Trace::new(id, early.topic, Some(place), state)
    }

    fn refused(topic: Topic, row: &RejectedRow) -> Trace {
        let state = TraceState::Refused {
            reason: row.reason,
            at: row.at,
        };
        Trace::new(row.id, topic, None, state)
    }

    fn new(id: Hash, topic: Topic, place: Option<TracePlace>, state: TraceState) -> Trace {
        Trace {
            id,
            topic,
            place,
            state,
            received: Vec::new(),
            consumers: Vec::new(),
            sent_to: Vec::new(),
            stored_by: Vec::new(),
            not_kept: Vec::new(),
        }
    }

    /// Adds what the open topic knows about its peers.
    fn add_receipts(&mut self, node: &Node) {
        let Some(TracePlace {
            author,
            log,
            seq,
            arrival: Some(arrival),
            ..
        }) = self.place
        else {
            return;
        };
        let Some(state) = node.topics().get(&self.topic) else {
            return;
        };
        let receipts = state.receipts();
        let place = Place { log, seq, arrival };
        if author == node.id() || author == node.author_in(&self.topic) {
            self.sent_to = receipts.sent_to(place);
            self.stored_by = receipts.held_by(place);
        } else {
            self.sent_to = receipts.sent_up_to(place);
        }
        let of = AuthorLog {
            author,
            label: log.map(|_| label_of(&self.topic, &author, log)),
        };
        self.not_kept = state.not_kept().of(&of, seq);
        let stored_by = &self.stored_by;
        self.not_kept.retain(|one| !stored_by.contains(&one.peer));
        let received = &self.received;
        let is_other = |peer: &VerifyingKey| received.iter().all(|(from, _)| from != peer);
        self.sent_to.retain(is_other);
    }
}
