//! The peers that have this node's own logs of a topic, and up to where
//! (`docs/protocol/streams.md#19`).

use std::collections::HashMap;

use p2panda_core::limits::{LINK_RECEIPT_LOGS_MAX, RECEIPT_PEERS_MAX};
use p2panda_core::{LogName, VerifyingKey};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::Error;

/// Heights that peers were sent, and that they claim to have stored.
#[derive(Default)]
pub(crate) struct Receipts {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    peers: HashMap<VerifyingKey, Known>,
    /// Peers that are waited for by name: nobody takes their place.
    named: Vec<VerifyingKey>,
    /// Up to which entries of which logs receipts were asked for.
    wanted: HashMap<Option<LogName>, u32>,
    /// Logs of which there are two branches, and which one a peer was sent is not known.
    forks: HashMap<Option<LogName>, Branches>,
}

#[derive(Clone, Default)]
struct Known {
    /// Everything up to this arrival number, but for logs with a name.
    sent: u64,
    /// The same with these.
    sent_named: u64,
    /// Of the first log.
    stored: Option<u32>,
    stored_named: HashMap<LogName, u32>,
}

impl Known {
    fn is_sent(&self, place: &Place) -> bool {
        place.arrival
            <= match place.log {
                None => self.sent,
                Some(_) => self.sent_named,
            }
    }

    fn stored(&self, log: Option<LogName>) -> Option<u32> {
        match log {
            None => self.stored,
            Some(name) => self.stored_named.get(&name).copied(),
        }
    }

    fn has_stored(&self, place: &Place) -> bool {
        self.stored(place.log) >= Some(place.seq)
    }
}

/// Two branches of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Branches {
    /// `true` if a peer holds ours.
    pub(crate) held: bool,
}

/// A published operation, as receipts count it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The name of the log, if it is not the first one.
    pub(crate) log: Option<LogName>,
    pub(crate) seq: u32,
    pub(crate) arrival: u64,
}

impl Receipts {
    /// The transport of a peer has acknowledged everything up to here.
    /// `named`: of logs with a name as well.
    pub(crate) fn sent(&self, peer: VerifyingKey, arrival: u64, named: bool) {
        self.raise(peer, |known| {
            known.sent = known.sent.max(arrival);
            if named {
                known.sent_named = known.sent_named.max(arrival);
            }
        });
    }

    /// A peer has stored a log of this node up to this entry.
    pub(crate) fn stored(&self, peer: VerifyingKey, log: Option<LogName>, seq: u32) {
        self.raise(peer, |known| match log {
            None => known.stored = known.stored.max(Some(seq)),
            Some(name) => {
                let stored = known.stored_named.entry(name).or_insert(seq);
                *stored = seq.max(*stored);
            }
        });
    }

    /// Another branch of a log is known; `held` if a peer has shown that it holds ours.
    pub(crate) fn fork(&self, log: Option<LogName>, held: bool) {
        let mut inner = self.inner.lock();
        let fork = inner.forks.entry(log).or_insert(Branches { held });
        fork.held |= held;
        drop(inner);
        self.changed.notify_waiters();
    }

    /// Returns the other branch of a log, if there is one.
    pub(crate) fn branches(&self, log: Option<LogName>) -> Option<Branches> {
        self.inner.lock().forks.get(&log).copied()
    }

    /// Wakes everybody who waits.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Returns `true` if peers have to be asked for a receipt of this entry. They take this many
    /// logs, and no more.
    pub(crate) fn want(&self, log: Option<LogName>, seq: u32) -> Result<bool, Error> {
        let mut inner = self.inner.lock();
        let before = inner.wanted.get(&log).copied();
        if before.is_none() && log.is_some() {
            let named = inner.wanted.keys().filter(|log| log.is_some());
            if named.count() >= LINK_RECEIPT_LOGS_MAX {
                return Err(Error::ReceiptLogs);
            }
        }
        let is_new = before < Some(seq);
        if is_new {
            inner.wanted.insert(log, seq);
        }
        Ok(is_new)
    }

    /// Peers that were sent an operation, or say that they have stored it.
    pub(crate) fn sent_to(&self, place: Place) -> Vec<VerifyingKey> {
        let inner = self.inner.lock();
        let forked = inner.forks.contains_key(&place.log);
        inner.peers_with(|known| (known.is_sent(&place) && !forked) || known.has_stored(&place))
    }

    /// Up to which arrival number a peer was sent everything or had it, and up to which entry of this
    /// node's first log it says that it has stored.
    pub(crate) fn of(&self, peer: &VerifyingKey) -> (u64, Option<u32>) {
        let inner = self.inner.lock();
        let known = inner.peers.get(peer);
        known.map_or_else(Default::default, |known| (known.sent, known.stored))
    }

    /// Peers that were sent everything up to an operation, or had it.
    pub(crate) fn sent_up_to(&self, place: Place) -> Vec<VerifyingKey> {
        self.inner.lock().peers_with(|known| known.is_sent(&place))
    }

    /// Peers that say that they have stored an operation.
    pub(crate) fn held_by(&self, place: Place) -> Vec<VerifyingKey> {
        let inner = self.inner.lock();
        inner.peers_with(|known| known.has_stored(&place))
    }

    /// The last arrival number, and the last entry, that anybody has of a log.
    pub(crate) fn furthest(&self, log: Option<LogName>) -> (u64, Option<u32>) {
        let inner = self.inner.lock();
        let known = || inner.peers.values();
        let sent = known().map(|known| match log {
            None => known.sent,
            Some(_) => known.sent_named,
        });
        let sent = sent.max().unwrap_or_default();
        let stored = known().filter_map(|known| known.stored(log)).max();
        (
            if inner.forks.contains_key(&log) {
                0
            } else {
                sent
            },
            stored,
        )
    }

    /// Changes with what is known of peers.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Keeps the claims of these peers, regardless of the number of others.
    pub(crate) fn name(&self, peers: &[VerifyingKey]) -> Naming<'_> {
        self.inner.lock().named.extend(peers);
        Naming {
            receipts: self,
            peers: peers.to_vec(),
        }
    }

    fn raise(&self, peer: VerifyingKey, raise: impl FnOnce(&mut Known)) {
        {
            let mut inner = self.inner.lock();
            if !inner.has_room_for(&peer) {
                return;
            }
            raise(inner.peers.entry(peer).or_default());
        }
        self.changed.notify_waiters();
    }
}

impl Inner {
    fn peers_with(&self, has: impl Fn(&Known) -> bool) -> Vec<VerifyingKey> {
        let peers = self.peers.iter().filter(|(_, known)| has(known));
        let mut peers: Vec<_> = peers.map(|(peer, _)| *peer).collect();
        peers.sort_unstable();
        peers
    }

    fn has_room_for(&mut self, peer: &VerifyingKey) -> bool {
        if self.peers.len() < RECEIPT_PEERS_MAX || self.peers.contains_key(peer) {
            return true;
        }
        if !self.named.contains(peer) {
            return false;
        }
        let other = self.peers.keys().find(|other| !self.named.contains(other));
        let other = other.copied();
        other.is_some_and(|other| self.peers.remove(&other).is_some())
    }
}

/// Peers are waited for by name as long as this lives.
pub(crate) struct Naming<'a> {
    receipts: &'a Receipts,
    peers: Vec<VerifyingKey>,
}

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        let mut inner = self.receipts.inner.lock();
        for peer in &self.peers {
            if let Some(place) = inner.named.iter().position(|named| named == peer) {
                inner.named.swap_remove(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;

    use super::*;

    fn peer(number: u32) -> VerifyingKey {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&bytes).verifying_key()
    }

    const PLACE: Place = Place {
        log: None,
        seq: 4,
        arrival: 9,
    };

    #[test]
    fn stored_counts_as_sent_and_alone_on_two_branches() {
        let receipts = Receipts::default();
        receipts.sent(peer(1), 9, false);
        receipts.sent(peer(2), 8, false);
        receipts.stored(peer(3), None, 4);
        receipts.stored(peer(4), None, 3);
        let held = receipts.held_by(PLACE);
        assert_eq!(held, [peer(3)]);
        assert_eq!(receipts.sent_to(PLACE).len(), 2);
        assert_eq!(receipts.furthest(None), (9, Some(4)));
        // Less than before takes nothing back.
        receipts.stored(peer(3), None, 0);
        receipts.fork(None, false);
        assert_eq!(receipts.sent_to(PLACE), held);
        assert_eq!(receipts.furthest(None), (0, Some(4)));
    }

    #[test]
    fn a_named_peer_always_has_a_place() {
        let receipts = Receipts::default();
        for number in 0..RECEIPT_PEERS_MAX as u32 {
            receipts.stored(peer(number), None, 4);
        }
        let named = peer(u32::MAX);
        receipts.stored(named, None, 4);
        assert!(!receipts.held_by(PLACE).contains(&named));
        let naming = receipts.name(&[named]);
        receipts.stored(named, None, 4);
        let held = receipts.held_by(PLACE);
        assert!(held.contains(&named) && held.len() == RECEIPT_PEERS_MAX);
        drop(naming);
        assert!(receipts.inner.lock().named.is_empty());
    }

    #[test]
    fn the_limit_of_named_logs_is_an_error() {
        let receipts = Receipts::default();
        let name = |number: usize| LogName::of(&number.to_string()).ok();
        for number in 0..LINK_RECEIPT_LOGS_MAX {
            assert!(receipts.want(name(number), 3).is_ok_and(|is_new| is_new));
        }
        let one_more = receipts.want(name(LINK_RECEIPT_LOGS_MAX), 3);
        assert!(matches!(one_more, Err(Error::ReceiptLogs)));
        assert!(receipts.want(name(7), 3).is_ok_and(|is_new| !is_new));
        assert!(receipts.want(name(7), 4).is_ok_and(|is_new| is_new));
        assert!(receipts.want(None, 3).is_ok_and(|is_new| is_new));
    }

    #[test]
    fn receipts_of_one_log_say_nothing_of_another() {
        let (one, two) = ([1, 2].map(|byte| LogName::from_bytes([byte; 32]))).into();
        let place = |log| Place { log, ..PLACE };
        let receipts = Receipts::default();
        receipts.stored(peer(1), Some(one), 4);
        assert_eq!(receipts.held_by(place(Some(one))), [peer(1)]);
        assert_eq!(receipts.held_by(place(Some(two))), []);
        assert_eq!(receipts.held_by(place(None)), []);
        // A peer that compares heights is sent the first log only.
        receipts.sent(peer(2), 9, false);
        assert_eq!(receipts.sent_to(place(None)), [peer(2)]);
        assert_eq!(receipts.sent_to(place(Some(two))), []);
        receipts.sent(peer(2), 9, true);
        receipts.fork(Some(one), false);
        assert_eq!(receipts.sent_to(place(Some(two))), [peer(2)]);
        assert_eq!(receipts.sent_to(place(Some(one))), [peer(1)]);
        assert!(receipts.branches(None).is_none() && receipts.branches(Some(one)).is_some());
    }
}
