//! Everything a p2panda node must remember, in one directory.
//!
//! | File | Content |
//! |---|---|
//! | `p2panda.sqlite` | operations, feed offsets, consumers, rejected operations, address book |
//! | `node.key` | the node's signing key and the epoch of the last open |
//! | `lock` | held while the directory is open; names the process that holds it |
//!
//! They and what SQLite keeps beside them have mode 0600, whatever the mode of the directory.
//!
//! There is one writer, [`Store`], whose transactions ([`Tx`]) are used by one thread, and any
//! number of [`Reader`]s with a read-only connection each. Every method of a reader is one
//! short read transaction, so that no snapshot is held while somebody waits for the network
//! or the application (`docs/protocol/sync.md#10`).
//!
//! Nothing here costs more as history grows: opening, heights of a topic, the newest entry of
//! a log and an acknowledgement are index look-ups.
#![forbid(unsafe_code)]

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod cost;
mod database;
mod directory;
mod error;

pub use database::consumer::Start;
pub use database::error::{StoreError, StoreErrorKind};
pub use database::evidence::{ForkRow, Reject, RejectReason, RejectedRow};
pub use database::garbage::Slice;
pub use database::holdings::Holdings;
pub use database::missing::{LateBody, WantedLog, WantedPage};
pub use database::page::{
    Absent, Entry, FeedEntry, FeedPage, Page, PageLimits, SkipAcked, Unreadable,
};
pub use database::reader::{Reader, Readers};
pub use database::status::{TopicStatus, Totals};
pub use database::tx::{
    ConsumerKey, Log, LogKey, NewOperation, RecentHead, StoredOperation, TopicKey, Tx,
};
pub use database::writer::{Database, Durability};
pub use directory::compact::{Compacted, compact};
pub use directory::error::{OpenError, OpenErrorKind};
pub use directory::guard::{Restored, RestoredAction};
pub use directory::holder::Holder;
pub use directory::identity::Options;
pub use directory::private::others_may_enter;
pub use directory::store::Store;
pub use error::ErrorOf;
