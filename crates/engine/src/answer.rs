//! Answers of the engine: to one command, and to everybody after a commit.

use p2panda_core::limits::{
    DEPENDENCIES_MAX, PUBLISH_BATCH_BYTES_MAX, PUBLISH_BATCH_OPERATIONS_MAX,
};
use p2panda_core::log::Fork;
use p2panda_core::{
    Dependency, Hash, HeadsChange, LogName, Operation, Timestamp, Topic, VerifyingKey,
};
use p2panda_store::{
    BlockedLog, Content, FeedEntry, NamedKey, OpenError, RejectReason, StoreError, StoreErrorKind,
};
use thiserror::Error;

use crate::space_news::SpaceNews;

/// Outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is stored now.
    Stored {
        /// Its arrival number.
        arrival: u64,
        /// `true` if it is the first operation of its log here.
        new_log: bool,
    },
    /// It was stored before.
    Duplicate,
    /// It was stored before, and now its body is, too.
    BodyFilled,
    /// It lies below the oldest operation of a pruned log: there is nothing to do.
    Pruned,
    /// Operations before it are missing. It is kept in memory until they come, and is lost
    /// if they do not come while its source lasts.
    Early,
    /// The log is blocked below it (`docs/protocol/streams.md#4.9`): it is not kept.
    Blocked,
    /// Refused, with a row that says why.
    Rejected(RejectReason),
    /// Operations before it are missing and there is no room to keep it. The next session
    /// brings it again.
    Dropped,
}

/// A published operation, stored and synced to disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Id of the operation.
    pub id: Hash,
    /// Name of our log that it is in; none: the first one of the topic. In a topic that carries a
    /// space, this is the content log.
    pub log: Option<LogName>,
    /// Its place in that log.
    pub seq: u32,
    /// Time at which it was made.
    pub timestamp: Timestamp,
    /// Its arrival number.
    pub arrival: u64,
    /// Its place in the feed; none if it has no body, or waits for what it comes after.
    pub offset: Option<u64>,
}

/// Bodies of a branch that was given up that were published again, stored and synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Republished {
    /// Number of published operations; 0: all are.
    pub published: u64,
}

/// Reason why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// An empty body is no body.
    #[error("an empty body cannot be published")]
    EmptyBody,
    /// Header and body are more than this node takes.
    #[error("the operation would take {bytes} bytes, at most {bytes_max} are possible")]
    TooLarge {
        /// Size that the operation would have, frame included.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// More than can be published at once, all or nothing.
    #[error(
        "{operations} messages of {bytes} bytes cannot be published at once: at most \
        {PUBLISH_BATCH_OPERATIONS_MAX} of {PUBLISH_BATCH_BYTES_MAX} bytes are possible"
    )]
    TooMany {
        /// Number of operations.
        operations: usize,
        /// Bytes of their bodies.
        bytes: usize,
    },
    /// Another message was published with this idempotency key.
    #[error("another message was published with this idempotency key")]
    KeyTaken {
        /// Its operation; `None` if it was to be published at once with this one.
        id: Option<Hash>,
    },
    /// An operation that the message is to come after is not stored here in this topic.
    #[error("the message must follow operation {id}, which is not stored here")]
    UnknownParent {
        /// The operation.
        id: Hash,
    },
    /// A message is to come after too many others.
    #[error("a message can come after {DEPENDENCIES_MAX} others at most, not {parents}")]
    TooManyParents {
        /// Number of parents.
        parents: usize,
    },
    /// The topic carries a space, and this node cannot write in it.
    #[error("the topic carries a space, and this node cannot write in it")]
    Sealed,
    /// Somebody who is no member any more holds the secret of the space, and a new one could not be
    /// made yet.
    #[error("the space has no secret that only its members know")]
    Unhealed,
    /// The same, and no new one can be made any more: the space has had as many as it can have.
    #[error("the space has used up its secrets: create another one and add its members there")]
    Ended,
    /// The log has used its last sequence number.
    #[error("the log is full")]
    SeqNumExhausted,
    /// The directory is an older copy, and publishing from it would fork the log.
    #[error(
        "this directory is an older copy: choose restored(PullOwnLog) to get the newer \
        operations back from peers, or restored(NewIdentity) to continue with a new key"
    )]
    Restored,
    /// Our own newer operations have not come back from peers yet.
    #[error("newer operations of this node have not come back from peers yet")]
    PullingOwnLog,
    /// A copy of this directory published to the same log elsewhere.
    #[error(
        "this log is closed, because a copy of this directory has published to it as well: choose {}\
        restored(NewIdentity) to continue with a new key",
        pull_offer(*.held)
    )]
    OwnFork {
        /// `true` if a peer is known to hold our branch: then the log cannot be pulled.
        held: bool,
    },
    /// Too much waits for a peer to send our own newer operations.
    #[error("too many publishes wait for newer operations of this node from a peer")]
    Held,
    /// The storage took nothing for as long as a publish waits (`docs/protocol/streams.md#18`).
    #[error("storing is not possible at the moment: {0}")]
    Storage(StorageWait),
}

fn pull_offer(held: bool) -> &'static str {
    match held {
        true => "",
        false => "restored(PullOwnLog) to go on with what the copy published, or ",
    }
}

/// Reason why nothing can be stored at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum StorageWait {
    /// Another process keeps the database locked.
    #[error("another process keeps the database locked")]
    Busy,
    /// There is no room on the disk.
    #[error("the disk is full")]
    Full,
}

impl StorageWait {
    /// Returns what an error waits for; `None`: waiting does not help.
    pub(crate) fn of(error: &StoreError) -> Option<StorageWait> {
        match error.kind() {
            StoreErrorKind::Busy => Some(StorageWait::Busy),
            StoreErrorKind::Full => Some(StorageWait::Full),
            _ => None,
        }
    }
}

impl PublishError {
    /// Returns `true` if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            PublishError::PullingOwnLog
                | PublishError::Held
                | PublishError::Unhealed
                | PublishError::Storage(_)
        )
    }
}

/// Reason why a restored directory cannot continue in the chosen way.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RestoredError {
    /// The directory is not an older copy.
    #[error("this directory is not an older copy")]
    NotRestored,
    /// A new identity is drawn while opening.
    #[error("a new identity needs the directory to be opened with it")]
    NeedsOpen,
    /// The choice could not be written down.
    #[error(transparent)]
    Failed(#[from] OpenError),
}

/// An operation that is kept until those before it in its log come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlyTrace {
    /// The topic that this is about.
    pub topic: Topic,
    /// Author of the log.
    pub author: VerifyingKey,
    /// Its place in the log.
    pub seq: u32,
    /// Sequence number of the next operation that the log takes.
    pub next: u32,
    /// Peer that sent it; `None` if it was imported.
    pub peer: Option<VerifyingKey>,
}

/// Changes by a commit.
#[derive(Debug, Default)]
pub struct Committed {
    /// Topics with something new.
    pub topics: Vec<TopicChange>,
    /// `true` if an operation of our own is among it.
    pub own: bool,
    /// Further events to report.
    pub events: Vec<EngineEvent>,
    /// Operations that it stored.
    pub operations: u64,
    /// Those of them that this node published.
    pub published: u64,
    /// Entries that it added to feeds.
    pub entries: u64,
}

/// News of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicChange {
    /// The topic that this is about.
    pub topic: Topic,
    /// The last arrival number, if operations were stored.
    pub last_arrival: Option<u64>,
    /// The last feed offset, if operations were added to the feed.
    pub last_offset: Option<u64>,
    /// All that were stored, in order of arrival; empty if they are more than
    /// [`RECENT_OPERATIONS_MAX`](p2panda_core::limits::RECENT_OPERATIONS_MAX) or have more than
    /// [`RECENT_BYTES_MAX`](p2panda_core::limits::RECENT_BYTES_MAX).
    pub recent: Vec<RecentOperation>,
    /// Operations that had been stored before were deleted, or got their body or another offset.
    pub rewritten: bool,
    /// Changed heads of logs.
    pub heads: HeadsChange,
    /// The heads are to be looked up again: peers are told another height of our own log than
    /// before.
    pub heads_anew: bool,
}

/// An operation that was stored with this commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentOperation {
    /// Its arrival number.
    pub arrival: u64,
    /// Its place in the feed, if it has one by now.
    pub offset: Option<u64>,
    /// Content that is shown there.
    pub content: Option<Content>,
    /// Header and body, in memory of their own.
    pub operation: Operation,
    /// Dependencies that had not arrived when waiting for them was over.
    pub missing: Vec<Dependency>,
}

impl RecentOperation {
    /// Its entry in the feed, if it has one by now.
    pub fn feed_entry(&self) -> Option<FeedEntry> {
        Some(FeedEntry {
            offset: self.offset?,
            arrival: self.arrival,
            header: self.operation.header.clone(),
            content: self.content.clone()?,
            missing: self.missing.clone(),
            first: None,
        })
    }
}

/// Event for the operator of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineEvent {
    /// The recovery file of this node's person was written so long ago that it should be written again.
    RecoveryDue {
        /// Time of writing, in seconds since 1970.
        written: u64,
    },
    /// Something happened in the space that a topic carries.
    Space {
        /// The topic that this is about.
        topic: Topic,
        /// Event in the space.
        news: SpaceNews,
    },
    /// A device of our person told us of a space, or this is the space in which devices do: from now on
    /// this node follows it, and keeps its topic.
    FollowsSpace {
        /// The topic that this is about.
        topic: Topic,
    },
    /// An author signed operations that exclude each other. The first one stays.
    Forked {
        /// The topic that this is about.
        topic: Topic,
        /// Both headers.
        fork: Fork,
        /// Peer that sent the second one.
        peer: Option<VerifyingKey>,
    },
    /// That author is ourselves: a copy of this directory is in use. The log is closed.
    OwnFork {
        /// The topic that this is about.
        topic: Topic,
        /// Both headers.
        fork: Fork,
        /// Peer that sent the second one.
        peer: Option<VerifyingKey>,
        /// `true` if that peer showed that it holds our branch and not the other one.
        ours: bool,
    },
    /// Peers are told another height of our own log than before, to find the place at which its
    /// branches part.
    OwnHeightTold {
        /// The topic that this is about.
        topic: Topic,
        /// The peer that has the other branch, if it came from one.
        peer: Option<VerifyingKey>,
    },
    /// An operation was refused, for the first time.
    Rejected {
        /// The topic in which it arrived.
        topic: Topic,
        /// Id of the operation.
        id: Hash,
        /// Reason for the refusal.
        reason: RejectReason,
        /// Peer that sent it.
        peer: Option<VerifyingKey>,
    },
    /// A log cannot continue here, since its next operation is not taken
    /// (`docs/protocol/streams.md#4.9`).
    LogBlocked {
        /// The topic that this is about.
        topic: Topic,
        /// Blocked log, and why.
        log: BlockedLog,
    },
    /// A log that was blocked continues.
    LogGoesOn {
        /// The topic that this is about.
        topic: Topic,
        /// Author of the log.
        author: VerifyingKey,
    },
    /// A stored operation cannot be read: its log is delivered no further.
    LogUnreadable {
        /// The topic that this is about.
        topic: Topic,
        /// Author of the log.
        author: VerifyingKey,
        /// The operation.
        seq: u32,
    },
    /// Something was pruned that a named consumer had not settled.
    PrunedUnsettled {
        /// Affected consumer.
        consumer: NamedKey,
    },
    /// A peer has more of our own log: publishing waits for it.
    PublishesHeld {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// Early operations of a peer made room for those of others: to be brought again.
    EarlyDropped {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// Nothing can be stored at the moment. It is tried again until it can.
    StorageWaits {
        /// Reason for the wait.
        reason: StorageWait,
    },
    /// Operations that waited for the storage are stored.
    StorageGoesOn,
    /// Our own logs are back where a newer copy had left them: publishing continues.
    OwnLogPulled,
}
