//! The address book of a running network, shared by everything that dials, is dialled or learns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use p2panda_core::{HostAddr, Timestamp, VerifyingKey};
use p2panda_protocol::book::{Book, ClockDifference, Inserted, Node, Source};
use p2panda_protocol::draws::Draws;
use p2panda_protocol::link::Told;
use p2panda_protocol::overlay::Overlay;
use p2panda_protocol::record::{Address, RecordError, TransportInfo};
use p2panda_protocol::time::Time;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::news::News;
use crate::signs::Signs;

/// The address book, and who waits for changes of it. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct AddressBook(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: VerifyingKey,
    clock: Clock,
    book: Mutex<Book>,
    /// The book has changes to store.
    changed: Notify,
    /// Last resolved addresses of the host names of nodes.
    resolved: Mutex<BTreeMap<(VerifyingKey, HostAddr), BTreeSet<SocketAddr>>>,
    signs: Signs,
    news: News,
}

/// Outcome of taking a record.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) inserted: Inserted,
    /// Addresses that the node had before and has not any more.
    pub(crate) given_up: BTreeSet<SocketAddr>,
    /// Difference between the node's clock and ours, if that is news.
    pub(crate) clock: Option<ClockDifference>,
}

impl AddressBook {
    pub(crate) fn new(local: VerifyingKey, book: Book, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            local,
            clock,
            book: Mutex::new(book),
            changed: Notify::new(),
            resolved: Mutex::default(),
            signs: Signs::default(),
            news: News::default(),
        }))
    }

    /// The book itself. Anyone who changes what is stored of it says so with
    /// [`AddressBook::store_soon`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock()
    }

    /// There is something to store.
    pub(crate) fn store_soon(&self) {
        self.0.changed.notify_one();
    }

    /// Resolves when there is something to store.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The time of our wall clock, and that of the machines.
    fn moment(&self) -> (Timestamp, Time) {
        (self.0.clock.wall(), self.0.clock.now())
    }

    /// A connection with a peer worked. Nodes that nobody told us of stay unknown until they take
    /// part in a discovery session, so that made-up ids do not fill the book.
    pub(crate) fn success(&self, peer: &VerifyingKey) {
        let (wall, now) = self.moment();
        let mut book = self.lock();
        if book.get(peer).is_some() {
            book.succeeded(*peer, wall, now);
            self.store_soon();
        }
    }

    /// A discovery session with a peer succeeded. Returns whether somebody's interest changed.
    pub(crate) fn met(&self, peer: VerifyingKey, common: BTreeSet<Overlay>) -> bool {
        let (wall, now) = self.moment();
        let changed = {
            let mut book = self.lock();
            book.succeeded(peer, wall, now);
            book.set_overlays(peer, common, wall)
        };
        if !changed.is_empty() {
            self.tell_joins(peer, &changed);
            self.0.signs.interest(peer, &changed);
        }
        self.store_soon();
        !changed.is_empty()
    }

    /// The overlays that are common with a peer on a link have changed: those that began, and those
    /// that ended.
    pub(crate) fn common_changed(
        &self,
        peer: VerifyingKey,
        changes: impl IntoIterator<Item = (Overlay, bool)>,
    ) {
        let wall = self.0.clock.wall();
        let changed = self.lock().change_overlays(peer, changes, wall);
        if !changed.is_empty() {
            self.tell_joins(peer, &changed);
            self.0.signs.interest(peer, &changed);
            self.store_soon();
        }
    }

    /// It is worth looking again who is in the overlays of a peer.
    pub(crate) fn look_again(&self, peer: VerifyingKey) {
        let overlays = self.lock().get(&peer).map(|node| node.overlays().clone());
        let overlays = overlays.unwrap_or_default();
        self.0.signs.interest(peer, &overlays);
    }

    fn tell_joins(&self, peer: VerifyingKey, changed: &BTreeSet<Overlay>) {
        let joined: Vec<Overlay> = {
            let book = self.lock();
            let now = book.get(&peer).map(Node::overlays);
            let joined = changed
                .iter()
                .filter(|one| now.is_some_and(|now| now.contains(one)));
            joined.copied().collect()
        };
        self.0.news.joined(peer, joined);
    }

    /// Returns the news about nodes that joined overlays.
    pub(crate) fn news(&self) -> &News {
        &self.0.news
    }

    /// Returns the records for a peer with these common overlays, and the overlays of each node.
    pub(crate) fn tell(
        &self,
        peer: &VerifyingKey,
        common: &BTreeSet<Overlay>,
        draws: &mut Draws,
    ) -> Told {
        let book = self.lock();
        let records = book.share(peer, common, draws, self.0.clock.wall());
        let members = book.members(records.iter().map(|(node, _)| node), common);
        Told { records, members }
    }

    /// The same of these nodes only, as far as there is a record to go with it.
    pub(crate) fn tell_of(&self, joins: &BTreeSet<(VerifyingKey, Overlay)>) -> Told {
        let book = self.lock();
        let mut told = Told::default();
        for (node, overlay) in joins {
            let Some(record) = book.told_record(node, self.0.clock.wall()) else {
                continue;
            };
            if told.records.last().is_none_or(|(last, _)| last != node) {
                told.records.push((*node, record.clone()));
            }
            told.members.entry(*overlay).or_default().insert(*node);
        }
        told
    }

    /// Somebody says that a node is in an overlay. It counts if a record of the node is known.
    pub(crate) fn heard_of(&self, node: &VerifyingKey, overlay: &Overlay) {
        let known = self
            .lock()
            .get(node)
            .is_some_and(|one| one.record().is_some());
        if known && *node != self.0.local {
            self.0.signs.told(*node, overlay);
        }
    }

    /// A peer gave a sign of life.
    pub(crate) fn shown(&self, peer: &VerifyingKey) {
        self.0.signs.shown(peer);
    }

    /// Signs of life and of interest.
    pub(crate) fn signs(&self) -> &Signs {
        &self.0.signs
    }

    /// The catch-up of a sync session with a peer was completed.
    pub(crate) fn proved(&self, peer: &VerifyingKey) {
        self.lock().proved(peer);
        self.store_soon();
    }

    /// Returns `true` if a peer is configured, or completed a session before.
    pub(crate) fn is_trusted(&self, peer: &VerifyingKey) -> bool {
        self.lock().get(peer).is_some_and(Node::is_trusted)
    }

    /// A peer proved itself over a connection from or to this address.
    pub(crate) fn answered(&self, peer: &VerifyingKey, socket: SocketAddr) {
        let mut book = self.lock();
        if book.answered(peer, socket) {
            let overlays = book.get(peer).map(Node::overlays).cloned();
            drop(book);
            self.store_soon();
            // Those who would meet it may now.
            self.0.signs.interest(*peer, &overlays.unwrap_or_default());
        }
    }

    pub(crate) fn failure(&self, peer: &VerifyingKey) {
        self.lock().failed(*peer, self.0.clock.wall());
        self.store_soon();
    }

    /// A dial for sync came to nothing, although something had answered where it `asked`.
    pub(crate) fn unanswered(&self, peer: &VerifyingKey, asked: Option<SocketAddr>) {
        self.failure(peer);
        self.lock().unanswered(*peer, asked, self.0.clock.now());
    }

    /// Returns the addresses at which a node may be dialled without a probe, unless the last
    /// attempt failed.
    pub(crate) fn known(&self, node: &VerifyingKey) -> BTreeSet<Address> {
        let (wall, now) = self.moment();
        self.lock().known(node, wall, now)
    }

    /// The same, also if its last attempt failed: anyone who needs this very node keeps its own
    /// waits.
    pub(crate) fn known_at_any_time(&self, node: &VerifyingKey) -> BTreeSet<Address> {
        self.lock().known_at_any_time(node, self.0.clock.now())
    }

    /// Returns `Some` if a node is believed to be in an overlay, with `true` if the configuration
    /// names it.
    pub(crate) fn interest_of(&self, node: &VerifyingKey, overlay: &Overlay) -> Option<bool> {
        let book = self.lock();
        let entry = book.get(node)?;
        let interested = entry.overlays().contains(overlay);
        interested.then_some(entry.is_bootstrap())
    }

    /// Returns `true` if the configuration names the node.
    pub(crate) fn is_bootstrap(&self, node: &VerifyingKey) -> bool {
        let book = self.lock();
        book.get(node).is_some_and(|entry| entry.is_bootstrap())
    }

    /// Takes a record in.
    pub(crate) fn insert(
        &self,
        node: VerifyingKey,
        record: TransportInfo,
        source: Source,
    ) -> Result<Taken, RecordError> {
        let (wall, now) = self.moment();
        let mut book = self.lock();
        let clock_of = |book: &Book| book.get(&node).and_then(Node::clock);
        let sockets_of = |book: &Book| -> BTreeSet<SocketAddr> {
            let record = book.get(&node).and_then(Node::record);
            record.into_iter().flat_map(sockets).collect()
        };
        let (clock_before, sockets_before) = (clock_of(&book), sockets_of(&book));
        let inserted = book.insert(node, record, source, wall, now)?;
        let (clock, sockets_now) = (clock_of(&book), sockets_of(&book));
        drop(book);
        if inserted != Inserted::Kept {
            self.store_soon();
        }
        Ok(Taken {
            inserted,
            given_up: sockets_before.difference(&sockets_now).copied().collect(),
            clock: clock.filter(|clock| clock.is_news(clock_before)),
        })
    }

    /// Drops what is too old.
    pub(crate) fn expire(&self) {
        let (wall, now) = self.moment();
        self.lock().expire(wall, now);
    }

    /// A host name of a node was resolved to these addresses, which count as configured in place of
    /// those before. Returns whether they are others.
    pub(crate) fn resolved(
        &self,
        node: VerifyingKey,
        host: &HostAddr,
        sockets: Vec<SocketAddr>,
    ) -> bool {
        let mut resolved = self.0.resolved.lock();
        resolved.insert((node, host.clone()), sockets.into_iter().collect());
        let of_node = resolved.iter().filter(|((other, _), _)| *other == node);
        let sockets = of_node.flat_map(|(_, sockets)| sockets).copied();
        let sockets = sockets.collect::<BTreeSet<_>>();
        drop(resolved);
        self.lock().set_resolved(node, sockets, self.0.clock.wall())
    }

    /// The other nodes to meet in an overlay.
    pub(crate) fn interested(&self, overlay: &Overlay) -> Vec<VerifyingKey> {
        self.lock()
            .interested(overlay, self.0.clock.wall())
            .filter(|node| *node != self.0.local)
            .collect()
    }

    /// Forgets who is interested in an overlay that we left.
    pub(crate) fn leave(&self, overlay: &Overlay) {
        self.lock().leave(overlay);
        self.store_soon();
    }
}

/// The socket addresses of a record.
pub(crate) fn sockets(record: &TransportInfo) -> impl Iterator<Item = SocketAddr> {
    record.addresses().filter_map(Address::socket)
}
