//! The overlays that this node is in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use p2panda_core::{Topic, limits};
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::book::AddressBook;
use crate::connections::Connections;
use crate::event::NetEvent;
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
    /// Those among them of which peers are told.
    told: BTreeSet<Overlay>,
    /// Those of ephemeral streams among these.
    rooms: BTreeSet<Overlay>,
    /// For which there is no place, in the order in which they were joined.
    untold: BTreeMap<u64, Overlay>,
    /// Number of these that found none so far.
    turns: u64,
    /// The latest changes, the oldest first; the last one led to the version there is.
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Joined {
    count: usize,
    /// Topic of which it is the membership overlay, if it is one.
    topic: Option<Topic>,
    /// Its place among those of which peers are not told.
    untold: Option<u64>,
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

    /// Changes with those of which peers are told.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Those of which peers are told, and the version that this set has.
    pub(crate) fn now(&self) -> (BTreeSet<Overlay>, u64) {
        let inner = self.inner.lock();
        (inner.told.clone(), *self.version.borrow())
    }

    /// Returns the changes since a version, and the new version. `None`: too many to remember.
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

    /// Returns `true` if a topic has no live session, as that many have one, or nobody is known in
    /// the overlay of an ephemeral stream.
    pub(crate) fn lacks(&self, live_topics: usize) -> bool {
        let inner = self.inner.lock();
        let synced = inner.told.len() - inner.rooms.len();
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
        let (is_new, is_told) = {
            let mut inner = self.inner.lock();
            let is_new = inner.join(overlay, topic);
            let is_told = inner.told.contains(&overlay);
            if is_new && is_told {
                self.changed(&mut inner, Change::Begun(overlay));
            }
            (is_new, is_told)
        };
        if is_new && !is_told {
            let topic = topic.unwrap_or(Topic::from_bytes(*overlay.as_bytes()));
            tracing::warn!(
                max = limits::OVERLAYS_TOLD_MAX,
                "peers are not told of a topic: there are too many"
            );
            self.signals.tell(NetEvent::TopicUntold { topic });
        }
        if is_new {
            self.connections.joined();
        }
        self.signals.walk();
    }

    pub(crate) fn part(&self, overlay: Overlay) {
        let mut inner = self.inner.lock();
        let Some(parted) = inner.part(&overlay) else {
            return;
        };
        if parted.was_told {
            self.changed(&mut inner, Change::Ended(overlay));
        }
        if let Some(next) = parted.next {
            self.changed(&mut inner, Change::Begun(next));
        }
        drop(inner);
        self.book.leave(&overlay);
        if parted.next.is_some() {
            self.signals.walk();
        }
    }

    /// Of how many peers are not told, for lack of places.
    pub(crate) fn untold(&self) -> usize {
        self.inner.lock().untold.len()
    }

    fn changed(&self, inner: &mut Inner, change: Change) {
        if inner.changes.len() >= limits::LINK_CHANGES_REMEMBERED_MAX {
            inner.changes.pop_front();
        }
        inner.changes.push_back(change);
        self.version.send_modify(|version| *version += 1);
    }
}

/// An overlay was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parted {
    was_told: bool,
    /// Takes its place.
    next: Option<Overlay>,
}

impl Inner {
    /// Returns `true` if it was not joined before.
    fn join(&mut self, overlay: Overlay, topic: Option<Topic>) -> bool {
        if let Some(joined) = self.joined.get_mut(&overlay) {
            joined.count += 1;
            return false;
        }
        let has_room = self.told.len() < limits::OVERLAYS_TOLD_MAX;
        let untold = (!has_room).then_some(self.turns);
        let joined = Joined {
            count: 1,
            topic,
            untold,
        };
        self.joined.insert(overlay, joined);
        match untold {
            None => self.tell(overlay, topic),
            Some(turn) => {
                self.untold.insert(turn, overlay);
                self.turns += 1;
            }
        }
        true
    }

    fn tell(&mut self, overlay: Overlay, topic: Option<Topic>) {
        self.told.insert(overlay);
        if topic.is_none() {
            self.rooms.insert(overlay);
        }
    }

    /// `None`: it is still joined, or was not.
    fn part(&mut self, overlay: &Overlay) -> Option<Parted> {
        let joined = self.joined.get_mut(overlay)?;
        joined.count = joined.count.saturating_sub(1);
        if joined.count > 0 {
            return None;
        }
        let untold = joined.untold;
        self.joined.remove(overlay);
        if let Some(turn) = untold {
            self.untold.remove(&turn);
            let (was_told, next) = (false, None);
            return Some(Parted { was_told, next });
        }
        self.told.remove(overlay);
        self.rooms.remove(overlay);
        let next = self.untold.pop_first().map(|(_, next)| next);
        if let Some(next) = next
            && let Some(joined) = self.joined.get_mut(&next)
        {
            joined.untold = None;
            let topic = joined.topic;
            self.tell(next, topic);
        }
        let was_told = true;
        Some(Parted { was_told, next })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn overlay(number: usize) -> Overlay {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Overlay::from_bytes(bytes)
    }

    #[test]
    fn peers_hear_of_as_many_overlays_as_there_are_places() {
        let mut inner = Inner::default();
        let max = limits::OVERLAYS_TOLD_MAX;
        for number in 0..max + 3 {
            assert!(inner.join(overlay(number), None));
        }
        assert!(!inner.join(overlay(0), None));
        assert_eq!((inner.told.len(), inner.untold.len()), (max, 3));
        assert_eq!(inner.part(&overlay(0)), None, "joined twice");
        // One that nobody was told of takes nobody's place.
        let gone = inner.part(&overlay(max + 1)).unwrap();
        assert_eq!((gone.was_told, gone.next), (false, None));
        for (left, next) in [
            (0, Some(overlay(max))),
            (1, Some(overlay(max + 2))),
            (2, None),
        ] {
            let was_told = true;
            assert_eq!(inner.part(&overlay(left)), Some(Parted { was_told, next }));
            assert!(next.is_none_or(|next| inner.told.contains(&next)));
        }
        assert_eq!(inner.told.len(), max - 1);
        assert_eq!(inner.rooms.len(), max - 1);
        assert_eq!(inner.part(&overlay(0)), None, "left already");
    }

    /// Checks the largest number of tags that are told when a link begins, with the largest
    /// padding.
    #[test]
    fn what_peers_are_told_fits_into_what_they_remember() {
        let padded = limits::LINK_TAGS_PADDED_MAX;
        let padding = padded - (padded / 2 + 1);
        assert!(limits::OVERLAYS_TOLD_MAX + padding <= limits::LINK_TAGS_MAX);
    }
}
