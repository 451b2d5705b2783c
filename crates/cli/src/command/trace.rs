//! `panda trace`

use p2panda_rpc::api::{NotKeptView, TraceResult};
use serde::Serialize;

use crate::args::{NodeArgs, TraceArgs};
use crate::command::status::{not_kept, reader};
use crate::face::Facts;
use crate::failure::{Failure, Outcome};
use crate::output;

/// Prints where one operation is, as far as the home directory tells.
pub async fn run(args: &NodeArgs, trace: TraceArgs) -> Result<Outcome, Failure> {
    let found = Facts::of(args).await?.trace(trace.id).await?;
    let line = TraceLine::new(&found);
    let written = match trace.json {
        true => output::json(&line),
        false => output::line(&line.plain()),
    };
    // Whether somebody reads it to its end makes no difference.
    let _ = written.map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}

/// An operation as `panda trace --json` prints it.
#[derive(Serialize)]
struct TraceLine {
    id: String,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    state: String,
    /// Name of the secret that it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Ids of operations that it waits for, or was delivered without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerLine>,
    /// Peers that do not keep it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_kept: Vec<NotKeptView>,
    #[serde(skip)]
    says: String,
}

/// State of an operation at a consumer.
#[derive(Serialize)]
struct ConsumerLine {
    consumer: String,
    acknowledged: bool,
}

impl TraceLine {
    fn new(trace: &TraceResult) -> TraceLine {
        let consumers = trace.consumers.iter();
        let consumers = consumers.map(|(consumer, acknowledged)| ConsumerLine {
            consumer: consumer.clone(),
            acknowledged: *acknowledged,
        });
        TraceLine {
            id: trace.id.to_string(),
            topic: trace.topic.clone(),
            author: trace.author.clone(),
            seq: trace.seq,
            // Names of values have no hyphens here.
            state: trace.state.replace('-', "_"),
            secret: trace.secret.clone(),
            offset: trace.offset,
            reason: trace.reason.clone(),
            missing: trace
                .missing
                .iter()
                .map(|place| place.id.to_string())
                .collect(),
            consumers: consumers.collect(),
            not_kept: trace.not_kept.clone(),
            says: said(trace),
        }
    }

    fn plain(&self) -> String {
        let mut plain = format!("{}: {}\n  topic {}", self.id, self.says, self.topic);
        if let (Some(author), Some(seq)) = (&self.author, self.seq) {
            plain.push_str(&format!("\n  author {author}, place {seq} of the log"));
        }
        for id in &self.missing {
            plain.push_str(&format!("\n  not here: {id}"));
        }
        for ConsumerLine {
            consumer,
            acknowledged,
        } in &self.consumers
        {
            let not = if *acknowledged { "" } else { "not " };
            let reader = reader(consumer);
            plain.push_str(&format!("\n  {not}acknowledged by {reader}"));
        }
        for log in &self.not_kept {
            plain.push_str(&format!("\n  {}", not_kept(log)));
        }
        plain
    }
}

/// A state in a sentence.
fn said(trace: &TraceResult) -> String {
    let place = |place: Option<u32>| place.unwrap_or_default();
    match trace.state.as_str() {
        "refused" => {
            let why = trace.reason.as_deref().unwrap_or("by a newer version");
            format!("refused: {why}")
        }
        "early" => format!(
            "waits for place {} of its log, which has not come",
            place(trace.next)
        ),
        "waiting" => format!(
            "stored; place {} of its log waits for what comes before it",
            place(trace.front)
        ),
        "wants-body" => "stored; its body has not come".to_owned(),
        "no-message" => "stored; it has no message".to_owned(),
        "in-feed" => format!(
            "stored, and in the feed at offset {}",
            trace.offset.unwrap_or_default()
        ),
        "sealed" => format!(
            "stored; it waits for the secret {} of its space: a member that has the secret must be online",
            trace.secret.as_deref().unwrap_or_default()
        ),
        "ordered" => "stored; it is delivered after what it depends on".to_owned(),
        _ => "in a state that only a newer version knows".to_owned(),
    }
}
