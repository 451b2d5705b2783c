//! The commands that change a named consumer (`docs/protocol/consumers.md`).
//!
//! The machine of a consumer ([`crate::consumer`]) runs where its readers are. What it wants stored
//! comes here, and joins the transaction of everything else that is queued.

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::Topic;
use p2panda_store::{Durability, NamedChanges, NamedConsumer, NamedKey, PrunedRow, TopicKey};

use crate::reply::Reply;

/// Commands about named consumers.
#[non_exhaustive]
pub enum NamedCommand {
    /// Looks it up.
    Open {
        /// The name under which it is stored.
        name: String,
        /// With what it is made if it is new; `None`: it is not made.
        create: Option<NewNamed>,
        /// Topics whose rows are asked for, and made where there are none.
        topics: Vec<Topic>,
        /// Its stored state; `None` if it does not exist and was not created.
        reply: Reply<Option<OpenedNamed>>,
    },
    /// Stores what has changed of it.
    Change {
        /// Affected consumer.
        consumer: NamedKey,
        /// Changes to store.
        changes: Arc<NamedChanges>,
        /// [`Durability::Full`] for what the application waits for.
        durability: Durability,
        /// `true` if it is there: what was deleted takes nothing.
        reply: Reply<bool>,
    },
    /// Deletes it with all that is stored of it.
    Delete {
        /// Affected consumer.
        consumer: NamedKey,
        /// Called when it is gone.
        reply: Reply<()>,
    },
    /// Counts for how long nobody has had consumers open, and deletes those whose threshold has
    /// passed (`docs/protocol/consumers.md#11`).
    Age {
        /// Those that somebody has or had open since the last time, and the microseconds since then;
        /// 0: somebody has it open.
        idle: Vec<(NamedKey, u64)>,
        /// Microseconds since the last time, for all others.
        elapsed_us: u64,
        /// Called with what became of it; `None`: it is counted, and nothing is deleted.
        reply: Option<Reply<AgedNamed>>,
    },
}

/// A named consumer that is to be made.
#[derive(Clone, Debug)]
pub struct NewNamed {
    /// Its encoded settings.
    pub settings: Bytes,
    /// Microseconds after which it is deleted if nobody has it open; `None`: never.
    pub inactive_us: Option<u64>,
}

/// Result of counting the time for which consumers were not open.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AgedNamed {
    /// Names of those that were deleted.
    pub deleted: Vec<String>,
    /// Microseconds until the next threshold passes; `None`: none of those that nobody has open has one.
    pub next_us: Option<u64>,
}

/// A named consumer that was looked up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenedNamed {
    /// Its stored state.
    pub consumer: NamedConsumer,
    /// It was made just now.
    pub is_new: bool,
    /// Unsettled entries that were pruned, and that were not reported yet.
    pub pruned: Vec<PrunedRow>,
    /// The rows of the topics that were asked for, in their order.
    pub topics: Vec<TopicKey>,
    /// Below this offset it may have been given what is not stored as given: the process before was not
    /// ended cleanly. 0: it was.
    pub torn_until: u64,
}

impl NamedCommand {
    pub(crate) fn must_sync(&self) -> bool {
        match self {
            NamedCommand::Open { .. } | NamedCommand::Age { .. } => false,
            NamedCommand::Change { durability, .. } => *durability == Durability::Full,
            NamedCommand::Delete { .. } => true,
        }
    }

    /// Bytes in it, for the bounds of a batch.
    pub(crate) fn bytes(&self) -> usize {
        const ROW_BYTES: usize = 64;
        match self {
            NamedCommand::Change { changes, .. } => {
                let rows = changes.open.len() + changes.places.len() + changes.dead.len();
                rows * ROW_BYTES
            }
            NamedCommand::Open { topics, .. } => topics.len() * ROW_BYTES,
            NamedCommand::Age { idle, .. } => idle.len() * ROW_BYTES,
            NamedCommand::Delete { .. } => 0,
        }
    }
}
