//! The settings of a node's network.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::budget::Budget;
use p2panda_core::{NetworkId, SigningKey, VerifyingKey, limits};
use p2panda_protocol::book::Book;
use p2panda_protocol::sync::Limits;

use crate::clock::WallAhead;
use crate::host::{BootstrapHost, Resolver};

/// Everything [`crate::spawn`] needs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Config {
    /// The node's key: its node id, its TLS identity and the signer of its address records.
    pub signing_key: SigningKey,
    /// Separates networks: nodes of different networks never exchange a byte of payload.
    pub network_id: NetworkId,
    /// IPv4 address to listen on; port 0 picks a free port. A specific address is the only one
    /// announced; the unspecified address announces every interface.
    pub bind_v4: SocketAddrV4,
    /// IPv6 address to listen on, if any. The unspecified address may fail silently on a machine
    /// without IPv6.
    pub bind_v6: Option<SocketAddrV6>,
    /// `true` if the node's record names its addresses. Without them only those nodes reach it
    /// that it has connected to (`docs/protocol/network.md#3`).
    pub announce_addresses: bool,
    /// Relays to use. Empty: this node neither contacts nor announces any relay.
    pub relays: Vec<Relay>,
    /// Bootstrap nodes.
    pub bootstrap: Vec<Bootstrap>,
    /// Bootstrap nodes whose addresses change, or are known by name only.
    pub hosts: Vec<BootstrapHost>,
    /// Behaviour on the local network.
    pub mdns: Mdns,
    /// Largest gossip message in bytes; every node of a network must use the same number.
    pub gossip_message_bytes_max: usize,
    /// Neighbours that this node serves in each overlay, no matter who asked. It looks for 5 by
    /// itself; nodes of 0.7.1 sync with their neighbours only, and end what runs when those refuse
    /// them.
    pub gossip_neighbours_max: usize,
    /// Limits of sync messages.
    pub limits: Limits,
    /// Bytes that all peers together may make the node hold (`docs/protocol/network.md#11`).
    pub budget: Budget,
    /// `true` to speak the protocol that compares a digest of what both sides hold first
    /// (`docs/protocol/digest.md`), with peers that do so too. With all others, and without it, it
    /// is the protocol of 0.7.1.
    pub state_digest: bool,
    /// `true` if everything with a peer of this project runs over one connection
    /// (`docs/protocol/link.md`). With all others, and without it or [`Config::state_digest`],
    /// each protocol has its own; so has it where gossip messages may be larger than usual.
    pub links: bool,
    /// Sync sessions that the node looks for on each topic (`docs/protocol/sync.md#8`); it serves
    /// anyone who asks beyond that. With 0 it looks for one with every peer that it knows.
    pub sessions_sought: usize,
    /// The address book as [`crate::Request::Record`] had it stored.
    pub known: Known,
    /// Timeouts and intervals.
    pub timings: Timings,
    #[doc(hidden)]
    pub wall_ahead: WallAhead,
    #[doc(hidden)]
    pub resolver: Resolver,
}

impl Config {
    /// The defaults of a node with this key: the published network, every interface, no relay,
    /// nobody known, active on mDNS.
    pub fn new(signing_key: SigningKey) -> Self {
        Self {
            known: Known(Book::new(signing_key.verifying_key())),
            signing_key,
            network_id: NetworkId::default(),
            bind_v4: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            bind_v6: Some(SocketAddrV6::new(std::net::Ipv6Addr::UNSPECIFIED, 0, 0, 0)),
            announce_addresses: true,
            relays: Vec::new(),
            bootstrap: Vec::new(),
            hosts: Vec::new(),
            mdns: Mdns::Active,
            gossip_message_bytes_max: limits::GOSSIP_MESSAGE_BYTES_MAX_DEFAULT,
            gossip_neighbours_max: limits::GOSSIP_NEIGHBOURS_MAX_DEFAULT,
            budget: Budget::new(
                limits::BUDGET_BYTES_DEFAULT,
                limits::OPERATION_BYTES_MAX_DEFAULT,
            ),
            limits: Limits::default(),
            state_digest: true,
            links: true,
            sessions_sought: limits::SESSIONS_SOUGHT,
            timings: Timings::default(),
            wall_ahead: WallAhead::default(),
            resolver: Resolver::default(),
        }
    }

    /// Changes the defaults to those of a node behind a link of a few kbit/s
    /// (`docs/protocol/network.md#1`).
    pub fn low_bandwidth(&mut self) {
        self.sessions_sought = limits::SESSIONS_SOUGHT_SLOW;
        self.timings.path = self.timings.path.expecting(limits::FIRST_ROUND_TRIP_SLOW);
    }
}

/// The address book of the last run, read entry by entry: it never needs more memory than the
/// book itself, however much was stored.
#[derive(Debug)]
pub struct Known(pub(crate) Book);

impl Known {
    /// Takes in one entry. What cannot be read, and what there is no room for, is forgotten with
    /// [`crate::Request::Forget`] soon after the start.
    pub fn add(&mut self, node: VerifyingKey, stored: Bytes) {
        if let Err(error) = self.0.restore(node, stored) {
            tracing::warn!(%node, %error, "an entry of the address book cannot be read");
        }
    }
}

/// A node to start with: its id and at least one way to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Its node id.
    pub node: VerifyingKey,
    /// Its socket addresses, as far as known.
    pub addrs: Vec<SocketAddr>,
    /// The relay it can be reached through.
    pub relay: Option<String>,
}

/// A relay to use.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its URL, such as `https://relay.example.org`.
    pub url: String,
    /// The token it asks for.
    pub token: Option<String>,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "..");
        f.debug_struct("Relay")
            .field("url", &self.url)
            .field("token", &token)
            .finish()
    }
}

/// Use of multicast DNS (`docs/protocol/network.md#5`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mdns {
    /// Nothing.
    Off,
    /// Finds others without announcing itself.
    Listen,
    /// Finds others and announces the node's id and addresses.
    #[default]
    Active,
}

/// Assumptions about a path that was not measured yet (`docs/protocol/network.md#1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathGuess {
    /// Assumed round-trip time.
    pub round_trip: Duration,
    /// Bytes that leave on it before the peer has acknowledged anything.
    pub flight_bytes: u64,
    /// Bytes that a session hands over before the peer has taken them.
    pub send_bytes: usize,
    /// `true` if it may carry larger packets than every path does, which is found out by sending
    /// some: 11 kB with each connection.
    pub larger_packets: bool,
}

impl PathGuess {
    /// Returns the assumptions about a path with this expected round trip: a slow path carries less
    /// in flight.
    pub(crate) fn expecting(self, round_trip: Duration) -> Self {
        let mut path = Self { round_trip, ..self };
        if round_trip >= limits::SLOW_PATH_ROUND_TRIP {
            path.flight_bytes = path.flight_bytes.min(limits::FIRST_FLIGHT_BYTES_SLOW);
            path.larger_packets = false;
        }
        if round_trip >= limits::FIRST_ROUND_TRIP_SLOW {
            path.send_bytes = path.send_bytes.min(limits::SEND_WINDOW_BYTES_SLOW);
        }
        path
    }
}

impl Default for PathGuess {
    fn default() -> Self {
        Self {
            round_trip: limits::FIRST_ROUND_TRIP,
            flight_bytes: limits::FIRST_FLIGHT_BYTES,
            send_bytes: limits::SEND_WINDOW_BYTES,
            larger_packets: true,
        }
    }
}

/// Timeouts and intervals of the transport.
///
/// A wait for a peer is longer where that peer's path is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// A connection without a sign of life for this long is lost.
    pub idle_timeout: Duration,
    /// The same for a discovery session that this node dialled.
    pub discovery_idle_timeout: Duration,
    /// A connection without traffic sends a sign of life this often.
    pub keep_alive: Duration,
    /// From the dial to the end of the topic handshake.
    pub handshake_timeout: Duration,
    /// A whole discovery session.
    pub discovery_timeout: Duration,
    /// Time limit for peers to confirm when a topic is left.
    pub leave_timeout: Duration,
    /// An overlay without enough neighbours asks other known nodes again after a tenth of the time
    /// for which it has lacked them, but not sooner than this.
    pub rejoin_first: Duration,
    /// Longest wait between two such attempts.
    pub rejoin_max: Duration,
    /// Time for which a gossip connection may stay unused by all overlays, or twenty round trips if
    /// that is longer.
    pub gossip_duty_wait: Duration,
    /// Time that a peer is asked to wait if there is no room for its session.
    pub full_wait: Duration,
    /// Time for which a link may stay unused (`docs/protocol/link.md#5`).
    pub link_duty_wait: Duration,
    /// Interval at which the clocks are compared, to detect that the machine slept.
    pub clock_check: Duration,
    /// First wait before a host name is resolved again whose addresses do not answer; the wait
    /// doubles.
    pub name_retry_first: Duration,
    /// Assumptions about an unmeasured path.
    pub path: PathGuess,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            idle_timeout: limits::IDLE_TIMEOUT,
            discovery_idle_timeout: limits::DISCOVERY_IDLE_TIMEOUT,
            keep_alive: limits::KEEP_ALIVE_INTERVAL,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            discovery_timeout: limits::DISCOVERY_TIMEOUT,
            leave_timeout: limits::CLOSE_TIMEOUT,
            rejoin_first: limits::GOSSIP_REJOIN_FIRST,
            rejoin_max: limits::GOSSIP_REJOIN_MAX,
            gossip_duty_wait: limits::GOSSIP_DUTY_WAIT,
            full_wait: limits::LINK_FULL_WAIT,
            link_duty_wait: limits::LINK_UNNEEDED_MAX,
            clock_check: limits::CLOCK_CHECK_INTERVAL,
            name_retry_first: limits::NAME_RETRY_FIRST,
            path: PathGuess::default(),
        }
    }
}
