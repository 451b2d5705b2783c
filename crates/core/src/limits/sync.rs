//! Sync sessions.

use core::time::Duration;

use super::{KIB, MIB};

/// Bytes that a session sends before the peer has taken them, at most
/// (`docs/protocol/sync.md#10`).
pub const SEND_WINDOW_BYTES: usize = MIB / 2;
/// The same of a node with low bandwidth: on its way out for a minute at 2.4 kbit/s
/// (`docs/protocol/network.md#1`).
pub const SEND_WINDOW_BYTES_SLOW: usize = 16 * KIB;

/// Incoming sessions per peer and topic (`docs/protocol/sync.md`).
pub const SESSIONS_PER_TOPIC_MAX: usize = 64;
/// Incoming sessions per peer (`docs/protocol/sync.md`).
pub const SESSIONS_PER_PEER_MAX: usize = 1024;
/// Received bytes that wait for the store before a session stops reading
/// (`docs/protocol/sync.md#10`).
pub const UNSTORED_BYTES_MAX: usize = MIB;
/// Batches of a session that are handed to the store at once (`docs/protocol/sync.md#10`).
pub const STORES_IN_FLIGHT_MAX: usize = 2;
/// Bytes of a page that a session reads from the store in catch-up (`docs/protocol/sync.md#10`).
pub const SESSION_PAGE_BYTES_MAX: usize = 256 * KIB;
/// The same in live mode: many sessions may be behind at once (`docs/protocol/sync.md#10`).
pub const SESSION_LIVE_PAGE_BYTES_MAX: usize = 64 * KIB;
/// Bytes from which a body is written by itself and not copied into the frame around it.
pub const BODY_APART_BYTES: usize = 16 * KIB;
/// Items of a Have that are read before other sessions have their turn: about a millisecond
/// (`docs/protocol/sync.md#5`).
pub const HAVE_ITEMS_AT_ONCE: usize = 8_192;
/// Operations that a session remembers to skip repeats (`docs/protocol/sync.md#7`).
pub const SEEN_IDS_MAX: usize = 1024;
/// Bodies that one message asks for or answers about (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_MAX: usize = 512;
/// Bodies that a session remembers to send to its peer once they come
/// (`docs/protocol/digest.md#5`).
pub const BODIES_OWED_MAX: usize = 4096;
/// Wait before a peer that lacked bodies is asked for them again, at first
/// (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_AGAIN_FIRST: Duration = Duration::from_secs(60);
/// The longest time until then, after doubling (`docs/protocol/digest.md#5`).
pub const BODIES_ASKED_AGAIN_MAX: Duration = Duration::from_secs(60 * 60);
/// Time for which only one session of a topic asks for bodies (`docs/protocol/digest.md#5`).
pub const BODIES_TURN: Duration = Duration::from_secs(2);
/// Wait before a session whose turn it was not tries again (`docs/protocol/digest.md#5`).
pub const BODIES_TURN_RETRY: Duration = Duration::from_secs(1);
/// Wait before a peer that sent a header without its body again is told a lower height again, at
/// first (`docs/protocol/sync.md#5`).
pub const HEIGHT_LOWERED_AGAIN_FIRST: Duration = Duration::from_secs(60 * 60);
/// The longest time until then, after doubling (`docs/protocol/sync.md#5`).
pub const HEIGHT_LOWERED_AGAIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Logs of a peer and topic for which that is remembered (`docs/protocol/sync.md#5`).
pub const HEIGHTS_LOWERED_MAX: usize = 1024;
/// Time for which a header is held back whose body is wanted (`docs/protocol/sync.md#6`).
pub const HEADER_HELD_BACK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum time of a handshake (`docs/protocol/sync.md`).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a peer has for [`PROGRESS_BYTES`] in catch-up or within a frame
/// (`docs/protocol/sync.md#8`).
pub const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that move at least in that time: 64 per second (`docs/protocol/sync.md#8`).
pub const PROGRESS_BYTES: usize = 64 * 30;
/// On a slow or crowded path a peer has this many times as long, at most
/// (`docs/protocol/sync.md#8`).
pub const PROGRESS_SCALE_MAX: u64 = 8;
/// A peer need not bring more than this part of what its path could carry
/// (`docs/protocol/sync.md#8`).
pub const PROGRESS_PATH_PART: u64 = 4;
/// Bytes per second that a session in catch-up must bring to count as in progress, over
/// [`PROGRESS_TIMEOUT`] (`docs/protocol/streams.md#6`).
pub const PROGRESS_BYTES_PER_SECOND_MIN: u64 = 64;
/// Logs that are new here and that an untrusted peer brings to a topic at once
/// (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_MAX: u32 = 10_000;
/// New logs that it brings in a second from then on (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_PER_SECOND: u32 = 500;
/// New logs that all untrusted peers bring to a topic at once (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_OF_ALL_MAX: u32 = 10_000;
/// New logs that they bring in a second from then on (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_OF_ALL_PER_SECOND: u32 = 500;
/// New logs of a peer that do not count among those of all (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_FREE: u32 = 100;
/// Number of these that come back to it in a second (`docs/protocol/sync.md#10`).
pub const NEW_LOGS_FREE_PER_SECOND: u32 = 1;
/// Bytes of memory that the head of a log takes (`docs/protocol/network.md#11`).
pub const HEAD_BYTES: usize = 68;
/// Part of the budget that heads may take before untrusted peers bring no more than
/// [`NEW_LOGS_FREE_PER_SECOND`] each (`docs/protocol/network.md#11`).
pub const HEADS_BUDGET_PART: usize = 4;
/// Part of the budget that the heads of logs may take that one untrusted peer has brought,
/// likewise (`docs/protocol/network.md#11`).
pub const HEADS_PEER_PART: usize = 32;
/// Untrusted peers of which it is remembered how many logs they have brought
/// (`docs/protocol/network.md#11`).
pub const HEADS_PEERS_MAX: usize = 4_096;
/// Counts of new logs that are kept next to twice those in use, before those with nothing left to
/// count are forgotten.
pub const NEW_LOGS_BUCKETS_SPARE: usize = 1_024;
/// Time for which the larger node id waits for the smaller one to dial
/// (`docs/protocol/sync.md#11`).
pub const SECOND_DIAL_DELAY: Duration = Duration::from_secs(2);
/// The same where the configuration names the peer, which may know nothing of this node
/// (`docs/protocol/sync.md#11`).
pub const SECOND_DIAL_DELAY_NAMED: Duration = Duration::from_millis(250);
/// Sessions that a node looks for on a topic (`docs/protocol/sync.md#8`).
pub const SESSIONS_SOUGHT: usize = 5;
/// The same of a node with low bandwidth (`docs/protocol/network.md#1`).
pub const SESSIONS_SOUGHT_SLOW: usize = 2;
/// Peers after this node on the ring of a topic with which it has a session in any case
/// (`docs/protocol/sync.md#8`).
pub const RING_NEXT: usize = 2;
/// Peers before those that do not answer and are tried all the same (`docs/protocol/sync.md#8`).
pub const RING_FAILING_MAX: usize = 8;
/// Other peers of a topic that do not answer and are tried all the same while sessions are missing
/// (`docs/protocol/sync.md#8`).
pub const FAILING_SOUGHT_MAX: usize = 16;
/// Dials of a topic at the same time (`docs/protocol/sync.md#8`).
pub const DIALS_AT_ONCE_MAX: usize = 8;
/// Peers of a topic that a node keeps in mind (`docs/protocol/sync.md#8`).
pub const CANDIDATES_MAX: usize = 1_024;
/// Those of them of whom only other peers said that they are interested (`docs/protocol/sync.md#11`).
pub const CANDIDATES_TOLD_MAX: usize = 256;
/// Time for which a node that has a session waits for more candidates before it looks at the ring
/// (`docs/protocol/sync.md#8`).
pub const CANDIDATES_GATHERED: Duration = Duration::from_secs(2);
/// The longest that this is put off by ever more of them (`docs/protocol/sync.md#8`).
pub const CANDIDATES_GATHERED_MAX: Duration = Duration::from_secs(6);
/// Between two dials that make up the number of sessions (`docs/protocol/sync.md#8`).
pub const SOUGHT_APART: Duration = Duration::from_secs(1);
/// The first wait after a failed session or dial (`docs/protocol/sync.md#8`).
pub const DIAL_RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest such wait (`docs/protocol/sync.md#8`).
pub const DIAL_RETRY_MAX: Duration = Duration::from_secs(5 * 60);
/// The part of the time for which a peer was silent that the wait for its next dial takes
/// (`docs/protocol/sync.md#8`).
pub const DIAL_RETRY_SILENCE_PART: u64 = 10;
/// The longest wait as long as a peer was silent for less than [`SHORT_SILENCE`]
/// (`docs/protocol/sync.md#8`).
pub const DIAL_RETRY_SOON_MAX: Duration = Duration::from_secs(4);
/// After a shorter silence a peer is back at once (`docs/protocol/sync.md#8`).
pub const SHORT_SILENCE: Duration = Duration::from_secs(75);
/// Time for which a peer with which a session was lost is dialled although there are others
/// (`docs/protocol/sync.md#8`).
pub const LOST_SOUGHT: Duration = Duration::from_secs(10 * 60);
/// A session that lived as long as this was a good one: the waits after its failure start over
/// (`docs/protocol/sync.md#8`).
pub const GOOD_SESSION_MIN: Duration = Duration::from_secs(30);
/// A session that is not live after this is not one of those that a node seeks
/// (`docs/protocol/sync.md#11`).
pub const SOUGHT_LIVE_WITHIN: Duration = Duration::from_secs(60);
/// Time after which a node compares with one of its peers again, which heals what no event told;
/// up to as long again is added at random (`docs/protocol/sync.md#8`).
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The wait doubles up to this while nothing goes wrong (`docs/protocol/sync.md#8`).
pub const REPAIR_INTERVAL_MAX: Duration = Duration::from_secs(4 * 60 * 60);
/// Time for which a running session with a peer that shows up again waits for a sign: longer than
/// a peer that is busy is silent (`docs/protocol/sync.md#8`).
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Round trips of the path that are added to it (`docs/protocol/sync.md#8`).
pub const PROBE_ROUND_TRIPS: u32 = 4;
/// Time for which a live session waits for the peer's answer to Close (`docs/protocol/sync.md`).
pub const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time for which a session that another one replaces waits for the peer to end.
pub const REPLACED_TIMEOUT: Duration = Duration::from_secs(30);

/// Invalid operations of a peer after which it is slowed (`docs/protocol/sync.md#5`).
pub const INVALID_AT_ONCE_MAX: usize = 100;
/// Invalid operations of a slowed peer in a second (`docs/protocol/sync.md#5`).
pub const INVALID_PER_SECOND: usize = 10;
/// A large invalid operation counts once more for each of these that arrived of it
/// (`docs/protocol/sync.md#5`).
pub const INVALID_BYTES: usize = 64 * KIB;
/// Invalid operations of all slowed peers in a second (`docs/protocol/sync.md#5`).
pub const INVALID_SHARED_PER_SECOND: usize = 500;
/// Operations of a peer that are checked at once when nothing is known of it
/// (`docs/protocol/sync.md#5`).
pub const CHECKED_AT_ONCE_FIRST: usize = 64;
/// The same after as many valid ones that it makes no difference (`docs/protocol/sync.md#5`).
pub const CHECKED_AT_ONCE_MAX: usize = 8_192;
/// The same after an invalid one (`docs/protocol/sync.md#5`).
pub const CHECKED_AT_ONCE_BLAMED: usize = 32;
/// The longest that a slowed peer is made to wait before its next operations are checked
/// (`docs/protocol/sync.md#5`).
pub const SLOWED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Peers of which it is remembered what they brought lately; with more, those that are not slowed
/// are forgotten.
pub const BLAMED_PEERS_MAX: usize = 4_096;
/// Invalid operations after which a session ends (`docs/protocol/sync.md#5`).
pub const SESSION_INVALID_MAX: usize = 1_000;
