//! The overlays that this node is in.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_protocol::overlay::Overlay;
use parking_lot::Mutex;

use crate::book::AddressBook;
use crate::connections::Connections;
use crate::signals::Signals;

/// The overlays this node is in, each as often as it was joined.
#[derive(Debug)]
pub(crate) struct Overlays {
    joined: Mutex<BTreeMap<Overlay, usize>>,
    book: AddressBook,
    connections: Connections,
    signals: Signals,
}

impl Overlays {
    pub(crate) fn new(book: AddressBook, connections: Connections, signals: Signals) -> Self {
        Self {
            joined: Mutex::default(),
            book,
            connections,
            signals,
        }
    }

    /// The overlays that discovery answers for.
    pub(crate) fn all(&self) -> BTreeSet<Overlay> {
        self.joined.lock().keys().copied().collect()
    }

    pub(crate) fn join(&self, overlay: Overlay) {
        let new = {
            let mut joined = self.joined.lock();
            let count = joined.entry(overlay).or_default();
            *count += 1;
            *count == 1
        };
        if new {
            self.connections.joined();
        }
        self.signals.walk();
    }

    pub(crate) fn part(&self, overlay: Overlay) {
        let mut joined = self.joined.lock();
        let Some(count) = joined.get_mut(&overlay) else {
            return;
        };
        *count = count.saturating_sub(1);
        if *count == 0 {
            joined.remove(&overlay);
            drop(joined);
            self.book.leave(&overlay);
        }
    }
}
