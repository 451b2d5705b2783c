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
    /// Who signed it.
    #[serde(with = "super::hex::key")]
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Hash of the name of the log, if it is not the author's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub log: Option<LogName>,
    /// Place in the log.
    pub seq: u32,
    /// Id of the operation.
    #[serde(with = "super::hex::hash")]
    #[schemars(with = "String")]
    pub id: Hash,
    /// Place in this node's feed.
    pub offset: u64,
    /// When its author says it was written, in microseconds since 1970.
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
    /// What it says about its operation instead of content: `withdrawn`, `members`, `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The first offset that the operation had, if it had another one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_offset: Option<u64>,
    /// What it was written after and is not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Place>,
    /// Signed header, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Bin>,
    /// Number by which it is settled, with a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<u64>,
    /// How often it was delivered, with a consumer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// Something that was pruned before a consumer had settled it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrunedNote {
    /// Alias of the topic.
    pub topic: String,
    /// Author of the log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Everything below is gone.
    pub below: u32,
    /// How many messages of it were not settled.
    pub unsettled: u64,
    /// Number by which it is settled.
    pub delivery: u64,
}

/// Parameters of `messages.read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadParams {
    /// Topic or alias.
    pub topic: String,
    /// Messages behind this offset; 0 for all.
    #[serde(default)]
    pub after: u64,
    /// At most so many, up to 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// With signed headers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub header: bool,
}

/// Result of `messages.read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadResult {
    /// In the order of the feed.
    pub messages: Vec<Message>,
    /// What to ask for next.
    pub next: u64,
    /// There was nothing more.
    pub up_to_date: bool,
}

/// Parameters of `messages.subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscribeParams {
    /// Topics or aliases. Without a consumer exactly one; with one that exists it may be left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// A named consumer. Without it nothing is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<ConsumerSettings>,
    /// Where to begin; with a consumer it is moved there. Left out: `resume` with a consumer,
    /// `beginning` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// With signed headers.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub header: bool,
    /// Without a consumer: with the position of the node itself in the topic, as `panda sub` has it. By the
    /// Unix socket only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_position: bool,
    /// With a consumer: nothing comes by itself, `consumer.fetch` gives messages.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// Bytes that may be under way without `messages.credit`, 1 to 65 536, the default.
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
    /// The subscription.
    pub subscription: u64,
    /// Bytes that were read.
    pub bytes: u32,
}

/// Parameters of `subscription.end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionParams {
    /// The subscription.
    pub subscription: u64,
}
