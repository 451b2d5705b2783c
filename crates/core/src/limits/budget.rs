//! The budget of what peers make us hold (`docs/protocol/network.md#11`).

use core::time::Duration;

use super::{KIB, MIB};

/// Bytes of the budget unless configured otherwise.
pub const BUDGET_BYTES_DEFAULT: usize = 64 * MIB;
/// Bytes of the budget of a node that serves many.
pub const BUDGET_BYTES_SERVER: usize = 512 * MIB;
/// The budget has room for this many of the largest operations at least.
pub const BUDGET_OPERATIONS_MIN: usize = 2;
/// One peer has this part of the budget.
pub const BUDGET_PEER_PART: usize = 8;
/// The peers that have proved nothing have this part of it together, the reserve set aside.
pub const BUDGET_UNPROVEN_PART: usize = 2;
/// An address prefix has this part of what they have.
pub const BUDGET_PREFIX_PART: usize = 2;
/// While less than this part of it is free, the reserve set aside, nothing more is read: other
/// charges come on top of what was read.
pub const BUDGET_UNREAD_PART: usize = 8;
/// Connections, windows and operations that wait leave this part of it free, the reserve set
/// aside: for the little that every session may hold, and for connections of our own.
pub const BUDGET_UNASKED_PART: usize = 16;
/// Early and waiting operations have this part of every share.
pub const BUDGET_KEPT_PART: usize = 4;
/// Open connections have this part of every share.
pub const BUDGET_CONNECTIONS_PART: usize = 2;
/// Part of the budget, and of a peer's share, for what the gossip layer keeps of its neighbours'
/// messages.
pub const BUDGET_GOSSIP_PART: usize = 2;
/// Part of every share for what connections may send beyond their first window.
pub const BUDGET_WINDOWS_PART: usize = 8;
/// Bytes that a session may hold what else is held: small messages always flow.
pub const BUDGET_SESSION_BYTES_MIN: usize = 4 * KIB;
/// Bytes that a session reads at once, at most.
pub const READ_BYTES_MAX: usize = 64 * KIB;
/// Bytes in [`PROGRESS_TIMEOUT`](super::PROGRESS_TIMEOUT) that a peer over its share, and the one
/// whose turn it is, must move not to be closed: 64 B/s.
pub const PROGRESS_BYTES_MIN: u64 = 64 * 30;
/// Interval at which the budget looks for peers without progress.
pub const BUDGET_TICK: Duration = Duration::from_millis(500);
/// The same while all peers together hold so little that none can be over its share: an idle node
/// rests.
pub const BUDGET_REST: Duration = Duration::from_secs(2);
/// That wait doubles up to this while what they hold does not change at all. It ends when they hold
/// more.
pub const BUDGET_REST_MAX: Duration = Duration::from_secs(128);
/// Maximum length of a turn while others wait for theirs.
pub const TURN_TIME_MAX: Duration = Duration::from_secs(10);
/// The same for a peer that is proven.
pub const TURN_TIME_PROVEN_MAX: Duration = Duration::from_secs(60);
/// Time for which a share of many may be used up before the peers that hold most of it without
/// moving it are closed.
pub const BUDGET_PRESSURE_TIME: Duration = Duration::from_secs(1);
/// A peer that moved this part of what it holds in that time is not closed.
pub const BUDGET_MOVED_PART: u64 = 16;
