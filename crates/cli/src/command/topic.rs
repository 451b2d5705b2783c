//! `panda topic`

use p2panda::{Node, Topic};
use serde::Serialize;

use crate::args::{KeepArgs, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written};

/// Prints a new random topic.
pub fn new(json: bool) -> Result<Outcome, Failure> {
    // Whether somebody reads it makes no difference here.
    let _ = print(&[p2panda::random_topic()?], json)?;
    Ok(Outcome::Done)
}

/// Prints the topics of the home directory.
pub fn list(args: &NodeArgs, json: bool) -> Result<Outcome, Failure> {
    let inspection = crate::open::inspect(args)?;
    let mut after = None;
    loop {
        let topics = inspection.topics(after)?;
        after = topics.last().copied();
        if after.is_none() || print(&topics, json)? == Written::Closed {
            return Ok(Outcome::Done);
        }
    }
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
        node.topic(topic.topic).keep(!keep.end).await?;
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
            true => output::json(&IdLine { topic }),
            false => output::line(&topic),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Written::Closed);
        }
    }
    Ok(Written::Yes)
}

/// A topic as `panda topic new`, `ls` and `keep` print it with `--json`.
#[derive(Serialize)]
struct IdLine {
    topic: String,
}
