//! Requests of the network to its node.

use bytes::Bytes;
use p2panda_core::{
    Gap, Heights, Label, LogRange, Look, Page, Phase, Read, Received, Topic, VerifyingKey, Wanted,
};
use p2panda_protocol::link::{BlockChange, Level};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::SessionId;
use tokio::sync::oneshot;

/// A question or a notice to the node, sent through the one bounded channel that
/// [`crate::spawn`] was given.
///
/// The network never touches storage. While the channel is full, the sessions stop reading their
/// QUIC streams, and QUIC pushes back on the peers; nothing is dropped. A reply that is dropped
/// unanswered ends the session that asked.
#[derive(Debug)]
#[non_exhaustive]
pub enum Request {
    /// The heights of a topic, its highest arrival number and the logs with bodies that have not
    /// arrived, in one consistent look.
    Heights {
        /// The topic that this is about.
        topic: Topic,
        /// Answer.
        reply: oneshot::Sender<(Heights, u64, Vec<Gap>)>,
    },
    /// The heads of the logs of a topic, shared by its sessions, that follow every commit.
    Heads {
        /// The topic that this is about.
        topic: Topic,
        /// Answer, when everything that is stored is in them.
        reply: oneshot::Sender<SharedHeads>,
    },
    /// The headers that show a peer that a log is forked: those of stored evidence, or that of the
    /// head where there is none (`docs/protocol/ranges.md#6`).
    Evidence {
        /// The topic that this is about.
        topic: Topic,
        /// Author of the log.
        author: VerifyingKey,
        /// Answer.
        reply: oneshot::Sender<Vec<Bytes>>,
    },
    /// Bodies that have not arrived.
    Wanted {
        /// The topic that this is about.
        topic: Topic,
        /// Bodies to look for.
        look: Look,
        /// Answer.
        reply: oneshot::Sender<Wanted>,
    },
    /// The heights of this many logs of a topic, those that are known longest.
    OldestHeights {
        /// The topic that this is about.
        topic: Topic,
        /// Maximum number of logs.
        logs_max: usize,
        /// Answer.
        reply: oneshot::Sender<Heights>,
    },
    /// Number and bytes of the stored operations in these ranges.
    Totals {
        /// The topic that this is about.
        topic: Topic,
        /// Ranges of logs to count.
        ranges: Vec<LogRange>,
        /// Answer.
        reply: oneshot::Sender<Totals>,
    },
    /// A page of stored operations, read in one short transaction.
    Read {
        /// The topic that this is about.
        topic: Topic,
        /// Range to read.
        read: Read,
        /// Answer.
        reply: oneshot::Sender<Page>,
    },
    /// Operations that came from a peer, and what cannot be read as one. Verify and queue them;
    /// answer once they are durable. Several of one session may be in progress; they are stored in
    /// the order they were sent.
    Store {
        /// The topic of the session.
        topic: Topic,
        /// Number of the session on this node.
        session: SessionId,
        /// The peer, as its TLS identity proved it.
        peer: VerifyingKey,
        /// `true` if the peer was configured, or had completed a session, before this one began.
        trusted: bool,
        /// Neither signature nor body hash are verified yet.
        operations: Vec<Received>,
        /// Answer.
        reply: oneshot::Sender<Stored>,
    },
    /// Asks up to where the log of a peer is stored here, synced to disk
    /// (`docs/protocol/link.md#10`).
    Level {
        /// The topic that this is about.
        topic: Topic,
        /// The peer.
        author: VerifyingKey,
        /// Label of the log, if it has a name; it may be that of another author, who is not answered.
        label: Option<Label>,
        /// Height that the peer was told.
        above: Option<u32>,
        /// Answer, once more than that is stored.
        reply: oneshot::Sender<Level>,
    },
    /// A peer says how far it has stored a log of this node.
    Confirmed {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Label of the log, if it has a name: one that this node asked for.
        label: Option<Label>,
        /// Counts only if the check is that of this node's own entry.
        level: Level,
    },
    /// A quota of a peer blocks logs of a topic, or blocks them no longer: at most
    /// [`LINK_BLOCKED_LOGS_MAX`](p2panda_core::limits::LINK_BLOCKED_LOGS_MAX) on a link.
    Blocked {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the link. What was said on one with a smaller number does not hold any more.
        link: u64,
        /// The logs.
        changes: Vec<BlockChange>,
    },
    /// A link is over on which a peer said that it blocks logs.
    Unlinked {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the link.
        link: u64,
    },
    /// A session has reached the next phase.
    Phase {
        /// The topic that this is about.
        topic: Topic,
        /// Number of the session on this node.
        session: SessionId,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// The phase it is in now.
        phase: Phase,
    },
    /// A peer told what it holds of this node's own log.
    PeerHas {
        /// The topic that this is about.
        topic: Topic,
        /// Number of the session on this node.
        session: SessionId,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Highest sequence number, `None` when it holds nothing.
        own_seq: Option<u32>,
    },
    /// A peer holds, or was sent, all operations of some topics up to these arrival numbers.
    ///
    /// Its transport has acknowledged them; nothing confirms that the peer has stored them.
    Sent {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// The topics, and how far each.
        acked: Vec<Reached>,
    },
    /// An entry of the address book changed: keep it.
    Record {
        /// The node it is about.
        node: VerifyingKey,
        /// Its entry as stored; give it back with [`crate::Config::known`].
        stored: Bytes,
    },
    /// A node is no longer in the address book: forget its entry.
    Forget {
        /// Its node id.
        node: VerifyingKey,
    },
}

/// The answer to [`Request::Totals`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of stored operations in the ranges.
    pub operations: u64,
    /// Header and payload bytes.
    pub bytes: u64,
    /// The ranges, in the order in which their logs became known.
    pub ranges: Vec<LogRange>,
}

/// The answer to [`Request::Store`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Operations of the batch that were not valid in themselves: their header did not decode, or
    /// their signature or body hash was wrong.
    pub invalid: usize,
}

/// State of a topic at a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The topic that this is about.
    pub topic: Topic,
    /// The arrival number, inclusive.
    pub arrival: u64,
    /// `true` if logs with a name crossed as well; peers that compare heights are sent the first
    /// log of each author only (`docs/protocol/sync.md#5`).
    pub named: bool,
}
