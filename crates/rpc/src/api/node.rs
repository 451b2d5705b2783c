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
    /// Version of the software.
    pub version: String,
    /// The network that it is in.
    #[schemars(with = "String")]
    pub network: NetworkId,
    /// Socket addresses that it announces.
    pub addrs: Vec<String>,
    /// Socket addresses of HTTP and WebSockets.
    #[serde(default)]
    pub rpc: Vec<String>,
    /// Whether it can store.
    pub health: HealthView,
    /// Seconds since the RPC was opened.
    pub up_seconds: u64,
    /// Topics of interest.
    pub topics: u64,
    /// Logs that cannot go on.
    pub logs_blocked: u64,
    /// Nodes that are known.
    pub peers: u64,
    /// Nodes with an open connection.
    pub peers_connected: u64,
    /// Sync sessions.
    pub sessions: u64,
    /// Those that are live.
    pub sessions_live: u64,
}

/// Whether a node can store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthView {
    /// `ok`, `waiting` or `stopped`.
    pub state: String,
    /// Why it is not `ok`.
    pub reason: Option<String>,
}

/// Result of `node.metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsResult {
    /// Text format of OpenMetrics.
    pub text: String,
}

/// Result of `peer.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerListResult {
    /// Connected or not.
    pub peers: Vec<PeerView>,
    /// Where others are looked for by multicast DNS.
    pub local_networks: Vec<LocalNetworkView>,
}

/// An interface, with one family of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalNetworkView {
    /// Its name.
    pub interface: String,
    /// Whether it is with IPv6.
    pub ipv6: bool,
    /// Why nothing is heard there for now.
    pub failed: Option<String>,
}

/// A topic of which a peer refuses sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedTopic {
    /// Alias of the topic.
    pub topic: String,
    /// `too-many`, `not-served` or `other`.
    pub reason: String,
}

/// A node that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Its socket addresses.
    pub addrs: Vec<String>,
    /// Relays that it can be reached through.
    pub relays: Vec<String>,
    /// Whether a connection is open.
    pub connected: bool,
    /// Whether it goes through a relay.
    pub relayed: bool,
    /// Round-trip time in microseconds.
    pub rtt_us: Option<u64>,
    /// `known`, `connecting`, `unreached`, `met`, `connected` or `live`.
    pub state: String,
    /// Why it is `unreached`.
    pub why: Option<String>,
    /// Sync sessions with it.
    pub sessions: u64,
    /// Topics that it is known to share.
    pub topics_shared: u64,
    /// What became of it, if the configuration names it: as `why`, `untried`, `no-common-topic` or
    /// `reached`.
    pub contact: Option<String>,
    /// Since when, in seconds since 1970.
    pub contact_since: Option<u64>,
    /// Seconds that its clock is ahead of this node's, at least; negative: behind.
    pub clock_ahead: Option<i64>,
    /// Topics of which it refuses sessions.
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
