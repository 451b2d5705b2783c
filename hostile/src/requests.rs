//! The lines between a run and the node's process: one request, one reply; messages come by
//! themselves.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use p2panda::{NetworkId, Topic, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Request to the node's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Opens the node and subscribes to topics from the beginning.
    Open(Open),
    /// Publishes a text.
    Publish { topic: Topic, text: String },
    /// Publishes a text every so often from now on, and measures how long each takes.
    Probe { topic: Topic, every_ms: u64 },
    /// Measurements of the probe since it was last asked.
    Latencies,
    /// Imports operations from a file of frames, as sync would bring them.
    Import { topic: Topic, file: PathBuf },
    /// Counts of a topic.
    Status { topic: Topic },
    /// Counters of the network, for people.
    Counters,
    /// Shuts the node down and ends the process.
    Shutdown,
}

/// Settings for opening the node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Open {
    pub(crate) dir: PathBuf,
    pub(crate) network: NetworkId,
    pub(crate) bind: SocketAddrV4,
    /// Bytes that peers may make the node hold.
    pub(crate) budget_bytes: usize,
    pub(crate) topics: Vec<Topic>,
    /// Topics of which ephemeral messages are read, too.
    pub(crate) ephemeral: Vec<Topic>,
}

/// Output of the node's process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(crate) enum Line {
    /// The node is open.
    Opened {
        node: VerifyingKey,
        addr: SocketAddr,
    },
    /// A request was carried out.
    Done,
    /// A request failed.
    Failed,
    /// Durations of publishes, those in progress included.
    Latencies { micros: Vec<u64> },
    /// Result of imported operations.
    Imported { stored: u64, rejected: u64 },
    /// Counts of a topic.
    Status {
        operations: u64,
        bytes: u64,
        logs: u64,
        rejected: u64,
    },
    /// Counters of the network.
    Counters {
        text: String,
        budget_bytes: u64,
        budget_peak_bytes: u64,
    },
    /// An honest message was shown. Others are only stored.
    Message { topic: Topic, text: String },
}
