//! `panda trace`

use p2panda::{Dependency, Hash, Trace, TraceProgress, TraceState};
use serde::Serialize;

use crate::args::{NodeArgs, TraceArgs};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Prints where one operation is, as far as the home directory tells.
pub fn run(args: &NodeArgs, trace: TraceArgs) -> Result<Outcome, Failure> {
    let inspection = crate::open::inspect(args)?;
    let found = inspection.trace(trace.id)?;
    let found = found.ok_or(Failure::UnknownOperation { id: trace.id })?;
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
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Ids of operations that it waits for, or was delivered without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consumers: Vec<ConsumerLine>,
    #[serde(skip)]
    says: String,
}

/// What a consumer made of it.
#[derive(Serialize)]
struct ConsumerLine {
    consumer: String,
    acknowledged: bool,
}

impl TraceLine {
    fn new(trace: &Trace) -> TraceLine {
        let (state, says) = said(&trace.state);
        let (mut offset, mut reason, mut missing) = (None, None, Vec::new());
        match &trace.state {
            TraceState::Stored(TraceProgress::InFeed {
                offset: at,
                missing: without,
            }) => (offset, missing) = (Some(*at), ids(without)),
            TraceState::Stored(TraceProgress::Waiting {
                missing: waits_for, ..
            }) => missing = ids(waits_for),
            TraceState::Refused {
                reason: Some(why), ..
            } => reason = Some(format!("{why:?}")),
            _ => {}
        }
        let consumers = trace.consumers.iter().map(|one| ConsumerLine {
            consumer: one.consumer.clone(),
            acknowledged: one.acknowledged,
        });
        TraceLine {
            id: trace.id.to_string(),
            topic: trace.topic.to_string(),
            author: trace.place.map(|place| place.author.to_string()),
            seq: trace.place.map(|place| place.seq),
            state,
            offset,
            reason,
            missing,
            consumers: consumers.collect(),
            says,
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
            plain.push_str(&format!("\n  {not}acknowledged by {consumer}"));
        }
        plain
    }
}

fn ids(dependencies: &[Dependency]) -> Vec<String> {
    let ids = dependencies.iter().map(|one: &Dependency| one.id);
    ids.map(|id: Hash| id.to_string()).collect()
}

/// A state in a word and in a sentence.
fn said(state: &TraceState) -> (&'static str, String) {
    let same = |word, says: &str| (word, says.to_owned());
    match state {
        TraceState::Refused { reason, .. } => {
            let why = reason.map_or("by a newer version".to_owned(), |why| format!("{why:?}"));
            ("refused", format!("refused: {why}"))
        }
        TraceState::Early { next } => {
            let says = format!("waits for place {next} of its log, which has not come");
            ("early", says)
        }
        TraceState::Stored(progress) => how_far(progress),
        _ => same("unknown", "in a state that only a newer version knows"),
    }
}

/// The same of what is stored.
fn how_far(progress: &TraceProgress) -> (&'static str, String) {
    let same = |word, says: &str| (word, says.to_owned());
    match progress {
        TraceProgress::Waiting { front, .. } => {
            let says = format!("stored; place {front} of its log waits for what comes before it");
            ("waiting", says)
        }
        TraceProgress::WantsBody { .. } => same("wants_body", "stored; its body has not come"),
        TraceProgress::NoMessage => same("no_message", "stored; it has no message"),
        TraceProgress::InFeed { offset, .. } => (
            "in_feed",
            format!("stored, and in the feed at offset {offset}"),
        ),
        _ => same(
            "ordered",
            "stored; it is delivered after what it depends on",
        ),
    }
}
