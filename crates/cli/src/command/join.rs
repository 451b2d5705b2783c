//! `panda join`

use crate::args::{JoinArgs, NodeArgs, SyncArgs};
use crate::command::sync::sync_all;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;

/// Keeps a topic, then sends and fetches what is missing in it.
pub async fn run(args: &NodeArgs, join: JoinArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let topic = join.topic.topic;
    let sync = SyncArgs {
        topics: vec![join.topic],
        deadline: join.deadline,
        json: join.json,
    };
    let work = async {
        node.topic(topic).keep(true).await?;
        sync_all(&node, &sync, &mut interrupt).await
    };
    let joined = until_stopped(&node, work).await;
    interrupt.finish(node.shutdown()).await?;
    joined
}
