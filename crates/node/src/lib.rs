//! p2panda: a local-first peer-to-peer stack.
//!
//! Open a node, subscribe to a topic, publish. Messages travel in signed append-only logs; nodes
//! that share a topic find each other, sync what they miss, store it in SQLite and stream it to the
//! application. No server is needed.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let topic = p2panda::random_topic()?;
//! let node = p2panda::spawn().await?;
//! let (tx, mut rx) = node.stream(topic).await?;
//! tx.publish("Hello, Panda!").await?;
//! while let Some(message) = rx.next().await {
//!     println!("{}: {}", message.author(), message.text()?);
//! }
//! # Ok(()) }
//! ```
//!
//! | To | Use |
//! |---|---|
//! | keep data and identity | [`open`] |
//! | choose addresses, peers, relays, network | [`builder`] |
//! | choose where to start, ack yourself, send typed values | [`Node::stream`] and [`StreamRequest`] |
//! | read with a named consumer: redelivery, shared work | [`Node::consumer`] |
//! | send messages to nodes that are online, without storing them | [`Node::ephemeral`] |
//! | import operations from elsewhere | [`Node::import`] |
//! | derive SQL tables from messages | [`Node::view`] |
//! | observe the node | [`Node::events`], [`Node::net`], [`Node::topic`] |
//! | trace a message | [`Node::trace`] |
//! | read metrics | [`Node::metrics`] |
//! | encrypt a topic for its members | [`Node::spaces`] |
//! | be one member with several devices | [`Node::person`] |
//! | link a second device | [`Node::devices`] |
//! | read a directory without a node | [`inspect`] |
//! | learn whether the node can store | [`Node::health`] |

#![forbid(unsafe_code)]

mod at_rest;
mod body;
mod builder;
mod consumer;
mod consumer_error;
mod consumer_handle;
mod consumer_settings;
mod delivery;
mod devices;
mod drain;
mod ended;
mod ephemeral;
mod error;
mod event;
mod following;
mod health;
mod import;
mod inner;
mod inspect;
#[cfg(feature = "keychain")]
mod keychain;
mod message;
mod metrics;
mod new_message;
mod node;
mod not_kept;
mod peers;
mod person;
mod publisher;
mod receipt;
mod recovery;
mod space_invite;
mod spaces;
mod stream;
mod subscription;
mod teams;
mod topic_handle;
mod trace;
mod view;

use std::path::Path;

pub use at_rest::at_rest_dir;
pub use body::{Body, DecodeError, EncodeError, Raw};
pub use builder::Builder;
pub use consumer::{Batch, Consumer, ConsumerRequest};
pub use consumer_error::ConsumerError;
pub use consumer_handle::{
    ConsumerHandle, ConsumerInfo, ConsumerPosition, DeadLetters, Lag, PrunedLetter,
};
pub use consumer_settings::{Acking, ConsumerFilter, ConsumerMode, ConsumerStart};
pub use delivery::{Delivered, Delivery, DeliveryToken, Pruned, Settled};
pub use devices::{DeviceJoining, DeviceOffer, Devices};
pub use drain::Unsent;
pub use ended::Ended;
pub use ephemeral::{
    EphemeralMessage, EphemeralPublisher, EphemeralRequest, EphemeralSubscription,
};
pub use error::{Error, ErrorKind};
pub use event::{Event, Events};
pub use following::Following;
pub use health::Health;
pub use import::ImportedOperation;
pub use inspect::{Inspection, StoredMessages, holder, inspect};
#[cfg(feature = "keychain")]
pub use keychain::SystemKeychain;
pub use message::Message;
pub use metrics::Metrics;
pub use new_message::NewMessage;
pub use node::Node;
pub use not_kept::{NotKept, Refusers};
pub use p2panda_core::cbor::CborError;
pub use p2panda_core::log::Fork;
pub use p2panda_core::{
    Dependency, DeviceCode, DeviceCodeError, Hash, HostAddr, HostAddrError, HybridTimestamp, LogId,
    LogName, LogNameError, NamedAddr, NetworkId, SigningKey, Ticket, TicketContact,
    TicketContactError, TicketError, TicketInviteError, Timestamp, Topic, VerifyingKey,
};
pub use p2panda_engine::{
    AtRest, ConfirmError, Corrupt, Decision, Deed, DeviceChange, GroupId, IngestReport,
    InviteError, Keychain, KeychainError, LinkEnd, Member, NewDevice, Passphrase, PassphraseError,
    Pending, PersonLook as PersonState, PersonMember, PublishError, Quotas,
    Refusal as SpaceRefusal, Retention, Role, Scheme, Settings, SpaceError, SpaceNews, SpaceState,
    StorageWait, TeamLook as TeamState, TeamMember, Why,
};
pub use p2panda_net::{
    CatchUp, ClockDifference, Contact, ContactStatus, Counters, EphemeralError, LocalNetwork, Mdns,
    PeerState, PeerStatus, Refusal, RefusalStatus, SessionEnd, SessionStatus, SpawnError, Transfer,
};
pub use p2panda_protocol::link::Quota;
pub use p2panda_protocol::sync::SessionId;
pub use p2panda_store::{
    BlockedLog, Change, Compacted, ConsumerTrace, DeadLetter, DeadReason, DeadRow, ErrorOf,
    ForkRow, GivenUp, Holder, OpenError, OpenErrorKind, OwnFork, Progress as TraceProgress,
    RejectReason, RejectedRow, RestoredAction as Restored, Row, StopReason, StoreError,
    StoreErrorKind, TopicConsumer, TopicStatus, Totals, Value, ViewError, ViewReader, ViewStop,
};
pub use peers::{Network, names_no_machine};
pub use person::Person;
pub use publisher::Publisher;
pub use receipt::Receipt;
pub use recovery::{Recovery, RecoveryError, RecoveryExport, RecoveryFile, RecoveryPlace};
pub use space_invite::{InviteRequest, NewInvite, SpaceInvite};
pub use spaces::{Space, SpaceMembers, Spaces};
pub use stream::{Ack, PublisherRequest, StartAt, StreamRequest};
pub use subscription::{CaughtUp, Subscription};
pub use teams::{Team, Teams};
pub use topic_handle::{StoredOperation, TopicHandle, TopicPeer};
pub use trace::{Trace, TracePlace, TraceState};
pub use view::{View, ViewRequest, ViewStart, ViewState, ViewStatus, ViewStep};

/// Rewrites the database of a data directory, so that its file is as small as its content and
/// contains nothing that was deleted.
///
/// A running node reclaims the space of what it deleted. This is for directories of an earlier
/// version, whose files do not shrink by themselves. The file system needs free space for the new
/// file. Blocks until it is done.
///
/// # Errors
///
/// [`Error::Open`]: there is no database, the directory is in use, or there is not enough space.
/// Nothing is changed then.
pub fn compact(dir: impl AsRef<std::path::Path>) -> Result<Compacted, Error> {
    Ok(p2panda_store::compact(dir.as_ref())?)
}

/// Starts a node in a fresh temporary directory with a new key. Directory and key are deleted at
/// shutdown. By default it announces itself by multicast DNS, as every node does.
///
/// # Errors
/// See [`Builder::spawn`].
pub async fn spawn() -> Result<Node, Error> {
    let node = builder().temporary().spawn().await?;
    let dir = node.data_dir().display().to_string();
    tracing::warn!(
        dir,
        "this node is temporary: its key and data are removed at shutdown"
    );
    Ok(node)
}

/// Opens a directory, or creates it, and starts its node. The same directory is the same identity
/// with the same data. The node announces itself by multicast DNS: everybody on the local networks
/// learns its id and addresses. [`Builder::mdns`] changes that.
///
/// # Errors
/// See [`Builder::spawn`].
pub async fn open(dir: impl AsRef<Path>) -> Result<Node, Error> {
    builder().data_dir(dir).spawn().await
}

/// All settings of a node.
pub fn builder() -> Builder {
    Builder::default()
}

/// A new topic that nobody can guess. Anyone who knows it can read and write.
///
/// # Errors
/// [`Error::Random`] when the operating system provides no random bytes.
pub fn random_topic() -> Result<Topic, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(Topic::from_bytes(bytes))
}

/// A new signing key.
///
/// # Errors
/// [`Error::Random`] when the operating system provides no random bytes.
pub fn random_key() -> Result<SigningKey, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| Error::Random)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/application.md")]
pub struct Guide;

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/consumers.md")]
pub struct ConsumersGuide;

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/observe.md")]
pub struct ObserveGuide;
