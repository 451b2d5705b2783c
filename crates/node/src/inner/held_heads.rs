//! Number of heads of logs that the node holds in memory (`docs/protocol/network.md#11`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use p2panda_core::limits::HEAD_BYTES;

/// Those of all topics together. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldHeads(Arc<AtomicI64>);

/// Those of one topic, until this is dropped.
#[derive(Debug)]
pub(crate) struct OfTopic {
    all: HeldHeads,
    logs: AtomicI64,
}

impl HeldHeads {
    pub(crate) fn of_topic(&self) -> OfTopic {
        OfTopic {
            all: self.clone(),
            logs: AtomicI64::new(0),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let logs = self.0.load(Ordering::Relaxed);
        usize::try_from(logs).map_or(0, |logs| logs.saturating_mul(HEAD_BYTES))
    }
}

impl OfTopic {
    /// The present number.
    pub(crate) fn set(&self, logs: usize) {
        let logs = i64::try_from(logs).unwrap_or(i64::MAX);
        let before = self.logs.swap(logs, Ordering::Relaxed);
        self.all.0.fetch_add(logs - before, Ordering::Relaxed);
    }
}

impl Drop for OfTopic {
    fn drop(&mut self) {
        self.set(0);
    }
}
