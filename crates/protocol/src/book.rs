//! The address book: known nodes, their addresses, and the topics we share with them.
//!
//! Rules: docs/protocol/network.md#3, docs/protocol/discovery.md#5. It is plain state: the driver
//! passes the time, passes in records and results of sessions, and stores what
//! [`Book::take_changed`] names.

mod clock;
mod dial;
mod node;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Few, HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};

use crate::dialing::Dialing;
use crate::draws::Draws;
use crate::overlay::Overlay;
use crate::record::{Address, RecordError, TransportInfo, is_ahead, next_timestamp};
use crate::time::Time;
use crate::wire::WireError;

pub use self::clock::ClockDifference;
pub use self::dial::Plan;
pub use self::node::{Metrics, Node, Teller};
use self::node::{age, read_stored, write_stored};
pub use self::take::{Handover, Source};

/// Outcome of passing in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The node was not known before.
    New,
    /// It replaced an older record, or none.
    Newer,
    /// We have this one or a later one already, or do not want it.
    Kept,
}

/// Outcome of the records of one discovery session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records passed in.
    pub received: usize,
    /// Records that told us something new.
    pub learned: usize,
    /// Records refused.
    pub invalid: usize,
}

/// All nodes we know of, at most [`limits::BOOK_NODES_MAX`] in at most [`limits::BOOK_BYTES_MAX`].
#[derive(Debug)]
pub struct Book {
    local: VerifyingKey,
    own: Option<TransportInfo>,
    own_floor: Option<HybridTimestamp>,
    nodes: BTreeMap<VerifyingKey, Node>,
    bytes: usize,
    interested: BTreeMap<Overlay, Few<VerifyingKey, ()>>,
    changed: BTreeSet<VerifyingKey>,
    dialing: Dialing,
}

impl Book {
    /// An empty book of the node `local`.
    pub fn new(local: VerifyingKey) -> Book {
        Book {
            local,
            own: None,
            own_floor: None,
            nodes: BTreeMap::new(),
            bytes: 0,
            interested: BTreeMap::new(),
            changed: BTreeSet::new(),
            dialing: Dialing::default(),
        }
    }

    /// Bytes that the entries take in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The own record, once addresses were given.
    pub fn own(&self) -> Option<&TransportInfo> {
        self.own.as_ref()
    }

    /// The own record for these addresses. It is signed again if the addresses changed, the last
    /// one is older than [`limits::RECORD_RENEWED_AFTER`] or from when our clock was ahead, or a
    /// later one of ours is about; otherwise it is the one that was signed or restored before.
    pub fn sign_own(
        &mut self,
        key: &SigningKey,
        addresses: BTreeSet<Address>,
        now: Timestamp,
    ) -> Result<TransportInfo, RecordError> {
        // A floor from a time when the clock was ahead no longer applies.
        let floor = self.own_floor.filter(|floor| !is_ahead(floor.wall, now));
        if let Some(own) = &self.own
            && own.has_addresses(&addresses)
            && floor.is_none_or(|floor| floor < own.timestamp())
            && age(own.timestamp().wall, now) < limits::RECORD_RENEWED_AFTER
        {
            return Ok(own.clone());
        }
        let last = self.own.as_ref().map(TransportInfo::timestamp);
        let last = last.filter(|last| !is_ahead(last.wall, now));
        let timestamp = next_timestamp(last.max(floor), now);
        let own = TransportInfo::sign(key, timestamp, addresses)?;
        self.own = Some(own.clone());
        self.changed.insert(self.local);
        Ok(own)
    }

    /// Returns the entry of a node.
    pub fn get(&self, node: &VerifyingKey) -> Option<&Node> {
        self.nodes.get(node)
    }

    /// All nodes but ourselves, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&VerifyingKey, &Node)> {
        self.nodes.iter()
    }

    /// Names a bootstrap node with addresses known from the configuration.
    ///
    /// The addresses are hints: what the node signs itself comes before them.
    pub fn add_bootstrap(
        &mut self,
        node: VerifyingKey,
        hints: impl IntoIterator<Item = Address>,
        now: Timestamp,
    ) {
        if node == self.local {
            return;
        }
        self.edit(node, now, |entry| {
            entry.bootstrap = true;
            entry.hints.extend(hints);
            while entry.hints.len() > limits::RECORD_ADDRESSES_MAX {
                entry.hints.pop_last();
            }
        });
    }

    /// Names a bootstrap node with the addresses that its host names have now, in place of those
    /// before. Returns whether they are others.
    ///
    /// They are not stored: names are looked up in each run.
    pub fn set_resolved(
        &mut self,
        node: VerifyingKey,
        sockets: impl IntoIterator<Item = SocketAddr>,
        now: Timestamp,
    ) -> bool {
        if node == self.local {
            return false;
        }
        let sockets = sockets.into_iter().take(limits::RECORD_ADDRESSES_MAX);
        let resolved: BTreeSet<SocketAddr> = sockets.collect();
        let known = self.nodes.get(&node);
        if known.is_some_and(|known| known.bootstrap && known.resolved == resolved) {
            return false;
        }
        self.edit(node, now, |entry| {
            entry.bootstrap = true;
            entry.resolved = resolved;
        });
        true
    }

    /// Sets the overlays that we share with `node`, as its own discovery session told.
    ///
    /// Returns the overlays whose set of interested nodes grew or shrank.
    pub fn set_overlays(
        &mut self,
        node: VerifyingKey,
        overlays: BTreeSet<Overlay>,
        now: Timestamp,
    ) -> BTreeSet<Overlay> {
        if node == self.local {
            return BTreeSet::new();
        }
        let before = self.nodes.get(&node).map(|entry| &entry.overlays);
        let none = BTreeSet::new();
        let differing = before.unwrap_or(&none).symmetric_difference(&overlays);
        let changed: BTreeSet<Overlay> = differing.copied().collect();
        if !changed.is_empty() || before.is_none() {
            self.edit(node, now, |entry| entry.overlays = overlays);
        }
        for overlay in &changed {
            self.index(node, *overlay);
        }
        changed
    }

    /// Changes the overlays that we share with `node` by those that began and those that ended,
    /// without a look at all others. Returns those of them that are news.
    pub fn change_overlays(
        &mut self,
        node: VerifyingKey,
        changes: impl IntoIterator<Item = (Overlay, bool)>,
        now: Timestamp,
    ) -> BTreeSet<Overlay> {
        if node == self.local {
            return BTreeSet::new();
        }
        let mut changed = BTreeSet::new();
        self.edit(node, now, |entry| {
            for (overlay, is_shared) in changes {
                let is_news = match is_shared {
                    true => entry.overlays.insert(overlay),
                    false => entry.overlays.remove(&overlay),
                };
                if is_news {
                    changed.insert(overlay);
                }
            }
        });
        for overlay in &changed {
            self.index(node, *overlay);
        }
        changed
    }

    /// Forgets who is interested in an overlay that we left.
    pub fn leave(&mut self, overlay: &Overlay) {
        let nodes = self.interested.remove(overlay).unwrap_or_default();
        for node in nodes.keys() {
            self.change(node, |entry| {
                entry.overlays.remove(overlay);
            });
        }
    }

    /// The nodes to meet in an overlay, without stale ones.
    pub fn interested(
        &self,
        overlay: &Overlay,
        now: Timestamp,
    ) -> impl Iterator<Item = VerifyingKey> {
        let nodes = self.interested.get(overlay).into_iter().flat_map(Few::keys);
        nodes.filter(move |node| self.is_usable(node, now)).copied()
    }

    /// Notes a session that succeeded, no matter who dialled it.
    pub fn succeeded(&mut self, node: VerifyingKey, wall: Timestamp, now: Time) {
        if node == self.local {
            return;
        }
        self.edit(node, wall, |entry| {
            entry.metrics.forget_ahead(wall);
            entry.metrics.successes = entry.metrics.successes.saturating_add(1);
            entry.metrics.last_success = Some(wall);
            entry.meet(wall, now);
        });
    }

    /// Notes that the catch-up of a sync session with a known node was completed.
    pub fn proved(&mut self, node: &VerifyingKey) {
        if let Some(entry) = self.nodes.get_mut(node).filter(|entry| !entry.proven) {
            entry.proven = true;
            self.changed.insert(*node);
        }
    }

    /// Notes an attempt of ours that failed.
    ///
    /// Only while we have a globally routable address ourselves: without one the fault may be
    /// ours, and nothing on a private network becomes stale.
    pub fn failed(&mut self, node: VerifyingKey, now: Timestamp) {
        let reachable = self
            .own
            .as_ref()
            .is_some_and(|own| own.addresses().any(Address::is_global));
        if let Some(entry) = self.nodes.get_mut(&node).filter(|_| reachable) {
            entry.metrics.forget_ahead(now);
            entry.metrics.failures = entry.metrics.failures.saturating_add(1);
            // The clock may have stepped back since the last success.
            entry.metrics.last_failure =
                Some(entry.metrics.last_success.max(Some(now)).unwrap_or(now));
            self.changed.insert(node);
        }
    }

    /// Nodes that may be dialled: known and not stale, with an address.
    pub fn usable(&self, now: Timestamp) -> impl Iterator<Item = (&VerifyingKey, &Node)> {
        self.nodes
            .iter()
            .filter(move |(_, node)| !node.is_stale(now))
    }

    /// The records to give to `peer`, with which we share `common`.
    ///
    /// Our own always, then those of nodes in one of these overlays, then a random sample of
    /// [`limits::RECORDS_SAMPLE`] others; only what was confirmed within
    /// [`limits::RECORD_SHARED_MAX`] and is not stale. Of more than
    /// [`limits::DISCOVERY_RECORDS_SENT_MAX`] a random choice.
    pub fn share(
        &self,
        peer: &VerifyingKey,
        common: &BTreeSet<Overlay>,
        draws: &mut Draws,
        now: Timestamp,
    ) -> Vec<(VerifyingKey, TransportInfo)> {
        let mut records: Vec<_> = self
            .own
            .iter()
            .map(|own| (self.local, own.clone()))
            .collect();
        let (mut members, mut others) = (Vec::new(), Vec::new());
        for (node, entry) in self.usable(now) {
            let Some(record) = &entry.record else {
                continue;
            };
            if node == peer || age(entry.confirmed, now) >= limits::RECORD_SHARED_MAX {
                continue;
            }
            if entry.overlays.is_disjoint(common) {
                others.push((node, record));
            } else {
                members.push((node, record));
            }
        }
        let room = limits::DISCOVERY_RECORDS_SENT_MAX - limits::RECORDS_SAMPLE - 1;
        for (from, count) in [(members, room), (others, limits::RECORDS_SAMPLE)] {
            let drawn = draw(from, count, draws);
            let cloned = drawn.into_iter().map(|(node, r)| (*node, r.clone()));
            records.extend(cloned);
        }
        records
    }

    /// Returns which of these nodes are in which common overlay, according to their own statements.
    pub fn members<'a>(
        &self,
        nodes: impl Iterator<Item = &'a VerifyingKey>,
        common: &BTreeSet<Overlay>,
    ) -> BTreeMap<Overlay, BTreeSet<VerifyingKey>> {
        let mut members: BTreeMap<Overlay, BTreeSet<VerifyingKey>> = BTreeMap::new();
        let mut left = limits::LINK_MEMBERS_SENT_MAX;
        for node in nodes {
            let overlays = self.nodes.get(node).map(|entry| &entry.overlays);
            let shared = overlays.into_iter().flatten();
            for overlay in shared.filter(|overlay| common.contains(overlay)).take(left) {
                left -= 1;
                members.entry(*overlay).or_default().insert(*node);
            }
        }
        members
    }

    /// The record of a node as it may be told to others.
    pub fn told_record(&self, node: &VerifyingKey, now: Timestamp) -> Option<&TransportInfo> {
        let entry = self.nodes.get(node).filter(|entry| !entry.is_stale(now))?;
        let is_current = age(entry.confirmed, now) < limits::RECORD_SHARED_MAX;
        entry.record.as_ref().filter(|_| is_current)
    }

    /// Drops what was not confirmed for [`limits::RECORD_KEPT_MAX`], by our clock and by the time
    /// that has passed in this run, bootstrap nodes and those on trial aside.
    pub fn expire(&mut self, wall: Timestamp, now: Time) {
        let old = |node: &Node| {
            let aged = age(node.confirmed, wall) >= limits::RECORD_KEPT_MAX;
            aged && node.kept_until <= now && !node.bootstrap
        };
        let expired = self
            .nodes
            .iter()
            .filter(|(_, node)| old(node))
            .map(|(key, _)| *key);
        for node in expired.collect::<Vec<_>>() {
            self.remove(&node);
        }
    }

    /// Takes some of the changes since the last calls: records to store (`Some`) and to delete
    /// (`None`). Empty when nothing is left.
    pub fn take_changed(&mut self) -> Vec<(VerifyingKey, Option<Bytes>)> {
        let mut taken = Vec::new();
        while taken.len() < limits::BOOK_PAGE_ROWS_MAX {
            let Some(node) = self.changed.pop_first() else {
                break;
            };
            taken.push((node, self.stored(&node)));
            if let Some(entry) = self.nodes.get_mut(&node) {
                entry.stored = true;
            }
        }
        taken
    }

    /// Takes back what was stored. Bootstrap flags are configuration and not among it.
    ///
    /// Entries that cannot be read, and those that there is no room for, are deleted with the next
    /// [`Book::take_changed`]; a record beyond our limits is left out of its entry.
    pub fn restore(&mut self, node: VerifyingKey, stored: Bytes) -> Result<(), WireError> {
        let bytes = stored.len();
        let mut entry = read_stored(stored, self.local).inspect_err(|_| {
            self.changed.insert(node);
        })?;
        if node == self.local {
            self.own = entry.record;
            return Ok(());
        }
        entry.stored = true;
        if entry.metrics.successes > 0 {
            // The clock may have been wrong in the last run, or is now.
            entry.kept_until = Time::ZERO + limits::RECORD_TRIAL;
        }
        if entry.record.is_none() && entry.hints.is_empty() && entry.is_hearsay() {
            self.changed.insert(node);
            return Ok(());
        }
        for overlay in &entry.overlays {
            self.interested
                .entry(*overlay)
                .or_default()
                .insert(node, ());
        }
        let mut out = BytesMut::new();
        write_stored(&entry, &mut out);
        if out.len() < bytes {
            self.changed.insert(node);
        }
        self.bytes += entry.bytes();
        if let Some(replaced) = self.nodes.insert(node, entry) {
            self.bytes -= replaced.bytes();
        }
        self.make_room();
        Ok(())
    }

    fn is_usable(&self, node: &VerifyingKey, now: Timestamp) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|entry| !entry.is_stale(now))
    }

    fn index(&mut self, node: VerifyingKey, overlay: Overlay) {
        let shared = self
            .nodes
            .get(&node)
            .is_some_and(|e| e.overlays.contains(&overlay));
        let nodes = self.interested.entry(overlay).or_default();
        if shared {
            nodes.insert(node, ());
        } else {
            nodes.remove(&node);
        }
        if nodes.is_empty() {
            self.interested.remove(&overlay);
        }
    }

    fn remove(&mut self, node: &VerifyingKey) {
        if let Some(entry) = self.nodes.remove(node) {
            self.bytes -= entry.bytes();
            for overlay in &entry.overlays {
                self.index(*node, *overlay);
            }
            self.dialing.forget(node);
            // A record that was never stored needs no deletion, so a flood of invented nodes leaves
            // nothing.
            if entry.stored {
                self.changed.insert(*node);
            } else {
                self.changed.remove(node);
            }
        }
    }

    /// Changes the entry of a node, a new one if it has none.
    fn edit(&mut self, node: VerifyingKey, now: Timestamp, edit: impl FnOnce(&mut Node)) {
        if !self.nodes.contains_key(&node) {
            let entry = Node::new(now);
            self.bytes += entry.bytes();
            self.nodes.insert(node, entry);
        }
        self.change(&node, edit);
        self.make_room();
    }

    /// Changes the entry of a node that has one.
    fn change(&mut self, node: &VerifyingKey, change: impl FnOnce(&mut Node)) {
        if let Some(entry) = self.nodes.get_mut(node) {
            let before = entry.bytes();
            change(entry);
            self.bytes = self.bytes + entry.bytes() - before;
            self.changed.insert(*node);
        }
    }

    /// Drops the least useful sixteenth when the book is full, so that a flood of made-up nodes
    /// costs one pass per many of them and pushes out no acquaintance before all hearsay is gone.
    fn make_room(&mut self) {
        let (nodes_max, bytes_max) = (limits::BOOK_NODES_MAX, limits::BOOK_BYTES_MAX);
        if self.nodes.len() <= nodes_max && self.bytes <= bytes_max {
            return;
        }
        let droppable = self.nodes.iter().filter(|(_, node)| !node.bootstrap);
        let mut worth: Vec<_> = droppable.map(|(key, node)| (node.worth(), *key)).collect();
        worth.sort_unstable();
        let room = |max| max - max / 16;
        for (_, node) in worth {
            if self.nodes.len() <= room(nodes_max) && self.bytes <= room(bytes_max) {
                break;
            }
            self.remove(&node);
        }
    }

    fn stored(&self, node: &VerifyingKey) -> Option<Bytes> {
        let own;
        let entry = if *node == self.local {
            let record = self.own.clone()?;
            own = Node {
                record: Some(record),
                ..Node::new(Timestamp::from_micros(0))
            };
            &own
        } else {
            self.nodes.get(node)?
        };
        let mut out = BytesMut::new();
        write_stored(entry, &mut out);
        Some(out.freeze())
    }
}

/// At most `count` of these, drawn at random.
fn draw<T>(mut from: Vec<T>, count: usize, draws: &mut Draws) -> Vec<T> {
    let count = count.min(from.len());
    let drawn = (0..count).map_while(|_| {
        let position = draws.position(from.len())?;
        Some(from.swap_remove(position))
    });
    drawn.collect()
}

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod dial_tests;
#[cfg(test)]
mod tests;
