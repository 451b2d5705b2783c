//! The running sync sessions of all topics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use p2panda_core::VerifyingKey;
use p2panda_protocol::sync::SessionId;
use parking_lot::Mutex;

use crate::contact::Contacts;
use crate::event::{Contact, NetEvent, SessionStatus};
use crate::signals::Signals;

/// The running sessions with their peers, and the number of the next one.
#[derive(Debug)]
pub(crate) struct Sessions {
    running: Mutex<BTreeMap<SessionId, (VerifyingKey, SessionStatus)>>,
    number: AtomicU64,
    signals: Signals,
    contacts: Contacts,
}

impl Sessions {
    pub(crate) fn new(signals: Signals, contacts: Contacts) -> Self {
        Self {
            running: Mutex::default(),
            number: AtomicU64::new(1),
            signals,
            contacts,
        }
    }

    /// A number that no session had before.
    pub(crate) fn next(&self) -> SessionId {
        SessionId(self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// How many sessions with this peer are open, on all topics.
    pub(crate) fn with(&self, peer: &VerifyingKey) -> usize {
        let running = self.running.lock();
        running.values().filter(|(one, _)| one == peer).count()
    }

    pub(crate) fn started(&self, peer: VerifyingKey, status: SessionStatus) {
        let SessionStatus { session, topic, .. } = status;
        self.running.lock().insert(session, (peer, status));
        self.contacts.note(peer, Contact::Reached);
        self.signals.tell(NetEvent::SessionStarted {
            topic,
            peer,
            session,
        });
    }

    pub(crate) fn live(&self, session: SessionId) {
        if let Some((_, status)) = self.running.lock().get_mut(&session) {
            status.live = true;
        }
    }

    pub(crate) fn ended(&self, session: SessionId) {
        let mut running = self.running.lock();
        let Some((_, ended)) = running.remove(&session) else {
            return;
        };
        let others = running.values();
        if !others
            .into_iter()
            .any(|(_, status)| status.topic == ended.topic && status.live)
        {
            drop(running);
            // The topic has lost its last peer.
            self.signals.walk();
        }
    }

    /// How many topics have a session that is live.
    pub(crate) fn live_topics(&self) -> usize {
        let running = self.running.lock();
        let live = running.values().filter(|(_, status)| status.live);
        live.map(|(_, status)| status.topic)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Running sessions with their peers.
    pub(crate) fn all(&self) -> Vec<(VerifyingKey, SessionStatus)> {
        self.running.lock().values().copied().collect()
    }
}
