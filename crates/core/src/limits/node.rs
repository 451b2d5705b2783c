//! The node around engine and network.

use core::time::Duration;

use super::{KIB, MIB};

/// Bytes that wait for the engine in each of its two lanes; anyone who brings more waits, and with
/// it the QUIC stream that it reads from (`docs/protocol/streams.md#8`).
pub const QUEUE_LANE_BYTES_MAX: usize = 16 * MIB;
/// The same for peers that are not trusted, no matter who they are together: others do not queue
/// behind them (`docs/protocol/sync.md#10`).
pub const QUEUE_UNTRUSTED_BYTES_MAX: usize = 2 * MIB;
/// Operations that are recognised by their ids, in all topics together, at 41 bytes in twice as many
/// places (`docs/protocol/sync.md#5`).
pub const KNOWN_OPERATIONS_MAX: usize = 16_384;
/// Copies of operations of which it is remembered who brought them and when, in all topics together, at
/// 16 bytes and 32 for each batch that they came in (`docs/guide/observe.md`).
pub const TRACED_COPIES_MAX: usize = 200_000;
/// The newest operations that are looked at to find one by its id (`docs/guide/observe.md`).
pub const TRACED_OPERATIONS_MAX: usize = 100_000;
/// Records of the address book that wait to be stored; one that finds no room is stored when it
/// changes again (`docs/protocol/streams.md#8`).
pub const ADDRESSES_QUEUED_MAX: usize = 1_024;
/// Operations of an import that are verified and queued at once.
pub const IMPORT_BATCH_OPERATIONS_MAX: usize = 512;
/// Bytes of them; one operation may have more.
pub const IMPORT_BATCH_BYTES_MAX: usize = MIB;
/// Requests of the network that wait to be taken; then its sessions stop reading.
pub const NETWORK_REQUESTS_MAX: usize = 256;
/// Events of the node that a slow listener may fall behind (`docs/protocol/streams.md#9.3`).
pub const EVENTS_MAX: usize = 1_024;
/// Time in which a keychain must show that it keeps secrets without a person
/// (`docs/protocol/at-rest.md#2`).
pub const KEYCHAIN_ANSWER_WAIT: Duration = Duration::from_secs(2);
/// Time in which a person must unlock the keychain.
pub const KEYCHAIN_UNLOCK_WAIT: Duration = Duration::from_secs(60);
/// Time that peers have at shutdown to end their sessions (`docs/protocol/streams.md#14`).
pub const SHUTDOWN_LEAVE_WAIT: Duration = Duration::from_millis(700);

/// Read-only connections to the database that are open at once, as many as there are processors up to
/// this; more readers wait.
pub const READER_CONNECTIONS_MAX: usize = 4;
/// The same where there is one processor: a read that waits for the disk holds up no other.
pub const READER_CONNECTIONS_MIN: usize = 2;
/// Rows, written a moment ago, that are read in place: that takes less time than the way to
/// another thread and back.
pub const READ_IN_PLACE_ROWS_MAX: u64 = 16;
/// Rows of a page that a session reads for a peer.
pub const SESSION_PAGE_ROWS_MAX: usize = 1_024;
/// Topics of a page of those that a directory holds.
pub const TOPICS_PAGE_ROWS: usize = 1_000;
/// Messages of a page that a subscription reads; it holds two pages
/// (`docs/protocol/streams.md#9.1`).
pub const FEED_PAGE_ROWS_MAX: usize = 512;
/// Bytes of such a page (`docs/protocol/streams.md#9.1`).
pub const FEED_PAGE_BYTES_MAX: usize = 256 * KIB;
/// Pages of a consumer that is behind of which it remembers, per topic, how far the feed reached when
/// they were read (`docs/protocol/consumers.md#9`).
pub const CONSUMER_SIGHTS_MAX: usize = 64;
/// Rejected operations, and forks, that the application is given at once.
pub const EVIDENCE_PAGE_ROWS_MAX: usize = 1_000;
/// Time for which automatic acknowledgements gather. What was acknowledged within this time before
/// a crash comes again (`docs/protocol/streams.md#10`).
pub const ACKS_GATHER_DELAY: Duration = Duration::from_millis(20);
/// Peers of which a node remembers, in each topic, what they have of its own log
/// (`docs/protocol/streams.md#19`).
pub const RECEIPT_PEERS_MAX: usize = 1_024;
/// Interval at which a node that waits for the last acknowledgement before it stops checks who has
/// a session.
pub const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of the name of a consumer (`docs/protocol/consumers.md#1`).
pub const CONSUMER_NAME_BYTES_MAX: usize = 128;
/// Topics of a consumer (`docs/protocol/consumers.md#1`).
pub const CONSUMER_TOPICS_MAX: usize = 10_000;
/// Readers of a consumer at the same time (`docs/protocol/consumers.md#7`).
pub const CONSUMER_READERS_MAX: usize = 64;
/// Authors of a consumer's filter (`docs/protocol/consumers.md#8`).
pub const CONSUMER_AUTHORS_MAX: usize = 1_000;
/// Logs of a consumer's filter (`docs/protocol/consumers.md#8`).
pub const CONSUMER_LOGS_MAX: usize = 1_000;
/// Heights that a consumer skips (`docs/protocol/consumers.md#5`).
pub const CONSUMER_HEIGHTS_MAX: usize = 100_000;
/// After which a message comes again that was not settled, unless it is said otherwise
/// (`docs/protocol/consumers.md#1`).
pub const CONSUMER_WAIT_DEFAULT: Duration = Duration::from_secs(30);
/// The shortest such time (`docs/protocol/consumers.md#1`).
pub const CONSUMER_WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest such time, and the longest delay (`docs/protocol/consumers.md#1`).
pub const CONSUMER_DELAY_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Delays of a backoff (`docs/protocol/consumers.md#1`).
pub const CONSUMER_BACKOFF_MAX: usize = 16;
/// Deliveries after which a message is a dead letter (`docs/protocol/consumers.md#1`).
pub const CONSUMER_DELIVERIES_MAX: u32 = 1_000;
/// Messages of a consumer that are not settled (`docs/protocol/consumers.md#1`).
pub const CONSUMER_IN_FLIGHT_MAX: usize = 10_000;
/// The same, unless it is said otherwise (`docs/protocol/consumers.md#1`).
pub const CONSUMER_IN_FLIGHT_DEFAULT: usize = 1_000;
/// Dead letters of a consumer; it pauses then (`docs/protocol/consumers.md#6`).
pub const CONSUMER_DEAD_MAX: u64 = 10_000;
/// Bytes of the reason of one (`docs/protocol/consumers.md#2`).
pub const CONSUMER_REASON_BYTES_MAX: usize = 512;
/// Messages of a batch (`docs/protocol/consumers.md#10`).
pub const CONSUMER_BATCH_MAX: usize = 10_000;
/// Bytes of a batch, unless its first message is larger (`docs/protocol/consumers.md#10`).
pub const CONSUMER_BATCH_BYTES_MAX: usize = 64 * MIB;
/// The shortest time after which a consumer is deleted that nobody has open
/// (`docs/protocol/consumers.md#11`).
pub const CONSUMER_INACTIVE_MIN: Duration = Duration::from_secs(1);
/// The longest such time (`docs/protocol/consumers.md#11`).
pub const CONSUMER_INACTIVE_MAX: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);
/// Interval at which the time for which nobody had a consumer open is stored, about
/// (`docs/protocol/consumers.md#11`).
pub const CONSUMER_IDLE_STORED_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// Consumers and dead letters of a page (`docs/protocol/consumers.md#11`).
pub const CONSUMER_PAGE_ROWS: usize = 1_000;
