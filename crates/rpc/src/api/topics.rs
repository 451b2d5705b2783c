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
    /// Return rows after this number.
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
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether to include topics that are stored but not kept.
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
    /// Topics in the order of the aliases.
    #[schemars(with = "Vec<String>")]
    pub topics: Vec<Topic>,
}

/// Parameters of `topic.delivered`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TopicDeliveredParams {
    /// Topic or alias.
    pub topic: String,
    /// Nodes to wait for first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub named: Vec<VerifyingKey>,
    /// Longest wait for one peer in milliseconds, at most a day.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Result of `topic.delivered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicDeliveredResult {
    /// Sequence number of the node's newest message; none if it published nothing.
    pub newest: Option<u32>,
    /// Peers that report having stored it; in a space, all that the node published there.
    pub stored: u64,
    /// Peers that were sent it, or all of that.
    pub sent: u64,
    /// Whether one peer has stored it, or was sent it and cannot report storing.
    pub is_enough: bool,
    /// Operations of this node in the topic, over all its logs, that no peer is known to have.
    #[serde(default)]
    pub unsent: u64,
    /// Peers that do not keep the newest message, because a quota of theirs is used up.
    #[serde(default)]
    pub not_kept: Vec<NotKeptView>,
}

/// Result of `topic.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicListResult {
    /// Aliases, at most 1 000.
    pub topics: Vec<String>,
    /// Value for the next page; none at the end.
    pub next: Option<String>,
}

/// Result of `topic.alias`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicAliasResult {
    /// Alias of the topic.
    pub alias: String,
}

/// Result of `topic.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicStatusResult {
    /// Alias of the topic.
    pub topic: String,
    /// Number of logs.
    pub logs: u64,
    /// Number of operations in all logs.
    pub operations: u64,
    /// Their bytes.
    pub bytes: u64,
    /// First offset of the feed, unless it is empty.
    pub first: Option<u64>,
    /// Last offset of the feed.
    pub last: Option<u64>,
    /// Operations that wait for dependencies.
    pub waiting: u64,
    /// Operations of a space that wait for a secret.
    #[serde(default)]
    pub sealed: u64,
    /// Refused operations, by reason.
    pub rejected: std::collections::BTreeMap<String, u64>,
    /// Number of forks with evidence.
    pub forks: u64,
    /// Number of blocked logs.
    pub blocked: u64,
    /// Whether this node's own log is closed.
    pub own_log_closed: bool,
    /// Consumers that read it.
    pub consumers: Vec<String>,
    /// These consumers with their positions.
    pub positions: Vec<TopicPosition>,
    /// Logs that cannot continue here.
    pub blocked_logs: Vec<BlockedLogView>,
    /// Number of messages whose content has not arrived; 0 if not counted.
    pub wanted: u64,
    /// Logs of which a peer keeps nothing new, because a quota of that peer is used up, at most 1 000.
    #[serde(default)]
    pub not_kept: Vec<NotKeptView>,
}

/// A log of which a peer keeps nothing new, because a quota of that peer is used up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotKeptView {
    /// The peer.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Author of the log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Whether it is a log with a name.
    pub named: bool,
    /// Sequence number of the first operation that the peer refused.
    pub from: u32,
    /// The quota: `all`, `topic`, `author` or `other`.
    pub quota: String,
}

/// Position of a consumer in a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPosition {
    /// Name of the consumer.
    pub name: String,
    /// Everything up to this offset is settled, except what is open.
    pub position: u64,
    /// Number of entries of the feed that are not settled.
    #[serde(default)]
    pub unsettled: u64,
    /// Offset of the oldest message that is not settled.
    pub oldest: Option<u64>,
    /// Time at which it entered the feed, in microseconds since 1970.
    pub since: Option<u64>,
}

/// A blocked log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedLogView {
    /// Author of the log.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// Sequence number at which it is blocked.
    pub seq: u32,
    /// Why: one of the reasons of refused operations.
    pub reason: String,
    /// Bytes of the operation.
    pub bytes: u64,
}

/// Result of `topic.peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPeersResult {
    /// Peers with a session on the topic.
    pub peers: Vec<TopicPeer>,
}

/// A peer with a session on a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicPeer {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Whether the session is live.
    pub live: bool,
    /// Operations that its transport has not acknowledged yet.
    pub unsent: u64,
    /// Last entry of this node's log that it reports having stored.
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
    /// Reason.
    pub reason: String,
    /// Peer that sent it; none if it was imported.
    #[schemars(with = "Option<String>")]
    pub peer: Option<VerifyingKey>,
    /// Time in microseconds since 1970.
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
    /// Key that signed both.
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
    /// Author; none if it was refused.
    pub author: Option<String>,
    /// Sequence number in the log.
    pub seq: Option<u32>,
    /// `refused`, `early`, `waiting`, `wants-body`, `no-message`, `sealed`, `ordered`, `in-feed` or `stored`.
    pub state: String,
    /// Reason of a refusal.
    pub reason: Option<String>,
    /// Ids of the dependencies that it waits for.
    pub missing: Vec<Place>,
    /// With `sealed`: the name of the secret that it waits for, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Offset in the feed.
    pub offset: Option<u64>,
    /// With `early`: the next sequence number of its log.
    pub next: Option<u32>,
    /// With `waiting`: the sequence number of its log that waits.
    pub front: Option<u32>,
    /// Copies that arrived: from which peer and when.
    pub received: Vec<ReceivedCopy>,
    /// Consumers, and whether each has settled it.
    pub consumers: std::collections::BTreeMap<String, bool>,
    /// Peers whose transport has acknowledged it.
    #[schemars(with = "Vec<String>")]
    pub sent_to: Vec<VerifyingKey>,
    /// Peers that report having stored it.
    #[schemars(with = "Vec<String>")]
    pub stored_by: Vec<VerifyingKey>,
    /// Peers that report not to keep it, because a quota of theirs is used up.
    #[serde(default)]
    pub not_kept: Vec<NotKeptView>,
}

/// A copy of an operation that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReceivedCopy {
    /// Peer that sent it.
    #[schemars(with = "String")]
    pub peer: VerifyingKey,
    /// Time in microseconds since 1970.
    pub at: u64,
}
