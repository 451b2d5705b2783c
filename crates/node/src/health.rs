//! Ability of a node to store.

use std::sync::Arc;
use std::time::SystemTime;

use p2panda_engine::{Corrupt, EngineEvent, StorageWait};
use tokio::sync::watch;

use crate::Error;

/// Ability of a node to store (`docs/protocol/streams.md#18`). Read with [`crate::Node::health`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Health {
    /// The node can store.
    Ok,
    /// Nothing can be stored at the moment. The node continues by itself when the cause is gone;
    /// nothing is lost, and publishing fails after 5 s.
    Waiting {
        /// Reason for the wait.
        reason: StorageWait,
        /// Time since which it waits.
        since: SystemTime,
    },
    /// The node has stopped for good. What it had confirmed is stored.
    Stopped {
        /// Error that stopped it.
        error: Arc<Error>,
    },
}

/// The health of a node, which the engine's thread changes.
#[derive(Clone, Debug)]
pub(crate) struct HealthSender(Arc<watch::Sender<Health>>);

impl HealthSender {
    pub(crate) fn new() -> (Self, watch::Receiver<Health>) {
        let (sender, receiver) = watch::channel(Health::Ok);
        (Self(Arc::new(sender)), receiver)
    }

    /// Applies a report of the engine.
    pub(crate) fn heard(&self, event: &EngineEvent) {
        match event {
            EngineEvent::StorageWaits { reason } => {
                let reason = *reason;
                self.0.send_modify(|health| {
                    let since = match health {
                        Health::Waiting { since, .. } => *since,
                        _ => SystemTime::now(),
                    };
                    *health = Health::Waiting { reason, since };
                });
            }
            EngineEvent::StorageGoesOn => drop(self.0.send_replace(Health::Ok)),
            _ => {}
        }
    }

    pub(crate) fn stopped(&self, error: Arc<Corrupt>) {
        let error = Arc::new(Error::Corrupt(error));
        self.0.send_replace(Health::Stopped { error });
    }
}

/// Waits until a node has stopped by itself. `None` if it cannot any more.
pub(crate) async fn stopped(mut health: watch::Receiver<Health>) -> Option<Arc<Error>> {
    let is_stopped = |health: &Health| matches!(health, Health::Stopped { .. });
    let health = health.wait_for(is_stopped).await.ok()?;
    match &*health {
        Health::Stopped { error } => Some(Arc::clone(error)),
        _ => None,
    }
}
