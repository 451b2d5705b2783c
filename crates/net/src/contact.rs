//! The state of each node that the configuration names (`docs/protocol/network.md#5`).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use iroh::endpoint::{ConnectError, ConnectingError, ConnectionError, TransportErrorCode};
use p2panda_core::VerifyingKey;
use p2panda_core::limits::CONTACTS_REMEMBERED_MAX;
use p2panda_protocol::sync::Fault;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::close::fault_of;
use crate::event::{Contact, ContactStatus, NetEvent, PeerState};
use crate::port;
use crate::signals::Signals;

/// The peer knows none of the protocols that it was offered (RFC 8446, 6).
const NO_APPLICATION_PROTOCOL: u8 = 120;
/// TLS alert that we send if the key of the other side is not the one that we dialled.
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
    /// State of contact with other nodes, by the last attempt.
    others: Mutex<HashMap<VerifyingKey, Contact>>,
    /// Attempts that are in progress.
    attempts: Mutex<HashMap<VerifyingKey, Attempts>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

/// Attempts to reach a node.
#[derive(Debug, Default)]
struct Attempts {
    running: usize,
    /// The system at its addresses says that nobody listens there.
    closed: bool,
}

/// An attempt to reach a node; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Attempt {
    contacts: Contacts,
    peer: VerifyingKey,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut attempts = self.contacts.0.attempts.lock();
        if let Some(one) = attempts.get_mut(&self.peer) {
            one.running = one.running.saturating_sub(1);
            if one.running == 0 {
                attempts.remove(&self.peer);
            }
        }
    }
}

impl Contacts {
    pub(crate) fn new(local: VerifyingKey, clock: Clock, signals: Signals) -> Self {
        Self(Arc::new(Inner {
            local,
            clock,
            signals,
            named: Mutex::default(),
            others: Mutex::default(),
            attempts: Mutex::default(),
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

    /// State of contact with a node, `None` if nobody named it.
    pub(crate) fn get(&self, node: &VerifyingKey) -> Option<ContactStatus> {
        self.0.named.lock().get(node).copied()
    }

    /// Changes when any of it does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// An attempt to reach a node at these addresses begins. Of a node that the configuration names
    /// it is found out next to it whether nobody listens there.
    pub(crate) fn attempt(&self, peer: VerifyingKey, addrs: Vec<SocketAddr>) -> Attempt {
        let first = {
            let mut attempts = self.0.attempts.lock();
            let one = attempts.entry(peer).or_default();
            one.running += 1;
            one.running == 1
        };
        if first && self.get(&peer).is_some() {
            let contacts = self.clone();
            tokio::spawn(async move {
                if port::all_closed(&addrs).await {
                    contacts.closed(peer);
                }
            });
        }
        Attempt {
            contacts: self.clone(),
            peer,
        }
    }

    /// Nobody listens where a node is looked for. One that was met moved, or comes back: that the attempt
    /// is over tells.
    fn closed(&self, peer: VerifyingKey) {
        if let Some(one) = self.0.attempts.lock().get_mut(&peer) {
            one.closed = true;
        }
        self.note_if(peer, Contact::ClosedPort, |before| !before.is_met());
    }

    /// State of a node to which no connection is open.
    pub(crate) fn state(&self, peer: &VerifyingKey) -> PeerState {
        let named = self.get(peer).map(|status| status.contact);
        let known = named.or_else(|| self.0.others.lock().get(peer).copied());
        match known {
            None | Some(Contact::Untried) => match self.0.attempts.lock().contains_key(peer) {
                true => PeerState::Connecting,
                false => PeerState::Known,
            },
            Some(contact) if contact.is_met() => PeerState::Met,
            Some(contact) => PeerState::Unreached(contact),
        }
    }

    /// Notes what an attempt brought.
    pub(crate) fn note(&self, peer: VerifyingKey, contact: Contact) {
        let is_closed = || {
            let attempts = self.0.attempts.lock();
            attempts.get(&peer).is_some_and(|one| one.closed)
        };
        let contact = match contact {
            Contact::Dead if is_closed() => Contact::ClosedPort,
            contact => contact,
        };
        self.note_if(peer, contact, |_| true);
    }

    /// Notes that a node refused. What a session brought before says more.
    pub(crate) fn note_refused(&self, peer: VerifyingKey) {
        self.note_if(peer, Contact::Refused, |before| !before.is_met());
    }

    /// Notes that a connection was made, and no session began. What a session brought before says
    /// more.
    pub(crate) fn note_no_session(&self, peer: VerifyingKey) {
        self.note_if(peer, Contact::Unreachable, |before| !before.is_met());
    }

    fn note_if(&self, peer: VerifyingKey, contact: Contact, over: impl Fn(Contact) -> bool) {
        let status = self.status(contact);
        let changed = {
            let mut named = self.0.named.lock();
            let known = named.get_mut(&peer);
            if known.is_none() {
                drop(named);
                return self.note_other(peer, contact, over);
            }
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

    /// Nobody named it: it is told when somebody asks. Of very many the others are forgotten.
    fn note_other(&self, peer: VerifyingKey, contact: Contact, over: impl Fn(Contact) -> bool) {
        let mut others = self.0.others.lock();
        if others.len() >= CONTACTS_REMEMBERED_MAX && !others.contains_key(&peer) {
            others.clear();
        }
        let before = others.entry(peer).or_insert(contact);
        if over(*before) {
            *before = contact;
        }
    }

    fn status(&self, contact: Contact) -> ContactStatus {
        let since = Duration::from_micros(self.0.clock.wall().as_micros());
        let since = UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH);
        ContactStatus { contact, since }
    }
}

/// Returns the state of contact that the error of a dial shows.
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
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Contact::Refused
        }
        ended if matches!(fault_of(ended), Fault::Refused(_)) => Contact::Refused,
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
