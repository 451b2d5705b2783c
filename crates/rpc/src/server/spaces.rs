//! Encrypted spaces, as far as tests of several implementations need them.

use std::time::Duration;

use p2panda::{Node, Role, Settings, Space, Topic, VerifyingKey};
use tokio::time::{sleep, timeout};

use super::wait::LOOK_AGAIN;
use super::{DONE, ServeError};
use crate::wire::Reply;

/// Creates a space whose newcomers read what was written before.
pub async fn create(node: &Node, topic: Topic) -> Result<Reply, ServeError> {
    let settings = Settings::with_history();
    node.spaces().create_in(topic, "", settings).await?;
    Ok(DONE)
}

/// Follows the space of a topic.
pub async fn follow(node: &Node, topic: Topic) -> Result<Reply, ServeError> {
    node.spaces().follow(topic).await?;
    Ok(DONE)
}

/// Makes a node an editor.
pub async fn add(node: &Node, topic: Topic, member: VerifyingKey) -> Result<Reply, ServeError> {
    let space = of(node, topic).await?;
    space.add(member, Role::Editor).await?;
    Ok(DONE)
}

/// Waits until a space has this many members, all of which have what they need.
pub async fn wait(
    node: &Node,
    topic: Topic,
    members: u64,
    timeout_ms: u64,
) -> Result<Reply, ServeError> {
    let space = of(node, topic).await?;
    let reached = timeout(Duration::from_millis(timeout_ms), healed(&space, members)).await;
    reached.map_err(|_| ServeError::Timeout)??;
    Ok(DONE)
}

/// Returns once the members have what they need, which no event reports.
async fn healed(space: &Space, members: u64) -> Result<(), ServeError> {
    loop {
        let look = space.look().await?;
        if look.is_some_and(|look| look.is_healed && look.members.len() as u64 == members) {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn of(node: &Node, topic: Topic) -> Result<Space, ServeError> {
    let space = node.spaces().get(topic).await?;
    space.ok_or(ServeError::NoSpace)
}
