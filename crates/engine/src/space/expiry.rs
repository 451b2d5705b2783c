//! When what is kept for a time is looked for, and how far that came
//! (`docs/protocol/spaces-message.md#7`).

use std::collections::BTreeMap;

use p2panda_core::Topic;
use p2panda_core::limits::SPACE_PLAINTEXT_KEPT;

use crate::now::micros;

/// Of all spaces of the message scheme.
pub(crate) struct Expiry {
    /// How long plaintext is kept.
    pub kept_us: u64,
    /// When it is looked for next, in elapsed microseconds.
    pub due_us: Option<u64>,
    /// By topic, up to which offset nothing is left.
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
    /// Everything is looked at from the beginning.
    pub fn begin(&mut self, due_us: Option<u64>) {
        self.due_us = due_us;
        self.until.clear();
    }
}
