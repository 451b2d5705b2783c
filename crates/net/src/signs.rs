//! Signs of life and of interest, on their way to the topics that wait for them.
//!
//! Kept by peer and by overlay: a sign costs nothing for topics that do not wait for that peer,
//! however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_core::{Few, VerifyingKey};
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Topics that wait for a sign of a peer. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    by_peer: Mutex<BTreeMap<(VerifyingKey, u64), Arc<Inbox>>>,
    by_overlay: Mutex<BTreeMap<(Overlay, u64), Arc<Inbox>>>,
}

/// A sign of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// It connected, met us, or has a new address.
    Shown(VerifyingKey),
    /// Its interest in the overlay changed.
    Interest(VerifyingKey),
    /// Another peer said that it is.
    Told(VerifyingKey),
    /// A link with it began, and nobody knows yet what it is interested in.
    Linked(VerifyingKey),
}

/// A set and no queue: what nobody has looked at yet never outgrows the peers there are.
#[derive(Debug, Default)]
struct Inbox {
    signs: Mutex<BTreeSet<Sign>>,
    changed: Notify,
}

impl Inbox {
    fn put(&self, sign: Sign) {
        self.signs.lock().insert(sign);
        self.changed.notify_one();
    }

    fn take(&self) -> Option<Sign> {
        let mut signs = self.signs.lock();
        let sign = signs.pop_first();
        if signs.is_empty() {
            // An empty set may keep its memory.
            *signs = BTreeSet::new();
        }
        sign
    }
}

impl Signs {
    /// The signs of interest in an overlay, and of peers that are waited for from then on.
    pub(crate) fn of(&self, overlay: Overlay) -> SignsOf {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let inbox = Arc::new(Inbox::default());
        let mut by_overlay = self.0.by_overlay.lock();
        by_overlay.insert((overlay, number), inbox.clone());
        drop(by_overlay);
        SignsOf {
            signs: self.clone(),
            overlay,
            number,
            inbox,
            awaited: Few::new(),
        }
    }

    /// A peer gave a sign of life.
    pub(crate) fn shown(&self, peer: &VerifyingKey) {
        let by_peer = self.0.by_peer.lock();
        for (_, inbox) in by_peer.range((*peer, 0)..=(*peer, u64::MAX)) {
            inbox.put(Sign::Shown(*peer));
        }
    }

    /// A link with a peer began: this many topics at most are told.
    pub(crate) fn linked(&self, peer: VerifyingKey, topics: usize) {
        let by_overlay = self.0.by_overlay.lock();
        for inbox in by_overlay.values().take(topics) {
            inbox.put(Sign::Linked(peer));
        }
    }

    /// The interest of a peer in these overlays has changed.
    pub(crate) fn interest(&self, peer: VerifyingKey, overlays: &BTreeSet<Overlay>) {
        for one in overlays {
            self.put(one, Sign::Interest(peer));
        }
    }

    /// Somebody said that a peer is interested in an overlay.
    pub(crate) fn told(&self, peer: VerifyingKey, overlay: &Overlay) {
        self.put(overlay, Sign::Told(peer));
    }

    fn put(&self, overlay: &Overlay, sign: Sign) {
        let by_overlay = self.0.by_overlay.lock();
        for (_, inbox) in by_overlay.range((*overlay, 0)..=(*overlay, u64::MAX)) {
            inbox.put(sign);
        }
    }
}

/// The signs for one topic; dropping it waits for none any more.
#[derive(Debug)]
pub(crate) struct SignsOf {
    signs: Signs,
    overlay: Overlay,
    number: u64,
    inbox: Arc<Inbox>,
    awaited: Few<VerifyingKey, ()>,
}

impl SignsOf {
    /// From now on signs of life of this peer are wanted, or not.
    pub(crate) fn wait_for(&mut self, peer: VerifyingKey, wanted: bool) {
        if wanted && self.awaited.insert(peer, ()).is_none() {
            let mut by_peer = self.signs.0.by_peer.lock();
            by_peer.insert((peer, self.number), self.inbox.clone());
        } else if !wanted && self.awaited.remove(&peer).is_some() {
            self.forget(&peer);
        }
    }

    /// The next sign. May be cancelled without losing one.
    pub(crate) async fn next(&mut self) -> Sign {
        loop {
            if let Some(sign) = self.inbox.take() {
                return sign;
            }
            self.inbox.changed.notified().await;
        }
    }

    fn forget(&self, peer: &VerifyingKey) {
        self.signs.0.by_peer.lock().remove(&(*peer, self.number));
    }
}

impl Drop for SignsOf {
    fn drop(&mut self) {
        for peer in self.awaited.keys() {
            self.forget(peer);
        }
        let mut by_overlay = self.signs.0.by_overlay.lock();
        by_overlay.remove(&(self.overlay, self.number));
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};
    use p2panda_core::SigningKey;

    use super::*;

    #[test]
    fn a_sign_reaches_those_who_wait_for_the_peer_and_nobody_else() {
        let [one, other] = [1, 2].map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key());
        let [here, there] = [1, 2].map(|byte| Overlay::from_bytes([byte; 32]));
        let signs = Signs::default();
        let (mut waits, mut others) = (signs.of(here), signs.of(there));
        waits.wait_for(one, true);
        others.wait_for(other, true);
        signs.shown(&one);
        signs.shown(&one);
        assert_eq!(block_on(waits.next()), Sign::Shown(one));
        assert_eq!(block_on(poll_once(waits.next())), None);
        assert_eq!(block_on(poll_once(others.next())), None);
        signs.interest(other, &BTreeSet::from([here]));
        assert_eq!(block_on(waits.next()), Sign::Interest(other));
        signs.linked(one, 1);
        assert_eq!(block_on(waits.next()), Sign::Linked(one));
        assert_eq!(block_on(poll_once(others.next())), None);
        waits.wait_for(one, false);
        signs.shown(&one);
        assert_eq!(block_on(poll_once(waits.next())), None);
        drop((waits, others));
        assert!(signs.0.by_peer.lock().is_empty() && signs.0.by_overlay.lock().is_empty());
    }
}
