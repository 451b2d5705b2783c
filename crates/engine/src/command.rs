//! The commands that change a node's data.

use bytes::Bytes;
use p2panda_core::{
    Dependency, Hash, Header, Label, LogName, Operation, Phase, Topic, VerifyingKey,
};
use p2panda_store::{Durability, RejectReason, RestoredAction, Start};

use crate::answer::{EarlyTrace, Outcome, PublishError, Published, Republished, RestoredError};
use crate::authors::Authors;
use crate::drafted::Drafted;
use crate::kept::Quotas;
use crate::named_command::NamedCommand;
use crate::reply::Reply;
use crate::space_command::SpaceCommand;

/// A command that changes a node's data.
#[non_exhaustive]
pub enum Command {
    /// Operations from elsewhere, in the order of arrival.
    Ingest {
        /// Their topic.
        topic: Topic,
        /// Their source.
        source: Source,
        /// The operations, checked by the caller.
        operations: Vec<Incoming>,
        /// One outcome per operation.
        reply: Option<Reply<Vec<Outcome>>>,
    },
    /// An own operation, signed by the engine: the order of commands is the order in the log.
    Publish {
        /// Topic to publish to.
        topic: Topic,
        /// Message to publish.
        message: NewMessage,
        /// `Ok` means synced to disk, an error means that nothing is stored.
        reply: Reply<Result<Published, PublishError>>,
    },
    /// Several own operations, all of them or none, in this order and with nothing between
    /// (`docs/protocol/streams.md#3`).
    PublishAll {
        /// Topic to publish to.
        topic: Topic,
        /// Messages to publish; at most
        /// [`PUBLISH_BATCH_OPERATIONS_MAX`](p2panda_core::limits::PUBLISH_BATCH_OPERATIONS_MAX).
        messages: Vec<NewMessage>,
        /// `Ok` means that all are synced to disk, with one answer for each; an error means that
        /// nothing is stored.
        reply: Reply<Result<Vec<Published>, PublishError>>,
    },
    /// Publishes again the next bodies of a topic that were given up with a branch of our log, or
    /// stayed behind with an old key; at most
    /// [`REPUBLISHED_ROWS_MAX`](p2panda_core::limits::REPUBLISHED_ROWS_MAX).
    Republish {
        /// The topic that this is about.
        topic: Topic,
        /// The number of published operations, or an error.
        reply: Reply<Result<Republished, PublishError>>,
    },
    /// Acknowledges feed offsets for a consumer, which is created if it is new. Offsets that are
    /// not in the feed are skipped.
    Ack {
        /// Name of the consumer.
        consumer: String,
        /// The topic whose feed it is.
        topic: Topic,
        /// In any order.
        offsets: Vec<u64>,
        /// [`Durability::Full`] if the application waits for it.
        durability: Durability,
        /// Called when the acknowledgement is stored.
        reply: Option<Reply<()>>,
    },
    /// Moves a consumer in the feed of a topic; both are created if they are new.
    PlaceConsumer {
        /// Name of the consumer.
        consumer: String,
        /// The topic whose feed it is.
        topic: Topic,
        /// Position to move to.
        start: Start,
        /// The offset up to which everything is acknowledged; reading continues behind it.
        reply: Reply<u64>,
    },
    /// A command on a named consumer.
    Named(NamedCommand),
    /// Sets whether the topic is kept: the node is interested in it from its open on, even without readers.
    KeepTopic {
        /// The topic that this is about.
        topic: Topic,
        /// `true` if it is kept.
        keep: bool,
        /// Called when that is synced to disk.
        reply: Reply<()>,
    },
    /// Keeps other amounts of others at most from now on: logs continue for which there is room then.
    SetQuotas {
        /// The quotas.
        quotas: Quotas,
        /// Called when they hold.
        reply: Reply<()>,
    },
    /// A command on spaces.
    Space(SpaceCommand),
    /// The result of sealing for a change of a space.
    Drafted(Box<Drafted>),
    /// A sync session entered a phase.
    Session {
        /// Topic of the session.
        topic: Topic,
        /// Its number, unique while the engine runs.
        session: u64,
        /// Phase to report.
        phase: Phase,
    },
    /// A peer named the height of *our* log in its Have. If that is above ours, publishing
    /// waits for the session's catch-up (`docs/protocol/streams.md#16`).
    PeerHas {
        /// Topic of the session.
        topic: Topic,
        /// Number of the session on this node.
        session: u64,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// The height it named.
        own_seq: u32,
    },
    /// A peer says that it has stored our log up to this entry of ours: of two branches it holds this
    /// one (`docs/protocol/streams.md#16`).
    OwnHeld {
        /// The topic that this is about.
        topic: Topic,
        /// Affected log.
        log: Label,
        /// The entry.
        seq: u32,
    },
    /// An import has ended: its early operations are forgotten.
    ImportEnded {
        /// The topic that this is about.
        topic: Topic,
        /// Its number.
        import: u64,
    },
    /// Drops the body of a stored operation permanently; its header stays.
    DropBody {
        /// The topic that this is about.
        topic: Topic,
        /// Affected log.
        log: Label,
        /// Place in the log.
        seq: u32,
        /// `true` if there is such an operation, and its header names a body.
        reply: Option<Reply<bool>>,
    },
    /// Changes the verdict on an operation that has passed the order stage. If that changes what is shown
    /// of it, it gets another place in the feed (`docs/protocol/streams.md#9.1`).
    Restate {
        /// The topic that this is about.
        topic: Topic,
        /// Affected log.
        log: Label,
        /// Place in the log.
        seq: u32,
        /// The verdict.
        to: Restated,
        /// `true` if that changed anything.
        reply: Option<Reply<bool>>,
    },
    /// Looks for an early operation, which is kept in memory until its predecessors arrive.
    FindEarly {
        /// Id of the operation.
        id: Hash,
        /// Result: where it is kept; `None` if it is not.
        reply: Reply<Option<EarlyTrace>>,
    },
    /// Remembers a record of the address book.
    PutAddress {
        /// Its node id.
        node: VerifyingKey,
        /// Its encoded record.
        record: Bytes,
        /// Called when it is stored.
        reply: Option<Reply<()>>,
    },
    /// Forgets a record of the address book.
    RemoveAddress {
        /// Its node id.
        node: VerifyingKey,
        /// Called when it is forgotten.
        reply: Option<Reply<()>>,
    },
    /// Applies one of the two remedies for a restored directory.
    Restored {
        /// Action to take.
        action: RestoredAction,
        /// Result of the action.
        reply: Reply<Result<(), RestoredError>>,
    },
}

/// The verdict on an operation from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restated {
    /// It no longer counts.
    Withdrawn,
    /// It counts, again or for the first time: its content is shown.
    Counts,
    /// It changed who is a member, or how.
    Members,
}

/// The source of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A sync session.
    Session {
        /// Its number.
        id: u64,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// An import by the application.
    Import {
        /// Its number.
        id: u64,
    },
}

impl Source {
    /// The peer, if there is one.
    pub fn peer(&self) -> Option<VerifyingKey> {
        match self {
            Source::Session { peer, .. } => Some(*peer),
            Source::Import { .. } => None,
        }
    }
}

/// An operation after the caller's checks.
#[derive(Clone, Debug)]
// Nearly all are valid: a box would cost an allocation each.
#[allow(clippy::large_enum_variant)]
pub enum Incoming {
    /// The signature is verified, and the body, if present, matches the header.
    Valid(Operation),
    /// It is not an operation, and gets a row.
    Invalid {
        /// The operation id, or its substitute, which tells rows apart.
        id: Hash,
        /// The received header, or its beginning.
        header: Bytes,
        /// Reason for the refusal.
        reason: RejectReason,
        /// Proof that the author made it, if it is this node that refuses it: its log cannot
        /// continue here.
        genuine: Option<Box<Genuine>>,
    },
}

/// A valid operation that this node does not accept.
#[derive(Clone, Debug)]
pub struct Genuine {
    /// The whole header. Its signature is verified.
    pub header: Header,
    /// Bytes of the operation on the wire.
    pub bytes: u64,
}

/// The content of an operation to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    /// The body, one CBOR item; `None` for an operation without one.
    pub body: Option<Bytes>,
    /// `true` if everything before it in the log may be deleted by everybody.
    pub prune: bool,
    /// The hash of an idempotency key: within the window, the log gets one message with it
    /// (`docs/protocol/streams.md#3`).
    pub key: Option<Hash>,
    /// Operations that it must come after, regardless of what this node has seen; at most
    /// [`DEPENDENCIES_MAX`](p2panda_core::limits::DEPENDENCIES_MAX).
    pub after: Vec<Dependency>,
    /// The name of the log, if it is not our first one in the topic.
    pub log: Option<LogName>,
}

impl NewMessage {
    /// An operation with this body.
    pub fn new(body: impl Into<Bytes>) -> NewMessage {
        NewMessage {
            body: Some(body.into()),
            ..NewMessage::default()
        }
    }

    /// Distinguishes it from others with the same idempotency key.
    pub(crate) fn content(&self) -> Hash {
        let body = self.body.as_deref();
        let kind = [u8::from(self.prune), u8::from(body.is_some())];
        Hash::digest_parts(&[&kind, body.unwrap_or_default()])
    }

    /// Returns the length of the body; 0 without one.
    pub fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }

    /// Bytes that it takes in memory, with the overhead of small ones.
    pub fn held_bytes(&self) -> usize {
        let after = self.after.len().saturating_mul(size_of::<Dependency>());
        size_of::<NewMessage>() + after + self.body_bytes()
    }
}

/// A requested publish.
pub(crate) enum PublishRequest {
    One {
        message: NewMessage,
        reply: Reply<Result<Published, PublishError>>,
    },
    All {
        messages: Vec<NewMessage>,
        reply: Reply<Result<Vec<Published>, PublishError>>,
    },
}

impl PublishRequest {
    pub fn messages(&self) -> &[NewMessage] {
        match self {
            PublishRequest::One { message, .. } => std::slice::from_ref(message),
            PublishRequest::All { messages, .. } => messages,
        }
    }

    /// The command that asked for it.
    pub fn again(self, topic: Topic) -> Command {
        match self {
            PublishRequest::One { message, reply } => Command::Publish {
                topic,
                message,
                reply,
            },
            PublishRequest::All { messages, reply } => Command::PublishAll {
                topic,
                messages,
                reply,
            },
        }
    }

    pub fn body_bytes(&self) -> usize {
        self.messages().iter().map(NewMessage::body_bytes).sum()
    }
}

impl From<Drafted> for Command {
    fn from(drafted: Drafted) -> Command {
        Command::Drafted(Box::new(drafted))
    }
}

impl Command {
    /// The topic of the space in which this node does something visible to others, if any.
    pub(crate) fn space(&self) -> Option<Topic> {
        match self {
            Command::Publish { topic, .. }
            | Command::PublishAll { topic, .. }
            | Command::Republish { topic, .. }
            | Command::Space(SpaceCommand::Change { topic, .. })
            | Command::Space(SpaceCommand::Offer { topic, .. }) => Some(*topic),
            _ => None,
        }
    }

    /// Returns `true` if it is a publish, whose wait for the storage is limited.
    pub(crate) fn is_publish(&self) -> bool {
        matches!(self, Command::Publish { .. } | Command::PublishAll { .. })
    }

    /// Operations in it, for the bounds of a batch.
    pub(crate) fn operations(&self) -> usize {
        match self {
            Command::Ingest { operations, .. } => operations.len(),
            Command::PublishAll { messages, .. } => messages.len(),
            _ => 1,
        }
    }

    /// Header and body bytes in it, for the bounds of a batch.
    pub(crate) fn bytes(&self) -> usize {
        let len = |body: &Option<Bytes>| body.as_ref().map_or(0, Bytes::len);
        match self {
            Command::Ingest { operations, .. } => operations
                .iter()
                .map(|incoming| match incoming {
                    Incoming::Valid(operation) => {
                        operation.header.as_bytes().len() + len(&operation.body)
                    }
                    Incoming::Invalid { header, .. } => header.len(),
                })
                .sum(),
            Command::Publish { message, .. } => message.body_bytes(),
            Command::PublishAll { messages, .. } => {
                messages.iter().map(NewMessage::body_bytes).sum()
            }
            Command::Ack { offsets, .. } => offsets.len() * size_of::<u64>(),
            Command::Named(command) => command.bytes(),
            _ => 0,
        }
    }

    /// Returns `true` if it cannot join a transaction.
    pub(crate) fn is_aside(&self) -> bool {
        matches!(self, Command::Restored { .. } | Command::Drafted(_))
    }

    /// Returns `true` if a power cut must take nothing of it back: what was promised, and our own
    /// operations wherever they come from, since the guard file follows them.
    pub(crate) fn must_sync(&self, own: &Authors) -> bool {
        let is_own = |topic: &Topic, incoming: &Incoming| match incoming {
            Incoming::Valid(operation) => own.is_own(topic, &operation.header.author()),
            Incoming::Invalid { .. } => false,
        };
        match self {
            Command::Publish { .. }
            | Command::PublishAll { .. }
            | Command::Republish { .. }
            | Command::PlaceConsumer { .. }
            | Command::KeepTopic { .. }
            | Command::Restate { .. }
            | Command::DropBody { .. } => true,
            Command::Ack { durability, .. } => *durability == Durability::Full,
            Command::Named(command) => command.must_sync(),
            Command::Space(command) => command.must_sync(),
            Command::Ingest {
                topic, operations, ..
            } => operations.iter().any(|one| is_own(topic, one)),
            _ => false,
        }
    }
}
