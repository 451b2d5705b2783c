//! The peer that sends a node the operations of a topic whole, so that others only announce them
//! (`docs/protocol/link.md#9`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2panda_core::limits::{CAME_LATELY, CAME_LATELY_MAX, SOURCES_LEARNED_MAX};
use p2panda_core::{Few, VerifyingKey};

use super::announced::Check;
use super::session::SessionId;
use crate::time::Time;

/// One entry of a log of the topic.
pub(super) type Place = (VerifyingKey, u32);

/// State that the live sessions of a topic share, no matter who the peer is. A clone is the same
/// one.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<Mutex<Table>>);

impl Sources {
    /// A session is gone that could not end by itself.
    pub fn leave(&self, peer: &VerifyingKey, session: SessionId) {
        self.table().leave(peer, session);
    }

    /// Entries by this author are this node's as well: it is the own key of the space in the topic
    /// (`docs/protocol/spaces.md#20`).
    pub fn sign_as(&self, author: VerifyingKey) {
        self.table().own_key = Some(author);
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // What breaks in between leaves no more than a preference that is not the best.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    peers: Few<VerifyingKey, Box<Peer>>,
    /// The peer by which everything comes that has no source of its own.
    rest: Option<VerifyingKey>,
    /// Peers that brought what the source of an author did not.
    learned: BTreeMap<VerifyingKey, VerifyingKey>,
    /// Their authors, those first that were learned first.
    order: VecDeque<VerifyingKey>,
    /// Stored lately.
    held: Recent<Check>,
    /// Came lately, by whom and when.
    came: Recent<(VerifyingKey, Time)>,
    /// Fetched, and from whom.
    fetched: BTreeMap<Place, VerifyingKey>,
    version: u64,
    /// Signs for this node in the topic, next to its own id.
    own_key: Option<VerifyingKey>,
}

/// A peer with a live session.
#[derive(Debug, Default)]
struct Peer {
    /// Live sessions; `true` if they know announcements.
    sessions: Few<SessionId, bool>,
    /// Brought something invalid: what it brings and announces says nothing.
    invalid: bool,
    /// Announced what it did not send.
    owes: bool,
    /// Time at which an operation came last.
    moved: Time,
}

impl Peer {
    fn is_told(&self) -> bool {
        self.sessions.values().any(|told| *told)
    }
}

/// Progress of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is here.
    Held(Check),
    /// It came and is not stored, or was fetched.
    Coming,
    Unknown,
}

impl Table {
    /// A session is live.
    pub(super) fn join(&mut self, peer: VerifyingKey, session: SessionId, told: bool) {
        let share = self.peers.get_or_insert_with(peer, Box::default);
        share.sessions.insert(session, told);
        self.choose();
        self.version += 1;
    }

    /// Returns whether it was live.
    pub(super) fn leave(&mut self, peer: &VerifyingKey, session: SessionId) -> bool {
        let Some(share) = self.peers.get_mut(peer) else {
            return false;
        };
        let was_live = share.sessions.remove(&session).is_some();
        if share.sessions.is_empty() {
            self.peers.remove(peer);
            self.forget(peer);
        }
        if !self.is_shared() {
            (self.held, self.came) = (Recent::default(), Recent::default());
        }
        self.choose();
        self.version += 1;
        was_live
    }

    /// It brought something that is not valid in itself, which no node of this project passes on.
    pub(super) fn brought_invalid(&mut self, peer: &VerifyingKey) {
        if let Some(share) = self.peers.get_mut(peer) {
            share.invalid = true;
            self.forget(peer);
            self.choose();
            self.version += 1;
        }
    }

    /// Nothing is got by this peer any more.
    fn forget(&mut self, peer: &VerifyingKey) {
        self.learned.retain(|_, source| source != peer);
        let learned = &self.learned;
        self.order.retain(|author| learned.contains_key(author));
        self.fetched.retain(|_, from| from != peer);
        self.rest.take_if(|rest| rest == peer);
    }

    /// Among those that can be told, or there is none.
    fn choose(&mut self) {
        if self.rest.is_none() {
            let mut fit = self.peers.iter().filter(|(_, share)| share.is_told());
            let trusted = fit.clone().find(|(_, share)| !share.invalid && !share.owes);
            self.rest = trusted.or_else(|| fit.next()).map(|(peer, _)| *peer);
        }
    }

    /// Returns `true` if there is anything to choose from. If not, nothing is kept.
    pub(super) fn is_shared(&self) -> bool {
        self.peers.len() > 1
    }

    /// Changes whenever a preference may have.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the peer that sends the operations of an author whole: the author itself, which
    /// sends its own to everybody, those who proved to, or the one for all the rest.
    pub(super) fn source_of(&self, author: &VerifyingKey) -> Option<VerifyingKey> {
        if self.peers.contains_key(author) {
            return Some(*author);
        }
        self.learned.get(author).copied().or(self.rest)
    }

    /// Returns whether `peer` is to send everything whole, and for which authors the opposite
    /// holds.
    pub(super) fn preferred(&self, peer: &VerifyingKey) -> (bool, BTreeSet<VerifyingKey>) {
        let rest = self.rest == Some(*peer);
        let by_it = |author: &VerifyingKey| self.source_of(author) == Some(*peer);
        let learned = self.learned.keys().copied();
        let authors: BTreeSet<_> = match rest {
            true => {
                let peers = self.peers.keys().copied().take(SOURCES_LEARNED_MAX);
                peers.chain(learned).filter(|one| !by_it(one)).collect()
            }
            // Of its own operations it needs no telling.
            false => learned.filter(|one| by_it(one) && one != peer).collect(),
        };
        (rest, authors)
    }

    /// Returns the time at which the source of an author was heard of last.
    pub(super) fn moved(&self, source: &VerifyingKey) -> Option<Time> {
        self.peers.get(source).map(|share| share.moved)
    }

    /// Returns the progress of an entry, as a peer needs to know it from which it could be
    /// fetched.
    pub(super) fn way_of(&self, place: &Place, from: &VerifyingKey, now: Time) -> Way {
        if let Some(check) = self.held.get(place) {
            return Way::Held(*check);
        }
        let counts = |peer: &&VerifyingKey| self.peers.get(*peer).is_some_and(|one| !one.invalid);
        let came = self.came.get(place);
        let came = came.is_some_and(|(peer, at)| counts(&peer) && now < *at + CAME_LATELY);
        let fetched = self.fetched.get(place).filter(counts);
        match came || fetched.is_some_and(|peer| peer != from) {
            true => Way::Coming,
            false => Way::Unknown,
        }
    }

    /// These are stored.
    pub(super) fn hold(&mut self, entries: impl Iterator<Item = (Place, Check)>) {
        for (place, check) in entries {
            self.held.insert(place, check);
        }
    }

    /// An operation came whole.
    pub(super) fn came(&mut self, place: Place, by: &VerifyingKey, now: Time) {
        let fetched = self.fetched.get(&place) == Some(by);
        if let Some(share) = self.peers.get_mut(by) {
            share.moved = now;
            share.owes &= !fetched;
        }
        let first = self.way_of(&place, by, now) == Way::Unknown;
        if first {
            self.came.insert(place, (*by, now));
        }
        if fetched {
            self.fetched.remove(&place);
        }
        if fetched && first {
            self.learn(place.0, *by);
        }
    }

    /// Returns `true` for the own key of this node.
    pub(super) fn signs_as(&self, author: &VerifyingKey) -> bool {
        self.own_key == Some(*author)
    }

    /// A peer brought an entry of a log with a name that it has signed itself.
    pub(super) fn learn_own(&mut self, label: VerifyingKey, peer: VerifyingKey) {
        if !self.owes(&peer) {
            self.learn(label, peer);
        }
    }

    /// It was not the source of this author that brought an entry.
    fn learn(&mut self, author: VerifyingKey, source: VerifyingKey) {
        if self.source_of(&author) == Some(source) {
            return;
        }
        if self.learned.insert(author, source).is_none() {
            self.order.push_back(author);
        }
        if self.order.len() > SOURCES_LEARNED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.learned.remove(&oldest);
        }
        self.version += 1;
    }

    pub(super) fn fetch(&mut self, place: Place, from: VerifyingKey) {
        self.fetched.insert(place, from);
    }

    /// It did not come from this peer in time. Returns whether it is still missing.
    pub(super) fn give_up(&mut self, place: &Place, from: &VerifyingKey, now: Time) -> bool {
        if self.fetched.get(place) != Some(from) {
            return false;
        }
        self.fetched.remove(place);
        let missing = self.way_of(place, from, now) == Way::Unknown;
        if missing && let Some(share) = self.peers.get_mut(from) {
            share.owes = true;
        }
        missing
    }

    /// Returns `true` if it announced what it did not send.
    pub(super) fn owes(&self, peer: &VerifyingKey) -> bool {
        self.peers
            .get(peer)
            .is_some_and(|one| one.owes || one.invalid)
    }
}

/// The last entries of some kind: between this many and twice as many.
#[derive(Debug)]
pub(super) struct Recent<T> {
    young: BTreeMap<Place, T>,
    old: BTreeMap<Place, T>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        let (young, old) = (BTreeMap::new(), BTreeMap::new());
        Self { young, old }
    }
}

impl<T> Recent<T> {
    pub(super) fn get(&self, place: &Place) -> Option<&T> {
        self.young.get(place).or_else(|| self.old.get(place))
    }

    /// Nodes of a tree are two thirds full, or so.
    pub(super) fn held_bytes(&self) -> usize {
        (self.young.len() + self.old.len()) * size_of::<(Place, T)>() * 3 / 2
    }

    pub(super) fn insert(&mut self, place: Place, value: T) {
        if self.young.len() >= CAME_LATELY_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, value);
    }
}
