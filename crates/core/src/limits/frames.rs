//! Frames.

use super::{KIB, MIB};

/// Bytes of an operation frame unless configured otherwise (`docs/protocol/sync.md`).
pub const OPERATION_BYTES_MAX_DEFAULT: usize = 16 * MIB;
/// Bytes of an operation frame, the highest that can be configured (`docs/protocol/sync.md`).
pub const OPERATION_BYTES_MAX: usize = 128 * MIB;
/// Payload bytes of any frame, the most that anybody may announce or send
/// (`docs/protocol/sync.md#2`).
pub const FRAME_BYTES_MAX: u32 = 128 * 1024 * 1024;
/// Bytes of a frame above its limit that are kept to tell what it was (`docs/protocol/sync.md#2`).
pub const OVERSIZE_PREFIX_BYTES_MAX: u32 = 64 * 1024;
/// Bytes that are reserved at once for a frame that has begun (`docs/protocol/sync.md#2`).
pub const FRAME_PART_BYTES_MAX: usize = 64 * KIB;
/// Bytes of a Have frame (`docs/protocol/sync.md`).
pub const HAVE_BYTES_MAX: usize = 8 * MIB;
/// Bytes of a Digest frame (`docs/protocol/digest.md`).
pub const DIGEST_BYTES_MAX: usize = KIB;
/// Bytes of a handshake or control frame (`docs/protocol/sync.md`).
pub const CONTROL_BYTES_MAX: usize = 64 * KIB;
/// Bytes of a discovery frame (`docs/protocol/discovery.md`).
pub const DISCOVERY_BYTES_MAX: usize = MIB;
/// Bytes that may come with the end of a discovery frame: its length, and what was sent with it.
pub const DISCOVERY_BESIDE_BYTES_MAX: usize = 64 * KIB;
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
