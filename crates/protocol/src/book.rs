//! The address book: who is there, where, and what we share with them.
//!
//! Rules: docs/protocol/network.md#3, docs/protocol/discovery.md#5. It is plain state: the driver
//! passes the time, hands in records and results of sessions, and stores what
//! [`Book::take_changed`] names.

mod node;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use p2panda_core::{HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};

use crate::draws::Draws;
use crate::overlay::Overlay;
use crate::record::{Address, RecordError, TransportInfo, next_timestamp};
use crate::wire::WireError;

pub use self::node::{Metrics, Node};
use self::node::{age, read_stored, write_stored};

/// How a record reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the node itself: its announcement on the local network.
    Direct,
    /// From another node, which may have kept it for long.
    Peer,
}

/// What became of a record that was handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The node was not known before.
    New,
    /// It replaced an older record, or none.
    Newer,
    /// We have this one or a later one already, or do not want it.
    Kept,
}

/// What came of the records of one discovery session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Records handed in.
    pub received: usize,
    /// Records that told us something new.
    pub learned: usize,
    /// Records refused.
    pub invalid: usize,
}

/// All nodes we know of, at most [`limits::BOOK_NODES_MAX`].
#[derive(Debug)]
pub struct Book {
    local: VerifyingKey,
    own: Option<TransportInfo>,
    own_floor: Option<HybridTimestamp>,
    nodes: BTreeMap<VerifyingKey, Node>,
    interested: BTreeMap<Overlay, BTreeSet<VerifyingKey>>,
    changed: BTreeSet<VerifyingKey>,
}

impl Book {
    /// An empty book of the node `local`.
    pub fn new(local: VerifyingKey) -> Book {
        Book {
            local,
            own: None,
            own_floor: None,
            nodes: BTreeMap::new(),
            interested: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// The own record, once addresses were given.
    pub fn own(&self) -> Option<&TransportInfo> {
        self.own.as_ref()
    }

    /// The own record for these addresses. It is signed anew if the addresses changed, the last one
    /// is older than [`limits::RECORD_RENEWED_AFTER`], or a later one of ours is about; otherwise it
    /// is the one that was signed or restored before.
    pub fn sign_own(
        &mut self,
        key: &SigningKey,
        addresses: BTreeSet<Address>,
        now: Timestamp,
    ) -> Result<TransportInfo, RecordError> {
        if let Some(own) = &self.own
            && own.has_addresses(&addresses)
            && self.own_floor.is_none_or(|floor| floor < own.timestamp())
            && age(own.timestamp().wall, now) < limits::RECORD_RENEWED_AFTER
        {
            return Ok(own.clone());
        }
        let last = self.own.as_ref().map(TransportInfo::timestamp);
        let timestamp = next_timestamp(last.max(self.own_floor), now);
        let own = TransportInfo::sign(key, timestamp, addresses)?;
        self.own = Some(own.clone());
        self.changed.insert(self.local);
        Ok(own)
    }

    /// One node.
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
        self.make_room();
        let entry = self.nodes.entry(node).or_insert_with(|| Node::new(now));
        entry.bootstrap = true;
        entry.hints.extend(hints);
        while entry.hints.len() > limits::RECORD_ADDRESSES_MAX {
            entry.hints.pop_last();
        }
        self.changed.insert(node);
    }

    /// Takes a record from the network.
    ///
    /// Timestamps are compared first, so a record that is not later costs no signature check. An
    /// authenticated record never yields to configured addresses.
    pub fn insert(
        &mut self,
        node: VerifyingKey,
        info: TransportInfo,
        source: Source,
        now: Timestamp,
    ) -> Result<Inserted, RecordError> {
        if node == self.local {
            return self.see_own(&info, now);
        }
        let stored = self.nodes.get_mut(&node);
        let is_new = stored.is_none();
        if let Some(stored) = stored
            && !info.replaces(stored.record.as_ref())
        {
            if source == Source::Direct && stored.record.as_ref() == Some(&info) {
                stored.confirm(now);
            }
            return Ok(Inserted::Kept);
        }
        info.verify(&node, now)?;
        let confirmed = match source {
            Source::Direct => now,
            Source::Peer => info.timestamp().wall.min(now),
        };
        if is_new {
            if age(confirmed, now) >= limits::RECORD_KEPT_MAX {
                return Ok(Inserted::Kept);
            }
            self.make_room();
        }
        let entry = self
            .nodes
            .entry(node)
            .or_insert_with(|| Node::new(confirmed));
        entry.record = Some(info);
        entry.confirm(confirmed);
        self.changed.insert(node);
        Ok(if is_new {
            Inserted::New
        } else {
            Inserted::Newer
        })
    }

    /// Takes the records of a discovery session; a wrong one is counted and the next one counts.
    pub fn apply(
        &mut self,
        records: impl IntoIterator<Item = (VerifyingKey, TransportInfo)>,
        now: Timestamp,
    ) -> Applied {
        let mut applied = Applied::default();
        for (node, info) in records {
            applied.received += 1;
            match self.insert(node, info, Source::Peer, now) {
                Ok(Inserted::New | Inserted::Newer) => applied.learned += 1,
                Ok(Inserted::Kept) => {}
                Err(_) => applied.invalid += 1,
            }
        }
        applied
    }

    /// Sets the overlays that we share with `node`, as its own discovery session told.
    ///
    /// Answers the overlays whose set of interested nodes grew or shrank.
    pub fn set_overlays(
        &mut self,
        node: VerifyingKey,
        overlays: BTreeSet<Overlay>,
        now: Timestamp,
    ) -> BTreeSet<Overlay> {
        if node == self.local {
            return BTreeSet::new();
        }
        if !self.nodes.contains_key(&node) {
            self.make_room();
        }
        let entry = self.nodes.entry(node).or_insert_with(|| Node::new(now));
        let changed: BTreeSet<Overlay> = entry
            .overlays
            .symmetric_difference(&overlays)
            .copied()
            .collect();
        entry.overlays = overlays;
        if !changed.is_empty() {
            self.changed.insert(node);
        }
        for overlay in &changed {
            self.index(node, *overlay);
        }
        changed
    }

    /// Forgets who is interested in an overlay that we left.
    pub fn leave(&mut self, overlay: &Overlay) {
        for node in self.interested.remove(overlay).unwrap_or_default() {
            if let Some(entry) = self.nodes.get_mut(&node) {
                entry.overlays.remove(overlay);
                self.changed.insert(node);
            }
        }
    }

    /// The nodes to meet in an overlay, without stale ones.
    pub fn interested(
        &self,
        overlay: &Overlay,
        now: Timestamp,
    ) -> impl Iterator<Item = VerifyingKey> {
        let nodes = self.interested.get(overlay).into_iter().flatten();
        nodes.filter(move |node| self.is_usable(node, now)).copied()
    }

    /// Notes a session that succeeded, whoever dialled it.
    pub fn succeeded(&mut self, node: VerifyingKey, now: Timestamp) {
        if node == self.local {
            return;
        }
        if !self.nodes.contains_key(&node) {
            self.make_room();
        }
        let entry = self.nodes.entry(node).or_insert_with(|| Node::new(now));
        entry.metrics.successes = entry.metrics.successes.saturating_add(1);
        entry.metrics.last_success = Some(now);
        entry.confirm(now);
        self.changed.insert(node);
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
    /// [`limits::RECORD_SHARED_MAX`] and is not stale.
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
        let mut others = Vec::new();
        for (node, entry) in self.usable(now) {
            let Some(record) = &entry.record else {
                continue;
            };
            if node == peer || age(entry.confirmed, now) >= limits::RECORD_SHARED_MAX {
                continue;
            }
            if entry.overlays.is_disjoint(common) {
                others.push((node, record));
            } else if records.len() < limits::DISCOVERY_RECORDS_MAX - limits::RECORDS_SAMPLE {
                records.push((*node, record.clone()));
            }
        }
        for _ in 0..limits::RECORDS_SAMPLE {
            let Some(position) = draws.position(others.len()) else {
                break;
            };
            let (node, record) = others.swap_remove(position);
            records.push((*node, record.clone()));
        }
        records
    }

    /// Drops what was not confirmed for [`limits::RECORD_KEPT_MAX`], bootstrap nodes aside.
    pub fn expire(&mut self, now: Timestamp) {
        let old =
            |node: &Node| !node.bootstrap && age(node.confirmed, now) >= limits::RECORD_KEPT_MAX;
        let expired = self
            .nodes
            .iter()
            .filter(|(_, node)| old(node))
            .map(|(key, _)| *key);
        for node in expired.collect::<Vec<_>>() {
            self.remove(&node);
        }
    }

    /// What to store (`Some`) and what to delete (`None`) since the last call.
    pub fn take_changed(&mut self) -> Vec<(VerifyingKey, Option<Bytes>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|node| (node, self.stored(&node)))
            .collect()
    }

    /// Takes back what was stored. Bootstrap flags are configuration and not among it.
    pub fn restore(&mut self, node: VerifyingKey, stored: Bytes) -> Result<(), WireError> {
        let entry = read_stored(stored)?;
        if node == self.local {
            self.own = entry.record;
            return Ok(());
        }
        self.make_room();
        for overlay in &entry.overlays {
            self.interested.entry(*overlay).or_default().insert(node);
        }
        self.nodes.insert(node, entry);
        Ok(())
    }

    /// A record of ours that someone else holds and that is later than ours: from before our
    /// data was restored. The next one must be later still.
    fn see_own(&mut self, info: &TransportInfo, now: Timestamp) -> Result<Inserted, RecordError> {
        if info.replaces(self.own.as_ref()) {
            info.verify(&self.local, now)?;
            self.own_floor = self.own_floor.max(Some(info.timestamp()));
        }
        Ok(Inserted::Kept)
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
            nodes.insert(node);
        } else {
            nodes.remove(&node);
        }
        if nodes.is_empty() {
            self.interested.remove(&overlay);
        }
    }

    fn remove(&mut self, node: &VerifyingKey) {
        if let Some(entry) = self.nodes.remove(node) {
            for overlay in entry.overlays {
                self.index(*node, overlay);
            }
            self.changed.insert(*node);
        }
    }

    /// Drops the least useful sixteenth when the book is full, so that a flood of made-up nodes
    /// costs one pass per many of them and pushes out no acquaintance before all hearsay is gone.
    fn make_room(&mut self) {
        if self.nodes.len() < limits::BOOK_NODES_MAX {
            return;
        }
        let droppable = self.nodes.iter().filter(|(_, node)| !node.bootstrap);
        let mut worth: Vec<_> = droppable.map(|(key, node)| (node.worth(), *key)).collect();
        worth.sort_unstable();
        for (_, node) in worth.into_iter().take(limits::BOOK_NODES_MAX / 16) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn key(number: u16) -> SigningKey {
        let mut seed = [0; 32];
        let (head, _) = seed.split_first_chunk_mut::<2>().unwrap();
        *head = number.to_le_bytes();
        SigningKey::from_bytes(&seed)
    }

    fn node(number: u16) -> VerifyingKey {
        key(number).verifying_key()
    }

    fn later(wait: Duration) -> Timestamp {
        Timestamp::from_micros(NOW.as_micros() + wait.as_micros() as u64)
    }

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * 24 * 60 * 60)
    }

    fn address(port: u16) -> Address {
        Address::from(SocketAddr::from(([8, 8, 8, 8], port)))
    }

    fn record(number: u16, at: Timestamp, port: u16) -> TransportInfo {
        let timestamp = HybridTimestamp::new(at.as_micros(), 0);
        TransportInfo::sign(&key(number), timestamp, BTreeSet::from([address(port)])).unwrap()
    }

    fn overlay(byte: u8) -> Overlay {
        Overlay::from_bytes([byte; 32])
    }

    fn book() -> Book {
        let mut book = Book::new(node(0));
        book.sign_own(&key(0), BTreeSet::from([address(1)]), NOW)
            .unwrap();
        book
    }

    #[test]
    fn configured_addresses_are_hints_and_never_outrank_what_the_node_signs() {
        let mut book = book();
        book.add_bootstrap(node(1), [address(9)], NOW);
        let old = record(1, Timestamp::from_micros(5), 4);
        assert_eq!(
            book.insert(node(1), old, Source::Peer, NOW),
            Ok(Inserted::Newer)
        );
        let entry = book.get(&node(1)).unwrap();
        assert_eq!(
            entry.addresses().collect::<Vec<_>>(),
            [&address(4), &address(9)]
        );
        assert!(entry.is_bootstrap());
    }

    #[test]
    fn an_invalid_record_is_counted_and_those_behind_it_still_count() {
        let mut book = book();
        let foreign = (node(2), record(1, NOW, 4));
        let future = (node(3), record(3, later(days(1)), 4));
        let good = (node(4), record(4, NOW, 4));
        let again = good.clone();
        let applied = book.apply([foreign, future, good, again], NOW);
        assert_eq!(
            applied,
            Applied {
                received: 4,
                learned: 1,
                invalid: 2
            }
        );
        assert_eq!(
            book.iter().map(|(node, _)| *node).collect::<Vec<_>>(),
            [node(4)]
        );
    }

    #[test]
    fn an_old_record_told_again_does_not_look_fresh() {
        let mut book = book();
        let info = record(1, NOW, 4);
        book.insert(node(1), info.clone(), Source::Peer, NOW)
            .unwrap();
        let soon = later(days(2));
        assert_eq!(
            book.insert(node(1), info.clone(), Source::Peer, soon),
            Ok(Inserted::Kept)
        );
        assert_eq!(book.get(&node(1)).unwrap().confirmed(), NOW);
        // From the node itself it does: its clock may be wrong, but it is there.
        assert_eq!(
            book.insert(node(1), info, Source::Direct, soon),
            Ok(Inserted::Kept)
        );
        assert_eq!(book.get(&node(1)).unwrap().confirmed(), soon);
        let ancient = record(2, Timestamp::from_micros(1), 4);
        assert_eq!(
            book.insert(node(2), ancient, Source::Peer, NOW),
            Ok(Inserted::Kept)
        );
        assert!(book.get(&node(2)).is_none());
    }

    #[test]
    fn records_are_shared_for_three_days_and_dropped_after_thirty() {
        let mut book = book();
        book.add_bootstrap(node(1), [], NOW);
        book.insert(node(2), record(2, NOW, 4), Source::Peer, NOW)
            .unwrap();
        let mut draws = Draws::from_seed([1; 32]);
        let mut shared = |book: &Book, at| {
            let records = book.share(&node(9), &BTreeSet::new(), &mut draws, at);
            records
                .into_iter()
                .map(|(node, _)| node)
                .collect::<Vec<_>>()
        };
        let edge = Timestamp::from_micros(later(days(3)).as_micros() - 1);
        assert_eq!(shared(&book, edge), [node(0), node(2)]);
        assert_eq!(shared(&book, later(days(3))), [node(0)]);
        book.expire(Timestamp::from_micros(later(days(30)).as_micros() - 1));
        assert!(book.get(&node(2)).is_some());
        book.take_changed();
        book.expire(later(days(30)));
        assert!(book.get(&node(2)).is_none());
        assert!(book.get(&node(1)).is_some());
        assert_eq!(book.take_changed(), [(node(2), None)]);
    }

    #[test]
    fn a_peer_gets_our_record_those_of_shared_overlays_and_a_sample_of_others() {
        let mut book = book();
        for number in 1..=100 {
            book.insert(node(number), record(number, NOW, 4), Source::Peer, NOW)
                .unwrap();
        }
        for number in 1..=20 {
            book.set_overlays(node(number), BTreeSet::from([overlay(1)]), NOW);
        }
        let common = BTreeSet::from([overlay(1), overlay(2)]);
        let share = |seed| {
            let records = book.share(&node(1), &common, &mut Draws::from_seed([seed; 32]), NOW);
            records
                .into_iter()
                .map(|(node, _)| node)
                .collect::<BTreeSet<_>>()
        };
        let shared = share(1);
        assert_eq!(shared.len(), 1 + 19 + limits::RECORDS_SAMPLE);
        assert!(shared.contains(&node(0)) && !shared.contains(&node(1)));
        assert!((2..=20).all(|number| shared.contains(&node(number))));
        assert_ne!(share(2), shared);
    }

    #[test]
    fn an_overlay_names_who_gained_and_who_lost_it() {
        let mut book = book();
        let both = BTreeSet::from([overlay(1), overlay(2)]);
        assert_eq!(book.set_overlays(node(1), both.clone(), NOW), both);
        let changed = book.set_overlays(node(1), BTreeSet::from([overlay(2)]), NOW);
        assert_eq!(changed, BTreeSet::from([overlay(1)]));
        assert_eq!(book.interested(&overlay(1), NOW).count(), 0);
        assert_eq!(
            book.interested(&overlay(2), NOW).collect::<Vec<_>>(),
            [node(1)]
        );
        book.leave(&overlay(2));
        assert_eq!(book.interested(&overlay(2), NOW).count(), 0);
        assert!(book.get(&node(1)).unwrap().overlays().is_empty());
    }

    #[test]
    fn a_failure_counts_only_while_we_could_be_reached_and_never_for_bootstrap_nodes() {
        let mut book = Book::new(node(0));
        let private = Address::from(SocketAddr::from(([10, 0, 0, 1], 4)));
        book.sign_own(&key(0), BTreeSet::from([private]), NOW)
            .unwrap();
        book.succeeded(node(1), NOW);
        book.failed(node(1), later(days(1)));
        assert!(!book.get(&node(1)).unwrap().is_stale(later(days(1))));

        book.sign_own(&key(0), BTreeSet::from([address(1)]), NOW)
            .unwrap();
        let at = later(days(1));
        book.failed(node(1), at);
        book.add_bootstrap(node(2), [], NOW);
        book.failed(node(2), at);
        assert!(book.get(&node(1)).unwrap().is_stale(at));
        assert!(!book.get(&node(2)).unwrap().is_stale(at));
        assert!(
            !book
                .get(&node(1))
                .unwrap()
                .is_stale(later(days(1) + limits::STALE_RETRY))
        );
        book.succeeded(node(1), later(days(1) + Duration::from_secs(1)));
        assert!(
            !book
                .get(&node(1))
                .unwrap()
                .is_stale(later(days(1) + Duration::from_secs(1)))
        );
    }

    #[test]
    fn the_own_record_is_signed_again_when_it_must_and_never_with_an_older_time() {
        let mut book = book();
        let first = book.own().unwrap().clone();
        let same = BTreeSet::from([address(1)]);
        assert_eq!(book.sign_own(&key(0), same.clone(), NOW), Ok(first.clone()));
        let past = Timestamp::from_micros(3);
        let none = BTreeSet::new();
        let second = book.sign_own(&key(0), none.clone(), past).unwrap();
        assert!(second.replaces(Some(&first)));
        let third = book.sign_own(&key(0), none.clone(), later(days(1)));
        assert!(third.unwrap().replaces(Some(&second)));

        // Someone holds a later one from before our data was restored.
        let lost = record(0, later(days(2)), 7);
        let now = later(days(2));
        assert_eq!(
            book.insert(node(0), lost.clone(), Source::Peer, now),
            Ok(Inserted::Kept)
        );
        let newest = book.sign_own(&key(0), none, now).unwrap();
        assert!(newest.replaces(Some(&lost)));
    }

    #[test]
    fn a_restored_own_record_is_given_out_again_while_the_addresses_are_the_same() {
        let mut book = book();
        let same = BTreeSet::from([address(1)]);
        let mut restarted = Book::new(node(0));
        for (node, stored) in book.take_changed() {
            restarted.restore(node, stored.unwrap()).unwrap();
        }
        let own = restarted.sign_own(&key(0), same, later(Duration::from_secs(1)));
        assert_eq!(own.as_ref(), Ok(book.own().unwrap()));
        assert!(restarted.take_changed().is_empty());
    }

    #[test]
    fn what_was_stored_comes_back() {
        let mut book = book();
        book.add_bootstrap(
            node(1),
            [address(9), Address::Relay("https://r/".into())],
            NOW,
        );
        book.insert(node(1), record(1, NOW, 4), Source::Direct, NOW)
            .unwrap();
        book.set_overlays(node(1), BTreeSet::from([overlay(1)]), NOW);
        book.succeeded(node(1), NOW);
        book.proved(&node(1));
        book.failed(node(1), later(days(1)));
        let mut restored = Book::new(node(0));
        for (node, stored) in book.take_changed() {
            restored.restore(node, stored.unwrap()).unwrap();
        }
        assert_eq!(restored.own(), book.own());
        let (before, after) = (book.get(&node(1)).unwrap(), restored.get(&node(1)).unwrap());
        assert_eq!(
            after.addresses().collect::<Vec<_>>(),
            before.addresses().collect::<Vec<_>>()
        );
        assert_eq!(after.metrics(), before.metrics());
        assert_eq!(after.confirmed(), before.confirmed());
        assert!(!after.is_bootstrap() && after.is_trusted());
        restored.succeeded(node(1), later(days(2)));
        assert_eq!(restored.interested(&overlay(1), later(days(2))).count(), 1);
        assert_eq!(
            restored.restore(node(2), Bytes::from_static(&[9])),
            Err(WireError::Tag)
        );
    }

    #[test]
    fn a_flood_of_made_up_nodes_pushes_out_no_acquaintance() {
        let mut book = book();
        book.add_bootstrap(node(1), [], NOW);
        book.succeeded(node(2), NOW);
        for number in 0..limits::BOOK_NODES_MAX as u32 + 100 {
            // Unsigned stand-ins: the way in that costs no signature.
            let mut bytes = [7; 32];
            let (head, _) = bytes.split_first_chunk_mut::<4>().unwrap();
            *head = number.to_le_bytes();
            let made_up = VerifyingKey::from_bytes_unchecked(bytes);
            book.set_overlays(made_up, BTreeSet::new(), later(days(1)));
        }
        assert!(book.iter().count() <= limits::BOOK_NODES_MAX);
        assert!(book.get(&node(1)).is_some() && book.get(&node(2)).is_some());
    }
}
