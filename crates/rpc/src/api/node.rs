//! The node itself (`docs/protocol/rpc.md#10`).

use p2panda_core::{NetworkId, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of `node.status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NodeStatusResult {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Software version of the node.
    pub version: String,
    /// Network id.
    #[schemars(with = "String")]
    pub network: NetworkId,
    /// Socket addresses that it announces.
    pub addrs: Vec<String>,
    /// Socket addresses for HTTP and WebSockets.
    #[serde(default)]
    pub rpc: Vec<String>,
    /// Whether the node can store.
    pub health: HealthView,
    /// Seconds since the RPC was opened.
    pub up_seconds: u64,
    /// Number of topics that the node is interested in.
    pub topics: u64,
    /// Number of blocked logs.
    pub logs_blocked: u64,
    /// Number of known nodes.
    pub peers: u64,
    /// Number of connected nodes.
    pub peers_connected: u64,
    /// Number of sync sessions.
    pub sessions: u64,
    /// Number of live sessions.
    pub sessions_live: u64,
    /// Whether the recovery file of the node's person is more than 30 days old. Only for `admin`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewal_due: bool,
}

/// Ability of a node to store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthView {
    /// `ok`, `waiting` or `stopped`.
    pub state: String,
    /// Reason, unless it is `ok`.
    pub reason: Option<String>,
}

/// Result of `node.metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsResult {
    /// Metrics in the OpenMetrics text format.
    pub text: String,
}

/// Result of `peer.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerListResult {
    /// All known nodes, connected or not.
    pub peers: Vec<PeerView>,
    /// Interfaces on which multicast DNS looks for others.
    pub local_networks: Vec<LocalNetworkView>,
}

/// An interface, with one family of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalNetworkView {
    /// Name.
    pub interface: String,
    /// Whether this is IPv6.
    pub ipv6: bool,
    /// Why nothing is received there for now.
    pub failed: Option<String>,
}

/// A topic on which a peer refuses sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedTopic {
    /// Alias of the topic.
    pub topic: String,
    /// `too-many`, `not-served` or `other`.
    pub reason: String,
}

/// A known node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Its socket addresses.
    pub addrs: Vec<String>,
    /// Relays through which it can be reached.
    pub relays: Vec<String>,
    /// Whether a connection is open.
    pub connected: bool,
    /// Whether the connection goes through a relay.
    pub relayed: bool,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// `known`, `connecting`, `unreached`, `met`, `connected` or `live`.
    pub state: String,
    /// Reason, if it is `unreached`.
    pub why: Option<String>,
    /// Number of sync sessions with it.
    pub sessions: u64,
    /// Number of known common topics.
    pub topics_shared: u64,
    /// If the configuration names it, the result of dialling it: as `why`, `untried`, `no-common-topic`
    /// or `reached`.
    pub contact: Option<String>,
    /// Time of that change, in seconds since 1970.
    pub contact_since: Option<u64>,
    /// Seconds by which its clock is at least ahead of this node's; negative: behind.
    pub clock_ahead: Option<i64>,
    /// Topics on which it refuses sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedTopic>,
}

/// Parameters of `peer.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerAddParams {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Socket address, or host name and port.
    pub addr: String,
}
