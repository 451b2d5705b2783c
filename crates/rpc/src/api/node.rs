//! The node itself (`docs/protocol/rpc.md#10`).

use p2panda_core::VerifyingKey;
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
    /// Socket addresses that it announces.
    pub addrs: Vec<String>,
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
