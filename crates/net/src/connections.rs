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
use crate::places::{Rank, Ranked, chosen};

/// All connections that passed the TLS handshake, ours and theirs, gossip included.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    inner: Arc<Mutex<Inner>>,
    sync_sent_bytes: Arc<AtomicU64>,
    link_sent_bytes: Arc<AtomicU64>,
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
    /// Peers whose link was ended for breaking a rule, and when.
    broke: HashMap<VerifyingKey, Instant>,
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
    /// `true` if it came from a peer that proved nothing, so that it may have to make room.
    unproven: bool,
    shown: Shown,
    since: Instant,
    /// Time from which the peer counts as silent if it has shown nothing.
    silent_from: Instant,
    /// Released when it has ended.
    charge: Charge,
}

/// Standing of a peer by what it has shown on a connection (`docs/protocol/network.md#11`).
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    /// It is a neighbour in an overlay.
    joined: bool,
    /// It named a topic of ours: until when it has time to bring its sync to an end.
    topic_until: Option<Instant>,
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
            link_sent_bytes: Arc::default(),
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

    /// Returns `true` if a connection with a peer is open.
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
            link_sent_bytes: self.link_sent_bytes.load(Ordering::Relaxed),
            connections: inner.next,
            sessions: 0,
            sessions_live: 0,
            budget_bytes: held.bytes as u64,
            budget_used_bytes: held.used_bytes as u64,
            budget_peak_bytes: held.peak_bytes as u64,
            peers_slowed: held.slowed,
            peers_closed: held.closed,
            untold_topics: 0,
            ephemeral_invalid: 0,
            ephemeral_lost: 0,
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

    /// Counts what was written to the control streams of links.
    pub(crate) fn link_wrote(&self, bytes: usize) {
        self.link_sent_bytes
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

    /// A neighbour passed on a gossip message of that many bytes. Returns whether it may be kept.
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

    /// A link with the peer was ended because the peer broke a rule or passed a limit: for some time
    /// it gets no other one (`docs/protocol/link.md#5`).
    pub(crate) fn broke_rules(&self, peer: VerifyingKey) {
        let now = Instant::now();
        let broke = &mut self.inner().broke;
        if broke.len() >= limits::LINK_BROKEN_PEERS_MAX {
            broke.retain(|_, at| now.duration_since(*at) < limits::LINK_BROKEN_WAIT);
        }
        if broke.len() < limits::LINK_BROKEN_PEERS_MAX {
            broke.insert(peer, now);
        }
    }

    fn has_broken_rules(&self, peer: &VerifyingKey) -> bool {
        let broke = self.inner().broke.get(peer).copied();
        broke.is_some_and(|at| at.elapsed() < limits::LINK_BROKEN_WAIT)
    }

    /// Returns `true` if a peer is a bootstrap node, was configured, or has completed a session
    /// before.
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
    /// Returns false if there is no room for this one.
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
        open.named_topic(connection);
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

    /// The peer named a topic of ours on a link: it has time to sync before it makes room for others.
    pub(crate) fn needed(&self, connection: &Connection) {
        let id = connection.stable_id();
        let mut inner = self.inner();
        let mut open = inner.open.values_mut().rev();
        if let Some(open) = open.find(|open| open.stable_id == id) {
            open.named_topic(connection);
        }
    }

    /// Charges for a session that the peer opens on a link, if need be in place of others.
    pub(crate) fn session_charge(&self, connection: &Connection) -> Option<Charge> {
        let peer = node_id(connection.remote_id())?;
        let standing = self.standing(&peer, connection);
        let account = self.budget.account(peer, standing);
        self.charge_theirs(&account, &peer, standing, limits::LINK_SESSION_BYTES)
    }

    /// The peer became a neighbour in an overlay.
    pub(crate) fn neighbour(&self, peer: &VerifyingKey) {
        let mut inner = self.inner();
        let carries = |protocol| matches!(protocol, Protocol::Gossip | Protocol::Link);
        for open in inner.open.values_mut() {
            if open.peer == *peer && carries(open.protocol) {
                open.shown.joined = true;
            }
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
            } else if (open.unproven && open.shown.topic_until.is_none())
                || open.charge.bytes() <= limits::CONNECTION_AGREED_BYTES
            {
                // Those that a pair does not need keep their price.
                open.charge.resize(limits::CONNECTION_PROVEN_BYTES);
            }
            open.unproven = false;
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

    pub(crate) fn standing(&self, peer: &VerifyingKey, connection: &Connection) -> Standing {
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

    /// Charges for a connection and says what the peer may open on it. Returns false if there is
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
        let carries_gossip = matches!(protocol, Protocol::Gossip | Protocol::Link);
        if carries_gossip && self.broadcasts().refuses(&peer, self.start.elapsed()) {
            tracing::debug!(%peer, "the peer broadcast more than it may");
            return false;
        }
        let theirs = connection.side() == Side::Server;
        if theirs && protocol == Protocol::Link && self.has_broken_rules(&peer) {
            tracing::debug!(%peer, "the peer broke the rules of a link");
            return false;
        }
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
        let since = Instant::now();
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
                unproven: theirs && !proven,
                shown: Shown::default(),
                since,
                silent_from: since
                    + limits::CONNECTION_SILENT_WAIT
                    + round_trip(connection) * limits::CONNECTION_SILENT_ROUND_TRIPS,
                charge,
            };
            if protocol == Protocol::Gossip {
                // Under the lock: anyone who joins an overlay meanwhile finds this one listed.
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

    /// Lets a connection in, if need be in place of others of peers that proved nothing.
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
        // Several small ones may have to make room for a large one.
        for _ in 0..limits::CONNECTIONS_DISPLACED_MAX {
            // First among its neighbours: it may be their share that is used up.
            if !self.inner().make_room(peer, standing) {
                return None;
            }
            let charge = account.try_connection(bytes);
            if charge.is_some() {
                return charge;
            }
        }
        None
    }
}

impl Open {
    /// The first topic that is named gives time, another one no more.
    fn named_topic(&mut self, connection: &Connection) {
        let wait = limits::CONNECTION_DUTY_WAIT
            .max(round_trip(connection) * limits::CONNECTION_DUTY_ROUND_TRIPS);
        self.shown.topic_until.get_or_insert(Instant::now() + wait);
    }

    /// `None`: it makes room for nobody.
    fn rank(&self, now: Instant) -> Option<Rank> {
        if !self.unproven {
            return None;
        }
        match self.shown.topic_until {
            Some(_) if self.moves(now) => None,
            Some(until) if now < until => Some(Rank::Begun),
            Some(_) => Some(Rank::Idle),
            None if self.shown.joined => Some(Rank::Idle),
            None if now < self.silent_from => Some(Rank::Begun),
            None => Some(Rank::Silent),
        }
    }

    /// Returns `true` if so much moves that it may well be a sync which takes its time.
    fn moves(&self, now: Instant) -> bool {
        let Some(connection) = self.connection.upgrade() else {
            return false;
        };
        let stats = connection.stats();
        let moved = stats.udp_tx.bytes + stats.udp_rx.bytes;
        let moved = moved.saturating_sub(limits::CONNECTION_START_BYTES);
        moved / now.duration_since(self.since).as_secs().max(1) >= limits::CONNECTION_MOVES_BYTES
    }

    /// Lets the peer open this many streams on a gossip connection, and charges for them.
    fn allow_gossip(&mut self, streams: u32) {
        self.charge
            .resize(price(self.standing) + gossip_bytes(streams));
        if let Some(connection) = self.connection.upgrade() {
            allow_gossip(&connection, streams);
        }
    }
}

impl Inner {
    /// Returns `true` if one address prefix has at least half of what all unproven peers hold
    /// open.
    fn is_most(&self, standing: Standing) -> bool {
        let (mut of_prefix, mut of_all) = (0, 0);
        for open in self
            .open
            .values()
            .filter(|open| open.standing != Standing::Proven)
        {
            of_all += open.charge.bytes();
            if open.standing == standing {
                of_prefix += open.charge.bytes();
            }
        }
        2 * of_prefix >= of_all
    }

    /// Closes one of the connections that make room for the newcomer. Returns whether there was one.
    fn make_room(&mut self, newcomer: &VerifyingKey, standing: Standing) -> bool {
        let now = Instant::now();
        let ranked = self.open.iter().filter_map(|(number, open)| {
            Some(Ranked {
                number: *number,
                peer: open.peer,
                standing: open.standing,
                rank: open.rank(now)?,
            })
        });
        let mut ranked: Vec<Ranked> = ranked.collect();
        if self.is_most(standing) {
            // It is the share of the prefix that is used up: others would go in vain.
            ranked.retain(|one| one.standing == standing);
        }
        let goes = chosen(&ranked, newcomer, standing);
        let Some(open) = goes.and_then(|number| self.open.get_mut(&number)) else {
            return false;
        };
        open.unproven = false;
        open.charge = Charge::default();
        if let Some(connection) = open.connection.upgrade() {
            close(&connection, CloseCode::Refused);
        }
        true
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
