//! Records that come in: from their node itself, by announcement or by hearsay
//! (docs/protocol/network.md#4).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use p2panda_core::{Timestamp, VerifyingKey, limits};

use super::clock::ClockDifference;
use super::{Applied, Book, Inserted, Node, Teller};
use crate::reach::spread;
use crate::record::{Address, RecordError, TransportInfo};
use crate::time::Time;

/// A record in a session with the node that signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The node, and where its connection came from: that says nothing of the addresses that the
    /// record names.
    pub teller: Teller,
    /// Time at which the session began.
    pub began: Time,
}

/// Source of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As an announcement on the local network. The node signed it, but anybody there may say it
    /// again, at any time.
    Announced,
    /// From the node itself, over a connection on which it proved who it is.
    Signer(Handover),
    /// From another node, which may have kept it for long.
    Peer(Teller),
}

impl Book {
    /// Takes a record from the network.
    ///
    /// A record that the node hands over itself is accepted no matter what its time. By hearsay
    /// only a later one replaces the stored one, and none that is ahead of `wall`; timestamps are
    /// compared first, so that a record that is not later costs no signature check. No record
    /// replaces configured addresses.
    pub fn insert(
        &mut self,
        node: VerifyingKey,
        info: TransportInfo,
        source: Source,
        wall: Timestamp,
        now: Time,
    ) -> Result<Inserted, RecordError> {
        if node == self.local {
            return self.see_own(&info, wall);
        }
        match source {
            Source::Announced => self.hear_announced(node, info, wall, now),
            Source::Signer(handover) => self.take_handed(node, info, handover, wall, now),
            Source::Peer(teller) => self.take_told(node, info, teller, wall, now),
        }
    }

    /// Takes the records of a discovery session that began at this moment; a wrong one is counted
    /// and the next one counts.
    pub fn apply(
        &mut self,
        records: impl IntoIterator<Item = (VerifyingKey, TransportInfo)>,
        handover: Handover,
        wall: Timestamp,
        now: Time,
    ) -> Applied {
        let mut applied = Applied::default();
        for (node, info) in records {
            applied.received += 1;
            match self.insert(node, info, handover.source_of(&node), wall, now) {
                Ok(Inserted::New | Inserted::Newer) => applied.learned += 1,
                Ok(Inserted::Kept) => {}
                Err(_) => applied.invalid += 1,
            }
        }
        applied
    }

    /// A record of ours that someone else holds and that is later than ours: from before our
    /// data was restored. The next one must be later still.
    fn see_own(&mut self, info: &TransportInfo, wall: Timestamp) -> Result<Inserted, RecordError> {
        if info.replaces(self.own.as_ref()) {
            info.verify(&self.local, wall)?;
            self.own_floor = self.own_floor.max(Some(info.timestamp()));
        }
        Ok(Inserted::Kept)
    }

    /// A record that the node hands over replaces the stored one, unless it is from the older of
    /// two concurrent sessions.
    fn take_handed(
        &mut self,
        node: VerifyingKey,
        info: TransportInfo,
        handover: Handover,
        wall: Timestamp,
        now: Time,
    ) -> Result<Inserted, RecordError> {
        let known = self.nodes.get(&node);
        let before = inserted(known);
        let stored = known.and_then(Node::record);
        let is_same = stored == Some(&info);
        if !is_same {
            let overtaken = known.is_some_and(|known| handover.began < known.taken);
            if overtaken && !info.replaces(stored) {
                return Ok(Inserted::Kept);
            }
            info.verify_any_time(&node)?;
        }
        let clock = ClockDifference::of(info.timestamp().wall, wall);
        let is_direct = is_same && known.is_some_and(|known| known.direct);
        self.edit(node, wall, |entry| {
            if !is_same {
                entry.set_record(info, Some(handover.teller), now);
            }
            entry.announced.clear();
            entry.clock = clock;
            entry.meet(wall, now);
        });
        if !is_same {
            return Ok(before);
        }
        if !is_direct {
            self.add_teller(node, handover.teller);
        }
        Ok(Inserted::Kept)
    }

    /// A record from others counts by its signed time.
    fn take_told(
        &mut self,
        node: VerifyingKey,
        info: TransportInfo,
        teller: Teller,
        wall: Timestamp,
        now: Time,
    ) -> Result<Inserted, RecordError> {
        let known = self.nodes.get(&node);
        let before = inserted(known);
        let stored = known.and_then(Node::record);
        if stored.is_some_and(|stored| !info.replaces(Some(stored))) {
            if stored == Some(&info) {
                self.keep_on_trial(&node, now);
                self.add_teller(node, teller);
            }
            return Ok(Inserted::Kept);
        }
        info.verify(&node, wall)?;
        let signed = info.timestamp().wall.min(wall);
        self.edit(node, signed, |entry| {
            entry.set_record(info, Some(teller), now);
            entry.confirm(signed, wall);
            entry.keep_until(now + limits::RECORD_TRIAL);
        });
        Ok(before)
    }

    /// An announcement names addresses to dial, no matter what its time. It replaces the record by
    /// the rules of hearsay, since anybody may repeat it; otherwise its addresses are tried where
    /// those of the record bring nothing.
    fn hear_announced(
        &mut self,
        node: VerifyingKey,
        info: TransportInfo,
        wall: Timestamp,
        now: Time,
    ) -> Result<Inserted, RecordError> {
        let known = self.nodes.get(&node);
        let before = inserted(known);
        let stored = known.and_then(Node::record);
        if stored == Some(&info) {
            self.keep_on_trial(&node, now);
            if known_directly(self.nodes.get(&node)) {
                return Ok(Inserted::Kept);
            }
            self.change(&node, |entry| {
                entry.direct = true;
                entry.tellers.clear();
            });
            return Ok(Inserted::Kept);
        }
        let sockets = info.addresses().filter_map(Address::socket);
        let sockets = spread(sockets, |_| false, limits::RECORD_SOCKETS_USED_MAX);
        let sockets: BTreeSet<SocketAddr> = sockets.into_iter().collect();
        let replaces = info.replaces(stored) && !info.is_ahead(wall);
        let says_nothing = sockets.is_empty() || known.is_some_and(|k| k.announced == sockets);
        if !replaces && says_nothing {
            self.keep_on_trial(&node, now);
            return Ok(Inserted::Kept);
        }
        info.verify_any_time(&node)?;
        let signed = info.timestamp().wall.min(wall);
        self.edit(node, if replaces { signed } else { LONG_AGO }, |entry| {
            if replaces {
                entry.set_record(info, None, now);
                entry.confirm(signed, wall);
                entry.announced.clear();
            } else {
                entry.announced = sockets;
            }
            entry.keep_until(now + limits::RECORD_TRIAL);
        });
        Ok(before)
    }

    /// Somebody speaks of the node: it is worth trying for a while, however old what it signed is.
    fn keep_on_trial(&mut self, node: &VerifyingKey, now: Time) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.keep_until(now + limits::RECORD_TRIAL);
        }
    }

    /// One more who told the record that we have.
    fn add_teller(&mut self, node: VerifyingKey, teller: Teller) {
        let Some(entry) = self.nodes.get(&node).filter(|entry| !entry.direct) else {
            return;
        };
        let all = entry.tellers.iter().chain([&teller]).map(|t| t.node);
        let trusted: Vec<_> = all.filter(|node| self.is_trusted(node)).collect();
        let Some(entry) = self.nodes.get_mut(&node) else {
            return;
        };
        let (told, before) = (entry.tellers.len(), entry.bytes());
        entry.told_again(teller, |node| trusted.contains(node));
        self.bytes = self.bytes + entry.bytes() - before;
        // The teller itself is not stored.
        if entry.tellers.len() > told {
            self.changed.insert(node);
        }
    }
}

/// Nothing confirms a node whose announcement proves no time.
const LONG_AGO: Timestamp = Timestamp::from_micros(0);

impl Handover {
    /// Returns the source of a record in this session.
    pub fn source_of(&self, node: &VerifyingKey) -> Source {
        if *node == self.teller.node {
            Source::Signer(*self)
        } else {
            Source::Peer(self.teller)
        }
    }
}

/// Returns how a record is new, given the known entry of its node.
fn inserted(known: Option<&Node>) -> Inserted {
    match known {
        Some(_) => Inserted::Newer,
        None => Inserted::New,
    }
}

fn known_directly(known: Option<&Node>) -> bool {
    known.is_some_and(|known| known.direct)
}
