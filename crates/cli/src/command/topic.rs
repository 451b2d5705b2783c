//! `panda topic`

use p2panda::{Node, Topic};
use serde::Serialize;

use crate::args::{KeepArgs, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};

/// Prints a new random topic.
pub fn new() -> Result<Outcome, Failure> {
    // Whether somebody reads it makes no difference here.
    let _ = output::line(&p2panda::random_topic()?.to_string()).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// Keeps topics, ends that, or prints those that are kept.
pub async fn keep(args: &NodeArgs, keep: KeepArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let node = crate::open::node(args, false).await?;
    let done = match keep.topic.is_empty() {
        true => print_kept(&node, keep.json).await,
        false => keep_all(&node, &keep).await,
    };
    interrupt.finish(node.shutdown()).await?;
    done.map(|()| Outcome::Done)
}

async fn keep_all(node: &Node, keep: &KeepArgs) -> Result<(), Failure> {
    for topic in &keep.topic {
        node.topic(*topic).keep(!keep.end).await?;
    }
    match keep.json {
        true => print_kept(node, true).await,
        false => Ok(()),
    }
}

async fn print_kept(node: &Node, json: bool) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let topics = node.kept_topics(after).await?;
        after = topics.last().copied();
        if after.is_none() || print(&topics, json)? == Written::Closed {
            return Ok(());
        }
    }
}

fn print(topics: &[Topic], json: bool) -> Result<Written, Failure> {
    for topic in topics.iter().map(Topic::to_string) {
        let written = match json {
            true => output::json(&KeptLine { topic }),
            false => output::line(&topic),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Written::Closed);
        }
    }
    Ok(Written::Yes)
}

/// A topic as `panda topic keep --json` prints it.
#[derive(Serialize)]
struct KeptLine {
    topic: String,
}
