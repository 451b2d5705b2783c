//! The entries of own logs for which this node wants receipts (`docs/protocol/link.md#10`).

use std::collections::BTreeMap;

use p2panda_protocol::link::ReceiptLog;
use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Receipts that links request from their peers.
#[derive(Debug)]
pub(crate) struct Receipts {
    inner: Mutex<Inner>,
    /// Counts what was asked for.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The height for each log, and the version that brought it.
    heights: BTreeMap<ReceiptLog, (u32, u64)>,
    by_version: BTreeMap<u64, ReceiptLog>,
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
    /// Wants a receipt for an own log up to this entry, of everybody.
    pub(crate) fn want(&self, log: ReceiptLog, height: u32) {
        let mut inner = self.inner.lock();
        let version = *self.version.borrow() + 1;
        if let Some((_, before)) = inner.heights.insert(log, (height, version)) {
            inner.by_version.remove(&before);
        }
        inner.by_version.insert(version, log);
        self.version.send_replace(version);
    }

    /// A topic is left.
    pub(crate) fn forget(&self, overlay: &Overlay) {
        let mut inner = self.inner.lock();
        let of_topic = inner.heights.range(ReceiptLog::all(*overlay));
        let of_topic: Vec<_> = of_topic
            .map(|(log, (_, version))| (*log, *version))
            .collect();
        for (log, version) in of_topic {
            inner.heights.remove(&log);
            inner.by_version.remove(&version);
        }
    }

    /// Changes with what is wanted.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Returns the wanted receipts since a version, and the new version.
    pub(crate) fn since(&self, version: u64) -> (Vec<(ReceiptLog, u32)>, u64) {
        let inner = self.inner.lock();
        let new = inner.by_version.range(version + 1..);
        let wanted = new.filter_map(|(_, log)| {
            let (height, _) = inner.heights.get(log)?;
            Some((*log, *height))
        });
        (wanted.collect(), *self.version.borrow())
    }
}

#[cfg(test)]
mod tests {
    use p2panda_core::Label;

    use super::*;

    #[test]
    fn each_link_hears_of_the_latest_height_once() {
        let receipts = Receipts::default();
        let overlay = |byte| Overlay::from_bytes([byte; 32]);
        let first = |byte| ReceiptLog::first(overlay(byte));
        let named = ReceiptLog {
            overlay: overlay(1),
            label: Some(Label::GREATEST),
        };
        receipts.want(first(1), 3);
        receipts.want(first(2), 7);
        receipts.want(named, 9);
        receipts.want(first(1), 4);
        let (wanted, version) = receipts.since(0);
        assert_eq!(wanted, [(first(2), 7), (named, 9), (first(1), 4)]);
        assert_eq!(receipts.since(version), (vec![], version));
        receipts.want(first(3), 1);
        receipts.forget(&overlay(1));
        assert_eq!(receipts.since(version).0, [(first(3), 1)]);
        assert_eq!(receipts.since(0).0, [(first(2), 7), (first(3), 1)]);
    }
}
