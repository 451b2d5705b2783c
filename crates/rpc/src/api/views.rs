//! Views of an application (`docs/protocol/rpc.md#10`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters with a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ViewParams {
    /// Its name.
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
    /// The last offset that it has applied.
    pub position: u64,
    /// The last offset in its topics.
    pub end: u64,
    /// Messages that it has applied.
    pub applied: u64,
    /// Messages that it has passed over.
    pub skipped: u64,
    /// Messages that are to come, counted up to 10 000.
    pub to_come: u64,
    /// Messages that the version before had and that are gone, with `lacks`.
    pub lacks: Option<u64>,
    /// The offset at which it stands still, with `stopped`.
    pub stopped_at: Option<u64>,
    /// Why it stands still.
    pub reason: Option<String>,
}
