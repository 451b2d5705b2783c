//! The engine.

use core::time::Duration;

use super::{KIB, MIB};

/// Operations of a topic that are kept in memory after their commit
/// (`docs/protocol/streams.md#8`).
pub const RECENT_OPERATIONS_MAX: usize = 64;

/// Header and body bytes of them.
pub const RECENT_BYTES_MAX: usize = 32 * 1024;

/// Operations in one transaction (`docs/protocol/streams.md`).
pub const BATCH_OPERATIONS_MAX: usize = 1000;
/// Bytes of headers and bodies in one transaction (`docs/protocol/streams.md`).
pub const BATCH_BYTES_MAX: usize = 4 * MIB;
/// Operations that are published at once, all or nothing (`docs/protocol/streams.md#3`).
pub const PUBLISH_BATCH_OPERATIONS_MAX: usize = BATCH_OPERATIONS_MAX;
/// Bytes of their bodies (`docs/protocol/streams.md#3`).
pub const PUBLISH_BATCH_BYTES_MAX: usize = BATCH_BYTES_MAX;
/// Time for which an idempotency key is remembered, unless the application says otherwise
/// (`docs/protocol/streams.md#3`).
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(60 * 60);
/// Maximum number of them that are remembered, the newest ones; about 200 bytes of disk each
/// (`docs/protocol/streams.md#3`).
pub const IDEMPOTENCY_KEYS_MAX: u64 = 1_000_000;
/// Operations from elsewhere in a transaction that this node's own publishes and acks wait for
/// (`docs/protocol/streams.md#8`).
pub const BESIDE_OWN_OPERATIONS_MAX: usize = 256;
/// Their bytes (`docs/protocol/streams.md#8`).
pub const BESIDE_OWN_BYTES_MAX: usize = MIB;
/// Time for which the engine stays awake after a batch (`docs/protocol/streams.md#2`).
pub const ENGINE_AWAKE_MAX: Duration = Duration::from_micros(50);
/// Logs that the engine keeps in memory between batches; about 200 bytes each.
pub const KNOWN_LOGS_MAX: usize = 65_536;
/// Between two attempts to commit while the storage does not take anything, at first; the wait
/// doubles (`docs/protocol/streams.md#18`).
pub const STORAGE_RETRY_WAIT: Duration = Duration::from_millis(50);
/// The longest wait between two of them (`docs/protocol/streams.md#18`).
pub const STORAGE_RETRY_WAIT_MAX: Duration = Duration::from_secs(1);
/// Time for which a publish waits for the storage before it fails (`docs/protocol/streams.md#18`).
pub const PUBLISH_STORAGE_WAIT: Duration = Duration::from_secs(5);
/// Operations of an earlier version that are looked through for missing bodies in one step
/// (`docs/protocol/streams.md#4`).
pub const BODIES_SCAN_STEP_ROWS_MAX: usize = 1000;
/// Batches between two steps of long work (`docs/protocol/streams.md#2`).
pub const BATCHES_PER_STEP_MAX: usize = 16;
/// Time between two steps of long work (`docs/protocol/streams.md#2`).
pub const STEP_WAIT: Duration = Duration::from_secs(1);
/// Bodies of a branch that was given up that are published again in one transaction
/// (`docs/protocol/streams.md#16`).
pub const REPUBLISHED_ROWS_MAX: usize = 64;
/// Bytes of them, if they are more than one (`docs/protocol/streams.md#16`).
pub const REPUBLISHED_BYTES_MAX: usize = MIB;
/// Pruned operations that are deleted in one transaction (`docs/protocol/streams.md#5`).
pub const PRUNE_ROWS_MAX: usize = 512;
/// Bytes of headers and bodies of them, if they are more than one (`docs/protocol/streams.md#5`).
pub const PRUNE_BYTES_MAX: u64 = 1024 * 1024;
/// Time between two searches for content past its age (`docs/protocol/streams.md#22`).
pub const RETENTION_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two steps of deletion (`docs/protocol/streams.md#22`).
pub const RETENTION_STEP_WAIT: Duration = Duration::from_millis(20);
/// Topics that one step searches (`docs/protocol/streams.md#22`).
pub const RETENTION_TOPICS_STEP_MAX: usize = 64;
/// Free pages of the database that are given back in one step (`docs/protocol/streams.md#5`).
pub const SHRINK_STEP_PAGES_MAX: u32 = 128;
/// Stored operations that one transaction opens late, lets pass, or judges again, of each
/// (`docs/protocol/streams.md#8`).
pub const LATE_STEP_ROWS_MAX: usize = 256;
/// Their header and body bytes, if they are more than one (`docs/protocol/streams.md#8`).
pub const LATE_STEP_BYTES_MAX: usize = MIB;
/// Operations of which the plaintext is sealed or opened in one step, after the option changed
/// (`docs/protocol/at-rest.md#5`).
pub const PLAINTEXTS_STEP_ROWS_MAX: usize = 256;
/// Time for which the write-ahead log keeps what was forgotten, unless a reader is in the way
/// (`docs/protocol/at-rest.md#4`).
pub const FORGET_WAIT: Duration = Duration::from_secs(10);
/// Time for which free pages stay in the database (`docs/protocol/streams.md#5`).
pub const SHRINK_WAIT: Duration = Duration::from_secs(5);
/// Operations of all topics that wait for an earlier one of their log
/// (`docs/protocol/streams.md#4`).
pub const EARLY_OPERATIONS_MAX: usize = 10_000;
/// Header and body bytes of all topics that wait for an earlier operation of their log
/// (`docs/protocol/streams.md#4`).
pub const EARLY_BYTES_MAX: usize = 16 * MIB;
/// Logs, in all topics together, that are known not to go on here (`docs/protocol/streams.md#4.9`).
pub const BLOCKED_LOGS_MAX: usize = 4_096;
/// Time for which a peer of release 0.7.1 is not asked for a blocked log the first time
/// (`docs/protocol/streams.md#4.9`).
pub const BLOCKED_ASK_FIRST: Duration = Duration::from_secs(60 * 60);
/// Maximum of that time, which doubles (`docs/protocol/streams.md#4.9`).
pub const BLOCKED_ASK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Rejected operations of a topic that are kept as rows (`docs/protocol/streams.md`).
pub const REJECTED_ROWS_MAX: usize = 10_000;
/// Header bytes of a rejected operation that its row keeps, the first ones
/// (`docs/protocol/streams.md`).
pub const REJECTED_HEADER_BYTES_MAX: usize = 4 * KIB;
/// Header bytes of a topic's rejected operations (`docs/protocol/streams.md`).
pub const REJECTED_BYTES_MAX: usize = 16 * MIB;
/// Time for which an operation waits for a dependency after catch-up
/// (`docs/protocol/operations.md#7`).
pub const DEPENDENCY_WAIT: Duration = Duration::from_secs(5);
/// Maximum time for which an operation waits for a dependency in any case
/// (`docs/protocol/streams.md#6`).
pub const DEPENDENCY_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// Logs of all topics that wait for a dependency at the same time
/// (`docs/protocol/streams.md#6`).
pub const WAITING_LOGS_MAX: usize = 16_384;
/// Spans of arrival that are told apart for a log that waits; later arrivals share the last one.
pub const WAITING_SPANS_PER_LOG_MAX: usize = 32;
/// Ended catch-ups of a topic that are remembered; beyond it what waited for the oldest waits for
/// the next (`docs/protocol/streams.md#6`).
pub const CATCH_UP_ENDS_MAX: usize = 1_024;
/// Time for which publishes wait for peers that claim to know more of our log than we do and do
/// not show it, all such peers together (`docs/protocol/streams.md#16`).
pub const OWN_LOG_WAIT: Duration = Duration::from_secs(10);
/// Time that a peer has to show an operation of our log after it claimed to have one
/// (`docs/protocol/streams.md#16`).
pub const OWN_LOG_SHOW_WAIT: Duration = Duration::from_secs(2);
/// Maximum time for which publishes wait for a session that keeps showing more of our log
/// (`docs/protocol/streams.md#16`).
pub const OWN_LOG_SHOWN_MAX: Duration = Duration::from_secs(10 * 60);
/// Part of [`OWN_LOG_WAIT`] that is restored each hour, in one piece
/// (`docs/protocol/streams.md#16`).
pub const OWN_LOG_WAIT_PER_HOUR: Duration = Duration::from_secs(1);
/// Claims to our log in a topic that are remembered at the same time; beyond it an operation must
/// show what a peer has (`docs/protocol/streams.md#16`).
pub const OWN_LOG_CLAIMS_MAX: usize = 64;
/// Publishes of a topic that are held meanwhile; more are refused.
pub const OWN_LOG_HELD_OPERATIONS_MAX: usize = 1_024;
/// Body bytes of them.
pub const OWN_LOG_HELD_BYTES_MAX: usize = 16 * MIB;
/// Entries that an ordered consumer looks ahead past keys that are held
/// (`docs/protocol/consumers.md#7`).
pub const CONSUMER_AHEAD_MAX: usize = 10_000;
/// Entries between two points of the index of a feed by time (`docs/protocol/consumers.md#5`).
pub const FEED_TIME_ENTRIES_MAX: usize = 1_024;
/// Time between two of them, where something was delivered (`docs/protocol/consumers.md#5`).
pub const FEED_TIME_WAIT: Duration = Duration::from_secs(60 * 60);
