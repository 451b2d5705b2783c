//! How much of others may be kept, and what a batch changes about it (`docs/protocol/streams.md#21`).

use std::collections::HashMap;

use p2panda_core::VerifyingKey;
use p2panda_store::{Counted, TopicKey};

/// Header and payload bytes that are kept at most. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Of everything.
    pub total: Option<u64>,
    /// Of a topic.
    pub topic: Option<u64>,
    /// Of an author, in all its logs of all topics.
    pub author: Option<u64>,
}

impl Quotas {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        *self != Quotas::default()
    }
}

/// The logs of a batch are saved at its end: until then the database says what was kept before it.
#[derive(Default)]
pub(crate) struct Kept {
    /// By topic and author, what was appended less what that deletes. Empty without quotas.
    pub changes: Vec<(TopicKey, VerifyingKey, i64)>,
    /// What is kept by now, of whom it was asked for.
    pub now: HashMap<Counted, u64>,
}
