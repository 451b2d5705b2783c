//! Finding differences by ranges.

use super::KIB;

/// Bytes of a frame (`docs/protocol/ranges.md#4`).
pub const RANGES_FRAME_BYTES_MAX: usize = 184 * KIB;
/// Logs that a list names, and so how few a range has that is listed (`docs/protocol/ranges.md#5`).
pub const RANGE_LIST_MAX: usize = 16;
/// Parts of a range that a split has are two to this power, at most
/// (`docs/protocol/ranges.md#5`).
pub const RANGE_SPLIT_BITS_MAX: u8 = 5;
/// Parts and listed logs of one question (`docs/protocol/ranges.md#5`).
pub const RANGES_ASKED_MAX: usize = 128;
/// Questions that wait for their answer (`docs/protocol/ranges.md#5`).
pub const RANGES_ASKED_AHEAD_MAX: usize = 16;
/// Logs of which one message tells that the sender is behind (`docs/protocol/ranges.md#4`).
pub const RANGES_BEHIND_MAX: usize = 2_048;
/// Work that one session may cause, for each log of the topic: its hashes, listed logs and logs
/// found to be lacking (`docs/protocol/ranges.md#7`).
pub const RANGES_WORK_PER_LOG: u64 = 20;
/// The same, however few logs there are (`docs/protocol/ranges.md#7`).
pub const RANGES_WORK_MIN: u64 = 8_192;
