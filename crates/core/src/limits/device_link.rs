//! Device links (`docs/protocol/device-link.md`).

use core::time::Duration;

/// Bytes of a frame (`docs/protocol/device-link.md#3`).
pub const DEVICE_LINK_FRAME_BYTES_MAX: usize = 3_072;
/// Levels of arrays and maps in a frame (`docs/protocol/device-link.md#3`).
pub const DEVICE_LINK_DEPTH_MAX: usize = 8;
/// Bytes of one part of an answer (`docs/protocol/device-link.md#5`).
pub const DEVICE_LINK_PART_BYTES_MAX: usize = 2_816;
/// Parts of an answer (`docs/protocol/device-link.md#5`).
pub const DEVICE_LINK_PARTS_MAX: usize = 64;
/// Maximum time of a link, from the code to its end (`docs/protocol/device-link.md#6`).
pub const DEVICE_LINK_LIFETIME: Duration = Duration::from_secs(600);
/// From one repeat of a frame to the next (`docs/protocol/device-link.md#3`).
pub const DEVICE_LINK_REPEAT: Duration = Duration::from_secs(1);
/// From the acknowledgement of a bundle to its next repeat, by which both devices hear of each other
/// (`docs/protocol/device-link.md#3`).
pub const DEVICE_LINK_ALIVE: Duration = Duration::from_secs(3);
/// Time for which the peer may be silent (`docs/protocol/device-link.md#6`).
pub const DEVICE_LINK_SILENCE: Duration = Duration::from_secs(15);
/// Maximum time that a new device with its answer waits for the old one
/// (`docs/protocol/device-link.md#6`).
pub const DEVICE_LINK_LINGER: Duration = Duration::from_secs(10);
