//! What all parts of a node's network share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use iroh::{Endpoint, EndpointAddr};
use p2panda_core::budget::Budget;
use p2panda_core::limits::NETWORK_EVENTS_MAX;
use p2panda_core::{SigningKey, Topic, VerifyingKey};
use p2panda_protocol::book::{Book, Inserted, Node, Source};
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, RecordError, TransportInfo};
use p2panda_protocol::sync::{Limits, SessionId};
use parking_lot::Mutex;
use tokio::sync::{Notify, OnceCell, broadcast, mpsc, watch};

use crate::admission::{Door, Visitors};
use crate::alpns::Alpns;
use crate::clock::{Clock, wall};
use crate::config::Timings;
use crate::connections::Connections;
use crate::ephemeral::Room;
use crate::event::{NetEvent, SessionStatus};
use crate::gossip::GossipLayer;
use crate::knock::Knocker;
use crate::lookup::BookLookup;
use crate::peer_id::endpoint_addr;
use crate::request::Request;
use crate::topic::{Incoming, TopicHandle};

/// The state that every task of the network holds on to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) local: VerifyingKey,
    pub(crate) key: SigningKey,
    pub(crate) alpns: Alpns,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) timings: Timings,
    pub(crate) gossip_message_bytes_max: usize,
    pub(crate) clock: Clock,
    pub(crate) endpoint: Endpoint,
    pub(crate) connections: Connections,
    pub(crate) gossip: GossipLayer,
    pub(crate) lookup: BookLookup,
    pub(crate) book: Arc<Mutex<Book>>,
    /// The relays that the user allows.
    pub(crate) relays: BTreeSet<String>,
    pub(crate) knocker: Knocker,
    /// The book knows on which networks we are.
    pub(crate) looked: OnceCell<()>,
    /// The book has changes to store.
    pub(crate) book_changed: Notify,
    /// Counts changes of who is interested in what.
    pub(crate) interest: watch::Sender<u64>,
    /// Counts how often everything had to be tried anew at once.
    pub(crate) reset: watch::Sender<u64>,
    /// Counts the overlays that were added, and new own addresses: reasons to walk again.
    pub(crate) walk: watch::Sender<u64>,
    /// The own record as it was signed last.
    pub(crate) own: watch::Sender<Option<TransportInfo>>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) events: broadcast::Sender<NetEvent>,
    pub(crate) door: Door,
    /// Discovery sessions that peers dialled.
    pub(crate) visitors: Visitors,
    /// The overlays this node is in, with the number of reasons.
    overlays: Mutex<BTreeMap<Overlay, usize>>,
    topics: Mutex<HashMap<Topic, Weak<TopicHandle>>>,
    rooms: Mutex<HashMap<Topic, Weak<Room>>>,
    sessions: Mutex<BTreeMap<SessionId, (VerifyingKey, SessionStatus)>>,
    session_number: AtomicU64,
}

/// What [`Shared::new`] is made of.
pub(crate) struct Parts {
    pub(crate) key: SigningKey,
    pub(crate) alpns: Alpns,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) timings: Timings,
    pub(crate) gossip_message_bytes_max: usize,
    pub(crate) endpoint: Endpoint,
    pub(crate) connections: Connections,
    pub(crate) lookup: BookLookup,
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) clock: Clock,
    pub(crate) relays: BTreeSet<String>,
    pub(crate) knocker: Knocker,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts {
            endpoint,
            alpns,
            gossip_message_bytes_max,
            ..
        } = parts;
        let gossip = GossipLayer::start(
            endpoint.clone(),
            alpns.gossip,
            gossip_message_bytes_max,
            parts.lookup.clone(),
        );
        Self {
            local: parts.key.verifying_key(),
            key: parts.key,
            alpns,
            limits: parts.limits,
            budget: parts.budget,
            timings: parts.timings,
            gossip_message_bytes_max,
            clock: parts.clock,
            endpoint,
            connections: parts.connections,
            gossip,
            lookup: parts.lookup,
            book: parts.book,
            relays: parts.relays,
            knocker: parts.knocker,
            looked: OnceCell::new(),
            book_changed: Notify::new(),
            interest: watch::Sender::new(0),
            reset: watch::Sender::new(0),
            walk: watch::Sender::new(0),
            own: watch::Sender::new(None),
            stop: watch::Sender::new(false),
            requests: parts.requests,
            events: broadcast::Sender::new(NETWORK_EVENTS_MAX),
            door: Door::default(),
            visitors: Visitors::default(),
            overlays: Mutex::default(),
            topics: Mutex::default(),
            rooms: Mutex::default(),
            sessions: Mutex::default(),
            session_number: AtomicU64::new(1),
        }
    }

    /// Tells whoever listens.
    pub(crate) fn tell(&self, event: NetEvent) {
        // Fails only while nobody listens.
        let _ = self.events.send(event);
    }

    /// Resolves when the network is shut down.
    pub(crate) async fn stopped(&self) {
        // The sender is in `self`, so the only way out is the value.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Everything is worth another try at once.
    pub(crate) fn reset(&self) {
        self.reset.send_modify(|count| *count += 1);
    }

    // The address book.

    /// A connection with a peer worked. Nodes that nobody told us of stay unknown until they take
    /// part in a discovery session, so that made-up ids do not fill the book.
    pub(crate) fn success(&self, peer: &VerifyingKey) {
        let mut book = self.book.lock();
        if book.get(peer).is_some() {
            book.succeeded(*peer, wall());
            self.book_changed.notify_one();
        }
    }

    /// The catch-up of a sync session with a peer was completed.
    pub(crate) fn proved(&self, peer: &VerifyingKey) {
        let mut book = self.book.lock();
        book.proved(peer);
        drop(book);
        self.book_changed.notify_one();
        self.connections.proved(peer);
    }

    /// Whether a peer is configured, or completed a session before.
    pub(crate) fn is_trusted(&self, peer: &VerifyingKey) -> bool {
        let book = self.book.lock();
        book.get(peer).is_some_and(Node::is_trusted)
    }

    /// A peer proved itself over a connection from or to this address.
    pub(crate) fn answered(&self, peer: &VerifyingKey, socket: SocketAddr) {
        let mut book = self.book.lock();
        if book.answered(peer, socket) {
            drop(book);
            self.book_changed.notify_one();
            // Those who would meet it may now.
            self.interest.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn failure(&self, peer: &VerifyingKey) {
        self.book.lock().failed(*peer, wall());
        self.book_changed.notify_one();
    }

    /// A dial for sync came to nothing.
    pub(crate) fn unanswered(&self, peer: &VerifyingKey) {
        self.failure(peer);
        let mut book = self.book.lock();
        book.unanswered(*peer, None, self.clock.now());
    }

    /// Takes a record into the book.
    ///
    /// Connections to addresses that the node itself has given up are closed: it restarted or
    /// moved, and until they time out iroh would send every new dial there as well.
    pub(crate) fn take_record(
        &self,
        node: VerifyingKey,
        record: TransportInfo,
        source: Source,
    ) -> Result<Inserted, RecordError> {
        let now: BTreeSet<SocketAddr> = sockets(&record).collect();
        let (inserted, before) = {
            let mut book = self.book.lock();
            let known = book.get(&node).and_then(Node::record);
            let before: BTreeSet<SocketAddr> = known.into_iter().flat_map(sockets).collect();
            (book.insert(node, record, source, wall())?, before)
        };
        if inserted != Inserted::Kept {
            self.book_changed.notify_one();
            self.tell(NetEvent::PeerFound { node });
            let given_up: BTreeSet<SocketAddr> = before.difference(&now).copied().collect();
            if !given_up.is_empty() {
                self.connections.close_to(&node, &given_up);
            }
        }
        Ok(inserted)
    }

    pub(crate) fn interested(&self, overlay: &Overlay) -> Vec<VerifyingKey> {
        let book = self.book.lock();
        book.interested(overlay, wall())
            .filter(|node| *node != self.local)
            .collect()
    }

    /// What to dial for a peer that we know is there: its id alone if a connection to it is open.
    /// Of a node that we know by hearsay only the walk finds out whether it is there.
    pub(crate) fn endpoint_addr(&self, peer: &VerifyingKey) -> Option<EndpointAddr> {
        let known = self.lookup.find(peer);
        let connected = || self.connections.is_open(peer);
        known.or_else(|| connected().then(|| endpoint_addr(peer, &[])).flatten())
    }

    // Overlays.

    /// The overlays that discovery answers for.
    pub(crate) fn overlays(&self) -> BTreeSet<Overlay> {
        self.overlays.lock().keys().copied().collect()
    }

    pub(crate) fn join(&self, overlay: Overlay) {
        let new = {
            let mut overlays = self.overlays.lock();
            let count = overlays.entry(overlay).or_default();
            *count += 1;
            *count == 1
        };
        if new {
            self.connections.joined();
        }
        self.walk.send_modify(|count| *count += 1);
    }

    pub(crate) fn part(&self, overlay: Overlay) {
        let mut overlays = self.overlays.lock();
        let Some(count) = overlays.get_mut(&overlay) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            overlays.remove(&overlay);
            drop(overlays);
            self.book.lock().leave(&overlay);
            self.book_changed.notify_one();
        }
    }

    // Topics.

    /// The running handle of a topic, or a new one that `open` makes.
    pub(crate) fn topic(
        &self,
        topic: Topic,
        open: impl FnOnce() -> Arc<TopicHandle>,
    ) -> Arc<TopicHandle> {
        let mut topics = self.topics.lock();
        topics.retain(|_, handle| handle.strong_count() > 0);
        let running = topics
            .get(&topic)
            .and_then(Weak::upgrade)
            .filter(|h| h.is_running());
        running.unwrap_or_else(|| {
            let handle = open();
            topics.insert(topic, Arc::downgrade(&handle));
            handle
        })
    }

    /// Where accepted sessions of a topic go, if it is subscribed.
    pub(crate) fn inbox(&self, topic: &Topic) -> Option<mpsc::Sender<Incoming>> {
        let topics = self.topics.lock();
        let handle = topics.get(topic).and_then(Weak::upgrade)?;
        handle.is_running().then(|| handle.inbox())
    }

    /// All running topics.
    pub(crate) fn all_topics(&self) -> Vec<Arc<TopicHandle>> {
        let topics = self.topics.lock();
        topics.values().filter_map(Weak::upgrade).collect()
    }

    /// The open room of a topic, or a new one that `open` makes.
    pub(crate) fn room(&self, topic: Topic, open: impl FnOnce() -> Arc<Room>) -> Arc<Room> {
        let mut rooms = self.rooms.lock();
        rooms.retain(|_, room| room.strong_count() > 0);
        rooms
            .get(&topic)
            .and_then(Weak::upgrade)
            .unwrap_or_else(|| {
                let room = open();
                rooms.insert(topic, Arc::downgrade(&room));
                room
            })
    }

    // Sessions.

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.session_number.fetch_add(1, Ordering::Relaxed))
    }

    /// How many sessions with this peer are open, on all topics.
    pub(crate) fn sessions_with(&self, peer: &VerifyingKey) -> usize {
        let sessions = self.sessions.lock();
        sessions.values().filter(|(one, _)| one == peer).count()
    }

    pub(crate) fn session_started(&self, peer: VerifyingKey, status: SessionStatus) {
        let SessionStatus { session, topic, .. } = status;
        let mut sessions = self.sessions.lock();
        sessions.insert(session, (peer, status));
        drop(sessions);
        self.tell(NetEvent::SessionStarted {
            topic,
            peer,
            session,
        });
    }

    pub(crate) fn session_live(&self, session: SessionId) {
        let mut sessions = self.sessions.lock();
        if let Some((_, status)) = sessions.get_mut(&session) {
            status.live = true;
        }
    }

    pub(crate) fn session_ended(&self, session: SessionId) {
        self.sessions.lock().remove(&session);
    }

    /// Running sessions with their peers.
    pub(crate) fn sessions(&self) -> Vec<(VerifyingKey, SessionStatus)> {
        self.sessions.lock().values().copied().collect()
    }
}

/// The socket addresses of a record.
pub(crate) fn sockets(record: &TransportInfo) -> impl Iterator<Item = SocketAddr> {
    record.addresses().filter_map(Address::socket)
}
