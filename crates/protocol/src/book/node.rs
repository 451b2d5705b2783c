//! One node of the address book, and its stored form.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Timestamp, limits};

use crate::overlay::Overlay;
use crate::record::{Address, TransportInfo, read_address, write_address};
use crate::wire::{Reader, WireError, Writer};

/// Version 1 did not say whether the node is proven.
const STORED_VERSION: u32 = 2;

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

/// What is known about one node.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) bootstrap: bool,
    pub(super) proven: bool,
    pub(super) record: Option<TransportInfo>,
    pub(super) hints: BTreeSet<Address>,
    pub(super) metrics: Metrics,
    pub(super) confirmed: Timestamp,
    pub(super) overlays: BTreeSet<Overlay>,
}

impl Node {
    /// Whether the configuration names this node.
    pub fn is_bootstrap(&self) -> bool {
        self.bootstrap
    }

    /// Whether the node is more than a made-up identity: the configuration names it, or the catch-up
    /// of a sync session with it was completed before.
    pub fn is_trusted(&self) -> bool {
        self.bootstrap || self.proven
    }

    /// What the node signed about its addresses.
    pub fn record(&self) -> Option<&TransportInfo> {
        self.record.as_ref()
    }

    /// Where to dial: the signed addresses first, then those that were configured by hand.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let signed = self.record.iter().flat_map(TransportInfo::addresses);
        let known = |hint: &&Address| {
            self.record
                .iter()
                .all(|r| r.addresses().all(|a| a != *hint))
        };
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
            metrics: Metrics::default(),
            confirmed: now,
            overlays: BTreeSet::new(),
        }
    }

    pub(super) fn confirm(&mut self, at: Timestamp) {
        self.confirmed = self.confirmed.max(at);
    }

    /// What to drop first when the book is full: hearsay before acquaintances, then by age.
    pub(super) fn worth(&self) -> (bool, Timestamp) {
        (
            self.metrics.successes > 0 || !self.overlays.is_empty(),
            self.confirmed,
        )
    }
}

/// From `earlier` to `now`; nothing when the clock stepped back.
pub(super) fn age(earlier: Timestamp, now: Timestamp) -> Duration {
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
    writer.array(&[u8::from(node.record.is_some())]);
    if let Some(record) = &node.record {
        record.encode(out);
    }
}

pub(super) fn read_stored(stored: Bytes) -> Result<Node, WireError> {
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
    if reader.option()? {
        node.record = Some(TransportInfo::read(&mut reader)?);
    }
    reader.finish()?;
    Ok(node)
}

fn read_time(reader: &mut Reader) -> Result<Option<Timestamp>, WireError> {
    Ok(if reader.option()? {
        Some(Timestamp::from_micros(reader.u64()?))
    } else {
        None
    })
}
