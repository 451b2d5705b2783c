//! Signals from one task of the network to all others and to outside listeners.

use p2panda_core::limits::NETWORK_EVENTS_MAX;
use tokio::sync::{broadcast, watch};

use crate::event::NetEvent;

/// The signals of a network. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Signals {
    /// Counts how often everything had to be tried again at once.
    reset: watch::Sender<u64>,
    /// Counts the overlays that were added, and new own addresses: reasons to walk again.
    walk: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    events: broadcast::Sender<NetEvent>,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            reset: watch::Sender::new(0),
            walk: watch::Sender::new(0),
            stop: watch::Sender::new(false),
            events: broadcast::Sender::new(NETWORK_EVENTS_MAX),
        }
    }

    /// Tells anyone who listens.
    pub(crate) fn tell(&self, event: NetEvent) {
        // Fails only while nobody listens.
        let _ = self.events.send(event);
    }

    /// Subscribes to events from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<NetEvent> {
        self.events.subscribe()
    }

    /// Everything is worth another try at once.
    pub(crate) fn reset(&self) {
        self.reset.send_modify(|count| *count += 1);
    }

    /// Changes when everything is worth another try.
    pub(crate) fn resets(&self) -> watch::Receiver<u64> {
        self.reset.subscribe()
    }

    /// There is a reason to walk again.
    pub(crate) fn walk(&self) {
        self.walk.send_modify(|count| *count += 1);
    }

    /// Changes when there is a reason to walk again.
    pub(crate) fn walks(&self) -> watch::Receiver<u64> {
        self.walk.subscribe()
    }

    /// Shuts the network down.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves when the network is shut down.
    pub(crate) async fn stopped(&self) {
        // The sender is in `self`, so the only way out is the value.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}
