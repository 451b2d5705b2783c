//! `panda status`

use std::collections::BTreeMap;

use p2panda::{BlockedLog, Inspection, RejectReason, Topic, TopicConsumer, TopicStatus};
use serde::Serialize;

use crate::args::{NodeArgs, StatusArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Written};
use crate::parse::OPERATION_MIB_MAX;

const MIB: u64 = 1024 * 1024;

/// Prints what the home directory holds of its topics.
pub fn run(args: &NodeArgs, status: StatusArgs) -> Result<Outcome, Failure> {
    let inspection = crate::open::inspect(args)?;
    if !status.topic.is_empty() {
        // Whether somebody reads it to its end makes no difference.
        let topics: Vec<Topic> = status.topic.iter().map(|named| named.topic).collect();
        let _ = print(&inspection, &topics, status.json)?;
        return Ok(Outcome::Done);
    }
    let mut after = None;
    loop {
        let topics = inspection.topics(after)?;
        after = topics.last().copied();
        if after.is_none() || print(&inspection, &topics, status.json)? == Written::Closed {
            return Ok(Outcome::Done);
        }
    }
}

fn print(inspection: &Inspection, topics: &[Topic], json: bool) -> Result<Written, Failure> {
    for topic in topics {
        let line = TopicLine::new(*topic, &inspection.status(*topic)?);
        let written = match json {
            true => output::json(&line),
            false => output::line(&line.plain()),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Written::Closed);
        }
    }
    Ok(Written::Yes)
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
    forks: u64,
    /// Operations that were refused, by the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rejected: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<BlockedLine>,
    /// Whether this home publishes nothing more in the topic: a copy of it has published as well.
    own_log_closed: bool,
    /// The durable consumers that read it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerLine>,
}

/// How far a consumer has come.
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

/// A log that cannot go on.
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
    fn new(topic: Topic, status: &TopicStatus) -> TopicLine {
        let rejected = status.rejected.iter();
        TopicLine {
            topic: topic.to_string(),
            logs: status.logs,
            operations: status.totals.operations,
            bytes: status.totals.bytes,
            waiting: status.waiting,
            forks: status.forks,
            rejected: rejected
                .map(|(reason, count)| (format!("{reason:?}"), *count))
                .collect(),
            blocked: status.blocked.iter().map(BlockedLine::new).collect(),
            own_log_closed: status.own_log_closed,
            consumers: status.consumers.iter().map(ConsumerLine::new).collect(),
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
        for (count, what) in [(self.waiting, "waiting"), (self.forks, "forks")] {
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
                "\n  blocked: the log of {author} cannot go on at {seq}: {says}"
            ));
        }
        for consumer in &self.consumers {
            let name = output::visible(&consumer.name);
            plain.push_str(&match consumer.oldest_seconds {
                None => format!("\n  consumer {name}: has settled everything"),
                Some(seconds) => format!(
                    "\n  consumer {name}: settled up to {}, the oldest message waits for {seconds} s",
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
    fn new(consumer: &TopicConsumer) -> ConsumerLine {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now_us = u64::try_from(now.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
        let seconds =
            |since: p2panda::Timestamp| now_us.saturating_sub(since.as_micros()) / 1_000_000;
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
    fn new(log: &BlockedLog) -> BlockedLine {
        BlockedLine {
            author: log.author.to_string(),
            seq: log.seq,
            reason: format!("{:?}", log.reason),
            bytes: log.bytes,
            says: says(log),
        }
    }
}

/// Why a log cannot go on, and what to do.
pub fn says(log: &BlockedLog) -> String {
    let mib = log.bytes.div_ceil(MIB);
    match log.reason {
        RejectReason::TooLarge if mib <= u64::from(OPERATION_MIB_MAX) => format!(
            "the operation takes {} bytes, more than is taken here; \
            --operation-mib {mib} raises the limit",
            log.bytes
        ),
        RejectReason::TooLarge => format!(
            "the operation takes {} bytes, more than any node can take; its author has to prune it",
            log.bytes
        ),
        RejectReason::UnknownExtensions => {
            "a newer version made the operation; update panda".to_owned()
        }
        _ => "the operation is malformed; its author has to prune it".to_owned(),
    }
}

fn counted(count: u64, one: &str, many: &str) -> String {
    let what = if count == 1 { one } else { many };
    format!("{count} {what}")
}
