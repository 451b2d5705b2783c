//! `panda status`

use std::collections::BTreeMap;

use p2panda::Topic;
use p2panda_rpc::api::{BlockedLogView, NotKeptView, TopicPosition, TopicStatusResult};
use serde::Serialize;

use crate::args::{NodeArgs, StatusArgs};
use crate::command::screen;
use crate::face::{Face, Facts};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Written};
use crate::parse::OPERATION_MIB_MAX;
use crate::remote::Remote;

const MIB: u64 = 1024 * 1024;

/// Prints what the home directory holds of its topics; before that, on `screen`, how the node does that
/// runs.
pub async fn run(args: &NodeArgs, status: StatusArgs, screen: bool) -> Result<Outcome, Failure> {
    let is_all = status.topic.is_empty();
    let found = match is_all {
        true => Facts::listed(args).await?,
        false => Some(Facts::of(args).await?),
    };
    let Some(facts) = found else {
        return Ok(Outcome::Done);
    };
    let named = status.topic.iter().map(|named| named.topic);
    let topics = match is_all {
        true => facts.topics().await?,
        false => named.map(|topic: Topic| topic.to_string()).collect(),
    };
    let mut node = None;
    if is_all && screen {
        match (&facts, status.json) {
            (Facts::Running(remote), true) => node = Some(Told::of(remote).await?),
            (Facts::Running(remote), false) => {
                if screen::print(remote, &topics).await? == Written::Closed {
                    return Ok(Outcome::Done);
                }
            }
            (Facts::Stored(_), false) => note_stored(args),
            (Facts::Stored(_), true) => {}
        }
    }
    if topics.is_empty() && !status.json {
        output::note("no topics yet; `panda topic new` prints one, `panda join` takes a ticket");
    }
    if let Some(told) = &node
        && output::json(&told.node).map_err(Failure::Stdout)? == Written::Closed
    {
        return Ok(Outcome::Done);
    }
    for topic in topics {
        let found = facts.status(topic).await?;
        let mut line = TopicLine::new(&found);
        if let Some(told) = &node {
            line.kept = Some(told.kept.contains(&line.topic));
            line.behind = screen::behind(&told.remote, &found).await?;
        }
        let written = match status.json {
            true => output::json(&line),
            false => output::line(&line.plain()),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            break;
        }
    }
    Ok(Outcome::Done)
}

fn note_stored(args: &NodeArgs) {
    if matches!(crate::open::nothing_runs(args), Failure::NothingRuns) {
        output::note("no node runs, `panda node run` starts one; this is what is stored");
    }
}

/// State of a node that runs, and the topics that it keeps.
struct Told {
    remote: Remote,
    node: screen::NodeLine,
    kept: Vec<String>,
}

impl Told {
    async fn of(remote: &Remote) -> Result<Told, Failure> {
        Ok(Told {
            remote: remote.clone(),
            node: screen::NodeLine::of(remote).await?,
            kept: Face::Running(remote.clone()).kept().await?,
        })
    }
}

/// A topic as `panda status --json` prints it.
#[derive(Serialize)]
struct TopicLine {
    topic: String,
    logs: u64,
    operations: u64,
    bytes: u64,
    /// Operations that wait for those they were written after.
    waiting: u64,
    /// Messages of a space that wait for a secret.
    sealed: u64,
    forks: u64,
    /// Operations that were refused, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<BlockedLine>,
    /// Logs of which a peer keeps nothing new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_kept: Vec<NotKeptView>,
    /// `true` if this home publishes nothing more in the topic: a copy of it has published as
    /// well.
    own_log_closed: bool,
    /// The durable consumers that read it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerLine>,
    /// `true` if the node that runs keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<bool>,
    /// What is behind on the node that runs, and why, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    behind: Vec<String>,
}

/// Position of a consumer.
#[derive(Serialize)]
struct ConsumerLine {
    name: String,
    /// Everything up to this offset is settled, except what is open.
    position: u64,
    /// Offset of the oldest message that is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<u64>,
    /// For about how many seconds that has been there.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
}

/// A log that cannot continue.
#[derive(Serialize)]
struct BlockedLine {
    author: String,
    seq: u32,
    reason: String,
    bytes: u64,
    #[serde(skip)]
    says: String,
}

impl TopicLine {
    fn new(status: &TopicStatusResult) -> TopicLine {
        TopicLine {
            topic: status.topic.clone(),
            logs: status.logs,
            operations: status.operations,
            bytes: status.bytes,
            waiting: status.waiting,
            sealed: status.sealed,
            forks: status.forks,
            rejected: status.rejected.clone(),
            blocked: status.blocked_logs.iter().map(BlockedLine::new).collect(),
            not_kept: status.not_kept.clone(),
            own_log_closed: status.own_log_closed,
            consumers: status.positions.iter().map(ConsumerLine::new).collect(),
            kept: None,
            behind: Vec::new(),
        }
    }

    fn plain(&self) -> String {
        let mut plain = format!(
            "{}: {}, {}, {} bytes",
            self.topic,
            counted(self.logs, "log", "logs"),
            counted(self.operations, "operation", "operations"),
            self.bytes
        );
        for (count, what) in [
            (self.waiting, "waiting"),
            (self.sealed, "waiting for a secret"),
            (self.forks, "forks"),
        ] {
            if count > 0 {
                plain.push_str(&format!(", {count} {what}"));
            }
        }
        for (reason, count) in &self.rejected {
            plain.push_str(&format!("\n  refused {count}: {reason}"));
        }
        for blocked in &self.blocked {
            let BlockedLine {
                author, seq, says, ..
            } = blocked;
            plain.push_str(&format!(
                "\n  blocked: the log of {author} cannot continue at {seq}: {says}"
            ));
        }
        for log in &self.not_kept {
            let (author, from) = (log.author, log.from);
            let why = not_kept(log);
            plain.push_str(&format!("\n  {why}; the log of {author} from {from} on"));
        }
        for consumer in &self.consumers {
            let name = reader(&consumer.name);
            plain.push_str(&match consumer.oldest_seconds {
                None => format!("\n  {name}: has settled everything"),
                Some(seconds) => format!(
                    "\n  {name}: settled up to {}, the oldest message waits for {seconds} s",
                    consumer.position
                ),
            });
        }
        if self.own_log_closed {
            plain.push_str(
                "\n  closed: a copy of this home directory has published here as well; \
                choose a way on with --restored",
            );
        }
        plain
    }
}

impl ConsumerLine {
    fn new(consumer: &TopicPosition) -> ConsumerLine {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_us = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
        let seconds = |since: u64| now_us.saturating_sub(since) / 1_000_000;
        ConsumerLine {
            name: consumer.name.clone(),
            position: consumer.position,
            oldest: consumer.oldest,
            // A feed from before times were noted says nothing.
            oldest_seconds: consumer.oldest.map(|_| consumer.since.map_or(0, seconds)),
        }
    }
}

impl BlockedLine {
    fn new(log: &BlockedLogView) -> BlockedLine {
        BlockedLine {
            author: log.author.to_string(),
            seq: log.seq,
            reason: log.reason.clone(),
            bytes: log.bytes,
            says: says(log),
        }
    }
}

/// Describes why a log cannot continue, and what to do.
pub fn says(log: &BlockedLogView) -> String {
    let mib = log.bytes.div_ceil(MIB);
    match log.reason.as_str() {
        "too-large" if mib <= u64::from(OPERATION_MIB_MAX) => format!(
            "the operation takes {} bytes, more than is taken here; \
            --operation-mib {mib} raises the limit",
            log.bytes
        ),
        "too-large" => format!(
            "the operation takes {} bytes, more than any node can take; its author has to prune it",
            log.bytes
        ),
        "quota" => {
            "a quota of this node is used up; raise it ([quota] in the configuration), or its author prunes"
                .to_owned()
        }
        "unknown-extensions" => "a newer version created the operation; update panda".to_owned(),
        _ => "the operation is malformed; its author has to prune it".to_owned(),
    }
}

/// That a peer does not keep something, and why.
pub fn not_kept(log: &NotKeptView) -> String {
    let quota = match log.quota.as_str() {
        "author" => "quota of the author",
        "topic" => "quota of the topic",
        "all" => "quota of everything",
        _ => "another quota",
    };
    format!("not kept by {}: {quota}", log.node)
}

/// Returns the displayed name of a consumer. The position of the node itself has the log id in its
/// name.
pub fn reader(name: &str) -> String {
    match name.starts_with("topic ") {
        true => "`panda sub`".to_owned(),
        false => format!("consumer {}", output::visible(name)),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    let what = if count == 1 { one } else { many };
    format!("{count} {what}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_peer_that_keeps_nothing_is_named_with_its_quota() {
        let node = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
        for (quota, words) in [
            ("author", "quota of the author"),
            ("topic", "quota of the topic"),
            ("all", "quota of everything"),
            ("other", "another quota"),
        ] {
            let view = serde_json::json!({
                "node": node, "author": node, "named": false, "from": 3, "quota": quota,
            });
            let view: NotKeptView = serde_json::from_value(view).unwrap();
            assert_eq!(not_kept(&view), format!("not kept by {node}: {words}"));
        }
    }
}
