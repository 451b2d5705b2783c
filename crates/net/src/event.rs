//! Events and counters of the network.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use p2panda_core::{Topic, VerifyingKey};
pub use p2panda_protocol::book::ClockDifference;
use p2panda_protocol::sync::SessionId;

/// Something an application may want to show. Events carry no operation, and a listener that
/// falls behind loses the oldest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetEvent {
    /// A node was heard of for the first time, or its addresses changed.
    PeerFound {
        /// Its node id.
        node: VerifyingKey,
    },
    /// A peer became a neighbour in the overlay of a topic.
    NeighbourUp {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// A peer is a neighbour no longer.
    NeighbourDown {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// There are more topics than peers are told of: this one is not synced, and nothing ephemeral is
    /// exchanged in it, until another one is left ([`Counters::untold_topics`]).
    TopicUntold {
        /// The topic that this is about.
        topic: Topic,
    },
    /// Another node with this node's key has a link with a peer, which therefore refuses this one. Both
    /// publish to the same logs (`docs/protocol/streams.md#16`).
    CopyRuns {
        /// Node id of the peer.
        peer: VerifyingKey,
    },
    /// A sync session passed its handshake.
    SessionStarted {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
    },
    /// Both sides know what they are about to send. Estimates, for progress only.
    CatchUpStarted {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Estimate of what both sides will exchange.
        expected: Transfer,
    },
    /// A catch-up that takes longer is still in progress.
    CatchUpGoesOn {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Estimate of what both sides will exchange.
        expected: Transfer,
        /// Exchanged so far.
        transfer: Transfer,
    },
    /// Everything was sent, and everything received is durable: the session is live.
    CatchUpEnded {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// Exchanged so far.
        transfer: Transfer,
    },
    /// A sync session is over.
    SessionEnded {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Number of the session on this node.
        session: SessionId,
        /// `true` if it ended cleanly.
        ok: bool,
        /// Reason why it ended.
        reason: SessionEnd,
        /// Exchanged in the whole session.
        transfer: Transfer,
    },
    /// A peer answered, and serves no session of this topic for now. It is asked again later.
    SessionRefused {
        /// The topic that this is about.
        topic: Topic,
        /// Node id of the peer.
        peer: VerifyingKey,
        /// Reason for the refusal.
        reason: Refusal,
    },
    /// The addresses this node announces have changed.
    AddressChanged,
    /// A peer handed over a record of its addresses that shows a clock far from this node's, or much
    /// further than before. Which of the two is right, nobody knows.
    ClockDiffers {
        /// Node id of the peer.
        peer: VerifyingKey,
        /// The least difference that is certain.
        by: ClockDifference,
    },
    /// The state of contact with a node that the configuration names has changed.
    ContactChanged {
        /// The node.
        peer: VerifyingKey,
        /// The new state.
        contact: Contact,
    },
    /// The network changed or the machine slept; everything is tried again at once.
    Recovering,
}

/// Reason why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionEnd {
    /// Cleanly, by either side: another session of the two continues, or the peer left the topic.
    Done,
    /// This node left the topic, or was shut down.
    Left,
    /// The peer serves no session of the topic for now: it has as many as it takes.
    Refused,
    /// The peer is not interested in the topic.
    NotServed,
    /// The peer made no progress in time.
    TimedOut,
    /// The peer broke the protocol.
    Violation,
    /// The peer exceeded a limit of the protocol.
    Limit,
    /// The peer was shut down, or needs the session no longer.
    PeerStopped,
    /// The peer ended it, and did not say why.
    PeerEnded,
    /// The connection was lost, or ended with the session on it.
    Lost,
    /// Something on this node failed.
    Failed,
}

/// Reason why a peer serves no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// It serves as many sessions as it can.
    TooMany,
    /// It is not interested in the topic.
    NotServed,
}

/// A topic of which a peer refused a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefusalStatus {
    /// The topic that this is about.
    pub topic: Topic,
    /// Reason for the refusal.
    pub reason: Refusal,
    /// Time of its last refusal, by this node's clock.
    pub at: SystemTime,
    /// Number of refusals since a session was last live.
    pub times: u32,
}

/// Operations and bytes that a session exchanges: header and body bytes, without framing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transfer {
    /// Number of operations from this node to the peer.
    pub sent_operations: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Number of operations from the peer to this node.
    pub received_operations: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

/// State of a node, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its node id.
    pub id: VerifyingKey,
    /// Its socket addresses, the signed ones first.
    pub addrs: Vec<SocketAddr>,
    /// The relays it can be reached through.
    pub relays: Vec<String>,
    /// `true` if a connection to it is open.
    pub connected: bool,
    /// `true` if the connection goes through a relay.
    pub relayed: bool,
    /// Round-trip time of an open connection.
    pub rtt: Option<Duration>,
    /// Time at which it was last heard of.
    pub last_seen: Option<SystemTime>,
    /// State of the connection with it.
    pub state: PeerState,
    /// State of contact with it, if the configuration names it.
    pub contact: Option<ContactStatus>,
    /// The least difference between its clock and this node's, if it is large, according to the
    /// last record that it handed over since the start.
    pub clock: Option<ClockDifference>,
    /// Running sync sessions with it.
    pub sessions: Vec<SessionStatus>,
    /// Sessions that it refused when it was asked last, by topic, until one is live. They are asked
    /// for again, ever more rarely (`docs/protocol/sync.md#8`).
    pub refused: Vec<RefusalStatus>,
    /// Number of this node's topics that it is known to share.
    pub topics_shared: usize,
}

/// State of contact with a node that the configuration names, by the last attempt to reach it or
/// its last session, no matter who dialled (`docs/protocol/network.md#5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contact {
    /// No attempt was made yet.
    Untried,
    /// Its host name cannot be resolved to an address.
    Unresolved,
    /// Nothing answers at its addresses.
    Dead,
    /// No program listens at its addresses: the system there says so.
    ClosedPort,
    /// At its address something speaks QUIC, but none of the protocols of this network: a node of
    /// another network, or another program.
    OtherNetwork,
    /// Another node answers at its address.
    WrongId,
    /// It answers, and refuses the connection: it is stopping, or accepts no more for now.
    Refused,
    /// It could not be reached, for an unknown reason.
    Unreachable,
    /// It was reached, and shares no topic with this node.
    NoCommonTopic,
    /// It was reached, and shares a topic with this node.
    Reached,
}

impl Contact {
    /// Returns `true` if the node was reached.
    pub fn is_met(self) -> bool {
        matches!(self, Contact::NoCommonTopic | Contact::Reached)
    }
}

/// State of the connection with a node; the furthest one that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerState {
    /// It is known, and no attempt to reach it was made since the start.
    Known,
    /// A first attempt to reach it is in progress.
    Connecting,
    /// The last attempt to reach it ended like this, and no connection is open.
    Unreached(Contact),
    /// It was reached since the start, and no connection is open now.
    Met,
    /// A connection is open, and no session is live.
    Connected,
    /// A session with it is live: what is published is sent to it.
    Live,
}

/// State of contact with a node, and since when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContactStatus {
    /// The state of contact.
    pub contact: Contact,
    /// Time at which the state was first reached, by this node's clock.
    pub since: SystemTime,
}

/// An interface on which a node looks for others, with one family of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalNetwork {
    /// The name that the system gives the interface.
    pub interface: String,
    /// `true` if it is with IPv6; the same interface may be there with IPv4 as well.
    pub ipv6: bool,
    /// `true` if this node announces itself there.
    pub announced: bool,
    /// Reason why nothing is heard or told there for now; it is tried again.
    pub failed: Option<ErrorKind>,
    /// Other nodes that were heard there.
    pub nodes: usize,
}

/// A running sync session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStatus {
    /// Number of the session on this node.
    pub session: SessionId,
    /// The topic that this is about.
    pub topic: Topic,
    /// `true` if this node dialled.
    pub dialled_by_us: bool,
    /// `true` if the two sides find out by a digest or by ranges that they hold the same, instead
    /// of telling all heights (`docs/protocol/digest.md`, `docs/protocol/ranges.md`). Not with
    /// peers of release 0.7.1.
    pub digest: bool,
    /// `true` if the peer can be asked for receipts (`docs/protocol/link.md#10`).
    pub receipts: bool,
    /// `true` if catch-up is over.
    pub live: bool,
}

/// Progress of a catch-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatchUp {
    /// Estimate of what both sides will exchange.
    pub expected: Transfer,
    /// Exchanged so far; updated about once a second.
    pub transfer: Transfer,
}

/// Traffic since the start, and memory that peers make this node hold
/// (`docs/protocol/network.md#11`). Bytes in UDP datagrams cover all connections, with
/// acknowledgements, retransmissions and gossip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Bytes sent in UDP datagrams.
    pub udp_sent_bytes: u64,
    /// Bytes received in UDP datagrams.
    pub udp_received_bytes: u64,
    /// Bytes written to the streams of sync, topic handshakes included, without QUIC.
    pub sync_sent_bytes: u64,
    /// Bytes written to the control streams of links, without QUIC.
    pub link_sent_bytes: u64,
    /// Connections that passed the TLS handshake.
    pub connections: u64,
    /// Sync sessions that run now.
    pub sessions: u64,
    /// Those of them that are caught up and live.
    pub sessions_live: u64,
    /// Bytes that peers may make us hold.
    pub budget_bytes: u64,
    /// Bytes that they make us hold now.
    pub budget_used_bytes: u64,
    /// The most bytes that they made us hold at once.
    pub budget_peak_bytes: u64,
    /// Number of times that a peer used up its share of the budget and had to wait.
    pub peers_slowed: u64,
    /// Number of times that the connections of a peer were closed because of the memory that it
    /// made this node hold.
    pub peers_closed: u64,
    /// Topics, and ephemeral streams, that peers are not told of because there are too many.
    pub untold_topics: u64,
    /// Ephemeral messages that were dropped because they were invalid. One that no member of the space of
    /// its topic has sealed counts once for each handle that skips it.
    pub ephemeral_invalid: u64,
    /// Ephemeral messages that were lost because there was no room for them, or because a handle was
    /// too slow, once for each such handle.
    pub ephemeral_lost: u64,
}
