//! Publishing as the node (`docs/protocol/rpc.md#8`).

use p2panda_core::{Hash, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bin;

/// What a message says. Exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Bin),
    /// One CBOR item in the deterministic form.
    Cbor(Bin),
    /// A value, which is stored as CBOR.
    Json(serde_json::Value),
    /// What `upload` has stored.
    Upload(Uploaded),
}

/// A content that was uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uploaded {
    /// Its number.
    pub number: u64,
    /// What it is.
    pub kind: UploadKind,
}

/// What an uploaded content is.
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
    /// What it says; left out: nothing, for a prune.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// The log of the node with this name instead of the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Everything before it in the log may be deleted by everyone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prune: bool,
    /// Messages that are shown before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Place>,
    /// The same message with the same request id of the same client is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

/// A message by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Who signed it.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Log id, if it is not in the author's first log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub log: Option<p2panda_core::LogId>,
    /// Place in the log.
    pub seq: u32,
    /// Id of the operation.
    #[serde(with = "super::hex::hash")]
    #[schemars(with = "String")]
    pub id: Hash,
}

/// What to wait for before the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Peers that say that they have stored it; 0: one whose transport has it.
    pub stored: usize,
    /// For how long, in milliseconds.
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
    /// What to wait for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Wait>,
}

/// Result of `publish`: it is on the node's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishResult {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Place in the log.
    pub seq: u32,
    /// Peers whose transport has it.
    #[schemars(with = "Vec<String>")]
    pub sent_to: Vec<VerifyingKey>,
    /// Peers that say that they have stored it.
    #[schemars(with = "Vec<String>")]
    pub held_by: Vec<VerifyingKey>,
    /// Whether what was waited for came in time; true where nothing was.
    pub waited: bool,
}

/// Parameters of `upload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadParams {
    /// Number of the upload that it is a further part of; left out: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<u64>,
    /// The part.
    pub data: Bin,
}

/// Result of `upload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadResult {
    /// Its number on this connection.
    pub upload: u64,
    /// Bytes so far.
    pub bytes: u64,
}

/// Parameters of `publish.batch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishBatchParams {
    /// Topic or alias.
    pub topic: String,
    /// The messages, all or none.
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
    /// Place in the log.
    pub seq: u32,
}

/// Parameters of `ephemeral.publish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EphemeralPublishParams {
    /// Topic or alias.
    pub topic: String,
    /// What it says.
    pub content: Content,
}
