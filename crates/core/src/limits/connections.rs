//! Connections (`docs/protocol/network.md#11`).

use core::time::Duration;

use super::{KIB, MIB};

/// TLS handshakes in progress at once; more are refused before any work.
pub const HANDSHAKES_MAX: usize = 256;
/// Those of one address prefix.
pub const HANDSHAKES_PER_PREFIX_MAX: usize = 192;
/// Connections that were admitted and are open at once.
pub const CONNECTIONS_MAX: usize = 4096;
/// Gossip connections that one peer may hold open. One is enough; a second replaces a lost one.
pub const GOSSIP_CONNECTIONS_PER_PEER_MAX: usize = 8;
/// Bidirectional streams that a peer may open on a connection that it dials, before the protocol is
/// known: they need no further round trip (`docs/protocol/network.md#1`).
pub const STREAMS_FIRST: u32 = 4;
/// Charge of an open connection: about what it may hold before anybody reads it.
pub const CONNECTION_BYTES: usize = 32 * KIB;
/// The same once the peer named a topic of ours, for as many sessions as a pair needs.
pub const CONNECTION_AGREED_BYTES: usize = 8 * KIB;
/// The same of a proven peer. The number of its connections is bounded by our own topics.
pub const CONNECTION_PROVEN_BYTES: usize = KIB;
/// Time that an unproven peer has to show anything before its connection makes room for any other
/// one (`docs/protocol/network.md#11`).
pub const CONNECTION_SILENT_WAIT: Duration = Duration::from_millis(500);
/// Round trips of the path that are added to it.
pub const CONNECTION_SILENT_ROUND_TRIPS: u32 = 4;
/// Time that an unproven peer that named a topic of ours has for its sync before its connection
/// may make room for another one (`docs/protocol/network.md#11`).
pub const CONNECTION_DUTY_WAIT: Duration = Duration::from_secs(30);
/// Round trips of the path, if they take longer.
pub const CONNECTION_DUTY_ROUND_TRIPS: u32 = 20;
/// Bytes of a connection that are its handshake and probes of the path, and show nothing.
pub const CONNECTION_START_BYTES: u64 = 32 * 1_024;
/// Bytes per second since it began, behind those of the handshake, with which a connection keeps its place after that.
pub const CONNECTION_MOVES_BYTES: u64 = 1_024;
/// Connections that may go to make room for one: its price over the smallest one.
pub const CONNECTIONS_DISPLACED_MAX: usize = 16;
/// Sessions that a pair needs on a topic, one by each side; the others cost the full price.
pub const SESSIONS_PER_PAIR: usize = 2;
/// Bytes that may arrive on a connection before anybody reads them.
pub const CONNECTION_WINDOW_BYTES: usize = 32 * KIB;
/// The same for a session that has much to receive, if the budget allows it.
pub const SESSION_WINDOW_BYTES: usize = MIB;
/// Bytes in a row after which a session has much to receive.
pub const SESSION_BURST_BYTES: u64 = 32 * 1024;
/// Bytes that are read at once in the topic handshake; one of its messages has 34.
pub const HANDSHAKE_READ_BYTES_MAX: usize = KIB;
/// Chunks that a session takes from its stream at once, each about as large as a packet.
pub const READ_CHUNKS_MAX: usize = 64;
/// With this much left to write a session may hand out more (`docs/protocol/sync.md#10`).
pub const WRITE_LOW_WATER_BYTES: usize = 64 * KIB;
/// Accepted sessions that wait for the task of their topic; more are refused.
pub const INCOMING_WAITING_MAX: usize = 64;
/// Peers to compare with again that wait for the task of their topic.
pub const REPAIRS_WAITING_MAX: usize = 64;
/// Peers without a session of which a topic remembers something (`docs/protocol/sync.md#5`).
pub const PAIRS_REMEMBERED_MAX: usize = 1_024;
/// Addresses of a connected peer that iroh probes for a better path; fewer iroh does not allow
/// (`docs/protocol/network.md#5`).
pub const NAT_ADDRESSES_MAX: u8 = 8;
/// A connection without a sign of life for this long is lost (`docs/protocol/network.md#1`).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The round trip that a path is taken to have until it is measured (`docs/protocol/network.md#1`).
pub const FIRST_ROUND_TRIP: Duration = Duration::from_millis(333);
/// The same for the transport of a connection that a peer dialled
/// (`docs/protocol/network.md#1`).
pub const FIRST_ROUND_TRIP_ACCEPTED: Duration = Duration::from_secs(1);
/// The same of a node with low bandwidth (`docs/protocol/network.md#1`).
pub const FIRST_ROUND_TRIP_SLOW: Duration = Duration::from_secs(3);
/// Bytes that leave on a new path before the peer has acknowledged anything
/// (`docs/protocol/network.md#1`).
pub const FIRST_FLIGHT_BYTES: u64 = 12_000;
/// The same of a node with low bandwidth (`docs/protocol/network.md#1`).
pub const FIRST_FLIGHT_BYTES_SLOW: u64 = 4_800;
/// Bytes in a second at which that flight leaves.
pub const FIRST_FLIGHT_RATE: u64 = 12_500_000;
/// Time that data may wait in the queue of a path before that counts as congestion
/// (`docs/protocol/network.md#1`).
pub const QUEUE_TIME_MAX: Duration = Duration::from_secs(1);
/// On a path with a round trip as long as that, no larger packets are tried out
/// (`docs/protocol/network.md#1`).
pub const SLOW_PATH_ROUND_TRIP: Duration = Duration::from_secs(1);
/// The least difference between two sizes of packets that are tried out
/// (`docs/protocol/network.md#1`).
pub const PACKET_SIZE_STEP_MIN: u16 = 127;
/// Round trips of its path that a peer has for a step, where that is more than the usual wait
/// (`docs/protocol/network.md#1`).
pub const PATIENCE_ROUND_TRIPS: u32 = 20;
/// Round trips that a dial has until the peer answers, where that is more than the usual wait.
pub const DIAL_ROUND_TRIPS: u32 = 9;
/// Round trips that asking at an address has, where that is more than the usual wait.
pub const KNOCK_ROUND_TRIPS: u32 = 4;
/// The longest wait that a slow path makes of a shorter one (`docs/protocol/network.md#1`).
pub const PATIENCE_MAX: Duration = Duration::from_secs(120);
/// Peers on slow paths whose round trip is remembered for the next dial.
pub const SLOW_PATHS_REMEMBERED_MAX: usize = 1_024;
/// The same for a discovery session that this node dialled (`docs/protocol/network.md#1`).
pub const DISCOVERY_IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// Interval at which a connection without traffic sends a sign of life
/// (`docs/protocol/network.md#1`).
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// The same on each path of a connection that this node dialled (`docs/protocol/network.md#1`).
pub const KEEP_ALIVE_DIALLED_INTERVAL: Duration = Duration::from_millis(4_500);
/// Interval at which the clocks are compared to notice that the machine slept
/// (`docs/protocol/network.md#7`).
pub const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(15);
/// Maximum drift of the wall clock from the steady one between two looks: beyond it, it has jumped
/// (`docs/protocol/network.md#7`).
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_secs(10);
/// Events of the network that wait for a listener; a slower one loses the oldest.
pub const NETWORK_EVENTS_MAX: usize = 1_024;
/// Maximum time of each part of a shutdown that depends on the network
/// (`docs/protocol/streams.md#14`).
pub const SHUTDOWN_STEP_WAIT: Duration = Duration::from_millis(150);
/// Time that the system at an address has to say that nobody listens there
/// (`docs/protocol/network.md#5`).
pub const PORT_ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Addresses of a node that are asked so (`docs/protocol/network.md#5`).
pub const PORTS_ASKED_MAX: usize = 8;
/// Nodes that no configuration names and of which a node says what became of the last attempt.
pub const CONTACTS_REMEMBERED_MAX: usize = 4_096;
/// A running catch-up is reported at most this often.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// Refused sessions of which a node says something; of more it only tells when they are refused.
pub const REFUSALS_REMEMBERED_MAX: usize = 4_096;

/// Interval at which a task that waits for the acknowledgement of a peer looks for other paths.
pub const ACKED_LOOK_INTERVAL: Duration = Duration::from_secs(1);
