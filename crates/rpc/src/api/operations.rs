//! Operations that were signed elsewhere (`docs/protocol/rpc.md#9`).

use p2panda_core::{Hash, LogId, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, Expected};

/// Parameters of `log.next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogNextParams {
    /// Topic or alias.
    pub topic: String,
    /// Author of the log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Name of the log, unless it is the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
}

/// Result of `log.next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogNextResult {
    /// Next position as the node knows it. The author's own copy takes precedence.
    pub expected: Expected,
    /// Id of the log, for the extensions.
    #[schemars(with = "String")]
    pub log_id: LogId,
}

/// Parameters of `operation.submit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitParams {
    /// Topic or alias.
    pub topic: String,
    /// Signed header.
    pub header: Bin,
    /// Body, if the header has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Bin>,
}

/// Parameters of `operations.subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OperationsParams {
    /// Topic or alias.
    pub topic: String,
    /// Return operations after this arrival number of the node; 0 for all.
    #[serde(default)]
    pub after: u64,
    /// Bytes that may be in flight without `messages.credit`, 1 to 65 536 (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u32>,
}

/// A stored signed operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredView {
    /// Arrival number on this node.
    pub arrival: u64,
    /// Signed header.
    pub header: Bin,
    /// Body, unless it has none, has not arrived or was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Bin>,
}

/// Parameters of `ephemeral.submit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EphemeralSubmitParams {
    /// Topic or alias.
    pub topic: String,
    /// The signed message ([operations.md 8](operations.md#8)).
    pub message: Bin,
}

/// Result of `operation.submit`. The operation is on the node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmitResult {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Whether it was stored before.
    pub duplicate: bool,
}
