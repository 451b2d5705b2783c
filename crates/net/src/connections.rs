//! Every connection of the endpoint, seen through its hooks: what is open, what it may send, what
//! it is charged with and what it cost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iroh::TransportAddr;
use iroh::endpoint::{
    AfterHandshakeOutcome, Connection, EndpointHooks, Side, VarInt, WeakConnectionHandle,
};
use p2panda_core::budget::{Account, Budget, Charge, Prefix, Standing};
use p2panda_core::{VerifyingKey, limits};
use p2panda_protocol::close::CloseCode;
use parking_lot::{Mutex, MutexGuard};

use crate::admission::{
    Protocol, allow_gossip, allow_streams, gossip_bytes, price, streams_to_allow,
};
use crate::alpns::Alpns;
use crate::book::AddressBook;
use crate::broadcasts::{Broadcasts, Verdict};
use crate::close::close;
use crate::event::Counters;
use crate::peer_id::node_id;

/// All connections that passed the TLS handshake, ours and theirs, gossip included.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    inner: Arc<Mutex<Inner>>,
    sync_sent_bytes: Arc<AtomicU64>,
    budget: Budget,
    book: AddressBook,
    alpns: Alpns,
    /// Overlays that this node joined so far.
    overlays: Arc<AtomicU32>,
    broadcasts: Arc<Mutex<Broadcasts>>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// By number, so that the oldest comes first.
    open: BTreeMap<u64, Open>,
    /// Of the connections that ended.
    sent_bytes: u64,
    received_bytes: u64,
}

#[derive(Debug)]
struct Open {
    peer: VerifyingKey,
    connection: WeakConnectionHandle,
    stable_id: usize,
    standing: Standing,
    protocol: Protocol,
    /// Whether it may be closed to let another in: it came from a peer that has shown nothing yet.
    makes_room: bool,
    /// Released when it has ended.
    charge: Charge,
}

/// The best open path to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BestPath {
    pub(crate) relayed: bool,
    pub(crate) rtt: Option<Duration>,
}

impl Connections {
    pub(crate) fn new(budget: Budget, book: AddressBook, alpns: Alpns) -> Self {
        Self {
            inner: Arc::default(),
            sync_sent_bytes: Arc::default(),
            broadcasts: Arc::new(Mutex::new(Broadcasts::new(budget.clone()))),
            start: Instant::now(),
            budget,
            book,
            alpns,
            overlays: Arc::default(),
        }
    }

    /// The open paths, by peer.
    pub(crate) fn best_paths(&self) -> HashMap<VerifyingKey, BestPath> {
        let mut paths: HashMap<VerifyingKey, BestPath> = HashMap::new();
        for (peer, connection) in self.open() {
            let path = best_path(&connection);
            let best = paths.entry(peer).or_insert(path);
            if best.rtt.is_none() || path.rtt.is_some_and(|rtt| best.rtt > Some(rtt)) {
                *best = path;
            }
        }
        paths
    }

    /// Whether a connection with a peer is open.
    pub(crate) fn is_open(&self, peer: &VerifyingKey) -> bool {
        self.open().iter().any(|(other, _)| other == peer)
    }

    /// Bytes of all connections so far.
    pub(crate) fn counters(&self) -> Counters {
        let open = self.open();
        let held = self.budget.status();
        let inner = self.inner();
        let mut counters = Counters {
            udp_sent_bytes: inner.sent_bytes,
            udp_received_bytes: inner.received_bytes,
            sync_sent_bytes: self.sync_sent_bytes.load(Ordering::Relaxed),
            connections: inner.next,
            budget_bytes: held.bytes as u64,
            budget_used_bytes: held.used_bytes as u64,
            budget_peak_bytes: held.peak_bytes as u64,
            peers_slowed: held.slowed,
            peers_closed: held.closed,
        };
        drop(inner);
        for (_, connection) in open {
            let stats = connection.stats();
            counters.udp_sent_bytes += stats.udp_tx.bytes;
            counters.udp_received_bytes += stats.udp_rx.bytes;
        }
        counters
    }

    /// Counts what was written to the streams of sync.
    pub(crate) fn sync_wrote(&self, bytes: usize) {
        self.sync_sent_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Closes the connections to a peer that have no path left but to these addresses.
    pub(crate) fn close_to(&self, peer: &VerifyingKey, addresses: &BTreeSet<SocketAddr>) {
        let gone = |path: iroh::endpoint::Path<'_>| match path.remote_addr() {
            TransportAddr::Ip(ip) => addresses.contains(&SocketAddr::new(ip.ip(), ip.port())),
            _ => false,
        };
        for (_, connection) in self.open().iter().filter(|(other, _)| other == peer) {
            if connection.paths().iter().all(gone) {
                tracing::debug!(%peer, "the peer is not at this address any more");
                close(connection, CloseCode::Failed);
            }
        }
    }

    /// Closes every connection with a peer.
    pub(crate) fn close_all(&self, peer: &VerifyingKey, code: CloseCode) {
        for (_, connection) in self.open().iter().filter(|(other, _)| other == peer) {
            close(connection, code);
        }
    }

    /// A neighbour passed on a gossip message of so many bytes. Answers whether it may be kept.
    pub(crate) fn broadcast(&self, from: VerifyingKey, bytes: usize) -> bool {
        let verdict = self
            .broadcasts()
            .received(from, bytes, self.start.elapsed());
        let peer = match verdict {
            Verdict::Kept => return true,
            Verdict::Dropped => return false,
            Verdict::Closed => from,
            Verdict::OtherClosed(peer) => peer,
        };
        tracing::debug!(%peer, "the peer broadcasts more than it may");
        let gossip: Vec<_> = {
            let inner = self.inner();
            let open = inner.open.values();
            let carries = |protocol| matches!(protocol, Protocol::Gossip | Protocol::Link);
            let gossip = open.filter(|open| open.peer == peer && carries(open.protocol));
            gossip
                .filter_map(|open| open.connection.upgrade())
                .collect()
        };
        for connection in gossip {
            close(&connection, CloseCode::Limit);
        }
        peer != from
    }

    /// Whether a peer is a bootstrap node, was configured, or has completed a session before.
    pub(crate) fn is_proven(&self, peer: &VerifyingKey) -> bool {
        self.book.is_trusted(peer)
    }

    /// Releases what gossip does not keep any more.
    pub(crate) fn release_broadcasts(&self) {
        self.broadcasts().release(self.start.elapsed());
    }

    /// The account of the peer at the other end.
    pub(crate) fn account(&self, connection: &Connection) -> Option<Account> {
        let peer = node_id(connection.remote_id())?;
        let standing = self.standing(&peer, connection);
        Some(self.budget.account(peer, standing))
    }

    /// The peer named a topic of ours; `extra` if a pair does not need that many sessions on it.
    /// Answers false if there is no room for this one.
    pub(crate) fn agreed(&self, connection: &Connection, extra: bool) -> bool {
        let Some(account) = self.account(connection) else {
            return false;
        };
        let mut inner = self.inner();
        let id = connection.stable_id();
        let Some(open) = inner
            .open
            .values_mut()
            .rev()
            .find(|open| open.stable_id == id)
        else {
            return false;
        };
        open.makes_room = false;
        let bytes = match open.standing {
            _ if extra => limits::CONNECTION_BYTES,
            Standing::Proven => limits::CONNECTION_PROVEN_BYTES,
            Standing::Unproven(_) => limits::CONNECTION_AGREED_BYTES,
        };
        if bytes <= open.charge.bytes() {
            open.charge.resize(bytes);
            return true;
        }
        open.charge = Charge::default();
        match account.try_connection(bytes) {
            Some(charge) => open.charge = charge,
            None => return false,
        }
        true
    }

    /// The peer named a topic of ours on a link: it is not closed any more to make room for others.
    pub(crate) fn needed(&self, connection: &Connection) {
        let id = connection.stable_id();
        let mut inner = self.inner();
        let mut open = inner.open.values_mut().rev();
        if let Some(open) = open.find(|open| open.stable_id == id) {
            open.makes_room = false;
        }
    }

    /// A session with the peer was completed.
    pub(crate) fn proved(&self, peer: &VerifyingKey) {
        self.budget.account(*peer, Standing::Proven);
        let streams = self.gossip_streams(Standing::Proven);
        let mut inner = self.inner();
        for open in inner.open.values_mut() {
            if open.peer != *peer || open.standing == Standing::Proven {
                continue;
            }
            open.standing = Standing::Proven;
            if open.protocol == Protocol::Link {
                open.charge.resize(limits::LINK_WINDOW_BYTES);
            } else if open.protocol == Protocol::Gossip {
                open.allow_gossip(streams);
            } else if open.makes_room || open.charge.bytes() <= limits::CONNECTION_AGREED_BYTES {
                // Those that a pair does not need keep their price.
                open.charge.resize(limits::CONNECTION_PROVEN_BYTES);
            }
            open.makes_room = false;
        }
    }

    /// Another overlay was joined: gossip may open another stream on each of its connections.
    pub(crate) fn joined(&self) {
        self.overlays.fetch_add(1, Ordering::Relaxed);
        let mut inner = self.inner();
        let gossip = inner.open.values_mut();
        for open in gossip.filter(|open| open.protocol == Protocol::Gossip) {
            let streams = self.gossip_streams(open.standing);
            open.allow_gossip(streams);
        }
    }

    fn broadcasts(&self) -> MutexGuard<'_, Broadcasts> {
        self.broadcasts.lock()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    fn open(&self) -> Vec<(VerifyingKey, Connection)> {
        let inner = self.inner();
        let open = inner.open.values();
        open.filter_map(|open| Some((open.peer, open.connection.upgrade()?)))
            .filter(|(_, connection)| connection.close_reason().is_none())
            .collect()
    }

    fn standing(&self, peer: &VerifyingKey, connection: &Connection) -> Standing {
        match self.book.is_trusted(peer) {
            true => Standing::Proven,
            false => Standing::Unproven(prefix(connection)),
        }
    }

    /// Overlays do not close their streams when they are left, so all that were joined count.
    fn gossip_streams(&self, standing: Standing) -> u32 {
        let max = match standing {
            Standing::Proven => limits::GOSSIP_STREAMS_MAX,
            Standing::Unproven(_) => limits::GOSSIP_STREAMS_UNPROVEN_MAX,
        };
        let overlays = self.overlays.load(Ordering::Relaxed);
        streams_to_allow(overlays, max)
    }

    /// Charges for a connection and says what the peer may open on it. Answers false if there is
    /// no room for it.
    fn add(&self, connection: &Connection) -> bool {
        let Some(peer) = node_id(connection.remote_id()) else {
            return false;
        };
        let standing = self.standing(&peer, connection);
        let account = self.budget.account(peer, standing);
        let proven = standing == Standing::Proven;
        let protocol = self.protocol(connection.alpn());
        let bytes = price(standing)
            + match protocol {
                Protocol::Gossip => gossip_bytes(self.gossip_streams(standing)),
                Protocol::Link => limits::LINK_WINDOW_BYTES - limits::CONNECTION_WINDOW_BYTES,
                Protocol::Discovery | Protocol::Sync => 0,
            };
        if protocol == Protocol::Gossip && self.broadcasts().refuses(&peer, self.start.elapsed()) {
            tracing::debug!(%peer, "the peer broadcast more than it may");
            return false;
        }
        let theirs = connection.side() == Side::Server;
        let charge = match theirs {
            true => self.charge_theirs(&account, &peer, standing, bytes),
            false => Some(account.connection(bytes)),
        };
        let Some(charge) = charge else {
            tracing::debug!(%peer, "no room for another connection");
            return false;
        };
        allow_streams(connection, protocol);
        let weak = connection.weak_handle();
        let closed = weak.closed();
        let number = {
            let mut inner = self.inner();
            inner.next += 1;
            let number = inner.next;
            let mut open = Open {
                peer,
                connection: weak,
                stable_id: connection.stable_id(),
                standing,
                protocol,
                makes_room: theirs && !proven,
                charge,
            };
            if protocol == Protocol::Gossip {
                // Under the lock: whoever joins an overlay meanwhile finds this one listed.
                open.allow_gossip(self.gossip_streams(standing));
            }
            inner.open.insert(number, open);
            number
        };
        self.book.shown(&peer);
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let closed = closed.await;
            let mut inner = inner.lock();
            inner.open.remove(&number);
            if let Some(closed) = closed {
                inner.sent_bytes += closed.stats.udp_tx.bytes;
                inner.received_bytes += closed.stats.udp_rx.bytes;
            }
        });
        true
    }

    fn protocol(&self, alpn: &[u8]) -> Protocol {
        if alpn == self.alpns.gossip {
            Protocol::Gossip
        } else if alpn == self.alpns.discovery {
            Protocol::Discovery
        } else if self.alpns.is_link(alpn) {
            Protocol::Link
        } else {
            Protocol::Sync
        }
    }

    /// Lets a connection in, if need be in place of one that has shown nothing yet.
    fn charge_theirs(
        &self,
        account: &Account,
        peer: &VerifyingKey,
        standing: Standing,
        bytes: usize,
    ) -> Option<Charge> {
        let charge = account.try_connection(bytes);
        if charge.is_some() || standing == Standing::Proven {
            return charge;
        }
        // First among its neighbours: it may be their share that is used up.
        self.inner()
            .make_room(peer, |open| open.standing == standing);
        let charge = account.try_connection(bytes);
        if charge.is_some() {
            return charge;
        }
        self.inner().make_room(peer, |_| true);
        account.try_connection(bytes)
    }
}

impl Open {
    /// Lets the peer open so many streams on a gossip connection, and charges for them.
    fn allow_gossip(&mut self, streams: u32) {
        self.charge
            .resize(price(self.standing) + gossip_bytes(streams));
        if let Some(connection) = self.connection.upgrade() {
            allow_gossip(&connection, streams);
        }
    }
}

impl Inner {
    /// Closes the oldest connection of the peer with the most of those that have shown nothing,
    /// unless the newcomer has as many.
    fn make_room(&mut self, newcomer: &VerifyingKey, of: impl Fn(&Open) -> bool) {
        let mut crowd: HashMap<VerifyingKey, (usize, u64)> = HashMap::new();
        let open = self.open.iter();
        for (number, open) in open.filter(|(_, open)| open.makes_room && of(open)) {
            crowd.entry(open.peer).or_insert((0, *number)).0 += 1;
        }
        let own = crowd.get(newcomer).map_or(0, |(count, _)| *count);
        let largest = crowd.into_values().max_by_key(|(count, _)| *count);
        let oldest = largest.filter(|(count, _)| *count > own);
        let Some(open) = oldest.and_then(|(_, number)| self.open.get_mut(&number)) else {
            return;
        };
        open.makes_room = false;
        open.charge = Charge::default();
        if let Some(connection) = open.connection.upgrade() {
            close(&connection, CloseCode::Refused);
        }
    }
}

impl EndpointHooks for Connections {
    async fn after_handshake(&self, connection: &Connection) -> AfterHandshakeOutcome {
        if self.add(connection) {
            return AfterHandshakeOutcome::accept();
        }
        let code = CloseCode::Refused;
        AfterHandshakeOutcome::Reject {
            error_code: VarInt::from_u32(code.code()),
            reason: code.reason().as_bytes().to_vec(),
        }
    }
}

/// The addresses that the peer's belongs to.
fn prefix(connection: &Connection) -> Prefix {
    let paths = connection.paths();
    let direct = paths.iter().find_map(|path| match path.remote_addr() {
        TransportAddr::Ip(ip) => Some(ip.ip()),
        _ => None,
    });
    direct.map_or(Prefix::RELAYED, Prefix::of)
}

/// The path of a connection that is in use.
pub(crate) fn best_path(connection: &Connection) -> BestPath {
    let mut best = BestPath::default();
    for path in connection.paths().iter().filter(|path| path.is_selected()) {
        best = BestPath {
            relayed: path.is_relay(),
            rtt: Some(path.rtt()),
        };
    }
    best
}

/// The round-trip time of the path in use, zero before it is known.
pub(crate) fn round_trip(connection: &Connection) -> Duration {
    best_path(connection).rtt.unwrap_or_default()
}
