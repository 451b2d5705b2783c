//! Operations that cross once (`docs/protocol/link.md#9`).

use core::time::Duration;

/// Entries that one message announces.
pub const ANNOUNCED_MAX: usize = 4_096;
/// Entries after which an announcement is not held back any longer.
pub const ANNOUNCED_AT_ONCE: usize = 512;
/// Time for which the larger node id holds an announcement back, in case the other one makes it.
pub const ANNOUNCE_HOLD: Duration = Duration::from_millis(60);
/// Announcements of a session that wait for the entry to come from elsewhere.
pub const OFFERS_MAX: usize = 1_024;
/// Entries that a session has fetched and that have not arrived.
pub const FETCHING_MAX: usize = 512;
/// Entries that a peer fetched and that were not sent yet; what it fetches beyond is not sent.
pub const FETCHED_MAX: usize = 4_096;
/// Authors that a peer names as exceptions of what it wants whole.
pub const PREFERRED_AUTHORS_MAX: usize = 1_024;
/// Authors of which a topic remembers by which peer their operations come, and peers whose own
/// operations are named as coming from themselves: half of [`PREFERRED_AUTHORS_MAX`] each.
pub const SOURCES_LEARNED_MAX: usize = PREFERRED_AUTHORS_MAX / 2;
/// Entries that a topic, or a session, remembers to have come by or to be announced; at most twice
/// as many.
pub const CAME_LATELY_MAX: usize = 2_048;
/// Time for which an entry that came and is not stored counts as on its way; at most twice as
/// long.
pub const CAME_LATELY: Duration = Duration::from_secs(5);
/// Maximum time that an entry that was announced may take to come whole from elsewhere.
pub const OFFER_WAIT: Duration = Duration::from_millis(120);
/// Round trips that this takes at least.
pub const OFFER_ROUND_TRIPS: u32 = 2;
/// Maximum number of times that this is prolonged while the one who should send it sends
/// something, or while the peer that announced it owes others.
pub const OFFER_WAITS_MAX: u8 = 4;
/// Maximum number of checks of an entry that came, or was fetched from another peer, and is not
/// stored.
pub const OFFER_LOOKS_MAX: u8 = 40;
/// Time that a peer has for what was fetched from it, if it sends nothing.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// Round trips that this takes at least.
pub const FETCH_ROUND_TRIPS: u32 = 8;
/// From one comparison that a session asks for, because something announced did not come, to the
/// next.
pub const FETCH_COMPARED_APART: Duration = Duration::from_secs(60);
