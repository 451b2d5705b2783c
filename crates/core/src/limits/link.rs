//! Links (`docs/protocol/link.md`).

use core::time::Duration;

use super::KIB;

/// Topics about which a dialler begins a session before the peer said which ones it has
/// (`docs/protocol/link.md#4`).
pub const LINK_TOPICS_TRIED_MAX: usize = 3;
/// Time for which an acceptor leaves the first sessions to the dialler
/// (`docs/protocol/link.md#4`).
pub const LINK_OPEN_WAIT: Duration = Duration::from_millis(50);
/// Charge of a link, and what may be sent on it before anybody reads (`docs/protocol/link.md#7`).
pub const LINK_WINDOW_BYTES: usize = 64 * KIB;
/// Links with one peer; one stays, the others are about to end.
pub const LINKS_PER_PEER_MAX: usize = 4;
/// Peers that are remembered not to speak the protocol; when there are more, all are asked again.
pub const LINKLESS_REMEMBERED_MAX: usize = 4_096;
/// Links that wait for their task.
pub const LINKS_BEGINNING_MAX: usize = 256;
/// Maximum number of commands to a link that wait.
pub const LINK_COMMANDS_MAX: usize = 64;
/// Changes of the own overlays that links look back at; one that is further behind compares all.
pub const LINK_CHANGES_REMEMBERED_MAX: usize = 4_096;
/// Streams that a peer may open next to one for each common overlay.
pub const LINK_STREAMS_SPARE: u32 = 16;
/// Streams of a link on which the frame in front of the session has not arrived; more are accepted
/// later.
pub const LINK_OPENING_MAX: usize = 256;
/// Sessions of a peer on one topic of a link.
pub const LINK_STREAMS_PER_TOPIC_MAX: usize = 4;
/// Charge of a session that a peer opens on a link, next to what it reads
/// (`docs/protocol/link.md#4`). So a peer has 10 000 of them within its share of the default
/// budget.
pub const LINK_SESSION_BYTES: usize = 256;
/// Time for which a peer for whose session there is no room is asked to wait.
pub const LINK_FULL_WAIT: Duration = Duration::from_secs(30);
/// From a farewell to the end of the connection.
pub const LINK_END_WAIT: Duration = Duration::from_millis(500);
/// Time for which a replaced link waits for the peer's farewell.
pub const LINK_REPLACED_WAIT: Duration = Duration::from_secs(2);
/// Interval at which a link that was needed checks whether anything still needs it.
pub const LINK_LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes that a session may write before it yields to all others of its link.
pub const LINK_BULK_BYTES: usize = 64 * KIB;
/// Header and body bytes above which an operation crosses a link in pieces
/// (`docs/protocol/link.md#11`).
pub const LINK_WHOLE_BYTES_MAX: usize = 64 * KIB;
/// Bytes of an operation in one piece (`docs/protocol/link.md#11`).
pub const LINK_PIECE_BYTES: usize = 4_000;
/// Pieces that a session writes at once, if the path has room for them.
pub const LINK_PIECES_AT_ONCE: usize = 16;
/// For so long after another message was written on a link, large operations keep the queue of the
/// path short (`docs/protocol/link.md#11`).
pub const LINK_COMPANY_TIME: Duration = Duration::from_millis(500);
/// Maximum time that data waits in that queue, or an eighth of the round trip if that is longer.
pub const LINK_QUEUE_TIME: Duration = Duration::from_millis(2);
/// They use at least this part of the congestion window.
pub const LINK_WINDOW_PART: u64 = 4;
/// Bytes of other messages that may go before the next pieces (`docs/protocol/link.md#11`).
pub const LINK_PASSED_BYTES_MAX: usize = 16 * KIB;
/// Operations that wait behind the one that crosses in pieces before a session reads no further.
pub const LINK_BEHIND_MAX: usize = 64;
/// Their header and body bytes.
pub const LINK_BEHIND_BYTES_MAX: usize = 64 * KIB;
/// Maximum number of bytes that wait to be written on a control stream; a peer that lets more wait
/// reads nothing.
pub const LINK_OUTBOX_BYTES_MAX: usize = 2 * 1024 * KIB;
/// From one question for records to the next, and from one own record that is sent to the next
/// (`docs/protocol/link.md#3`).
pub const LINK_ASK_INTERVAL: Duration = Duration::from_secs(3);
/// Streams of a peer that broke the rules in [`LINK_BROKEN_STREAMS_TIME`]; more end the link
/// (`docs/protocol/link.md#4`).
pub const LINK_BROKEN_STREAMS_MAX: usize = 100;
/// See [`LINK_BROKEN_STREAMS_MAX`].
pub const LINK_BROKEN_STREAMS_TIME: Duration = Duration::from_secs(3_600);
/// Sessions that a peer may ask for on a link in a minute, served or refused, no matter what is
/// common (`docs/protocol/link.md#4`).
pub const LINK_OPENS_SPARE_MAX: usize = 64;
/// And as many more for each overlay that is common.
pub const LINK_OPENS_PER_OVERLAY_MAX: usize = 8;
/// Time for which a peer gets no other link when one was ended because it broke a rule or passed a
/// limit (`docs/protocol/link.md#5`).
pub const LINK_BROKEN_WAIT: Duration = Duration::from_secs(60);
/// Peers of which that is remembered.
pub const LINK_BROKEN_PEERS_MAX: usize = 4_096;
/// Runs of a peer that are remembered after another one has replaced them.
pub const LINK_RUNS_MAX: usize = 4;
/// Peers of which that is remembered.
pub const LINK_RUNS_PEERS_MAX: usize = 4_096;
/// Time for which a copy of a peer is served while the peer has another link
/// (`docs/protocol/link.md#5`).
pub const LINK_TEMPORARY_TIME: Duration = Duration::from_secs(5);
/// Time for which a peer that had a copy keeps its connections when its record names other
/// addresses.
pub const LINK_COPIES_REMEMBERED: Duration = Duration::from_secs(600);
/// Gossip that was written on a control stream and is not acknowledged, before more waits in its own queue.
pub const LINK_GOSSIP_UNACKED_BYTES: u64 = 128 * KIB as u64;
/// Bytes that may wait to be written on a control stream before gossip waits in its own queue.
pub const LINK_GOSSIP_WAITING_BYTES: usize = 32 * KIB;
/// Time for which a link stays open that nothing needs (`docs/protocol/link.md#5`).
pub const LINK_UNNEEDED_MAX: Duration = Duration::from_secs(30);

/// A frame of the control stream.
pub const LINK_FRAME_BYTES_MAX: usize = 64 * KIB;
/// A frame that opens or answers a topic stream.
pub const LINK_OPENING_BYTES_MAX: usize = 64;
/// Tags of interest that are remembered of a peer.
pub const LINK_TAGS_MAX: usize = 65_536;
/// Tags in one frame.
pub const LINK_TAGS_PER_FRAME_MAX: usize = 4_000;
/// A first Interest of more tags than this is not padded, so that some of [`LINK_TAGS_MAX`] are left.
pub const LINK_TAGS_PADDED_MAX: usize = LINK_TAGS_MAX / 2;
/// Overlays that a node tells its peers of; of others it tells when one of these is left. With the padding
/// of any first Interest, they are no more than [`LINK_TAGS_MAX`].
pub const OVERLAYS_TOLD_MAX: usize = LINK_TAGS_MAX / 4 * 3;
/// Tags that begin or end after the first Interest, in a minute.
pub const LINK_CHANGES_PER_MINUTE_MAX: usize = 2 * LINK_TAGS_MAX;
/// Maximum time of Hello and the first Interest of a peer, on a path of ordinary delay.
pub const LINK_HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages that say nothing to their receiver, in a minute: with an unknown tag, or gossip of an
/// overlay that is not common.
pub const LINK_IGNORED_PER_MINUTE_MAX: usize = 1_024;
/// One of them counts once more for each of that many bytes.
pub const LINK_IGNORED_BYTES: usize = 4 * KIB;
/// Questions for records in a minute.
pub const LINK_ASKS_PER_MINUTE_MAX: usize = 30;
/// Nodes in overlays, of all overlays together, in what a peer tells at once.
pub const LINK_MEMBERS_MAX: usize = 65_536;
/// The same in what is told; more are left out.
pub const LINK_MEMBERS_SENT_MAX: usize = LINK_MEMBERS_MAX / 2;
/// Messages with records that were not asked for, in a minute.
pub const LINK_NODES_PER_MINUTE_MAX: usize = 60;
/// Maximum time for which a refusal makes a node wait.
pub const LINK_REFUSAL_WAIT_MAX: Duration = Duration::from_secs(300);

/// From one question for a receipt to the next about the same log, and from one sync to disk for
/// receipts to the next (`docs/protocol/link.md#10`).
pub const RECEIPT_INTERVAL: Duration = Duration::from_millis(200);
/// Logs with a name in one overlay for which a node asks for receipts.
pub const LINK_RECEIPT_LOGS_MAX: usize = 1_024;
/// Questions for receipts, and answers, about one log in a minute: twice what a node says.
pub const LINK_RECEIPTS_PER_MINUTE_MAX: usize = 600;
/// The same about overlays that are not common, or that nobody asked for, all together.
pub const LINK_RECEIPTS_STRAY_PER_MINUTE_MAX: usize = 2 * LINK_TAGS_MAX;

/// Logs of a peer that it says a quota blocks, on one link (`docs/protocol/link.md#12`).
pub const LINK_BLOCKED_LOGS_MAX: usize = 1_024;
/// The same in one message.
pub const LINK_BLOCKED_ENTRIES_MAX: usize = 256;
/// From one such message to the next.
pub const LINK_BLOCKED_INTERVAL: Duration = Duration::from_secs(2);
/// Such messages in a minute: twice what a node sends.
pub const LINK_BLOCKED_PER_MINUTE_MAX: usize = 60;
