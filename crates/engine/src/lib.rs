//! Processing of operations, from the arrival of their bytes to their delivery to the application.
//!
//! Everything that changes a node's data is a [`Command`]. The engine takes what is queued,
//! runs it through the stages of one pipeline in one transaction, commits, and only then
//! answers: nothing is acknowledged, forwarded or shown before it is durable. Delivery is a
//! read: an operation that passed all stages has an offset in the feed, and consumers read the
//! feed with a [`Reader`](p2panda_store::Reader).
//!
//! The engine blocks and reads no clock; [`thread::spawn`] gives it a thread and a queue.
//!
//! ```
//! use p2panda_core::{Timestamp, Topic};
//! use p2panda_engine::{Command, Engine, NewMessage, Now, Options};
//!
//! let dir = std::env::temp_dir().join(format!("engine-example-{}", std::process::id()));
//! let now = Now { wall: Timestamp::from_micros(1), elapsed_us: 0 };
//! let mut engine = Engine::open(&dir, Options::default(), now)?;
//! let topic = Topic::from_bytes([7; 32]);
//! let publish = Command::Publish {
//!     topic,
//!     message: NewMessage::new("\x65panda"),
//!     reply: Box::new(|published| assert_eq!(published.unwrap().seq, 0)),
//! };
//! engine.process(vec![publish], now)?;
//!
//! let page = engine.readers().open()?.feed_page(&topic, 0, Default::default(), None)?;
//! let shown = page.entries[0].content.bytes();
//! assert_eq!(shown.map(|bytes| &bytes[..]), Some(&b"\x65panda"[..]));
//! engine.close()?;
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod acks;
mod act;
mod again;
mod aging;
mod allowance;
mod answer;
mod at_rest;
mod authors;
mod batch;
mod blocked;
mod blocking;
mod branch;
mod catch_up;
mod command;
pub mod consumer;
mod deliver;
mod desk;
mod drafted;
mod drafting;
mod drafts;
mod early;
mod engine;
mod expiry;
mod feed_times;
mod forge;
mod idle;
mod inbox;
mod ingest;
mod intake;
mod join;
mod kept;
mod lanes;
mod logs;
mod missing;
mod named;
mod named_command;
mod newest;
mod now;
mod order;
mod own;
mod own_keys;
mod permit;
mod person;
mod pipeline;
mod prune;
mod publish;
mod quota;
mod random_source;
mod recovery;
mod recovery_keys;
mod rejudge;
mod reopen;
mod reply;
mod report;
mod restate;
mod retention;
mod room;
mod rotation;
mod schedule;
mod seal;
mod sealing;
mod secret_signs;
mod sessions;
mod shares;
mod space;
mod space_command;
mod space_news;
mod stall;
mod state;
mod team;
mod tell_devices;
pub mod thread;
mod topics;
mod turn;
mod verify;
mod views;
mod waiting;
mod workshop;
mod write;

pub use acks::GatheredAcks;
pub use aging::Retention;
pub use answer::{
    Committed, EarlyTrace, EngineEvent, Outcome, PublishError, Published, RecentOperation,
    Republished, RestoredError, StorageWait, TopicChange,
};
pub use at_rest::{AtRest, Keychain, KeychainError, source_name};
pub use authors::Authors;
pub use command::{Command, Genuine, Incoming, NewMessage, Restated, Source};
pub use drafted::{DraftWork, Drafted};
pub use engine::{Corrupt, Engine, Options};
pub use kept::{QuotaOf, Quotas};
pub use lanes::Lanes;
pub use named_command::{AgedNamed, NamedCommand, NewNamed, OpenedNamed};
pub use now::Now;
pub use p2panda_encryption::passphrase::{
    Cost as PassphraseCost, FileError, Passphrase, PassphraseError, lock, unlock,
};
pub use p2panda_groups::{GroupId, Member, Status};
pub use p2panda_spaces::{
    CardError, ConfirmError, Decision, Deed, DeviceChange, DeviceLink, Invite, InviteError,
    InviteState, LinkEnd, LinkOutput, LocalError, NewDevice, Offer, Pending, PersonCard,
    PersonMember, RecoveryContent, RecoveryError, Refusal, Role, Scheme, Settings, SpaceId,
    TeamMember, Why,
};
pub use p2panda_store::{
    Durability, Fault, OpenError, OpenErrorKind, RejectReason, Restored, RestoredAction, Start,
    StoreError, StoreErrorKind,
};
pub use random_source::RandomSource;
pub use reply::Reply;
pub use report::{IngestReport, PartAnswers};
pub use room::{Room, parts};
pub use space::content_log;
pub use space_command::{
    PersonCommand, PersonLook, RecoveryCommand, SpaceChange, SpaceCommand, SpaceError, SpaceLook,
    SpaceState, TeamCommand, TeamLook,
};
pub use space_news::SpaceNews;
pub use verify::{verify, verify_copy};
pub use views::ViewCommand;
