//! Waits for messages and operations.

use std::time::Duration;

use p2panda::{Node, Topic};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ServeError;

/// Polling interval of a wait for operations, besides whenever a message came: operations without
/// a body bring no message. Also that of a wait for members of a space.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Goal of a wait, and its time limit.
pub struct Goal {
    pub received: Option<u64>,
    pub operations: Option<u64>,
    pub timeout_ms: u64,
}

/// Waits until this many messages were `received` and this many operations are stored.
pub async fn until(
    node: Node,
    topic: Topic,
    received: watch::Receiver<u64>,
    goal: Goal,
) -> Result<(), ServeError> {
    let reached = async {
        let mut seen = received.clone();
        if let Some(goal) = goal.received {
            let all = seen.wait_for(|seen| *seen >= goal).await;
            drop(all.map_err(|_| ServeError::NotSubscribed)?);
        }
        match goal.operations {
            Some(goal) => stored(&node, topic, goal, received).await,
            None => Ok(()),
        }
    };
    let reached = timeout(Duration::from_millis(goal.timeout_ms), reached).await;
    reached.map_err(|_| ServeError::Timeout)?
}

/// Waits until this many operations of a topic are stored.
async fn stored(
    node: &Node,
    topic: Topic,
    operations: u64,
    mut received: watch::Receiver<u64>,
) -> Result<(), ServeError> {
    while node.topic(topic).status().await?.totals.operations < operations {
        let changed = timeout(LOOK_AGAIN, received.changed()).await;
        if let Ok(Err(_)) = changed {
            return Err(ServeError::NotSubscribed);
        }
    }
    Ok(())
}
