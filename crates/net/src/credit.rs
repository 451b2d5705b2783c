//! The flow-control window of a connection, which its streams widen together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iroh::endpoint::{Connection, VarInt};
use p2panda_core::limits;
use p2panda_protocol::time::Time;
use parking_lot::Mutex;

/// Bytes that the peer may send on one connection before they are read: a base, and additional
/// bytes for sessions with much to receive. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Credit {
    base_bytes: usize,
    more_bytes: Arc<Mutex<usize>>,
    /// Time at which a session last wrote anything but pieces of large operations, in
    /// microseconds.
    spoke_us: Arc<AtomicU64>,
}

impl Credit {
    /// The window that the connection has from its beginning.
    pub(crate) fn new(base_bytes: usize) -> Self {
        Self {
            base_bytes,
            more_bytes: Arc::default(),
            spoke_us: Arc::default(),
        }
    }

    /// A session writes something that does not come in pieces.
    pub(crate) fn spoke(&self, now: Time) {
        self.spoke_us.store(now.as_micros(), Ordering::Relaxed);
    }

    /// Returns `true` if one did a moment ago, so that large operations share the path with
    /// others.
    pub(crate) fn has_company(&self, now: Time) -> bool {
        let spoke = Time::from_micros(self.spoke_us.load(Ordering::Relaxed));
        now < spoke + limits::LINK_COMPANY_TIME
    }

    /// Widens the window by so much.
    pub(crate) fn widen(&self, connection: &Connection, bytes: usize) {
        self.change(connection, |more| more.saturating_add(bytes));
    }

    /// Narrows it again. What the peer was allowed already stays allowed.
    pub(crate) fn narrow(&self, connection: &Connection, bytes: usize) {
        self.change(connection, |more| more.saturating_sub(bytes));
    }

    /// Says again what the peer may send, which it acknowledges.
    pub(crate) fn touch(&self, connection: &Connection) {
        let more = self.more_bytes.lock();
        let bytes = self.base_bytes.saturating_add(*more);
        // Only a window that grows is told.
        set(connection, bytes.saturating_sub(1));
        set(connection, bytes);
    }

    fn change(&self, connection: &Connection, change: impl FnOnce(usize) -> usize) {
        let mut more = self.more_bytes.lock();
        *more = change(*more);
        set(connection, self.base_bytes.saturating_add(*more));
    }
}

fn set(connection: &Connection, bytes: usize) {
    let window = u32::try_from(bytes).unwrap_or(u32::MAX);
    connection.set_receive_window(VarInt::from_u32(window));
}
