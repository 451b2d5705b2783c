//! Publishing as the node (`docs/protocol/rpc.md#8`).

use p2panda_core::{Hash, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, NotKeptView};

/// Content of a message: exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Bin),
    /// One CBOR item in the deterministic form.
    Cbor(Bin),
    /// A JSON value, stored as CBOR.
    Json(#[serde(deserialize_with = "super::json::deserialize")] serde_json::Value),
    /// Content stored by `upload`.
    Upload(Uploaded),
}

/// Uploaded content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uploaded {
    /// Its number.
    pub number: u64,
    /// Kind of the content.
    pub kind: UploadKind,
}

/// Kind of an uploaded content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadKind {
    /// A text in UTF-8.
    Text,
    /// Bytes.
    Bytes,
    /// One CBOR item in the deterministic form.
    Cbor,
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.to_owned())
    }
}

/// A message to publish.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// Content; may be absent in a prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Name of the node's log to publish to, instead of its first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Prune: everyone may delete what precedes it in the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
    /// Messages that every node shows before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Place>,
    /// Request id: the same message with the same id of the same client is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// Reference to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Key that signed it.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Log id, unless it is in the author's first log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub log: Option<p2panda_core::LogId>,
    /// Sequence number in the log.
    pub seq: u32,
    /// Id of the operation.
    #[serde(with = "super::hex::hash")]
    #[schemars(with = "String")]
    pub id: Hash,
}

/// Condition to wait for before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Number of peers that report having stored it; 0: one peer's transport has acknowledged it.
    pub stored: usize,
    /// Longest wait in milliseconds.
    pub timeout_ms: u64,
}

/// Parameters of `publish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishParams {
    /// Topic or alias.
    pub topic: String,
    /// The message.
    pub message: NewMessage,
    /// Condition to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// Result of `publish`. The message is on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishResult {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Sequence number in the log.
    pub seq: u32,
    /// Peers whose transport has acknowledged it.
    #[schemars(with = "Vec<String>")]
    pub sent_to: Vec<VerifyingKey>,
    /// Peers that report having stored it.
    #[schemars(with = "Vec<String>")]
    pub held_by: Vec<VerifyingKey>,
    /// Whether the condition was met in time; true without a condition.
    pub waited: bool,
    /// Peers that do not keep it, because a quota of theirs is used up. If too few others are left, the call
    /// waits no longer.
    #[serde(default)]
    pub not_kept: Vec<NotKeptView>,
}

/// Parameters of `upload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadParams {
    /// Number of the upload to continue; absent: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<u64>,
    /// The part.
    pub data: Bin,
}

/// Result of `upload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadResult {
    /// Number of the upload on this connection.
    pub upload: u64,
    /// Bytes received so far.
    pub bytes: u64,
}

/// Parameters of `publish.batch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishBatchParams {
    /// Topic or alias.
    pub topic: String,
    /// The messages; all are published or none.
    pub messages: Vec<NewMessage>,
}

/// Result of `publish.batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishBatchResult {
    /// In the order of the messages.
    pub published: Vec<Published>,
}

/// One message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Sequence number in the log.
    pub seq: u32,
}

/// Parameters of `ephemeral.publish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EphemeralPublishParams {
    /// Topic or alias.
    pub topic: String,
    /// Content of the message.
    pub content: Content,
}
