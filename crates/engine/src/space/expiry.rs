//! Schedule and progress of the searches for expired plaintext
//! (`docs/protocol/spaces-message.md#7`).

use std::collections::BTreeMap;

use p2panda_core::Topic;
use p2panda_core::limits::SPACE_PLAINTEXT_KEPT;

use crate::now::micros;

/// Schedule for all spaces of the message scheme.
pub(crate) struct Expiry {
    /// Time for which plaintext is kept.
    pub kept_us: u64,
    /// Time of the next search, in elapsed microseconds.
    pub due_us: Option<u64>,
    /// Offset by topic up to which nothing is left.
    pub until: BTreeMap<Topic, u64>,
}

impl Default for Expiry {
    fn default() -> Expiry {
        Expiry {
            kept_us: micros(SPACE_PLAINTEXT_KEPT),
            due_us: None,
            until: BTreeMap::new(),
        }
    }
}

impl Expiry {
    /// Starts the search over.
    pub fn begin(&mut self, due_us: Option<u64>) {
        self.due_us = due_us;
        self.until.clear();
    }
}
