//! Logs that quotas of this node block, as links tell their peers (`docs/protocol/link.md#12`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use p2panda_protocol::link::Blocks;
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Blocked logs, by the membership overlay of the topic.
#[derive(Debug)]
pub(crate) struct Blocked {
    /// With the version that brought it.
    logs: Mutex<BTreeMap<Overlay, (Arc<Blocks>, u64)>>,
    version: watch::Sender<u64>,
}

impl Default for Blocked {
    fn default() -> Self {
        Self {
            logs: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Blocked {
    /// These logs of a topic are blocked, and no others.
    pub(crate) fn set(&self, overlay: Overlay, blocks: Blocks) {
        let mut logs = self.logs.lock();
        let before = logs.get(&overlay).map(|(before, _)| before);
        if before.map_or(blocks.is_empty(), |before| **before == blocks) {
            return;
        }
        let version = *self.version.borrow() + 1;
        logs.insert(overlay, (Arc::new(blocks), version));
        self.version.send_replace(version);
    }

    /// A topic is left.
    pub(crate) fn forget(&self, overlay: &Overlay) {
        self.logs.lock().remove(overlay);
    }

    /// Changes with what is blocked.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns the changes since a version, and the version that they lead to.
    pub(crate) fn since(&self, version: u64) -> (Vec<(Overlay, Arc<Blocks>)>, u64) {
        let logs = self.logs.lock();
        let new = logs.iter().filter(|(_, (_, of))| *of > version);
        let new = new.map(|(overlay, (blocks, _))| (*overlay, Arc::clone(blocks)));
        (new.collect(), *self.version.borrow())
    }
}

/// Overlays whose topic the peer of a link has proved to know. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proofs(Arc<(Mutex<BTreeSet<Overlay>>, Notify)>);

impl Proofs {
    pub(crate) fn add(&self, overlay: Overlay) {
        let (new, changed) = &*self.0;
        new.lock().insert(overlay);
        changed.notify_one();
    }

    /// Those that were added since the last call. Cancel safe.
    pub(crate) async fn next(&self) -> BTreeSet<Overlay> {
        let (new, changed) = &*self.0;
        loop {
            changed.notified().await;
            let taken = std::mem::take(&mut *new.lock());
            if !taken.is_empty() {
                return taken;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::SigningKey;
    use p2panda_protocol::link::{AuthorLog, Block, Quota};

    use super::*;

    fn blocks(height: u32) -> Blocks {
        let log = AuthorLog {
            author: SigningKey::from_bytes(&[1; 32]).verifying_key(),
            label: None,
        };
        let quota = Quota::Author;
        Blocks::from([(log, Block { height, quota })])
    }

    #[test]
    fn each_link_hears_of_blocked_logs_once() {
        let (logs, overlay) = (Blocked::default(), Overlay::from_bytes([1; 32]));
        logs.set(overlay, Blocks::new());
        assert_eq!(logs.since(0), (vec![], 0), "nothing was and is blocked");
        logs.set(overlay, blocks(3));
        let (new, version) = logs.since(0);
        assert_eq!(new, [(overlay, Arc::new(blocks(3)))]);
        logs.set(overlay, blocks(3));
        assert_eq!(logs.since(version), (vec![], version));
        logs.set(overlay, Blocks::new());
        let (new, version) = logs.since(version);
        assert_eq!(new, [(overlay, Arc::default())]);
        logs.forget(&overlay);
        assert_eq!(logs.since(0), (vec![], version));
    }

    #[tokio::test]
    async fn a_proof_that_is_given_again_is_heard_again() {
        let (proofs, overlay) = (Proofs::default(), Overlay::from_bytes([1; 32]));
        for _ in 0..2 {
            proofs.add(overlay);
            proofs.add(overlay);
            assert_eq!(proofs.next().await, BTreeSet::from([overlay]));
        }
    }
}
