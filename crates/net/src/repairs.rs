//! Peers that a topic is to be compared with again.

use std::collections::BTreeSet;

use p2panda_core::{VerifyingKey, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Each peer once. Takes no memory while it is empty: there is one for every topic.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    peers: Mutex<BTreeSet<VerifyingKey>>,
    changed: Notify,
}

impl Repairs {
    /// Asks for a comparison soon. Lossy: with many of them in progress this one comes later
    /// anyway.
    pub(crate) fn ask(&self, peer: VerifyingKey) {
        let mut peers = self.peers.lock();
        if peers.len() < limits::REPAIRS_WAITING_MAX {
            peers.insert(peer);
        }
        drop(peers);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<VerifyingKey> {
        let mut peers = self.peers.lock();
        let peer = peers.pop_first();
        if peers.is_empty() {
            // An empty set may keep its memory.
            *peers = BTreeSet::new();
        }
        peer
    }

    /// The next peer. May be cancelled.
    pub(crate) async fn next(&self) -> VerifyingKey {
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
