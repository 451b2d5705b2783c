//! `panda join`

use crate::args::{JoinArgs, NodeArgs, SyncArgs};
use crate::command::sync::{running, sync_all};
use crate::face::Face;
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::open::until_stopped;

/// Keeps a topic, then sends and fetches what is missing in it.
pub async fn run(args: &NodeArgs, join: JoinArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let topic = join.topic.topic;
    let sync = SyncArgs {
        topics: vec![join.topic],
        deadline: join.deadline,
        json: join.json,
    };
    let node = match &face {
        Face::Own(node) => node,
        Face::Running(remote) => {
            let work = async {
                face.keep(topic, true).await?;
                running::sync_all(remote, &sync, &mut interrupt).await
            };
            return remote.until_gone(work).await;
        }
    };
    let work = async {
        face.keep(topic, true).await?;
        sync_all(node, &sync, &mut interrupt).await
    };
    let joined = until_stopped(node, work).await;
    interrupt.finish(face.close()).await?;
    joined
}
