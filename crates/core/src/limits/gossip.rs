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
/// How long the gossip layer keeps a message, for neighbours that miss it
/// (`docs/protocol/network.md`).
pub const GOSSIP_CACHE_TIME: Duration = Duration::from_secs(10);
/// How long the gossip layer remembers which messages it had: longer than any of them takes to
/// come round again over slow links (`docs/protocol/network.md`).
pub const GOSSIP_ID_TIME: Duration = Duration::from_secs(30);
/// What a message costs the gossip layer beside its payload.
pub const GOSSIP_MESSAGE_BYTES: usize = 768;
/// How long a repeated ephemeral message is recognised (`docs/protocol/network.md`).
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
/// Events of an overlay that wait for us before the gossip layer reports a loss
/// (`docs/protocol/network.md#11`).
pub const GOSSIP_EVENTS_MAX: usize = 2_048;
/// Nodes that are asked at once when an overlay is joined.
pub const GOSSIP_JOIN_MAX: usize = 8;
/// After how long an overlay without enough neighbours is joined again, at first; doubled after
/// each attempt.
pub const GOSSIP_REJOIN_FIRST: Duration = Duration::from_secs(2);
/// The longest such wait.
pub const GOSSIP_REJOIN_MAX: Duration = Duration::from_secs(60);
/// Pause after a gossip layer that went away was started anew. Neighbours notice meanwhile that
/// the connections of the old one are closed: they would ignore a join of a node that they still
/// have.
pub const GOSSIP_RESTART_WAIT: Duration = Duration::from_secs(1);
/// Unidirectional streams that a gossip peer is sure to be allowed, however many overlays we are
/// in (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_MAX: u32 = 4096;
/// The same for a peer that proved nothing (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_UNPROVEN_MAX: u32 = 2048;
/// What each of these streams adds to the window of its connection, and to its charge: the
/// messages of an overlay that is joined. The gossip layers of two nodes wait for each other for
/// good if what they say when they meet does not fit (`docs/protocol/network.md`).
pub const GOSSIP_STREAM_BYTES: usize = KIB / 2;
/// What all streams of a gossip connection add at most.
pub const GOSSIP_STREAMS_BYTES_MAX: usize = MIB / 2;
/// Streams beside one for each overlay that we were in (`docs/protocol/network.md`).
pub const GOSSIP_STREAMS_SPARE: u32 = 32;
/// Overlays shared with a peer of the published 0.7.1 (`docs/protocol/network.md`).
pub const GOSSIP_OVERLAYS_PUBLISHED_MAX: usize = 90;
