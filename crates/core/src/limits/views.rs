//! Views (`docs/protocol/views.md`).

use core::time::Duration;

use super::{KIB, MIB};

/// Versions of views that a database has at a time, old ones that are being deleted aside
/// (`docs/protocol/views.md#1`).
pub const VIEWS_MAX: usize = 256;
/// Bytes of the name of a view (`docs/protocol/views.md#1`).
pub const VIEW_NAME_BYTES_MAX: usize = 128;
/// Topics of a view (`docs/protocol/views.md#1`).
pub const VIEW_TOPICS_MAX: usize = 1_000;
/// Statements that make the tables of a view (`docs/protocol/views.md#1`).
pub const VIEW_DEFINITION_STATEMENTS_MAX: usize = 64;
/// Bytes of one statement (`docs/protocol/views.md#2`).
pub const VIEW_STATEMENT_BYTES_MAX: usize = 64 * KIB;
/// Different statements that are remembered as they were prepared; an application writes its values as
/// parameters (`docs/protocol/views.md#2`).
pub const VIEW_STATEMENTS_KNOWN_MAX: usize = 1_024;
/// Entries of a step (`docs/protocol/views.md#2`).
pub const VIEW_STEP_ENTRIES_MAX: usize = 2_048;
/// Bytes of the entries that a step is made from, and of the values of its statements
/// (`docs/protocol/views.md#2`).
pub const VIEW_STEP_BYTES_MAX: usize = MIB;
/// Time after which a step ends with the entry that it is at (`docs/protocol/views.md#2`).
pub const VIEW_STEP_TIME_MAX: Duration = Duration::from_millis(10);
/// Time for the statements of one entry (`docs/protocol/views.md#2`).
pub const VIEW_ENTRY_TIME_MAX: Duration = Duration::from_millis(100);
/// Time for the statements that make the tables of a view, together (`docs/protocol/views.md#1`).
pub const VIEW_DEFINITION_TIME_MAX: Duration = Duration::from_secs(1);
/// Statements of one entry (`docs/protocol/views.md#2`).
pub const VIEW_ENTRY_STATEMENTS_MAX: usize = 1_024;
/// Time for the function of the application, per entry (`docs/protocol/views.md#2`).
pub const VIEW_FUNCTION_TIME_MAX: Duration = Duration::from_secs(1);
/// Between two looks at a function that runs (`docs/protocol/views.md#2`).
pub const VIEW_FUNCTION_LOOK: Duration = Duration::from_millis(250);
/// After a step, under load, the batches have this many times its duration before the next one
/// (`docs/protocol/views.md#2`).
pub const VIEW_PAUSE_FACTOR: u32 = 2;
/// Bytes of what is kept of the error that stopped a view (`docs/protocol/views.md#2`).
pub const VIEW_ERROR_BYTES_MAX: usize = 512;
/// Time for all statements of one read (`docs/protocol/views.md#4`).
pub const VIEW_READ_TIME_MAX: Duration = Duration::from_secs(10);
/// Reads of a view at a time; more wait (`docs/protocol/views.md#4`).
pub const VIEW_READS_MAX: usize = 4;
/// Entries to come that are counted; it may be more (`docs/protocol/views.md#3`).
pub const VIEW_COUNTED_ENTRIES_MAX: usize = 10_000;
/// Rows of an old version that are deleted by one statement (`docs/protocol/views.md#3`).
pub const VIEW_DELETED_ROWS_MAX: usize = 64;
/// Time for which shutting down waits for functions that run (`docs/protocol/views.md#2`).
pub const VIEW_END_WAIT: Duration = Duration::from_millis(200);
