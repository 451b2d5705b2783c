//! Visits to nodes that shared no topic when they came.

use p2panda_core::VerifyingKey;
use p2panda_protocol::revisit;
use p2panda_protocol::time::Time;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Planned visits, shared by the sessions that plan them and the walk that makes them.
#[derive(Debug, Default)]
pub(crate) struct Revisits {
    planned: Mutex<revisit::Revisits>,
    changed: Notify,
}

impl Revisits {
    /// A node that dialled us shares a topic or none.
    pub(crate) fn came(&self, node: VerifyingKey, shares: bool, now: Time) {
        self.planned.lock().came(node, shares, now);
        self.changed.notify_one();
    }

    /// A node could not be reached.
    pub(crate) fn lost(&self, node: &VerifyingKey) {
        self.planned.lock().lost(node);
    }

    /// The next node whose time has come.
    pub(crate) fn poll(&self, now: Time) -> Option<VerifyingKey> {
        self.planned.lock().poll(now)
    }

    /// Returns the time at which to poll again.
    pub(crate) fn next(&self) -> Option<Time> {
        self.planned.lock().next()
    }

    /// Resolves when something was planned.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}
