//! `panda topic`

use serde::Serialize;

use crate::args::{KeepArgs, NodeArgs};
use crate::face::{Face, Facts};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Interrupt;
use crate::output::{self, Written, note};

/// Prints a new random topic.
pub fn new(json: bool) -> Result<Outcome, Failure> {
    print(vec![p2panda::random_topic()?.to_string()], json)?;
    Ok(Outcome::Done)
}

/// Prints the topics of the home directory.
pub async fn list(args: &NodeArgs, json: bool) -> Result<Outcome, Failure> {
    if let Some(facts) = Facts::listed(args).await? {
        print(facts.topics().await?, json)?;
    }
    Ok(Outcome::Done)
}

/// Keeps topics, ends that, or prints those that are kept.
pub async fn keep(args: &NodeArgs, keep: KeepArgs) -> Result<Outcome, Failure> {
    let mut interrupt = Interrupt::new()?;
    let face = Face::open(args, false).await?;
    let done = keep_all(&face, &keep).await;
    interrupt.finish(face.close()).await?;
    done.map(|()| Outcome::Done)
}

async fn keep_all(face: &Face, keep: &KeepArgs) -> Result<(), Failure> {
    for topic in &keep.topic {
        face.keep(topic.topic, !keep.end).await?;
    }
    if keep.end {
        let kept = face.kept().await?;
        let ended = keep.topic.iter().map(|named| named.topic.to_string());
        for topic in ended.filter(|topic| kept.contains(topic)) {
            note(&format!(
                "{topic} is still kept by the configuration, topics.keep"
            ));
        }
    }
    match keep.json || keep.topic.is_empty() {
        true => print(face.kept().await?, keep.json),
        false => Ok(()),
    }
}

fn print(topics: Vec<String>, json: bool) -> Result<(), Failure> {
    for topic in topics {
        let written = match json {
            true => output::json(&IdLine { topic }),
            false => output::line(&topic),
        };
        // Whether somebody reads it to its end makes no difference.
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(())
}

/// A topic as `panda topic new`, `ls` and `keep` print it with `--json`.
#[derive(Serialize)]
struct IdLine {
    topic: String,
}
