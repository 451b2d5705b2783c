//! Discovery and addresses.

use core::time::Duration;

use super::{KIB, MIB};

/// Accepted discovery sessions at a time (`docs/protocol/discovery.md`).
pub const DISCOVERY_SESSIONS_MAX: usize = 32;
/// The same for proven peers, in places of their own (`docs/protocol/discovery.md#10`).
pub const DISCOVERY_SESSIONS_PROVEN_MAX: usize = 16;
/// Maximum time of a discovery session (`docs/protocol/discovery.md`).
pub const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum difference between our clock and a signed record that others tell, or a clock that is
/// right (`docs/protocol/network.md#4`).
pub const RECORD_AHEAD_MAX: Duration = Duration::from_secs(10 * 60);
/// Time for which an address record is kept without being confirmed (`docs/protocol/network.md`).
pub const RECORD_KEPT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Time for which a node is kept on trial whose signed time is older than that: it has to be
/// reached meanwhile (`docs/protocol/network.md#3`).
pub const RECORD_TRIAL: Duration = Duration::from_secs(24 * 60 * 60);
/// Minimum age of the time that a node signed and hands over itself for its clock to be behind
/// (`docs/protocol/network.md#4`).
pub const CLOCK_BEHIND_MIN: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Time for which an address record is forwarded without being confirmed
/// (`docs/protocol/network.md`).
pub const RECORD_SHARED_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// Age at which we sign our own address record again, so that others keep passing it on
/// (`docs/protocol/network.md`).
pub const RECORD_RENEWED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Interval at which our own record is checked without an event: it may have grown old, or a later
/// one from before a restore may have turned up (`docs/protocol/network.md#3`).
pub const RECORD_CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Time of the first check, unless it is needed sooner: when the start is over.
pub const RECORD_FIRST_CHECK_DELAY: Duration = Duration::from_secs(1);
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
/// Records of others that a peer is told next to those of shared topics
/// (`docs/protocol/discovery.md`).
pub const RECORDS_SAMPLE: usize = 16;
/// Characters of the user data in an mDNS announcement (`docs/protocol/network.md`).
pub const MDNS_USER_DATA_BYTES_MAX: usize = 245;
/// Bytes of a packet of multicast DNS, so that it is never cut (`docs/protocol/network.md#5`).
pub const MDNS_PACKET_BYTES_MAX: usize = 1_472;
/// Interfaces on which a node looks for others (`docs/protocol/network.md#5`).
pub const MDNS_INTERFACES_MAX: usize = 32;
/// Time for which an interface whose socket failed is left alone (`docs/protocol/network.md#5`).
pub const MDNS_RETRY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a host name: the most that DNS knows (`docs/protocol/network.md#5`).
pub const HOST_NAME_BYTES_MAX: usize = 253;
/// Bytes of a host name between two dots: the most that DNS knows.
pub const HOST_LABEL_BYTES_MAX: usize = 63;
/// Time for which a host name is left alone at first whose addresses do not answer, or that has
/// none (`docs/protocol/network.md#5`).
pub const NAME_RETRY_FIRST: Duration = Duration::from_secs(5);
/// The longest such wait: it doubles each time.
pub const NAME_RETRY_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest wait before the first query (`docs/protocol/network.md#5`).
pub const MDNS_FIRST_QUERY_WAIT_MS: u64 = 120;
/// The wait before the next query, which doubles while nothing new is heard
/// (`docs/protocol/network.md#5`).
pub const MDNS_QUERY_WAIT_MIN_MS: u64 = 700;
/// The longest wait before a query (`docs/protocol/network.md#5`).
pub const MDNS_QUERY_WAIT_MAX_MS: u64 = 120_000;
/// The random part of that wait, for each node that was heard (`docs/protocol/network.md#5`).
pub const MDNS_QUERY_WAIT_PER_NODE_MS: u64 = 70;
/// The random wait before an answer, for each node that was heard (`docs/protocol/network.md#5`).
pub const MDNS_ANSWER_WAIT_PER_NODE_MS: u64 = 50;
/// By how much more a node waits that answered the last time, and the most of it
/// (`docs/protocol/network.md#5`).
pub const MDNS_ANSWER_WAIT_STEP_MS: u64 = 100;
/// Answers of others after which a node does not answer itself (`docs/protocol/network.md#5`).
pub const MDNS_ANSWERS_MAX: usize = 2;
/// Maximum time for which a node stays silent for that (`docs/protocol/network.md#5`).
pub const MDNS_SILENT_MAX_MS: u64 = 60_000;
/// The shortest time between two announcements (`docs/protocol/network.md#5`).
pub const MDNS_ANNOUNCE_INTERVAL_MS: u64 = 500;
/// Announcements that nobody asked for, when what is announced has changed
/// (`docs/protocol/network.md#5`).
pub const MDNS_UNASKED: u8 = 2;
/// The time between them, and the first one before a packet that could not be sent is sent again
/// (`docs/protocol/network.md#5`).
pub const MDNS_UNASKED_INTERVAL_MS: u64 = 1_000;
/// Time for which a query counts as the echo of our own (`docs/protocol/network.md#5`).
pub const MDNS_ECHO_MS: u64 = 250;
/// Nodes that are counted on an interface (`docs/protocol/network.md#5`).
pub const MDNS_NODES_MAX: usize = 256;
/// Packets that are examined in a second, for each interface and family; as many may come at once
/// (`docs/protocol/network.md#5`).
pub const MDNS_PACKETS_PER_SECOND: u32 = 200;
/// Nodes in the address book, those of the configuration next to them (`docs/protocol/network.md`).
pub const BOOK_NODES_MAX: usize = 10_000;
/// Bytes of the address book in memory, those of the configuration counted with it; the stored
/// form takes less (`docs/protocol/network.md#3`).
pub const BOOK_BYTES_MAX: usize = 6 * MIB;
/// Nodes that are remembered as having told us one record (`docs/protocol/network.md#3`).
pub const RECORD_TELLERS_MAX: usize = 3;
/// Entries of the stored address book that are read at once (`docs/protocol/network.md#3`).
pub const BOOK_PAGE_ROWS_MAX: usize = 256;
/// Bytes of the stored address book that are read at once; one entry is always read
/// (`docs/protocol/network.md#3`).
pub const BOOK_PAGE_BYTES_MAX: usize = 256 * KIB;
/// Time for which changes of the address book gather before they are stored.
pub const BOOK_STORE_DELAY: Duration = Duration::from_secs(2);
/// Interval at which old entries are dropped, if nothing changes.
pub const BOOK_EXPIRE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Time for which a node that could not be reached is left alone (`docs/protocol/network.md`).
pub const STALE_RETRY: Duration = Duration::from_secs(10 * 60);
/// Datagrams that ask an address for a sign of life before it has answered
/// (`docs/protocol/network.md#5`).
pub const KNOCKS_MAX: usize = 2;
/// Bytes of such a datagram: fewer are not answered (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES: usize = 1200;
/// Time that an address has to answer (`docs/protocol/network.md#5`).
pub const KNOCK_TIMEOUT: Duration = Duration::from_millis(2500);
/// Time between two such datagrams to one address (`docs/protocol/network.md#5`).
pub const KNOCK_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes sent in a minute to addresses that one node told us and that have not answered
/// (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_PER_TELLER_MAX: usize = 20_000;
/// The same of all nodes that have proved nothing (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_OF_STRANGERS_MAX: usize = 60_000;
/// The same of all nodes (`docs/protocol/network.md#5`).
pub const KNOCK_BYTES_PER_MINUTE_MAX: usize = 100_000;
/// Time for which an address that has not answered is left alone; doubled after each further
/// attempt (`docs/protocol/network.md#5`).
pub const KNOCK_REST_MIN: Duration = Duration::from_secs(60);
/// The longest such rest (`docs/protocol/network.md#5`).
pub const KNOCK_REST_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// Addresses that have not answered and are remembered for it (`docs/protocol/network.md#5`).
pub const KNOCKS_REMEMBERED_MAX: usize = 16_384;
/// Time for which a node is not dialled after another one answered at its address: so long iroh
/// would send each dial there as well (`docs/protocol/network.md#5`).
pub const WRONG_NODE_REST: Duration = Duration::from_secs(75);
/// Discovery sessions with one peer in a minute, in each direction
/// (`docs/protocol/discovery.md`).
pub const DISCOVERY_SESSIONS_PER_MINUTE_MAX: usize = 30;
/// Walkers of a node (`docs/protocol/discovery.md#6`).
pub const DISCOVERY_WALKERS: usize = 2;
/// Records that are checked before other tasks get their turn; each may cost a signature check.
pub const DISCOVERY_RECORDS_AT_ONCE: usize = 32;
/// Shortest time between two sessions with one peer (`docs/protocol/discovery.md#6`).
pub const WALK_GAP_MIN: Duration = Duration::from_secs(1);
/// The same when something changed since that others should hear of
/// (`docs/protocol/discovery.md#6`).
pub const WALK_GAP_AFTER_RESET_MIN: Duration = Duration::from_millis(10);
/// The same after a session that brought nothing (`docs/protocol/discovery.md#6`).
pub const WALK_GAP_AFTER_NOTHING_MIN: Duration = Duration::from_secs(30);
/// Minimum growth of a walker's wait after a session that taught little
/// (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_STEP_MIN: Duration = Duration::from_millis(1_000);
/// The same, at most (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_STEP_MAX: Duration = Duration::from_millis(4_999);
/// The longest wait of a walker between sessions (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The same after a session that failed: the peer may be back any moment
/// (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_FAILED_MAX: Duration = Duration::from_secs(10);
/// Minimum time after which a walker's wait drops to nothing (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_RESET_MIN: Duration = Duration::from_secs(60);
/// The same, at most (`docs/protocol/discovery.md#6`).
pub const WALK_BACKOFF_RESET_MAX: Duration = Duration::from_secs(180);
/// Wait of a walker when there is nobody to visit (`docs/protocol/discovery.md#6`).
pub const WALK_NOBODY_WAIT: Duration = Duration::from_secs(2);
/// Rest of a walker that learned nothing, while no topic lacks a session: at first, and at most
/// (`docs/protocol/discovery.md#6`).
pub const WALK_REST_MIN: Duration = Duration::from_secs(5 * 60);
/// Time after its visit at which a node is visited that shared no topic; then twice as long, and
/// again (`docs/protocol/discovery.md#6`).
pub const REVISIT_WAIT: Duration = Duration::from_secs(5);
/// Visits to a node that came and shares no topic (`docs/protocol/discovery.md#6`).
pub const REVISITS_MAX: u32 = 3;
/// Nodes that are to be visited for that reason (`docs/protocol/discovery.md#6`).
pub const REVISITED_NODES_MAX: usize = 32;
/// See [`WALK_REST_MIN`].
pub const WALK_REST_MAX: Duration = Duration::from_secs(60 * 60);
