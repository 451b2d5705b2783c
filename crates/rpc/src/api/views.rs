//! Views of an application (`docs/protocol/rpc.md#10`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters with a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewParams {
    /// Name.
    pub view: String,
}

/// Result of `view.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ViewListResult {
    /// All versions of all views.
    pub views: Vec<ViewVersion>,
}

/// A version of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ViewVersion {
    /// Name of the view.
    pub name: String,
    /// The version.
    pub version: u32,
    /// `answers`, `built`, `lacks` or `stopped`.
    pub state: String,
    /// Last offset that it has applied.
    pub position: u64,
    /// Last offset in its topics.
    pub end: u64,
    /// Number of messages that it has applied.
    pub applied: u64,
    /// Number of messages that it has skipped.
    pub skipped: u64,
    /// Number of messages still to apply, counted up to 10 000.
    pub to_come: u64,
    /// With `lacks`: number of messages that the version before had applied and that are gone.
    pub lacks: Option<u64>,
    /// With `stopped`: offset at which it stopped.
    pub stopped_at: Option<u64>,
    /// With `stopped`: reason.
    pub reason: Option<String>,
}
