//! Errors of the RPC (`docs/protocol/rpc.md#6`).

use p2panda_core::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident $text:literal $number:literal;)+) => {
        /// Kind of an error; its text is stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $text)] $name,)+
            /// A code of a later version.
            #[serde(other)]
            Other,
        }

        impl Code {
            /// All codes of this version.
            pub const ALL: &[Code] = &[$(Code::$name,)+];

            /// Its text.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $text,)+
                    Code::Other => "other",
                }
            }

            /// Its number in JSON-RPC.
            pub fn number(self) -> i32 {
                match self {
                    $(Code::$name => $number,)+
                    Code::Other => -32099,
                }
            }
        }
    };
}

codes! {
    /// Not JSON, or nested deeper or larger than allowed.
    Parse "parse-error" -32700;
    /// JSON, but not a request.
    InvalidRequest "invalid-request" -32600;
    /// No method has this name.
    UnknownMethod "unknown-method" -32601;
    /// The parameters do not fit the method.
    InvalidParams "invalid-params" -32602;
    /// Internal error.
    Internal "internal" -32603;
    /// The credential is missing or wrong.
    Unauthenticated "unauthenticated" -32000;
    /// The credential lacks the scope, or has it for other topics only.
    Forbidden "forbidden" -32001;
    /// A quota of the client is used up.
    Quota "quota" -32002;
    /// More than one request may contain.
    TooLarge "too-large" -32003;
    /// No topic has this alias.
    UnknownTopic "unknown-topic" -32004;
    /// There is no such consumer.
    UnknownConsumer "unknown-consumer" -32005;
    /// The consumer belongs to another client.
    ForeignConsumer "foreign-consumer" -32006;
    /// Another reader has the consumer open.
    ConsumerInUse "consumer-in-use" -32007;
    /// Another reader has taken over.
    TakenOver "taken-over" -32008;
    /// The delivery is not open: it was settled, or delivered again since.
    StaleDelivery "stale-delivery" -32009;
    /// A setting cannot be changed now.
    Conflict "conflict" -32010;
    /// There is no such subscription on this connection.
    UnknownSubscription "unknown-subscription" -32011;
    /// The log continues elsewhere: `expected` says where.
    LogMoved "log-moved" -32012;
    /// The operation breaks a rule: `reason` says which.
    RefusedOperation "refused-operation" -32013;
    /// The directory is an older copy, or a copy of it is in use.
    Restored "restored" -32014;
    /// Another message was published with this request id.
    KeyTaken "key-taken" -32015;
    /// The disk cannot store at the moment.
    Storage "storage" -32016;
    /// The topic was left, or the node is shutting down.
    Closed "closed" -32017;
    /// The time limit has passed.
    Timeout "timeout" -32018;
    /// Works on a WebSocket and on the Unix socket only.
    NeedsConnection "needs-connection" -32019;
    /// Client and server speak different versions.
    Version "version" -32020;
    /// A bound of the node was reached.
    Limit "limit" -32021;
    /// Nothing has that name, number or id.
    NotFound "not-found" -32022;
    /// The input is invalid.
    Invalid "invalid" -32023;
    /// Content after this offset was deleted by age.
    Expired "expired" -32024;
}

impl Code {
    /// Returns `true` if the same call may succeed later.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Code::Quota | Code::Storage | Code::Timeout | Code::LogMoved | Code::ConsumerInUse
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Next position in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// Sequence number of the next operation.
    pub seq: u32,
    /// Id of the operation before it; none at 0.
    #[schemars(with = "Option<String>")]
    pub backlink: Option<Hash>,
}

/// Data of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    /// Stable code of the error.
    pub code: Code,
    /// Advice for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// With `log-moved`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// With `refused-operation`: the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// With `expired`: the highest offset that was deleted; reading continues after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// An error of JSON-RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// Number of JSON-RPC.
    pub code: i32,
    /// For people.
    pub message: String,
    /// For programs.
    pub data: Box<ErrorData>,
}

impl RpcError {
    /// One without a hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        RpcError {
            code: code.number(),
            message: message.into(),
            data: Box::new(ErrorData {
                code,
                hint: None,
                expected: None,
                reason: None,
                after: None,
            }),
        }
    }

    /// With what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.data.hint = Some(hint.into());
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> Code {
        self.data.code
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_number_and_text_on_the_page() {
        let page = include_str!("../../../../docs/protocol/rpc.md");
        let (mut numbers, mut texts) = (BTreeSet::new(), BTreeSet::new());
        for code in Code::ALL {
            assert!(numbers.insert(code.number()) && texts.insert(code.as_str()));
            let row = format!("| `{}` | {} |", code.as_str(), code.number());
            assert!(page.contains(&row), "the page has no row {row}");
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
        }
        let later: Code = serde_json::from_str("\"of-a-later-version\"").unwrap();
        assert_eq!(later, Code::Other);
    }
}
