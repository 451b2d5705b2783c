//! Gossip.

use core::time::Duration;

use super::{KIB, MIB};

/// Bytes of an ephemeral message that we accept (`docs/protocol/operations.md#8`).
pub const EPHEMERAL_BYTES_MAX: usize = 4096;
/// Bytes of a whole gossip message unless configured otherwise, the same on every node of a
/// network (`docs/protocol/network.md#6`).
pub const GOSSIP_MESSAGE_BYTES_MAX_DEFAULT: usize = 4096;
/// Bytes of a gossip payload that we send; gossip loses larger ones without a word
/// (`docs/protocol/network.md`).
pub const GOSSIP_PAYLOAD_BYTES_MAX: usize = 4057;
/// Time for which the gossip layer keeps a message, for neighbours that miss it
/// (`docs/protocol/network.md`).
pub const GOSSIP_CACHE_TIME: Duration = Duration::from_secs(10);
/// Time for which the gossip layer remembers which messages it had: longer than any of them takes
/// to come round again over slow links (`docs/protocol/network.md`).
pub const GOSSIP_ID_TIME: Duration = Duration::from_secs(30);
/// The part by which a burst of a neighbour's broadcasts is smaller than what may be kept of it
/// (`docs/protocol/network.md#11`).
pub const GOSSIP_BURST_PART: usize = 4;
/// Factor by which the dropped broadcasts of a neighbour may exceed the kept ones before it is
/// closed, in a burst (`docs/protocol/network.md#11`).
pub const GOSSIP_DROPPED_PART: usize = 3;
/// Cost of a message in the gossip layer next to its payload.
pub const GOSSIP_MESSAGE_BYTES: usize = 384;
/// Time for which a repeated ephemeral message is recognised (`docs/protocol/network.md`).
pub const GOSSIP_REPEAT_WINDOW: Duration = Duration::from_secs(5 * 60);
/// Ephemeral messages remembered to recognise repeats (`docs/protocol/network.md`).
pub const GOSSIP_REPEATS_MAX: usize = 16_384;
/// Ephemeral messages that are held for a listener that is busy; a slower one misses the oldest
/// (`docs/protocol/network.md#6`).
pub const EPHEMERAL_RECEIVED_MAX: usize = 1_024;
/// Ephemeral messages on their way to the overlay before publishing waits.
pub const EPHEMERAL_SENDING_MAX: usize = 64;
/// Ephemeral messages that are held while there is no neighbour; then the oldest are dropped
/// (`docs/protocol/network.md#6`).
pub const EPHEMERAL_HELD_MAX: usize = 128;
/// Messages of an overlay that wait for us; what comes then is lost
/// (`docs/protocol/network.md#11`).
pub const GOSSIP_EVENTS_MAX: usize = 4_096;
/// Neighbours that a node looks for in an overlay (`docs/protocol/network.md#6`).
pub const GOSSIP_NEIGHBOURS_WANTED: usize = 5;
/// Neighbours that a node serves in an overlay, no matter who asked, unless configured otherwise
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_NEIGHBOURS_MAX_DEFAULT: usize = 128;
/// Nodes of an overlay that are remembered next to the neighbours (`docs/protocol/network.md#6`).
pub const GOSSIP_KNOWN_MAX: usize = 30;
/// Bytes of the addresses of a node that are forwarded; longer ones are left out
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_ADDRESSES_BYTES_MAX: usize = 512;
/// Nodes in one message of an overlay (`docs/protocol/network.md#6`).
pub const GOSSIP_NODES_MAX: usize = 32;
/// Neighbours that are told of a node that joined (`docs/protocol/network.md#6`).
pub const GOSSIP_FORWARD_MAX: usize = 4;
/// Maximum number of hops over which news of a node that joined is forwarded
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_WALK_MAX: u16 = 6;
/// Time for which a node waits for the answer to a join or a neighbour request
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_REQUEST_WAIT: Duration = Duration::from_secs(10);
/// Time after which a node exchanges known nodes with a neighbour, at first: doubled while the
/// neighbours stay the same (`docs/protocol/network.md#6`).
pub const GOSSIP_SHUFFLE_FIRST: Duration = Duration::from_secs(60);
/// The longest such wait.
pub const GOSSIP_SHUFFLE_MAX: Duration = Duration::from_secs(3_600);
/// Messages of an overlay that were announced and did not come yet; more are not asked for
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_MISSING_MAX: usize = 4_096;
/// Neighbours that are asked for one of them in turn.
pub const GOSSIP_ASKED_MAX: usize = 8;
/// Time that an announced message has to come by itself; two round trips where that is more
/// (`docs/protocol/network.md#6`).
pub const GOSSIP_GRAFT_FIRST: Duration = Duration::from_millis(80);
/// The same after it was asked for.
pub const GOSSIP_GRAFT_NEXT: Duration = Duration::from_millis(40);
/// Time for which announcements wait for others to go with them (`docs/protocol/network.md#6`).
pub const GOSSIP_ANNOUNCE_DELAY: Duration = Duration::from_millis(5);
/// Announcements that wait; with this many they go at once.
pub const GOSSIP_ANNOUNCED_MAX: usize = 1_024;
/// Interval at which a node forgets what was kept long enough.
pub const GOSSIP_FORGET_INTERVAL: Duration = Duration::from_secs(1);
/// Nodes that are asked at once when an overlay is joined (`docs/protocol/network.md#6`).
pub const GOSSIP_JOIN_MAX: usize = 3;
/// The shortest wait of an overlay without enough neighbours before it asks others: a tenth of
/// the time for which it has lacked them (`docs/protocol/network.md#6`).
pub const GOSSIP_REJOIN_FIRST: Duration = Duration::from_secs(2);
/// The part of that time.
pub const GOSSIP_REJOIN_PART: u32 = 10;
/// The longest such wait.
pub const GOSSIP_REJOIN_MAX: Duration = Duration::from_secs(5 * 60);
/// Bytes of messages that wait for a peer; beyond that broadcasts are lost for it
/// (`docs/protocol/network.md#11`).
pub const GOSSIP_QUEUE_BYTES_MAX: usize = MIB / 4;
/// Bytes that the messages which keep overlays together may take on top, besides
/// [`GOSSIP_STREAM_BYTES`] for each overlay; beyond that the peer is given up
/// (`docs/protocol/network.md#11`).
pub const GOSSIP_QUEUE_SPARE_BYTES: usize = MIB / 4;
/// Bytes that are written to a stream at once.
pub const GOSSIP_WRITE_BYTES_MAX: usize = 16 * KIB;
/// Time for which a peer may take nothing of what is written to it, or twenty round trips where
/// that is more (`docs/protocol/network.md#11`).
pub const GOSSIP_STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a peer has to allow another stream, as long as it did so before.
pub const GOSSIP_STREAM_WAIT: Duration = Duration::from_secs(5);
/// Time for which a connection may be of no use to any overlay, or twenty round trips where that
/// is more (`docs/protocol/network.md#11`).
pub const GOSSIP_DUTY_WAIT: Duration = Duration::from_secs(30);
/// Between two dials of a peer (`docs/protocol/network.md#6`).
pub const GOSSIP_DIAL_INTERVAL: Duration = Duration::from_secs(1);
/// Unidirectional streams that a gossip peer is sure to be allowed, however many overlays we are
/// in (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_MAX: u32 = 4096;
/// The same for a peer that proved nothing (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_UNPROVEN_MAX: u32 = 2048;
/// Bytes that each of these streams adds to the window of its connection, and to its charge: the
/// messages of an overlay that is joined. The gossip layers of two nodes wait for each other
/// permanently if what they say when they meet does not fit (`docs/protocol/network.md`).
pub const GOSSIP_STREAM_BYTES: usize = KIB / 2;
/// Maximum that all streams of a gossip connection add.
pub const GOSSIP_STREAMS_BYTES_MAX: usize = MIB / 2;
/// Streams next to one for each overlay that we were in (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_SPARE: u32 = 32;
/// Overlays shared with a peer of the published 0.7.1 (`docs/protocol/network.md`).
pub const GOSSIP_OVERLAYS_PUBLISHED_MAX: usize = 90;
