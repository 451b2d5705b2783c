//! The lines of a connection: numbered requests one way, their answers and events the other.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Event, Reply, Request};

/// A request with the number that its answer repeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
// Part of the message about something that is not an object.
#[serde(expecting = "struct Request")]
pub struct Call {
    /// Comes back in the answer.
    pub id: u64,
    /// Request to process.
    #[serde(flatten)]
    pub request: Request,
}

/// Output line: `{"id":1,"ok":{…}}`, `{"id":1,"error":{…}}`, or an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Output {
    /// Something happened.
    Event(Event),
    /// A request was carried out, or failed.
    Answer(Answer),
}

/// Result of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the request, `None` if what came was not a request.
    pub id: Option<u64>,
    /// Reply or failure.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// The reply to a request, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was carried out.
    Ok(Reply),
    /// It was not.
    Error(Failure),
}

/// Reason why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For programs; stable.
    pub kind: FailureKind,
    /// For people.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

impl std::error::Error for Failure {}

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureKind {
    /// The request is wrong or comes at the wrong time.
    Request,
    /// It took longer than the request allowed.
    Timeout,
    /// Another process has the directory open.
    Locked,
    /// The directory is an older copy of what this node was.
    Restored,
    /// The node refused the input.
    Invalid,
    /// A bound was reached.
    Limit,
    /// Stored state is damaged.
    Corrupt,
    /// The node is not open, or the topic is not subscribed to.
    Closed,
    /// The operating system refused.
    Io,
    /// The network could not be used.
    Network,
    /// One that this version has no name for.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::wire::Done;

    #[test]
    fn answers_are_flat_and_come_back() {
        let failure = |kind| Failure {
            kind,
            message: "why".to_owned(),
        };
        for (outcome, text) in [
            (Outcome::Ok(Reply::Done(Done {})), r#""ok":{}"#),
            (
                Outcome::Error(failure(FailureKind::Io)),
                r#""error":{"kind":"Io","message":"why"}"#,
            ),
        ] {
            for (id, number) in [(Some(u64::MAX), "18446744073709551615"), (None, "null")] {
                let outcome = outcome.clone();
                let output = Output::Answer(Answer { id, outcome });
                let line = serde_json::to_string(&output).unwrap();
                assert_eq!(line, format!(r#"{{"id":{number},{text}}}"#));
                assert_eq!(serde_json::from_str::<Output>(&line).unwrap(), output);
            }
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_can_be_read() {
        let failure = r#"{"kind":"Melted","message":"too hot"}"#;
        let failure: Failure = serde_json::from_str(failure).unwrap();
        assert_eq!(failure.kind, FailureKind::Other);
        assert_eq!(failure.to_string(), "too hot");
    }

    #[test]
    fn lines_that_are_not_output_are_refused() {
        for line in [
            "",
            "{}",
            "[]",
            r#"{"id":1}"#,
            r#"{"id":"one","ok":{}}"#,
            r#"{"id":1,"ok":{"nothing":"known"}}"#,
            r#"{"id":1,"error":{"kind":"Io"}}"#,
            r#"{"event":"rain"}"#,
        ] {
            assert!(serde_json::from_str::<Output>(line).is_err(), "{line}");
        }
    }
}
