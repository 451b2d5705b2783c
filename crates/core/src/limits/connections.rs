//! Connections (`docs/protocol/network.md#11`).

use super::{KIB, MIB};

/// TLS handshakes under way at once; more are refused before any work.
pub const HANDSHAKES_MAX: usize = 256;
/// Those of one address prefix.
pub const HANDSHAKES_PER_PREFIX_MAX: usize = 192;
/// Connections that were let in and are open at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// Gossip connections that one peer may hold open. One is enough; a second replaces a lost one.
pub const GOSSIP_CONNECTIONS_PER_PEER_MAX: usize = 8;
/// What an open connection is charged with: about what it may hold before anybody reads it.
pub const CONNECTION_BYTES: usize = 32 * KIB;
/// The same once the peer named a topic of ours, for as many sessions as a pair needs.
pub const CONNECTION_AGREED_BYTES: usize = 8 * KIB;
/// The same of a proven peer. The number of its connections is bounded by our own topics.
pub const CONNECTION_PROVEN_BYTES: usize = KIB;
/// Sessions that a pair needs on a topic, one by each side; the others cost the full price.
pub const SESSIONS_PER_PAIR: usize = 2;
/// Bytes that may arrive on a connection before anybody reads them.
pub const CONNECTION_WINDOW_BYTES: usize = 32 * KIB;
/// The same for a session that has much to receive, if the budget allows it.
pub const SESSION_WINDOW_BYTES: usize = MIB;
/// Bytes in a row after which a session has much to receive.
pub const SESSION_BURST_BYTES: u64 = 32 * 1024;
