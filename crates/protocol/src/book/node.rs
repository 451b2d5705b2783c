//! One node of the address book, and its stored form.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Timestamp, VerifyingKey, limits};

use super::clock::ClockDifference;
use crate::overlay::Overlay;
use crate::reach::{Ground, Reach, spread};
use crate::record::{Address, TransportInfo, is_ahead, read_address, write_address};
use crate::time::Time;
use crate::wire::{Reader, WireError, Writer};

/// Version 1 did not say whether the node is proven, version 2 not where its record came from.
const STORED_VERSION: u32 = 3;

/// Fixed bytes of an entry of the book: the entry, its key and its place in the map.
const NODE_BYTES: usize = size_of::<Node>() + 2 * size_of::<VerifyingKey>();
/// Bytes of an overlay of a node, in its entry and in the list of interested nodes.
const OVERLAY_BYTES: usize = 3 * 32;

/// A node that told us a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teller {
    /// Its node id, proved by TLS; the own node id for records stored before the last start.
    pub node: VerifyingKey,
    /// Remote address of its connection, unless it came through a relay.
    pub from: Option<IpAddr>,
}

impl Teller {
    /// Returns how near it is: a node on loopback may report loopback addresses.
    fn reach(&self) -> Reach {
        self.from.map_or(Reach::Global, Reach::of)
    }
}

/// Counts of sessions with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Failed attempts.
    pub failures: u64,
    /// Sessions that succeeded, no matter who dialled.
    pub successes: u64,
    /// Time of the last failure.
    pub last_failure: Option<Timestamp>,
    /// Time of the last success.
    pub last_success: Option<Timestamp>,
}

impl Metrics {
    /// Forgets times from when our clock was ahead: nothing can be compared with them.
    pub(super) fn forget_ahead(&mut self, now: Timestamp) {
        for time in [&mut self.last_failure, &mut self.last_success] {
            *time = time.filter(|time| !is_ahead(*time, now));
        }
    }
}

/// Entry of one node.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) bootstrap: bool,
    pub(super) proven: bool,
    pub(super) record: Option<TransportInfo>,
    pub(super) hints: BTreeSet<Address>,
    /// Addresses of the configured host names, as resolved in this run.
    pub(super) resolved: BTreeSet<SocketAddr>,
    pub(super) metrics: Metrics,
    pub(super) confirmed: Timestamp,
    pub(super) overlays: BTreeSet<Overlay>,
    /// `true` if the node announced the record itself on the local network.
    pub(super) direct: bool,
    /// Addresses of an announcement on the local network that did not replace the record, until
    /// the node hands over a record itself.
    pub(super) announced: BTreeSet<SocketAddr>,
    /// Time at which the record came, in this run.
    pub(super) taken: Time,
    /// Time until which it stays no matter what the wall clock says.
    pub(super) kept_until: Time,
    /// By the record that the node handed over last, in this run.
    pub(super) clock: Option<ClockDifference>,
    /// A few of the nodes that reported the record.
    pub(super) tellers: Vec<Teller>,
    /// Addresses of the record at which the node proved itself.
    pub(super) answered: BTreeSet<SocketAddr>,
    /// `true` if the stored book may have this entry.
    pub(super) stored: bool,
}

impl Node {
    /// Returns `true` if the configuration names this node.
    pub fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    /// Returns `true` if the node is more than a made-up identity: the configuration names it, or
    /// the catch-up of a sync session with it was completed before.
    pub fn is_trusted(&self) -> bool {
        self.bootstrap || self.proven
    }

    /// Returns the addresses that the node signed.
    pub fn record(&self) -> Option<&TransportInfo> {
        self.record.as_ref()
    }

    /// Returns its addresses: the signed ones first, then the configured ones. Those of its host
    /// names are [`Node::resolved`].
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let signed = self.record.iter().flat_map(TransportInfo::addresses);
        let known = |hint: &&Address| {
            self.record
                .iter()
                .all(|r| r.addresses().all(|a| a != *hint))
        };
        signed.chain(self.hints.iter().filter(known))
    }

    /// The addresses that its host names have.
    pub fn resolved(&self) -> impl Iterator<Item = SocketAddr> {
        self.resolved.iter().copied()
    }

    /// Returns the difference between its clock and ours, if it is large.
    pub fn clock(&self) -> Option<ClockDifference> {
        self.clock
    }

    /// Counts of sessions.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Overlays that we share with this node, as far as the last session told.
    pub fn overlays(&self) -> &BTreeSet<Overlay> {
        &self.overlays
    }

    /// Returns the time at which we last knew it to be alive, by our clock: the last session with
    /// it, or the time it signed.
    pub fn confirmed(&self) -> Timestamp {
        self.confirmed
    }

    /// Returns `true` if the last attempt failed, so that others come first.
    ///
    /// Bootstrap nodes never are, and after [`limits::STALE_RETRY`] a node gets another chance.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        let Some(failure) = self.metrics.last_failure.filter(|_| !self.bootstrap) else {
            return false;
        };
        self.metrics
            .last_success
            .is_none_or(|success| failure > success)
            && age(failure, now) < limits::STALE_RETRY
    }

    pub(super) fn new(now: Timestamp) -> Node {
        Node {
            bootstrap: false,
            proven: false,
            record: None,
            hints: BTreeSet::new(),
            resolved: BTreeSet::new(),
            metrics: Metrics::default(),
            confirmed: now,
            overlays: BTreeSet::new(),
            direct: false,
            announced: BTreeSet::new(),
            taken: Time::ZERO,
            kept_until: Time::ZERO,
            clock: None,
            tellers: Vec::new(),
            answered: BTreeSet::new(),
            stored: false,
        }
    }

    /// Bytes that the entry takes in memory.
    pub(super) fn bytes(&self) -> usize {
        let record = self.record.iter().map(TransportInfo::bytes).sum::<usize>();
        let hints = self.hints.iter().map(Address::bytes).sum::<usize>();
        NODE_BYTES
            + record
            + hints
            + self.overlays.len() * OVERLAY_BYTES
            + self.tellers.len() * size_of::<Teller>()
            + (self.answered.len() + self.announced.len() + self.resolved.len())
                * size_of::<SocketAddr>()
    }

    /// Takes a record in place of the stored one.
    pub(super) fn set_record(&mut self, record: TransportInfo, teller: Option<Teller>, now: Time) {
        self.answered
            .retain(|socket| record.addresses().any(|a| *a == Address::Ip(*socket)));
        self.direct = teller.is_none();
        self.taken = now;
        self.tellers = teller.into_iter().collect();
        self.record = Some(record);
    }

    /// Remembers one more who told us the record that we have.
    ///
    /// Of many those we trust are kept, then the nearest: nobody can stand in for all, and use up its
    /// own account so that the node is never looked for.
    pub(super) fn told_again(&mut self, teller: Teller, trusted: impl Fn(&VerifyingKey) -> bool) {
        if self.tellers.iter().any(|known| known.node == teller.node) {
            return;
        }
        self.tellers.push(teller);
        if self.tellers.len() > limits::RECORD_TELLERS_MAX {
            let worth = |teller: &Teller| (trusted(&teller.node), teller.reach());
            let least = self.tellers.iter().enumerate();
            let least = least.min_by_key(|(_, teller)| worth(teller));
            if let Some((position, _)) = least {
                self.tellers.remove(position);
            }
        }
    }

    /// Returns the addresses to dial without a probe: configured ones, those announced on the local
    /// network, those where the node proved itself before, and the relays that we may use.
    /// Announced addresses that are not in the record count only without others, or if the others
    /// are `silent`.
    pub(super) fn known(&self, ground: &Ground, silent: bool) -> BTreeSet<Address> {
        let mut known = self.hints.clone();
        known.extend(self.answered.iter().copied().map(Address::Ip));
        let named = |socket: &SocketAddr| ground.names_a_machine(*socket);
        let resolved = self.resolved.iter().filter(|socket| named(socket));
        known.extend(resolved.copied().map(Address::Ip));
        if self.direct {
            let signed = self.sockets(named, ground);
            known.extend(signed.into_iter().map(Address::Ip));
        }
        let signed = self.record.iter().flat_map(TransportInfo::addresses);
        let relays = signed.filter(|address| match address {
            Address::Relay(url) => ground.relays.contains(url),
            Address::Ip(_) | Address::Custom(_) => false,
        });
        known.extend(relays.take(limits::RECORD_RELAYS_USED_MAX).cloned());
        if known.is_empty() || silent {
            let announced = self.announced.iter().filter(|socket| named(socket));
            known.extend(announced.copied().map(Address::Ip));
        }
        known
    }

    /// The socket addresses of the record that may be used, those of our networks first.
    pub(super) fn sockets(
        &self,
        permitted: impl Fn(&SocketAddr) -> bool,
        ground: &Ground,
    ) -> Vec<SocketAddr> {
        let signed = self.record.iter().flat_map(TransportInfo::addresses);
        let sockets = signed.filter_map(Address::socket).filter(permitted);
        let on_link = |socket: &SocketAddr| ground.is_on_link(socket.ip());
        spread(sockets, on_link, limits::RECORD_SOCKETS_USED_MAX)
    }

    /// It was alive at this moment; `wall` is now.
    pub(super) fn confirm(&mut self, at: Timestamp, wall: Timestamp) {
        self.confirmed = if is_ahead(self.confirmed, wall) {
            at
        } else {
            self.confirmed.max(at)
        };
    }

    /// We have just met it.
    pub(super) fn meet(&mut self, wall: Timestamp, now: Time) {
        self.confirm(wall, wall);
        self.keep_until(now + limits::RECORD_KEPT_MAX);
    }

    pub(super) fn keep_until(&mut self, until: Time) {
        self.kept_until = self.kept_until.max(until);
    }

    /// Returns `true` if nothing ever resulted from it.
    pub(super) fn is_hearsay(&self) -> bool {
        !self.proven && self.metrics.successes == 0 && self.overlays.is_empty()
    }

    /// Returns the rank by which nodes are dropped when the book is full: hearsay first, then nodes
    /// that did not prove themselves, then by age.
    pub(super) fn worth(&self) -> (bool, bool, Timestamp) {
        let met = self.metrics.successes > 0 || !self.overlays.is_empty();
        (self.proven, met, self.confirmed)
    }
}

/// From `earlier` to `now`; nothing when the clock stepped back a little, and the longest time there
/// is when it stepped back far: how old that is, nobody knows.
pub(super) fn age(earlier: Timestamp, now: Timestamp) -> Duration {
    if is_ahead(earlier, now) {
        return Duration::MAX;
    }
    Duration::from_micros(now.as_micros().saturating_sub(earlier.as_micros()))
}

pub(super) fn write_stored(node: &Node, out: &mut BytesMut) {
    let Metrics {
        failures,
        successes,
        last_failure,
        last_success,
    } = node.metrics;
    let mut writer = Writer::new(out);
    writer.uint(STORED_VERSION).uint(node.confirmed.as_micros());
    writer.uint(failures).uint(successes);
    writer.array(&[u8::from(node.proven)]);
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
    writer.array(&[u8::from(node.direct)]);
    writer.count(node.tellers.len());
    for teller in &node.tellers {
        // Only from how near it was told is worth keeping.
        let from = teller.from.map(|ip| Address::Ip(SocketAddr::new(ip, 0)));
        writer.array(&[u8::from(from.is_some())]);
        if let Some(from) = from {
            write_address(&mut writer, &from);
        }
    }
    writer.count(node.answered.len());
    for socket in &node.answered {
        write_address(&mut writer, &Address::Ip(*socket));
    }
    writer.array(&[u8::from(node.record.is_some())]);
    if let Some(record) = &node.record {
        record.encode(out);
    }
}

/// `local` stands in for the tellers, who are not stored. A record beyond our limits, from before
/// they were set, is left out.
pub(super) fn read_stored(stored: Bytes, local: VerifyingKey) -> Result<Node, WireError> {
    let mut reader = Reader::new(stored);
    let version = reader.u32()?;
    if !(1..=STORED_VERSION).contains(&version) {
        return Err(WireError::Tag);
    }
    let mut node = Node::new(Timestamp::from_micros(reader.u64()?));
    node.metrics.failures = reader.u64()?;
    node.metrics.successes = reader.u64()?;
    node.proven = version > 1 && reader.option()?;
    node.metrics.last_failure = read_time(&mut reader)?;
    node.metrics.last_success = read_time(&mut reader)?;
    for _ in 0..reader.count(32)? {
        node.overlays.insert(Overlay::from_bytes(reader.array()?));
    }
    for _ in 0..reader.count(3)? {
        node.hints.extend(read_address(&mut reader)?);
    }
    if version > 2 {
        read_provenance(&mut node, &mut reader, local)?;
    } else {
        node.tellers.push(Teller {
            node: local,
            from: None,
        });
    }
    if reader.option()? {
        let record = TransportInfo::read(&mut reader)?;
        node.record = (!record.is_oversize()).then_some(record);
    }
    while node.hints.len() > limits::RECORD_ADDRESSES_MAX {
        node.hints.pop_last();
    }
    reader.finish()?;
    Ok(node)
}

fn read_provenance(
    node: &mut Node,
    reader: &mut Reader,
    local: VerifyingKey,
) -> Result<(), WireError> {
    node.direct = reader.option()?;
    for _ in 0..reader.count(1)? {
        let from = if reader.option()? {
            read_address(reader)?
        } else {
            None
        };
        let from = from.as_ref().and_then(Address::socket).map(|s| s.ip());
        if node.tellers.len() < limits::RECORD_TELLERS_MAX {
            node.tellers.push(Teller { node: local, from });
        }
    }
    for _ in 0..reader.count(3)? {
        let socket = read_address(reader)?.as_ref().and_then(Address::socket);
        node.answered.extend(socket);
    }
    Ok(())
}

fn read_time(reader: &mut Reader) -> Result<Option<Timestamp>, WireError> {
    Ok(if reader.option()? {
        Some(Timestamp::from_micros(reader.u64()?))
    } else {
        None
    })
}
