//! The address book: who is there, where, and what we share with them.
//!
//! Rules: docs/protocol/network.md#3, docs/protocol/discovery.md#5. It is plain state: the driver
//! passes the time, hands in records and results of sessions, and stores what
//! [`Book::take_changed`] names.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{HybridTimestamp, SigningKey, Timestamp, VerifyingKey, limits};

use crate::draws::Draws;
use crate::overlay::Overlay;
use crate::record::{Address, RecordError, TransportInfo, next_timestamp};
use crate::record::{read_address, write_address};
use crate::wire::{Reader, WireError, Writer};

const STORED_VERSION: u32 = 1;

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

/// Counts of sessions with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Failed attempts.
    pub failures: u64,
    /// Sessions that succeeded, whoever dialled.
    pub successes: u64,
    /// Time of the last failure.
    pub last_failure: Option<Timestamp>,
    /// Time of the last success.
    pub last_success: Option<Timestamp>,
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

/// What is known about one node.
#[derive(Clone, Debug)]
pub struct Node {
    bootstrap: bool,
    record: Option<TransportInfo>,
    hints: BTreeSet<Address>,
    metrics: Metrics,
    confirmed: Timestamp,
    overlays: BTreeSet<Overlay>,
}

impl Node {
    /// Whether the configuration names this node.
    pub fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    /// What the node signed about its addresses.
    pub fn record(&self) -> Option<&TransportInfo> {
        self.record.as_ref()
    }

    /// Where to dial: the signed addresses first, then those that were configured by hand.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let signed = self.record.iter().flat_map(TransportInfo::addresses);
        let known = |hint: &&Address| self.record.iter().all(|r| r.addresses().all(|a| a != *hint));
        signed.chain(self.hints.iter().filter(known))
    }

    /// Counts of sessions.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Overlays that we share with this node, as far as the last session told.
    pub fn overlays(&self) -> &BTreeSet<Overlay> {
        &self.overlays
    }

    /// When we last knew it to be alive: the last session with it, or the time it signed.
    pub fn confirmed(&self) -> Timestamp {
        self.confirmed
    }

    /// Whether the last attempt failed, so that others come first.
    ///
    /// Bootstrap nodes never are, and after [`limits::STALE_RETRY`] a node gets another chance.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let Some(failure) = self.metrics.last_failure.filter(|_| !self.bootstrap) else {
            return false;
        };
        self.metrics.last_success.is_none_or(|success| failure > success)
            && age(failure, now) < limits::STALE_RETRY
    }

    fn new(now: Timestamp) -> Node {
        Node {
            bootstrap: false,
            record: None,
            hints: BTreeSet::new(),
            metrics: Metrics::default(),
            confirmed: now,
            overlays: BTreeSet::new(),
        }
    }

    fn confirm(&mut self, at: Timestamp) {
        self.confirmed = self.confirmed.max(at);
    }

    /// What to drop first when the book is full: hearsay before acquaintances, then by age.
    fn worth(&self) -> (bool, Timestamp) {
        (self.metrics.successes > 0 || !self.overlays.is_empty(), self.confirmed)
    }
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

    /// Signs a new own record if the addresses changed, the last one is older than
    /// [`limits::RECORD_RENEWED_AFTER`], or a later one of ours is about. Answers the new one.
    pub fn sign_own(
        &mut self,
        key: &SigningKey,
        addresses: BTreeSet<Address>,
        now: Timestamp,
    ) -> Result<Option<&TransportInfo>, RecordError> {
        let last = self.own.as_ref().map(TransportInfo::timestamp);
        let current = self.own.as_ref().is_some_and(|own| {
            let wall = own.timestamp().wall;
            own.has_addresses(&addresses)
                && self.own_floor.is_none_or(|floor| floor < own.timestamp())
                && age(wall, now) < limits::RECORD_RENEWED_AFTER
        });
        if current {
            return Ok(None);
        }
        let timestamp = next_timestamp(last.max(self.own_floor), now);
        self.own = Some(TransportInfo::sign(key, timestamp, addresses)?);
        self.changed.insert(self.local);
        Ok(self.own.as_ref())
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
        if let Some(stored) = stored {
            if !info.replaces(stored.record.as_ref()) {
                if source == Source::Direct && stored.record.as_ref() == Some(&info) {
                    stored.confirm(now);
                }
                return Ok(Inserted::Kept);
            }
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
        let entry = self.nodes.entry(node).or_insert_with(|| Node::new(confirmed));
        entry.record = Some(info);
        entry.confirm(confirmed);
        self.changed.insert(node);
        Ok(if is_new { Inserted::New } else { Inserted::Newer })
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
        let changed: BTreeSet<Overlay> =
            entry.overlays.symmetric_difference(&overlays).copied().collect();
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

    /// Notes an attempt of ours that failed.
    ///
    /// Only while we have a globally routable address ourselves: without one the fault may be
    /// ours, and nothing on a private network becomes stale.
    pub fn failed(&mut self, node: VerifyingKey, now: Timestamp) {
        let reachable =
            self.own.as_ref().is_some_and(|own| own.addresses().any(Address::is_global));
        if let Some(entry) = self.nodes.get_mut(&node).filter(|_| reachable) {
            entry.metrics.failures = entry.metrics.failures.saturating_add(1);
            // The clock may have stepped back since the last success.
            entry.metrics.last_failure = Some(entry.metrics.last_success.max(Some(now)).unwrap_or(now));
            self.changed.insert(node);
        }
    }

    /// Nodes that may be dialled: known and not stale, with an address.
    pub fn usable(&self, now: Timestamp) -> impl Iterator<Item = (&VerifyingKey, &Node)> {
        self.nodes.iter().filter(move |(_, node)| !node.is_stale(now))
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
        let mut records: Vec<_> = self.own.iter().map(|own| (self.local, own.clone())).collect();
        let mut others = Vec::new();
        for (node, entry) in self.usable(now) {
            let Some(record) = &entry.record else { continue };
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
            let Some(position) = draws.position(others.len()) else { break };
            let (node, record) = others.swap_remove(position);
            records.push((*node, record.clone()));
        }
        records
    }

    /// Drops what was not confirmed for [`limits::RECORD_KEPT_MAX`], bootstrap nodes aside.
    pub fn expire(&mut self, now: Timestamp) {
        let old = |node: &Node| {
            !node.bootstrap && age(node.confirmed, now) >= limits::RECORD_KEPT_MAX
        };
        let expired = self.nodes.iter().filter(|(_, node)| old(node)).map(|(key, _)| *key);
        for node in expired.collect::<Vec<_>>() {
            self.remove(&node);
        }
    }

    /// What to store (`Some`) and what to delete (`None`) since the last call.
    pub fn take_changed(&mut self) -> Vec<(VerifyingKey, Option<Bytes>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|node| (node, self.stored(&node))).collect()
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
    fn see_own(
        &mut self,
        info: &TransportInfo,
        now: Timestamp,
    ) -> Result<Inserted, RecordError> {
        if info.replaces(self.own.as_ref()) {
            info.verify(&self.local, now)?;
            self.own_floor = self.own_floor.max(Some(info.timestamp()));
        }
        Ok(Inserted::Kept)
    }

    fn is_usable(&self, node: &VerifyingKey, now: Timestamp) -> bool {
        self.nodes.get(node).is_some_and(|entry| !entry.is_stale(now))
    }

    fn index(&mut self, node: VerifyingKey, overlay: Overlay) {
        let shared = self.nodes.get(&node).is_some_and(|e| e.overlays.contains(&overlay));
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
            own = Node { record: Some(record), ..Node::new(Timestamp::from_micros(0)) };
            &own
        } else {
            self.nodes.get(node)?
        };
        let mut out = BytesMut::new();
        write_stored(entry, &mut out);
        Some(out.freeze())
    }
}

/// From `earlier` to `now`; nothing when the clock stepped back.
fn age(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(now.as_micros().saturating_sub(earlier.as_micros()))
}

fn write_stored(node: &Node, out: &mut BytesMut) {
    let Metrics { failures, successes, last_failure, last_success } = node.metrics;
    let mut writer = Writer::new(out);
    writer.uint(STORED_VERSION).uint(node.confirmed.as_micros());
    writer.uint(failures).uint(successes);
    for time in [last_failure, last_success] {
        match time {
            None => writer.array(&[0]),
            Some(time) => writer.array(&[1]).uint(time.as_micros()),
        };
    }
    writer.count(node.overlays.len());
    for overlay in &node.overlays {
        writer.array(overlay.as_bytes());
    }
    writer.count(node.hints.len());
    for hint in &node.hints {
        write_address(&mut writer, hint);
    }
    writer.array(&[u8::from(node.record.is_some())]);
    if let Some(record) = &node.record {
        record.encode(out);
    }
}

fn read_stored(stored: Bytes) -> Result<Node, WireError> {
    let mut reader = Reader::new(stored);
    if reader.u32()? != STORED_VERSION {
        return Err(WireError::Tag);
    }
    let mut node = Node::new(Timestamp::from_micros(reader.u64()?));
    node.metrics.failures = reader.u64()?;
    node.metrics.successes = reader.u64()?;
    node.metrics.last_failure = read_time(&mut reader)?;
    node.metrics.last_success = read_time(&mut reader)?;
    for _ in 0..reader.count(32)? {
        node.overlays.insert(Overlay::from_bytes(reader.array()?));
    }
    for _ in 0..reader.count(3)? {
        node.hints.extend(read_address(&mut reader)?);
    }
    if reader.option()? {
        node.record = Some(TransportInfo::read(&mut reader)?);
    }
    reader.finish()?;
    Ok(node)
}

fn read_time(reader: &mut Reader) -> Result<Option<Timestamp>, WireError> {
    Ok(if reader.option()? { Some(Timestamp::from_micros(reader.u64()?)) } else { None })
}

/// The address of a socket as a hint.
impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::ip(address)
    }
}
