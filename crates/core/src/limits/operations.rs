//! Operations.

use super::MIB;

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
/// Frame bytes that an operation needs next to header and body (`docs/protocol/operations.md#9`).
pub const OPERATION_FRAME_OVERHEAD_BYTES: usize = 16;
/// Bytes of the name of a log (`docs/protocol/operations.md#7`).
pub const LOG_NAME_BYTES_MAX: usize = 128;
