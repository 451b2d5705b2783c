//! Every bound of the system, with its unit and the rule it comes from.
//!
//! A value at the limit is accepted, one past it is refused.

use core::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// Operations.

/// Bytes of an encoded header (`docs/protocol/operations.md#9`).
pub const HEADER_BYTES_MAX: usize = MIB;
/// Declared length of any array, map, byte string or text inside a header
/// (`docs/protocol/operations.md#2`).
pub const HEADER_LENGTH_MAX: u64 = 512;
/// Levels of arrays, maps and tags in a header, its own array included
/// (`docs/protocol/operations.md#2`).
pub const HEADER_DEPTH_MAX: usize = 64;
/// Declared length of any array, map, byte string or text outside a header
/// (`docs/protocol/operations.md#2`).
pub const VALUE_LENGTH_MAX: u64 = 1_000_000_000;
/// Levels of arrays, maps and tags outside a header (`docs/protocol/operations.md#2`).
pub const VALUE_DEPTH_MAX: usize = 200;
/// Dependencies that one operation names (`docs/protocol/operations.md#7`).
pub const DEPENDENCIES_MAX: usize = 16;
/// Frame bytes that an operation needs beside header and body
/// (`docs/protocol/operations.md#9`).
pub const OPERATION_FRAME_OVERHEAD_BYTES: usize = 16;

// Frames.

/// Bytes of an operation frame unless configured otherwise (`docs/protocol/sync.md`).
pub const OPERATION_BYTES_MAX_DEFAULT: usize = 16 * MIB;
/// Bytes of an operation frame, the highest that can be configured (`docs/protocol/sync.md`).
pub const OPERATION_BYTES_MAX: usize = 128 * MIB;
/// Bytes of a Have frame (`docs/protocol/sync.md`).
pub const HAVE_BYTES_MAX: usize = 8 * MIB;
/// Bytes of a Digest frame (`docs/protocol/digest.md`).
pub const DIGEST_BYTES_MAX: usize = KIB;
/// Bytes of a handshake or control frame (`docs/protocol/sync.md`).
pub const CONTROL_BYTES_MAX: usize = 64 * KIB;
/// Bytes of a discovery frame (`docs/protocol/discovery.md`).
pub const DISCOVERY_BYTES_MAX: usize = MIB;
/// Topic hashes in a discovery message (`docs/protocol/discovery.md`).
pub const DISCOVERY_HASHES_MAX: usize = 4096;
/// Node records in a discovery message (`docs/protocol/discovery.md`).
pub const DISCOVERY_RECORDS_MAX: usize = 4096;
/// Addresses in all records of a discovery message together (`docs/protocol/discovery.md#10`).
pub const DISCOVERY_ADDRESSES_MAX: usize = 8192;
/// Node records in a discovery message that we send (`docs/protocol/discovery.md#10`).
pub const DISCOVERY_RECORDS_SENT_MAX: usize = 512;
/// Bytes of the records in a discovery message that we send (`docs/protocol/discovery.md#10`).
pub const DISCOVERY_BYTES_SENT_MAX: usize = 256 * KIB;

// The budget of what peers make us hold (`docs/protocol/network.md#11`).

/// Bytes of the budget unless configured otherwise.
pub const BUDGET_BYTES_DEFAULT: usize = 64 * MIB;
/// Bytes of the budget of a node that serves many.
pub const BUDGET_BYTES_SERVER: usize = 512 * MIB;
/// The budget has room for this many of the largest operations at least.
pub const BUDGET_OPERATIONS_MIN: usize = 2;
/// One peer has this part of the budget.
pub const BUDGET_PEER_PART: usize = 8;
/// The peers that have proved nothing have this part of it together, the reserve set aside.
pub const BUDGET_UNPROVEN_PART: usize = 2;
/// An address prefix has this part of what they have.
pub const BUDGET_PREFIX_PART: usize = 2;
/// While less than this part of it is free, the reserve set aside, nothing more is read: other charges
/// come on top of what was read.
pub const BUDGET_UNREAD_PART: usize = 8;
/// Connections, windows and operations that wait leave this part of it free, the reserve set aside:
/// for the little that every session may hold, and for connections of our own.
pub const BUDGET_UNASKED_PART: usize = 16;
/// Early and waiting operations have this part of every share.
pub const BUDGET_KEPT_PART: usize = 4;
/// Open connections have this part of every share.
pub const BUDGET_CONNECTIONS_PART: usize = 2;
/// What the gossip layer keeps of its neighbours' messages has this part of the budget, and of a
/// peer's share.
pub const BUDGET_GOSSIP_PART: usize = 2;
/// What connections may send beyond their first window has this part of every share.
pub const BUDGET_WINDOWS_PART: usize = 8;
/// Bytes that a session may hold whatever else is held: small messages always flow.
pub const BUDGET_SESSION_BYTES_MIN: usize = 4 * KIB;
/// Bytes that a session reads at once, at most.
pub const READ_BYTES_MAX: usize = 64 * KIB;
/// Bytes in [`PROGRESS_TIMEOUT`] that a peer over its share, and the one whose turn it is, must
/// move not to be closed: 64 B/s.
pub const PROGRESS_BYTES_MIN: u64 = 64 * 30;
/// How often the budget looks at who makes no progress.
pub const BUDGET_TICK: Duration = Duration::from_millis(500);
/// The same while all peers together hold so little that none can be over its share: an idle node
/// rests.
pub const BUDGET_REST: Duration = Duration::from_secs(2);
/// How long a turn may take while others wait for theirs.
pub const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// The same for a peer that is proven.
pub const TURN_TIME_PROVEN_MAX: Duration = Duration::from_secs(60);
/// How long a share of many may be used up before the peers that hold most of it without moving
/// it are closed.
pub const BUDGET_PRESSURE_TIME: Duration = Duration::from_secs(1);

// Connections (`docs/protocol/network.md#11`).

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

// Sync sessions.

/// Bytes that a session sends before the peer has taken them, at most (`docs/protocol/sync.md#10`).
pub const SEND_WINDOW_BYTES: usize = MIB / 2;

/// Incoming sessions per peer and topic (`docs/protocol/sync.md`).
pub const SESSIONS_PER_TOPIC_MAX: usize = 64;
/// Incoming sessions per peer (`docs/protocol/sync.md`).
pub const SESSIONS_PER_PEER_MAX: usize = 1024;
/// Operations that a session remembers to skip repeats (`docs/protocol/sync.md#7`).
pub const SEEN_IDS_MAX: usize = 1024;
/// Bodies that one message asks for or answers about (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_MAX: usize = 512;
/// Bodies that a session remembers to send to its peer once they come
/// (`docs/protocol/digest.md#5`).
pub const BODIES_OWED_MAX: usize = 4096;
/// When a peer that lacked bodies is asked for them again, at first
/// (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_AGAIN_FIRST: Duration = Duration::from_secs(60);
/// The longest time until then, after doubling (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_AGAIN_MAX: Duration = Duration::from_secs(60 * 60);
/// How long only one session of a topic asks for bodies (`docs/protocol/digest.md#5`).
pub const BODIES_TURN: Duration = Duration::from_secs(2);
/// When a peer that sent a header without its body again is told a lower height again, at first
/// (`docs/protocol/sync.md#5`).
pub const HEIGHT_LOWERED_AGAIN_FIRST: Duration = Duration::from_secs(60 * 60);
/// The longest time until then, after doubling (`docs/protocol/sync.md#5`).
pub const HEIGHT_LOWERED_AGAIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Logs of a peer and topic for which that is remembered (`docs/protocol/sync.md#5`).
pub const HEIGHTS_LOWERED_MAX: usize = 1024;
/// How long a header is held back whose body is wanted (`docs/protocol/sync.md#6`).
pub const HEADER_HELD_BACK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a handshake may take (`docs/protocol/sync.md`).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer has for [`PROGRESS_BYTES`] in catch-up or within a frame
/// (`docs/protocol/sync.md#8`).
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that move at least in that time: 64 per second (`docs/protocol/sync.md#8`).
pub const PROGRESS_BYTES: usize = 64 * 30;
/// Bytes per second that a session in catch-up must bring to count as in progress, over
/// [`PROGRESS_TIMEOUT`] (`docs/protocol/streams.md#6`).
pub const PROGRESS_BYTES_PER_SECOND_MIN: u64 = 64;
/// Logs that are new here and that an untrusted peer brings to a topic at once
/// (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_MAX: u32 = 10_000;
/// New logs that it brings in a second from then on (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_PER_SECOND: u32 = 500;
/// New logs that all untrusted peers bring to a topic at once (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_OF_ALL_MAX: u32 = 10_000;
/// New logs that they bring in a second from then on (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_OF_ALL_PER_SECOND: u32 = 500;
/// New logs of a peer that do not count among those of all (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_FREE: u32 = 100;
/// How many of these come back to it in a second (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_FREE_PER_SECOND: u32 = 1;
/// How long the larger node id waits for the smaller one to dial (`docs/protocol/sync.md`).
pub const SECOND_DIAL_DELAY: Duration = Duration::from_secs(2);
/// How long a live session waits for the peer's answer to Close (`docs/protocol/sync.md`).
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Invalid operations of a peer after which it is slowed (`docs/protocol/sync.md#5`).
pub const INVALID_AT_ONCE_MAX: usize = 100;
/// Invalid operations of a slowed peer in a second (`docs/protocol/sync.md#5`).
pub const INVALID_PER_SECOND: usize = 10;
/// A large invalid operation counts once more for each of these that came of it
/// (`docs/protocol/sync.md#5`).
pub const INVALID_BYTES: usize = 64 * KIB;
/// Invalid operations of all slowed peers in a second (`docs/protocol/sync.md#5`).
pub const INVALID_SHARED_PER_SECOND: usize = 500;

// Discovery and addresses.

/// Accepted discovery sessions at a time (`docs/protocol/discovery.md`).
pub const DISCOVERY_SESSIONS_MAX: usize = 32;
/// How long a discovery session may take (`docs/protocol/discovery.md`).
pub const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// How far ahead of our clock a signed record may be (`docs/protocol/network.md`).
pub const RECORD_AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
/// How long an address record is kept without being confirmed (`docs/protocol/network.md`).
pub const RECORD_KEPT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long an address record is passed on without being confirmed
/// (`docs/protocol/network.md`).
pub const RECORD_SHARED_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How old our own address record gets before we sign it again, so that others keep passing it on
/// (`docs/protocol/network.md`).
pub const RECORD_RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Bytes of one record in the form that travels (`docs/protocol/network.md#4`).
pub const RECORD_BYTES_MAX: usize = 2 * KIB;
/// Addresses in one record (`docs/protocol/network.md#4`).
pub const RECORD_ADDRESSES_MAX: usize = 64;
/// Socket addresses that our own record names, and those of a record of others that are ever
/// dialled (`docs/protocol/network.md#4`).
pub const RECORD_SOCKETS_USED_MAX: usize = 8;
/// Relays that our own record names (`docs/protocol/network.md#4`).
pub const RECORD_RELAYS_USED_MAX: usize = 2;
/// Bytes of a relay URL or of a custom address in a record (`docs/protocol/network.md`).
pub const RECORD_ADDRESS_BYTES_MAX: usize = 512;
/// Records of others that a peer is told beside those of shared topics
/// (`docs/protocol/discovery.md`).
pub const RECORDS_SAMPLE: usize = 16;
/// Characters of the user data in an mDNS announcement (`docs/protocol/network.md`).
pub const MDNS_USER_DATA_BYTES_MAX: usize = 245;
/// Nodes in the address book, those of the configuration beside them
/// (`docs/protocol/network.md`).
pub const BOOK_NODES_MAX: usize = 10_000;
/// Bytes of the address book in memory, those of the configuration counted with it; the stored form
/// takes less (`docs/protocol/network.md#3`).
pub const BOOK_BYTES_MAX: usize = 6 * MIB;
/// Nodes that are remembered as having told us one record (`docs/protocol/network.md#3`).
pub const RECORD_TELLERS_MAX: usize = 3;
/// Entries of the stored address book that are read at once (`docs/protocol/network.md#3`).
pub const BOOK_PAGE_ROWS_MAX: usize = 256;
/// Bytes of the stored address book that are read at once; one entry is always read
/// (`docs/protocol/network.md#3`).
pub const BOOK_PAGE_BYTES_MAX: usize = 256 * KIB;
/// How long a node that could not be reached is left alone (`docs/protocol/network.md`).
pub const STALE_RETRY: Duration = Duration::from_secs(10 * 60);
/// Datagrams that ask an address for a sign of life before it has answered
/// (`docs/protocol/network.md#5`).
pub const KNOCKS_MAX: usize = 2;
/// Bytes of such a datagram: fewer are not answered (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES: usize = 1200;
/// How long an address may take to answer (`docs/protocol/network.md#5`).
pub const KNOCK_TIMEOUT: Duration = Duration::from_millis(2500);
/// Bytes sent in a minute to addresses that one node told us and that have not answered
/// (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_PER_TELLER_MAX: usize = 20_000;
/// The same of all nodes that have proved nothing (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_OF_STRANGERS_MAX: usize = 60_000;
/// The same of all nodes (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_PER_MINUTE_MAX: usize = 100_000;
/// How long an address that has not answered is left alone; doubled after each further attempt
/// (`docs/protocol/network.md#5`).
pub const KNOCK_REST_MIN: Duration = Duration::from_secs(60);
/// The longest such rest (`docs/protocol/network.md#5`).
pub const KNOCK_REST_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// Addresses that have not answered and are remembered for it (`docs/protocol/network.md#5`).
pub const KNOCKS_REMEMBERED_MAX: usize = 16_384;
/// How long a node is not dialled after another one answered at its address: so long iroh would
/// send each dial there as well (`docs/protocol/network.md#5`).
pub const WRONG_NODE_REST: Duration = Duration::from_secs(75);
/// Discovery sessions with one peer in a minute, in each direction
/// (`docs/protocol/discovery.md`).
pub const DISCOVERY_SESSIONS_PER_MINUTE_MAX: usize = 30;

// Gossip.

/// Bytes of an ephemeral message that we accept (`docs/protocol/operations.md#8`).
pub const EPHEMERAL_BYTES_MAX: usize = 4096;
/// Bytes of a gossip payload that we send; gossip loses larger ones without a word
/// (`docs/protocol/network.md`).
pub const GOSSIP_PAYLOAD_BYTES_MAX: usize = 4057;
/// How long the gossip layer keeps a message, for neighbours that miss it
/// (`docs/protocol/network.md`).
pub const GOSSIP_CACHE_TIME: Duration = Duration::from_secs(10);
/// How long the gossip layer remembers which messages it had: longer than any of them takes to come
/// round again over slow links (`docs/protocol/network.md`).
pub const GOSSIP_ID_TIME: Duration = Duration::from_secs(30);
/// What a message costs the gossip layer beside its payload.
pub const GOSSIP_MESSAGE_BYTES: usize = 768;
/// How long a repeated ephemeral message is recognised (`docs/protocol/network.md`).
pub const GOSSIP_REPEAT_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Ephemeral messages remembered to recognise repeats (`docs/protocol/network.md`).
pub const GOSSIP_REPEATS_MAX: usize = 16_384;
/// Unidirectional streams that a gossip peer is sure to be allowed, however many overlays we are in
/// (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_MAX: u32 = 4096;
/// The same for a peer that proved nothing (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_UNPROVEN_MAX: u32 = 2048;
/// What each of these streams adds to the window of its connection, and to its charge: the messages
/// of an overlay that is joined. The gossip layers of two nodes wait for each other for good if what
/// they say when they meet does not fit (`docs/protocol/network.md`).
pub const GOSSIP_STREAM_BYTES: usize = KIB / 2;
/// What all streams of a gossip connection add at most.
pub const GOSSIP_STREAMS_BYTES_MAX: usize = MIB / 2;
/// Streams beside one for each overlay that we were in (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_SPARE: u32 = 32;
/// Overlays shared with a peer of the published 0.7.1 (`docs/protocol/network.md`).
pub const GOSSIP_OVERLAYS_PUBLISHED_MAX: usize = 90;

// The engine.

/// Operations of a topic that are kept in memory after their commit
/// (`docs/protocol/streams.md#8`).
pub const RECENT_OPERATIONS_MAX: usize = 64;

/// Header and body bytes of them.
pub const RECENT_BYTES_MAX: usize = 32 * 1024;

/// Operations in one transaction (`docs/protocol/streams.md`).
pub const BATCH_OPERATIONS_MAX: usize = 1000;
/// Bytes of headers and bodies in one transaction (`docs/protocol/streams.md`).
pub const BATCH_BYTES_MAX: usize = 4 * MIB;
/// Operations from elsewhere in a transaction that this node's own publishes and acks wait for
/// (`docs/protocol/streams.md#8`).
pub const BESIDE_OWN_OPERATIONS_MAX: usize = 256;
/// Their bytes (`docs/protocol/streams.md#8`).
pub const BESIDE_OWN_BYTES_MAX: usize = MIB;
/// Operations of an earlier version that are looked through for missing bodies in one step
/// (`docs/protocol/streams.md#4`).
pub const BODIES_SCAN_STEP_ROWS_MAX: usize = 1000;
/// Batches between two steps of long work (`docs/protocol/streams.md#2`).
pub const BATCHES_PER_STEP_MAX: usize = 16;
/// Time between two steps of long work (`docs/protocol/streams.md#2`).
pub const STEP_WAIT: Duration = Duration::from_secs(1);
/// Pruned operations that are deleted in one transaction (`docs/protocol/streams.md#5`).
pub const PRUNE_ROWS_MAX: usize = 512;
/// Bytes of headers and bodies of them, if they are more than one (`docs/protocol/streams.md#5`).
pub const PRUNE_BYTES_MAX: u64 = 1024 * 1024;
/// Free pages of the database that are given back in one step (`docs/protocol/streams.md#5`).
pub const SHRINK_STEP_PAGES_MAX: u32 = 128;
/// How long free pages stay in the database (`docs/protocol/streams.md#5`).
pub const SHRINK_WAIT: Duration = Duration::from_secs(5);
/// Operations of all topics that wait for an earlier one of their log
/// (`docs/protocol/streams.md#4`).
pub const EARLY_OPERATIONS_MAX: usize = 10_000;
/// Header and body bytes of all topics that wait for an earlier operation of their log
/// (`docs/protocol/streams.md#4`).
pub const EARLY_BYTES_MAX: usize = 16 * MIB;
/// Rejected operations of a topic that are kept as rows (`docs/protocol/streams.md`).
pub const REJECTED_ROWS_MAX: usize = 10_000;
/// Header bytes of a rejected operation that its row keeps, the first ones
/// (`docs/protocol/streams.md`).
pub const REJECTED_HEADER_BYTES_MAX: usize = 4 * KIB;
/// Header bytes of a topic's rejected operations (`docs/protocol/streams.md`).
pub const REJECTED_BYTES_MAX: usize = 16 * MIB;
/// How long an operation waits for a dependency after catch-up
/// (`docs/protocol/operations.md#7`).
pub const DEPENDENCY_WAIT: Duration = Duration::from_secs(5);
/// How long an operation waits for a dependency in any case (`docs/protocol/streams.md#6`).
pub const DEPENDENCY_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Logs of all topics that wait for a dependency at the same time
/// (`docs/protocol/streams.md#6`).
pub const WAITING_LOGS_MAX: usize = 16_384;
/// How long publishes wait for peers that claim to know more of our log than we do and do not
/// show it, all such peers together (`docs/protocol/streams.md#16`).
pub const OWN_LOG_WAIT: Duration = Duration::from_secs(10);
/// How long a peer has to show an operation of our log after it claimed to have one
/// (`docs/protocol/streams.md#16`).
pub const OWN_LOG_SHOW_WAIT: Duration = Duration::from_secs(2);
/// How long publishes wait at most for a session that keeps showing more of our log
/// (`docs/protocol/streams.md#16`).
pub const OWN_LOG_SHOWN_MAX: Duration = Duration::from_secs(10 * 60);
