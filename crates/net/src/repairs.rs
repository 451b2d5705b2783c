//! Peers that a topic is to be compared with again.

use std::collections::BTreeMap;

use p2panda_core::{VerifyingKey, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Each peer once. Takes no memory while it is empty: there is one for every topic.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    /// Peers; `true` if what running sessions have sent to one is to be sent again where it lacks
    /// it.
    peers: Mutex<BTreeMap<VerifyingKey, bool>>,
    changed: Notify,
}

impl Repairs {
    /// Asks for a comparison soon. Lossy: with many of them in progress this one comes later
    /// anyway.
    pub(crate) fn ask(&self, peer: VerifyingKey) {
        self.add(peer, false);
    }

    /// The same with a peer that takes again what it refused.
    pub(crate) fn resend(&self, peer: VerifyingKey) {
        self.add(peer, true);
    }

    fn add(&self, peer: VerifyingKey, resend: bool) {
        let mut peers = self.peers.lock();
        if peers.len() < limits::REPAIRS_WAITING_MAX || peers.contains_key(&peer) {
            *peers.entry(peer).or_default() |= resend;
        }
        drop(peers);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<(VerifyingKey, bool)> {
        let mut peers = self.peers.lock();
        let peer = peers.pop_first();
        if peers.is_empty() {
            // An empty set may keep its memory.
            *peers = BTreeMap::new();
        }
        peer
    }

    /// The next peer, and whether to send again what it lacks. May be cancelled.
    pub(crate) async fn next(&self) -> (VerifyingKey, bool) {
        loop {
            let changed = self.changed.notified();
            let next = self.take();
            match next {
                Some(peer) => return peer,
                None => changed.await,
            }
        }
    }
}
