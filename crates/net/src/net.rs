//! The handle of a running network.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda_core::limits::SHUTDOWN_STEP_WAIT;
use p2panda_core::{Entry, Label, Tail, Topic, VerifyingKey};
use p2panda_protocol::book::{Book, Node};
use p2panda_protocol::link::{Blocks, Instance};
use p2panda_protocol::record::{Address, TransportInfo};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::timeout;

use crate::admission::{Admissions, Visitors};
use crate::alpns::Alpns;
use crate::blocked::Blocked;
use crate::book::{AddressBook, sockets};
use crate::clock::Clock;
use crate::config::{Bootstrap, Config, Mdns};
use crate::connections::{BestPath, Connections};
use crate::contact::Contacts;
use crate::ephemeral::{EphemeralReceiver, EphemeralSender, Room};
use crate::error::SpawnError;
use crate::event::{
    CatchUp, Counters, LocalNetwork, NetEvent, PeerState, PeerStatus, SessionStatus,
};
use crate::gossip::{Gossip, Ground};
use crate::ground::Survey;
use crate::host::BootstrapHost;
use crate::knock::Knocker;
use crate::leaving::Leaving;
use crate::links::Links;
use crate::lookup::BookLookup;
use crate::mdns::lan::Lan;
use crate::overlays::Overlays;
use crate::paths::Paths;
use crate::receipts::Receipts;
use crate::refusals::Refusals;
use crate::request::Request;
use crate::revisits::Revisits;
use crate::served::Served;
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::signals::Signals;
use crate::topic::TopicHandle;
use crate::watched::Watcher;
use crate::{
    accept, budget, discovery, endpoint, link, mdns, names, own, persist, random, recovery,
};

/// A running network. Clones are cheap and refer to the same network. It ends when the last clone
/// is dropped, or cleanly with [`Net::shutdown`].
#[derive(Clone, Debug)]
pub struct Net {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    topics: Arc<Served<TopicHandle>>,
    rooms: Served<Room>,
}

/// Starts a network: binds, listens, walks, and serves what is subscribed.
///
/// Everything it needs of the node goes through `requests`.
pub async fn spawn(mut config: Config, requests: mpsc::Sender<Request>) -> Result<Net, SpawnError> {
    let local = config.signing_key.verifying_key();
    let clock = Clock::start_ahead(config.wall_ahead);
    let signals = Signals::new();
    let contacts = Contacts::new(local, clock, signals.clone());
    let book = take_book(&mut config, clock, &contacts);
    let by_hearsay = book.iter().any(|(_, node)| !node.is_trusted());
    let book = AddressBook::new(local, book, clock);
    let survey = Survey::new(&config.relays, book.clone());
    let alpns = Alpns::new(&config);
    let connections = Connections::new(config.budget.clone(), book.clone(), alpns);
    let lookup = BookLookup::new(book.clone(), connections.clone());
    let endpoint = endpoint::bind(&config, &alpns, lookup.clone(), connections.clone()).await?;
    let message_bytes_max = config.gossip_message_bytes_max;
    let instance = Instance::from_bytes(random::instance().ok_or(SpawnError::Random)?);
    let (links, begins) = Links::new(local, instance);
    let gossip = Gossip::new(Ground {
        local,
        endpoint: endpoint.clone(),
        alpns,
        links: links.clone(),
        message_bytes_max,
        neighbours_max: config.gossip_neighbours_max,
        timings: config.timings,
        clock,
        connections: connections.clone(),
        lookup: lookup.clone(),
        signals: signals.clone(),
        seed: random::seed().ok_or(SpawnError::Random)?,
    });
    let shared = Arc::new(Shared {
        local,
        key: config.signing_key,
        alpns,
        limits: config.limits,
        budget: config.budget,
        paths: Paths::new(config.timings.path.round_trip),
        timings: config.timings,
        gossip_message_bytes_max: message_bytes_max,
        clock,
        overlays: Overlays::new(book.clone(), connections.clone(), signals.clone()),
        endpoint,
        connections,
        gossip,
        links,
        receipts: Receipts::default(),
        blocked: Blocked::default(),
        leaving: Leaving::default(),
        lookup,
        book,
        survey,
        knocker: Knocker::new(
            config.bind_v4,
            config.bind_v6,
            config.timings.path.round_trip,
        ),
        lan: Lan::default(),
        own: watch::Sender::new(None),
        requests,
        admissions: Admissions::default(),
        visitors: Visitors::default(),
        revisits: Revisits::default(),
        sessions: Sessions::new(signals.clone()),
        contacts,
        refusals: Refusals::default(),
        resolver: config.resolver,
        skipped: Arc::default(),
        announce_addresses: config.announce_addresses,
        sessions_sought: config.sessions_sought,
        signals,
    });
    // Before anything else begins: without the own record a discovery session fails.
    own::sign(&shared, shared.endpoint.addr());
    if by_hearsay {
        shared.survey.ensure().await;
    }
    let running = Running {
        shared,
        topics: Arc::new(Served::new()),
        rooms: Served::new(),
    };
    let driven = link::run(running.shared.clone(), running.topics.clone(), begins);
    tokio::spawn(driven);
    running.start_tasks(config.mdns)?;
    for host in config.hosts {
        running.add_host(host);
    }
    Ok(Net {
        running: Arc::new(running),
    })
}

impl Running {
    fn start_tasks(&self, mdns: Mdns) -> Result<(), SpawnError> {
        let shared = &self.shared;
        let (book, signals) = (shared.book.clone(), shared.signals.clone());
        let (budget, connections) = (shared.budget.clone(), shared.connections.clone());
        tokio::spawn(own::run(shared.clone()));
        tokio::spawn(shared.gossip.clone().run(shared.own.subscribe()));
        tokio::spawn(accept::run(shared.clone(), self.topics.clone()));
        tokio::spawn(budget::run(budget, connections, signals.clone()));
        tokio::spawn(persist::run(book, shared.requests.clone(), signals));
        tokio::spawn(recovery::run(shared.clone()));
        discovery::start(shared).ok_or(SpawnError::Random)?;
        if mdns != Mdns::Off {
            tokio::spawn(mdns::run(shared.clone(), mdns == Mdns::Active));
        }
        Ok(())
    }
}

impl Running {
    /// Ends all tasks.
    fn stop(&self) {
        self.shared.signals.stop();
        for topic in self.topics.all() {
            topic.stop();
        }
    }

    fn add_host(&self, named: BootstrapHost) {
        let shared = &self.shared;
        shared.contacts.name(named.node);
        // Named, even if it has no address yet: it may come to us.
        let wall = shared.clock.wall();
        shared.book.lock().add_bootstrap(named.node, [], wall);
        tokio::spawn(names::run(self.shared.clone(), named));
    }
}

fn take_book(config: &mut Config, clock: Clock, contacts: &Contacts) -> Book {
    let empty = Book::new(config.signing_key.verifying_key());
    let mut book = std::mem::replace(&mut config.known.0, empty);
    for bootstrap in &config.bootstrap {
        contacts.name(bootstrap.node);
        add_bootstrap(&mut book, bootstrap.clone(), clock);
    }
    book
}

fn add_bootstrap(book: &mut Book, bootstrap: Bootstrap, clock: Clock) {
    let Bootstrap { node, addrs, relay } = bootstrap;
    let relay = relay.into_iter().map(Address::Relay);
    let hints = addrs.into_iter().map(Address::ip).chain(relay);
    book.add_bootstrap(node, hints, clock.wall());
}

impl Net {
    /// The node id: the public half of the signing key.
    pub fn id(&self) -> VerifyingKey {
        self.running.shared.local
    }

    /// Syncs a topic with everyone who shares it, until the handle is dropped.
    ///
    /// `arrivals` is the durable end of the topic by arrival number; sessions look for new
    /// operations whenever it changes, and ask for a page of what it does not hold. Several
    /// handles of one topic share its sessions and the `arrivals` of the first.
    pub fn subscribe(&self, topic: Topic, arrivals: Watcher<Tail<Entry>>) -> SyncHandle {
        let Running { shared, topics, .. } = &*self.running;
        let open = || TopicHandle::open(shared.clone(), topic, arrivals);
        SyncHandle {
            topic,
            handle: topics.get_or_open(topic, |topic| !topic.is_running(), open),
        }
    }

    /// Joins the ephemeral overlay of a topic, until all its handles are dropped.
    pub fn ephemeral(&self, topic: Topic) -> (EphemeralSender, EphemeralReceiver) {
        let Running { shared, rooms, .. } = &*self.running;
        let open = || Room::open(shared.clone(), topic);
        rooms.get_or_open(topic, |_| false, open).handles()
    }

    /// Adds a node to start with.
    pub fn add_peer(&self, bootstrap: Bootstrap) {
        let shared = &self.running.shared;
        shared.contacts.name(bootstrap.node);
        add_bootstrap(&mut shared.book.lock(), bootstrap, shared.clock);
        shared.book.store_soon();
        shared.signals.walk();
    }

    /// Adds a node to start with, whose addresses are looked up now and whenever they do not answer.
    pub fn add_host(&self, named: BootstrapHost) {
        self.running.add_host(named);
    }

    /// Every node of the address book, every one that was named, and every one with an open
    /// connection.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let shared = &self.running.shared;
        let paths = shared.connections.best_paths();
        let mut sessions: HashMap<VerifyingKey, Vec<SessionStatus>> = HashMap::new();
        for (peer, session) in shared.sessions.all() {
            sessions.entry(peer).or_default().push(session);
        }
        let mut peers: BTreeMap<VerifyingKey, PeerStatus> = BTreeMap::new();
        let book = shared.book.lock();
        for (node, entry) in book.iter() {
            peers.insert(*node, status(*node, Some(entry), paths.get(node)));
        }
        drop(book);
        for (node, path) in &paths {
            peers
                .entry(*node)
                .or_insert_with(|| status(*node, None, Some(path)));
        }
        for (node, contact) in shared.contacts.named() {
            let peer = peers.entry(node);
            peer.or_insert_with(|| status(node, None, None)).contact = Some(contact);
        }
        let mut refused = shared.refusals.by_peer();
        for (node, peer) in &mut peers {
            peer.sessions = sessions.remove(node).unwrap_or_default();
            peer.state = match peer.connected {
                true if peer.sessions.iter().any(|session| session.live) => PeerState::Live,
                true => PeerState::Connected,
                false => shared.contacts.state(node),
            };
            peer.refused = refused.remove(node).unwrap_or_default();
        }
        peers.into_values().collect()
    }

    /// With how many peers there is a session on a topic, and with how many of them one is live.
    pub fn sessions_on(&self, topic: &Topic) -> (usize, usize) {
        self.running.shared.sessions.peers_on(topic)
    }

    /// Running sessions on a topic with their peers, and how far they are while they catch up.
    pub fn sessions_of(
        &self,
        topic: &Topic,
    ) -> Vec<(VerifyingKey, SessionStatus, Option<CatchUp>)> {
        self.running.shared.sessions.on(topic)
    }

    /// Returns the local networks on which this node looks for others by multicast DNS, with their
    /// state (`docs/protocol/network.md#5`).
    pub fn local_networks(&self) -> Vec<LocalNetwork> {
        self.running.shared.lan.all()
    }

    /// The socket addresses that this node announces now.
    pub fn addr(&self) -> Vec<SocketAddr> {
        self.running
            .shared
            .own
            .borrow()
            .iter()
            .flat_map(sockets)
            .collect()
    }

    /// Changes whenever the announced addresses do; look at [`Net::addr`] then.
    pub fn addr_changes(&self) -> watch::Receiver<Option<TransportInfo>> {
        self.running.shared.own.subscribe()
    }

    /// Returns the events from now on. Carries no operations; a slow listener loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.running.shared.signals.events()
    }

    /// Bytes on the wire so far, sessions, and what peers make us hold.
    pub fn counters(&self) -> Counters {
        let shared = &self.running.shared;
        let (sessions, sessions_live) = shared.sessions.count();
        let (ephemeral_invalid, ephemeral_lost) = shared.skipped.counts();
        Counters {
            sessions,
            sessions_live,
            untold_topics: shared.overlays.untold() as u64,
            ephemeral_invalid,
            ephemeral_lost,
            ..shared.connections.counters()
        }
    }

    /// Call this when the system reports a change of the network: reads the addresses again and
    /// retries everything at once.
    pub async fn network_change(&self) {
        recovery::recover(&self.running.shared).await;
    }

    /// Ends all sessions cleanly, leaves all overlays and closes all connections. Takes about half
    /// a second when a peer does not answer. The sockets are free again some moments after the last
    /// handle was dropped.
    pub async fn shutdown(&self) {
        let shared = &self.running.shared;
        let topics = self.running.topics.all();
        let leaving: Vec<_> = topics
            .into_iter()
            .map(|topic| tokio::spawn(async move { topic.leave().await }))
            .collect();
        for left in leaving {
            // Fails only if the task broke; the topic is gone then as well.
            let _ = left.await;
        }
        // Those whose last handle was dropped a moment ago: what their sessions have written may be unread.
        let wait = shared.timings.leave_timeout * 2;
        let _ = timeout(wait, shared.leaving.ended()).await;
        let _ = timeout(
            SHUTDOWN_STEP_WAIT,
            persist::flush(&shared.book, &shared.requests),
        )
        .await;
        self.running.stop();
        shared.gossip.leave(SHUTDOWN_STEP_WAIT).await;
        let _ = timeout(SHUTDOWN_STEP_WAIT, shared.endpoint.close()).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.shared.signals.is_stopped() {
            return;
        }
        self.stop();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let endpoint = self.shared.endpoint.clone();
            runtime.spawn(async move { endpoint.close().await });
        }
    }
}

/// A topic that is synced. Dropping the last handle of a topic leaves the topic cleanly, in the
/// background.
#[derive(Clone, Debug)]
pub struct SyncHandle {
    topic: Topic,
    handle: Arc<TopicHandle>,
}

impl SyncHandle {
    /// The topic that this was opened for.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// An operation of this peer was dropped on the way in: compares with it again soon.
    pub fn repair(&self, peer: VerifyingKey) {
        self.handle.repair(peer);
    }

    /// This peer takes again what it refused: compares with it soon, and sends also what it was sent before.
    pub fn resend(&self, peer: VerifyingKey) {
        self.handle.resend(peer);
    }

    /// This author is the node as well: the own key of the space in the topic. What it signs counts as sent
    /// when a peer was sent it, not when it was told of it.
    pub fn sign_as(&self, author: VerifyingKey) {
        self.handle.sign_as(author);
    }

    /// Asks the peers that can say so to tell when they have stored a log of this node in the topic up to
    /// this entry, now and later: it is told with [`Request::Confirmed`]. The label is that of a log with a
    /// name. A later call for the log replaces it.
    pub fn confirm(&self, label: Option<Label>, height: u32) {
        self.handle.confirm(label, height);
    }

    /// Tells the peers that quotas of this node block these logs of the topic, and no others
    /// (`docs/protocol/link.md#12`). What they block themselves is told with [`Request::Blocked`].
    pub fn block(&self, blocks: Blocks) {
        self.handle.block(blocks);
    }

    /// As [`Net::events`].
    pub fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.handle.events()
    }

    /// The peers with a session of the topic.
    pub fn peers(&self) -> BTreeSet<VerifyingKey> {
        self.handle.peers(&self.topic)
    }

    /// Leaves the topic, no matter who else holds a handle: live sessions end with Close, those in
    /// catch-up are cut. Returns when that is done, after about half a second at most.
    pub async fn leave(self) {
        self.handle.leave().await;
    }
}

fn status(id: VerifyingKey, entry: Option<&Node>, path: Option<&BestPath>) -> PeerStatus {
    let mut relays = Vec::new();
    let mut addrs = Vec::new();
    for address in entry.into_iter().flat_map(Node::addresses) {
        match address {
            Address::Ip(socket) => addrs.push(*socket),
            Address::Relay(url) => relays.push(url.clone()),
            Address::Custom(_) => {}
        }
    }
    for socket in entry.into_iter().flat_map(Node::resolved) {
        if !addrs.contains(&socket) {
            addrs.push(socket);
        }
    }
    let seen = entry.and_then(|entry| entry.metrics().last_success);
    PeerStatus {
        id,
        addrs,
        relays,
        connected: path.is_some(),
        relayed: path.is_some_and(|path| path.relayed),
        rtt: path.and_then(|path| path.rtt),
        last_seen: seen.and_then(|seen| time(seen.as_micros())),
        state: PeerState::Known,
        contact: None,
        clock: entry.and_then(Node::clock),
        sessions: Vec::new(),
        refused: Vec::new(),
        topics_shared: entry.map_or(0, |entry| entry.overlays().len()),
    }
}

fn time(micros: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{Ipv4Addr, SocketAddrV4};

    use p2panda_core::{NetworkId, SigningKey};
    use tokio::time::interval;

    use super::*;
    use crate::watched::Watched;

    async fn start(seed: u8) -> Net {
        let mut config = Config::new(SigningKey::from_bytes(&[seed; 32]));
        config.network_id = NetworkId::from_bytes([80; 32]);
        config.bind_v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        config.bind_v6 = None;
        config.mdns = Mdns::Off;
        let (requests, mut asked) = mpsc::channel(64);
        tokio::spawn(async move { while asked.recv().await.is_some() {} });
        spawn(config, requests).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_network_whose_handles_are_dropped_gives_its_socket_back() {
        let net = start(3).await;
        let topic = Topic::from_bytes([81; 32]);
        let arrivals = Watched::default();
        let synced = net.subscribe(topic, arrivals.subscribe());
        let room = net.ephemeral(topic);
        let addr = *net.addr().first().unwrap();
        drop((net, synced, room));
        let mut again = interval(Duration::from_millis(10));
        let free = async {
            while std::net::UdpSocket::bind(addr).is_err() {
                again.tick().await;
            }
        };
        timeout(Duration::from_secs(30), free).await.unwrap();
    }
}
