//! The store.

use core::time::Duration;

use super::{KIB, MIB};

/// Entries that are counted, of each log, of what was pruned before a consumer had settled it
/// (`docs/protocol/consumers.md#6`).
pub const PRUNED_COUNTED_MAX: usize = 10_000;
/// Places that are remembered of an operation that moved in the feed: the first and the newest
/// (`docs/protocol/streams.md#9.1`).
pub const FEED_MOVES_KEPT_MAX: usize = 16;
/// Rows of a page that is read from the store, unless it is asked for otherwise.
pub const PAGE_ROWS_DEFAULT: usize = 512;
/// Header and body bytes of such a page; its first row is in it no matter what its size.
pub const PAGE_BYTES_DEFAULT: usize = MIB;
/// Bytes from which a body is written and read by itself, in one buffer, which all who read it at the
/// same time share (`docs/protocol/sync.md#10`).
pub const LARGE_BODY_BYTES: usize = 256 * KIB;
/// Time for which the one that was read last is kept for others (`docs/protocol/sync.md#10`).
pub const LARGE_BODY_KEPT: Duration = Duration::from_secs(1);
/// Rows of pruned operations that a read skips before it stops (`docs/protocol/streams.md#5`).
pub const GARBAGE_PASSED_ROWS_MAX: usize = 512;
/// Acknowledgements that are folded into the prefix at a time; there can be more while much of the
/// feed before them is still to be deleted (`docs/protocol/streams.md#10`).
pub const FOLDED_ACKS_MAX: usize = 1_024;
/// Pairs of headers per log that are kept as evidence of a fork; one would do to prove it
/// (`docs/protocol/streams.md#4`).
pub const FORKS_PER_LOG_MAX: u32 = 16;
/// Logs whose heads are read in one transaction (`docs/protocol/ranges.md#2`).
pub const HEADS_PAGE_ROWS: usize = 4_096;
/// Authors that a reader of the database remembers; about 60 bytes each.
pub const READER_AUTHORS_MAX: usize = 16_384;
/// Time for which opening waits for a writer of another process, such as a backup tool.
pub const OPEN_BUSY_WAIT: Duration = Duration::from_secs(10);
/// Time for which a transaction waits for one before it is tried again later
/// (`docs/protocol/streams.md#18`).
pub const WRITER_BUSY_WAIT: Duration = Duration::from_millis(250);
/// Age at which the last change of the data directory counts as settled: file systems count time
/// in steps (`docs/protocol/streams.md#18`).
pub const DIRECTORY_SETTLED_AFTER: Duration = Duration::from_secs(2);
/// From one look at the files to the next until then, as long as the directory looks the same: longer
/// than a step of the time of a local file system (`docs/protocol/streams.md#18`).
pub const DIRECTORY_UNSETTLED_LOOK: Duration = Duration::from_millis(20);
/// Time for which a read waits for the database, where it has to.
pub const READER_BUSY_WAIT: Duration = Duration::from_secs(5);

/// Bytes to which the write-ahead log is cut down when it starts over.
pub const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes above which the write-ahead log is emptied, waiting for readers if it must.
pub const JOURNAL_BYTES_ALARM: u64 = 32 * 1024 * 1024;
/// Bytes written between two looks at the size of the write-ahead log.
pub const JOURNAL_LOOK_BYTES: u64 = 4 * 1024 * 1024;
/// Time for which emptying it waits for readers, whose transactions are short.
pub const CHECKPOINT_WAIT: Duration = Duration::from_millis(250);

/// Bytes of the key file; a longer one is not ours.
pub const KEY_FILE_BYTES_MAX: u64 = 4 * KIB as u64;
/// Bytes of the guard file; a longer one is not ours, and a million logs take a tenth of it
/// (`docs/protocol/streams.md#16`).
pub const GUARD_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of lines that are appended to the guard file before it is rewritten
/// (`docs/protocol/streams.md#16`).
pub const GUARD_APPENDED_BYTES_MAX: u64 = 1024 * 1024;
