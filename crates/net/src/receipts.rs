//! Up to which entries of its own logs this node wants receipts (`docs/protocol/link.md#10`).

use std::collections::{BTreeMap, HashMap};

use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What links ask their peers for.
#[derive(Debug)]
pub(crate) struct Receipts {
    inner: Mutex<Inner>,
    /// Counts what was asked for.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The height for each membership overlay, and the version that brought it.
    heights: HashMap<Overlay, (u32, u64)>,
    by_version: BTreeMap<u64, Overlay>,
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Receipts {
    /// Wants a receipt for the own log of a topic up to this entry, of everybody.
    pub(crate) fn want(&self, overlay: Overlay, height: u32) {
        let mut inner = self.inner.lock();
        let version = *self.version.borrow() + 1;
        if let Some((_, before)) = inner.heights.insert(overlay, (height, version)) {
            inner.by_version.remove(&before);
        }
        inner.by_version.insert(version, overlay);
        self.version.send_replace(version);
    }

    /// A topic is left.
    pub(crate) fn forget(&self, overlay: &Overlay) {
        let mut inner = self.inner.lock();
        if let Some((_, version)) = inner.heights.remove(overlay) {
            inner.by_version.remove(&version);
        }
    }

    /// Changes with what is wanted.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// What is wanted since a version, and the version that led to.
    pub(crate) fn since(&self, version: u64) -> (Vec<(Overlay, u32)>, u64) {
        let inner = self.inner.lock();
        let new = inner.by_version.range(version + 1..);
        let wanted = new.filter_map(|(_, overlay)| {
            let (height, _) = inner.heights.get(overlay)?;
            Some((*overlay, *height))
        });
        (wanted.collect(), *self.version.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_hears_of_the_latest_height_once_and_of_none_of_a_topic_that_was_left() {
        let receipts = Receipts::default();
        let overlay = |byte| Overlay::from_bytes([byte; 32]);
        receipts.want(overlay(1), 3);
        receipts.want(overlay(2), 7);
        receipts.want(overlay(1), 4);
        let (wanted, version) = receipts.since(0);
        assert_eq!(wanted, [(overlay(2), 7), (overlay(1), 4)]);
        assert_eq!(receipts.since(version), (vec![], version));
        receipts.want(overlay(3), 1);
        receipts.forget(&overlay(1));
        assert_eq!(receipts.since(version).0, [(overlay(3), 1)]);
        assert_eq!(receipts.since(0).0, [(overlay(2), 7), (overlay(3), 1)]);
    }
}
