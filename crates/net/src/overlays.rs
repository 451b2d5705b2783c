//! The overlays that this node is in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::{Topic, limits};
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::book::AddressBook;
use crate::connections::Connections;
use crate::signals::Signals;

/// The overlays this node is in, each as often as it was joined.
#[derive(Debug)]
pub(crate) struct Overlays {
    inner: Mutex<Inner>,
    /// Counts the changes.
    version: watch::Sender<u64>,
    book: AddressBook,
    connections: Connections,
    signals: Signals,
}

#[derive(Debug, Default)]
struct Inner {
    joined: BTreeMap<Overlay, Joined>,
    /// Those of ephemeral streams among them.
    rooms: BTreeSet<Overlay>,
    /// The latest changes, the oldest first; the last one led to the version there is.
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Joined {
    count: usize,
    /// Of which topic it is the membership overlay, if it is one.
    topic: Option<Topic>,
}

/// A change of the set of overlays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Begun(Overlay),
    Ended(Overlay),
}

impl Overlays {
    pub(crate) fn new(book: AddressBook, connections: Connections, signals: Signals) -> Self {
        Self {
            inner: Mutex::default(),
            version: watch::Sender::new(0),
            book,
            connections,
            signals,
        }
    }

    /// The overlays that discovery answers for.
    pub(crate) fn all(&self) -> BTreeSet<Overlay> {
        self.inner.lock().joined.keys().copied().collect()
    }

    /// Changes with the set.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The set, and the version that it has.
    pub(crate) fn now(&self) -> (BTreeSet<Overlay>, u64) {
        let inner = self.inner.lock();
        let all = inner.joined.keys().copied().collect();
        (all, *self.version.borrow())
    }

    /// What changed since a version, and the version that led to. `None`: too much to remember.
    pub(crate) fn since(&self, version: u64) -> Option<(Vec<Change>, u64)> {
        let inner = self.inner.lock();
        let now = *self.version.borrow();
        let count = usize::try_from(now.saturating_sub(version)).ok()?;
        let first = inner.changes.len().checked_sub(count)?;
        Some((inner.changes.iter().skip(first).copied().collect(), now))
    }

    /// The topic that is synced under this membership overlay.
    pub(crate) fn topic(&self, overlay: &Overlay) -> Option<Topic> {
        self.inner.lock().joined.get(overlay)?.topic
    }

    /// Whether a topic has no live session, as that many have one, or nobody is known in the overlay of
    /// an ephemeral stream.
    pub(crate) fn lacks(&self, live_topics: usize) -> bool {
        let inner = self.inner.lock();
        let synced = inner.joined.len() - inner.rooms.len();
        let alone = |overlay: &Overlay| self.book.interested(overlay).is_empty();
        synced > live_topics || inner.rooms.iter().any(alone)
    }

    /// Joins the membership overlay of a topic.
    pub(crate) fn join_sync(&self, topic: Topic) {
        self.join_as(Overlay::of_sync(&topic), Some(topic));
    }

    pub(crate) fn join(&self, overlay: Overlay) {
        self.join_as(overlay, None);
    }

    fn join_as(&self, overlay: Overlay, topic: Option<Topic>) {
        let new = {
            let mut inner = self.inner.lock();
            let joined = inner.joined.entry(overlay);
            let joined = joined.or_insert(Joined { count: 0, topic });
            joined.count += 1;
            let new = joined.count == 1;
            if new {
                if topic.is_none() {
                    inner.rooms.insert(overlay);
                }
                if inner.joined.len() == limits::LINK_TAGS_MAX + 1 {
                    tracing::warn!(
                        max = limits::LINK_TAGS_MAX,
                        "more topics than a peer remembers: some are not told, and not synced"
                    );
                }
                self.changed(&mut inner, Change::Begun(overlay));
            }
            new
        };
        if new {
            self.connections.joined();
        }
        self.signals.walk();
    }

    pub(crate) fn part(&self, overlay: Overlay) {
        let mut inner = self.inner.lock();
        let Some(joined) = inner.joined.get_mut(&overlay) else {
            return;
        };
        joined.count = joined.count.saturating_sub(1);
        if joined.count == 0 {
            inner.joined.remove(&overlay);
            inner.rooms.remove(&overlay);
            self.changed(&mut inner, Change::Ended(overlay));
            drop(inner);
            self.book.leave(&overlay);
        }
    }

    fn changed(&self, inner: &mut Inner, change: Change) {
        if inner.changes.len() >= limits::LINK_CHANGES_REMEMBERED_MAX {
            inner.changes.pop_front();
        }
        inner.changes.push_back(change);
        self.version.send_modify(|version| *version += 1);
    }
}
