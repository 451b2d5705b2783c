//! Links (`docs/protocol/link.md`).

use core::time::Duration;

use super::KIB;

/// A frame of the control stream.
pub const LINK_FRAME_BYTES_MAX: usize = 64 * KIB;
/// A frame that opens or answers a topic stream.
pub const LINK_OPENING_BYTES_MAX: usize = 64;
/// Tags of interest that are remembered of a peer.
pub const LINK_TAGS_MAX: usize = 65_536;
/// Tags in one frame.
pub const LINK_TAGS_PER_FRAME_MAX: usize = 4_000;
/// How long Hello and the first Interest of a peer may take, on a path of ordinary delay.
pub const LINK_HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Questions for records in a minute.
pub const LINK_ASKS_PER_MINUTE_MAX: usize = 30;
/// Messages with records that were not asked for, in a minute.
pub const LINK_NODES_PER_MINUTE_MAX: usize = 60;
/// How long a refusal is taken to say that the peer should wait.
pub const LINK_REFUSAL_WAIT_MAX: Duration = Duration::from_secs(300);
