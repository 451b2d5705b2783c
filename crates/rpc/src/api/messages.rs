//! Reading messages (`docs/protocol/rpc.md#7`).

use p2panda_core::{Hash, LogName, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, ConsumerSettings, Place, Start};

/// A message of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// Alias of the topic.
    pub topic: String,
    /// Key that signed it.
    #[serde(with = "super::hex::key")]
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// BLAKE3 of the log's name, unless it is the author's first log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub log: Option<LogName>,
    /// Sequence number in the log.
    pub seq: u32,
    /// Id of the operation.
    #[serde(with = "super::hex::hash")]
    #[schemars(with = "String")]
    pub id: Hash,
    /// Offset in this node's feed.
    pub offset: u64,
    /// Time of writing by the author's clock, in microseconds since 1970.
    pub timestamp: u64,
    /// The content of a text message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The content of a byte message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Bin>,
    /// Any other content: one CBOR item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cbor: Option<Bin>,
    /// Instead of content, what changed about its operation: `withdrawn`, `members` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// First offset of the operation, if it was at another one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_offset: Option<u64>,
    /// Ids of its dependencies that are missing on this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Place>,
    /// Signed header, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Bin>,
    /// Delivery number for settling it, with a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<u64>,
    /// Number of deliveries, with a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// Messages that were pruned before a consumer had settled them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrunedNote {
    /// Alias of the topic.
    pub topic: String,
    /// Author of the log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Everything below this sequence number is gone.
    pub below: u32,
    /// Number of messages that were not settled.
    pub unsettled: u64,
    /// Delivery number for settling it.
    pub delivery: u64,
}

/// Parameters of `messages.read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// Topic or alias.
    pub topic: String,
    /// Return messages after this offset; 0 for all.
    #[serde(default)]
    pub after: u64,
    /// Most messages to return, up to 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Whether to include signed headers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub header: bool,
}

/// Result of `messages.read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadResult {
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// Value of `after` for the next page.
    pub next: u64,
    /// Whether the end of the feed was reached.
    pub up_to_date: bool,
}

/// Parameters of `messages.subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// Topics or aliases: exactly one without a consumer; optional with an existing consumer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Named consumer. Without it, the node remembers no position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<ConsumerSettings>,
    /// Start position; a consumer is moved there. Absent: `resume` with a consumer, `beginning`
    /// without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Whether to include signed headers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub header: bool,
    /// Without a consumer: use the node's own position in the topic, as `panda sub` does. On the Unix
    /// socket only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_position: bool,
    /// With a consumer: send nothing unasked; `consumer.fetch` gets messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// Bytes that may be in flight without `messages.credit`, 1 to 65 536 (default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u32>,
}

/// Result of each `subscribe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubscribeResult {
    /// Number of the subscription on this connection.
    pub subscription: u64,
    /// Aliases of its topics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
}

/// Parameters of `messages.credit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditParams {
    /// Number of the subscription.
    pub subscription: u64,
    /// Bytes that were read.
    pub bytes: u32,
}

/// Parameters of `subscription.end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionParams {
    /// Number of the subscription.
    pub subscription: u64,
}
