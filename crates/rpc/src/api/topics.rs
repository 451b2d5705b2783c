//! Topics and single operations (`docs/protocol/rpc.md#10`).

use p2panda_core::{Hash, Topic, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, Place};

/// Parameters with a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicParams {
    /// Topic or alias.
    pub topic: String,
}

/// Parameters of a page of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageParams {
    /// Topic or alias.
    pub topic: String,
    /// Rows behind this one.
    #[serde(default)]
    pub after: u64,
}

/// Parameters of `topic.keep`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicKeepParams {
    /// Topic or alias.
    pub topic: String,
    /// Whether it is kept.
    pub keep: bool,
}

/// Parameters of `topic.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicListParams {
    /// What the page before gave as `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Those of which the node stores anything as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
}

/// Parameters of `topic.reveal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicRevealParams {
    /// Aliases, at most 1 000.
    pub topics: Vec<String>,
}

/// Result of `topic.reveal`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicRevealResult {
    /// The topics in the same order.
    #[schemars(with = "Vec<String>")]
    pub topics: Vec<Topic>,
}

/// Parameters of `topic.delivered`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicDeliveredParams {
    /// Topic or alias.
    pub topic: String,
    /// Nodes that should have it in the first place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub named: Vec<VerifyingKey>,
    /// How long to wait for one, in milliseconds, at most a day.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Result of `topic.delivered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicDeliveredResult {
    /// Place of the newest message of this node; none if it published nothing.
    pub newest: Option<u32>,
    /// Peers that say that they have stored it.
    pub stored: u64,
    /// Peers that were sent it.
    pub sent: u64,
    /// Whether one has stored it, or was sent it and cannot say whether it is stored.
    pub is_enough: bool,
    /// Operations of this node, of all its logs in the topic, that nobody is known to have.
    #[serde(default)]
    pub unsent: u64,
}

/// Result of `topic.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicListResult {
    /// Aliases, at most 1 000.
    pub topics: Vec<String>,
    /// What to ask for next; none at the end.
    pub next: Option<String>,
}

/// Result of `topic.alias`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicAliasResult {
    /// The alias.
    pub alias: String,
}

/// Result of `topic.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicStatusResult {
    /// Alias of the topic.
    pub topic: String,
    /// Logs.
    pub logs: u64,
    /// Operations of all logs.
    pub operations: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// First offset of the feed, if there is anything.
    pub first: Option<u64>,
    /// Last offset of the feed.
    pub last: Option<u64>,
    /// Operations that wait for those they depend on.
    pub waiting: u64,
    /// Operations that were refused, by reason.
    pub rejected: std::collections::BTreeMap<String, u64>,
    /// Forks with evidence.
    pub forks: u64,
    /// Logs that cannot go on here.
    pub blocked: u64,
    /// Whether this node's own log is closed.
    pub own_log_closed: bool,
    /// Consumers that read it.
    pub consumers: Vec<String>,
    /// The same with how far they are.
    pub positions: Vec<TopicPosition>,
    /// The logs that cannot go on here.
    pub blocked_logs: Vec<BlockedLogView>,
    /// Messages whose content nobody has sent; 0 where nobody looked.
    pub wanted: u64,
}

/// How far a consumer is in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPosition {
    /// Name of the consumer.
    pub name: String,
    /// Everything up to this offset is settled, except what is open.
    pub position: u64,
    /// Offset of the oldest message that is not.
    pub oldest: Option<u64>,
    /// When that was delivered into the feed, in microseconds since 1970.
    pub since: Option<u64>,
}

/// A log that cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedLogView {
    /// Whose log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Where it stands.
    pub seq: u32,
    /// Why: one of the reasons of refused operations.
    pub reason: String,
    /// Bytes of the operation.
    pub bytes: u64,
}

/// Result of `topic.peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPeersResult {
    /// The peers that there is a session with.
    pub peers: Vec<TopicPeer>,
}

/// A peer that a topic is exchanged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPeer {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Whether the session is caught up and live.
    pub live: bool,
    /// Operations that its transport has not acknowledged.
    pub unsent: u64,
    /// The last entry of this node's log that it says it has stored.
    pub stores_own: Option<u32>,
}

/// Result of `topic.rejected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicRejectedResult {
    /// Oldest first, at most 1 000.
    pub rejected: Vec<Rejected>,
}

/// A refused operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// Number of the row.
    pub row: u64,
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Why.
    pub reason: String,
    /// Who sent it; none if it was brought here.
    #[schemars(with = "Option<String>")]
    pub peer: Option<VerifyingKey>,
    /// When, in microseconds since 1970.
    pub at: u64,
}

/// Result of `topic.forks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicForksResult {
    /// At most 1 000.
    pub forks: Vec<ForkView>,
}

/// Two headers that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForkView {
    /// Who signed both.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// One header.
    pub first: Bin,
    /// The other one.
    pub second: Bin,
}

/// Parameters of `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceParams {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
}

/// Result of `trace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TraceResult {
    /// Id of the operation.
    #[schemars(with = "String")]
    pub id: Hash,
    /// Alias of the topic.
    pub topic: String,
    /// Who signed it and where it is in the log; none if it was refused.
    pub author: Option<String>,
    /// Place in the log.
    pub seq: Option<u32>,
    /// `refused`, `early`, `waiting`, `wants-body`, `no-message`, `ordered`, `in-feed` or `stored`.
    pub state: String,
    /// Reason of a refusal.
    pub reason: Option<String>,
    /// What it waits for.
    pub missing: Vec<Place>,
    /// Offset in the feed.
    pub offset: Option<u64>,
    /// With `early`: the place that its log goes on with.
    pub next: Option<u32>,
    /// With `waiting`: the place of its log that waits.
    pub front: Option<u32>,
    /// From whom copies came, and when, in microseconds since 1970.
    pub received: Vec<ReceivedCopy>,
    /// Consumers, and whether they have settled it.
    pub consumers: std::collections::BTreeMap<String, bool>,
    /// Peers whose transport has it.
    #[schemars(with = "Vec<String>")]
    pub sent_to: Vec<VerifyingKey>,
    /// Peers that say that they have stored it.
    #[schemars(with = "Vec<String>")]
    pub stored_by: Vec<VerifyingKey>,
}

/// A copy of an operation that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedCopy {
    /// From whom.
    #[schemars(with = "String")]
    pub peer: VerifyingKey,
    /// When, in microseconds since 1970.
    pub at: u64,
}
