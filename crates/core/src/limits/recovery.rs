//! The recovery of a person (`docs/protocol/recovery.md`).

use core::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Time for which an export waits for spaces before the file is written a second time
/// (`docs/protocol/recovery.md#5`).
pub const RECOVERY_FOLLOW_WAIT: Duration = Duration::from_secs(10);
/// Time after which a recovery file should be written again (`docs/protocol/recovery.md#5`).
pub const RECOVERY_REMINDER: Duration = DAY.saturating_mul(30);
/// Interval of this reminder (`docs/protocol/recovery.md#5`).
pub const RECOVERY_REMINDER_INTERVAL: Duration = DAY;
