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

mod compact;
mod consumer;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod cost;
mod epoch;
mod error;
mod evidence;
mod garbage;
mod guard;
mod identity;
mod key;
mod lock;
mod meta;
mod missing;
mod page;
mod private;
mod reader;
mod schema;
mod space;
mod sql;
mod status;
mod store;
mod tx;

pub use compact::{Compacted, compact};
pub use consumer::Start;
pub use epoch::Epoch;
pub use error::{OpenError, StoreError};
pub use evidence::{ForkRow, Reject, RejectReason, RejectedRow};
pub use garbage::Slice;
pub use guard::{Restored, RestoredAction};
pub use lock::Holder;
pub use missing::{Absent, LateBody, WantedLog, WantedPage};
pub use page::{Entry, FeedEntry, FeedPage, Page, PageLimits, SkipAcked, Unreadable};
pub use private::others_may_enter;
pub use reader::{Holdings, Reader, Readers};
pub use status::{TopicStatus, Totals};
pub use store::{Durability, Options, Store};
pub use tx::{ConsumerKey, Log, LogKey, NewOperation, RecentHead, StoredOperation, TopicKey, Tx};
