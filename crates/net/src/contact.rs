//! What became of the nodes that the configuration names (`docs/protocol/network.md#5`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iroh::endpoint::{ConnectError, ConnectingError, ConnectionError, TransportErrorCode};
use p2panda_core::VerifyingKey;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::event::{Contact, ContactStatus, NetEvent};
use crate::signals::Signals;

/// The peer knows none of the protocols that it was offered (RFC 8446, 6).
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// What we answer when the key of the other side is not the one that we dialled.
const UNKNOWN_CA: u8 = 48;

/// The nodes that the configuration names, and what became of them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Contacts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    local: VerifyingKey,
    clock: Clock,
    signals: Signals,
    named: Mutex<BTreeMap<VerifyingKey, ContactStatus>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Contacts {
    pub(crate) fn new(local: VerifyingKey, clock: Clock, signals: Signals) -> Self {
        Self(Arc::new(Inner {
            local,
            clock,
            signals,
            named: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// The configuration names this node. To name ourselves means nothing.
    pub(crate) fn name(&self, node: VerifyingKey) {
        if node == self.0.local {
            return;
        }
        let status = self.status(Contact::Untried);
        self.0.named.lock().entry(node).or_insert(status);
    }

    /// The nodes that are named.
    pub(crate) fn named(&self) -> BTreeMap<VerifyingKey, ContactStatus> {
        self.0.named.lock().clone()
    }

    /// What became of a node, `None` if nobody named it.
    pub(crate) fn get(&self, node: &VerifyingKey) -> Option<ContactStatus> {
        self.0.named.lock().get(node).copied()
    }

    /// Changes when any of it does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Notes what an attempt brought.
    pub(crate) fn note(&self, peer: VerifyingKey, contact: Contact) {
        self.note_if(peer, contact, |_| true);
    }

    /// Notes that a connection was made, and no session came of it. What a session brought before
    /// says more.
    pub(crate) fn note_no_session(&self, peer: VerifyingKey) {
        self.note_if(peer, Contact::Unreachable, |before| !before.is_met());
    }

    fn note_if(&self, peer: VerifyingKey, contact: Contact, over: impl Fn(Contact) -> bool) {
        let status = self.status(contact);
        let changed = {
            let mut named = self.0.named.lock();
            let known = named.get_mut(&peer);
            let known = known.filter(|known| known.contact != contact && over(known.contact));
            known.map(|known| *known = status).is_some()
        };
        if changed {
            self.0
                .signals
                .tell(NetEvent::ContactChanged { peer, contact });
            self.0.changes.send_modify(|count| *count += 1);
        }
    }

    fn status(&self, contact: Contact) -> ContactStatus {
        let since = Duration::from_micros(self.0.clock.wall().as_micros());
        let since = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        ContactStatus { contact, since }
    }
}

/// What the error of a dial tells.
pub(crate) fn of_dial(error: &ConnectError) -> Contact {
    let ConnectError::Connecting {
        source: ConnectingError::ConnectionError { source, .. },
        ..
    } = error
    else {
        return Contact::Unreachable;
    };
    let alert = TransportErrorCode::crypto;
    match source {
        ConnectionError::TimedOut => Contact::Dead,
        // From the peer, which looks for a protocol before it says who it is.
        ConnectionError::ConnectionClosed(close)
            if close.error_code == alert(NO_APPLICATION_PROTOCOL) =>
        {
            Contact::OtherNetwork
        }
        // From ourselves, when we have seen the key of the peer.
        ConnectionError::TransportError(error) if error.code == alert(UNKNOWN_CA) => {
            Contact::WrongId
        }
        _ => Contact::Unreachable,
    }
}
