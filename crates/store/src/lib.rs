//! Everything that a p2panda node must remember: operations, the feed, consumers, rejected operations
//! and the address book, in SQLite.
//!
//! A [`Database`] is the data, in one file. A [`Store`] is a data directory: a database, the node's
//! signing key, and a lock.
//!
//! | File in the directory | Content |
//! |---|---|
//! | `p2panda.sqlite` | the database |
//! | `node.key` | the signing key, and a random number of the last open |
//! | `node.epoch` | the same number instead, if the caller keeps the key |
//! | `lock` | held while the directory is open; names the process that holds it |
//!
//! These files, and those that SQLite adds, have mode 0600 no matter what the mode of the
//! directory. A guard file outside of the directory ([`Options::guard_dir`]) detects that an old
//! copy of the directory was opened (`docs/protocol/streams.md#16`).
//!
//! # Example
//!
//! ```
//! use p2panda_core::log::Head;
//! use p2panda_core::{Draft, Header, NodeExtensions, Timestamp, Topic};
//! use p2panda_store::{Durability, NewOperation, Options, PageLimits, Ready, Store};
//!
//! let dir = tempfile::tempdir()?;
//! let mut store = Store::open(dir.path(), Options::default())?;
//!
//! // The first operation of our own log in a topic.
//! let topic = Topic::from_bytes([7; 32]);
//! let body = b"\x65panda";
//! let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
//! let draft = Draft { seq: 0, backlink: None, body: Some(body), extensions: Some(&extensions) };
//! let header = Header::sign(store.signing_key(), draft)?;
//! let author = header.author();
//!
//! let mut tx = store.begin(Durability::Full)?;
//! let topic_key = tx.topic(&topic)?;
//! let mut log = tx.create_log(topic_key, &author, Head::of(&header))?;
//! let operation = NewOperation {
//!     arrival: tx.next_arrival(),
//!     topic: topic_key,
//!     log: log.key,
//!     seq: 0,
//!     offset: Some(tx.next_offset()),
//!     ready: &Ready::Body,
//!     bytes_before: 0,
//!     header: header.as_bytes(),
//!     body: Some(body),
//! };
//! tx.add_operation(&operation)?;
//! log.bytes = (header.as_bytes().len() + body.len()) as u64;
//! log.ordered_seq = Some(0);
//! log.ordered_at = tx.next_order();
//! tx.save_log(&log)?;
//! tx.commit()?; // Visible to readers, and safe from a power cut.
//!
//! let reader = store.readers().open()?;
//! let page = reader.log_page(&topic, &author, None, u32::MAX, PageLimits::default())?;
//! assert_eq!(page.entries[0].body.as_deref(), Some(&body[..]));
//! store.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The store checks no rule of a log; that is the task of `p2panda-engine`.
//!
//! # Writing and reading
//!
//! There is one writer, whose transactions ([`Tx`]) are used by one thread. A transaction sees its
//! own writes; nobody else does before [`Tx::commit`], and dropping it undoes it.
//!
//! Any number of [`Reader`]s have a read-only connection each and never wait for the writer. Every
//! method of a reader is one short read transaction, so that no snapshot is held while somebody
//! waits for the network or the application (`docs/protocol/sync.md#10`).
//!
//! No cost grows with history: opening, the heights of a topic, the newest entry of a log and an
//! acknowledgement are index look-ups.
//!
//! # What is durable when
//!
//! | Committed with | Crash of the process | Power cut |
//! |---|---|---|
//! | [`Durability::Full`] | kept | kept, with everything committed before |
//! | [`Durability::Normal`], [`Durability::Step`] | kept | the last commits may be lost, newest first |
//!
//! Lost commits leave no trace: arrival numbers and feed offsets that were handed out in them are
//! never handed out again. Without [`Store::close`] the numbers go on behind a gap.
//!
//! # Errors
//!
//! An error has a kind, [`ErrorOf::kind`], and shows its cause at the end of its message. A failed
//! transaction is dropped; nothing of it is stored.
#![forbid(unsafe_code)]

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod cost;
mod database;
mod directory;
mod error;

pub use database::aged::{AgedEntry, AgedUntil};
pub use database::blocked::BlockedLog;
pub use database::branch::{GivenUp, OwnFork};
pub use database::consumer::Start;
pub use database::content::{Change, Content, Ready};
pub use database::error::{StoreError, StoreErrorKind};
pub use database::evidence::{ForkRow, Reject, RejectReason, RejectedRow};
pub use database::expire::Expired;
pub use database::fault::Fault;
pub use database::feed::{FeedEntry, FeedPage, SkipAcked};
pub use database::feed_time::Ahead;
pub use database::filter::{Filter, FilterFault};
pub use database::garbage::Slice;
pub use database::holdings::{HeadsPlace, Holdings};
pub use database::idempotency::KeyedPublish;
pub use database::journal::Journal;
pub use database::level::{NewestEntry, StoredLevel};
pub use database::log_name::NamedLog;
pub use database::missing::LateBody;
pub use database::moved::Standing;
pub use database::named::{
    Covered, DeadLetter, DeadReason, DeadRow, NamedChanges, NamedConsumer, OpenRow, PlaceRow,
    PrunedRow, StoredPlace,
};
pub use database::opening::SealedOperation;
pub use database::page::PageLimits;
pub use database::quota::Counted;
pub use database::reader::{Reader, Readers};
pub use database::sealed::{SealedRow, WrappedKey};
pub use database::sealing::Plaintexts;
pub use database::status::{TopicConsumer, TopicStatus, Totals};
pub use database::trace::{ConsumerTrace, Progress, StoredTrace};
pub use database::tx::{
    ConsumerKey, Log, LogKey, NamedKey, NewOperation, RecentHead, StoredOperation, TopicKey, Tx,
};
pub use database::views::read::{MergedPage, ViewConnection, ViewReader, ViewReaders, ViewRow};
pub use database::views::step::StepEnd;
pub use database::views::value::{Row, Value};
pub use database::views::version::{Asked, Swap};
pub use database::views::{
    OpenedView, Sql, Statement, StopReason, ViewDefinition, ViewError, ViewKey, ViewStep, ViewStop,
};
pub use database::writer::{Database, Durability};
pub use directory::compact::{Compacted, compact};
pub use directory::error::{OpenError, OpenErrorKind};
pub use directory::guard::{Restored, RestoredAction};
pub use directory::holder::Holder;
pub use directory::identity::Options;
pub use directory::inspect::inspect;
pub use directory::lock::holder;
pub use directory::private::others_may_enter;
pub use directory::secret_file::{check_secret_file, draw_secret, secret_file};
pub use directory::store::Store;
pub use directory::temporary::{mark_temporary, sweep_temporary};
pub use error::ErrorOf;
