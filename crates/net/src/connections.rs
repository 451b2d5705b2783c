//! Every connection of the endpoint, seen through its hooks: what is open and what it cost.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks, WeakConnectionHandle};
use p2panda_core::VerifyingKey;
use p2panda_protocol::close::CloseCode;

use crate::endpoint::{close, node_id};
use crate::event::Counters;

/// All connections that passed the TLS handshake, ours and theirs, gossip included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections {
    inner: Arc<Mutex<Inner>>,
    sync_sent_bytes: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    open: HashMap<u64, (VerifyingKey, WeakConnectionHandle)>,
    /// Of the connections that ended.
    sent_bytes: u64,
    received_bytes: u64,
}

/// The best open path to a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    pub(crate) relayed: bool,
    pub(crate) rtt: Option<Duration>,
}

impl Connections {
    /// The open paths, by peer.
    pub(crate) fn links(&self) -> HashMap<VerifyingKey, Link> {
        let mut links: HashMap<VerifyingKey, Link> = HashMap::new();
        for (peer, connection) in self.open() {
            let link = link(&connection);
            let best = links.entry(peer).or_insert(link);
            if best.rtt.is_none() || link.rtt.is_some_and(|rtt| best.rtt > Some(rtt)) {
                *best = link;
            }
        }
        links
    }

    /// Whether a connection with a peer is open.
    pub(crate) fn is_open(&self, peer: &VerifyingKey) -> bool {
        self.open().iter().any(|(other, _)| other == peer)
    }

    /// Bytes of all connections so far.
    pub(crate) fn counters(&self) -> Counters {
        let open = self.open();
        let inner = self.inner.lock().expect("no panic while locked");
        let mut counters = Counters {
            udp_sent_bytes: inner.sent_bytes,
            udp_received_bytes: inner.received_bytes,
            sync_sent_bytes: self.sync_sent_bytes.load(Ordering::Relaxed),
            connections: inner.next,
        };
        drop(inner);
        for (_, connection) in open {
            let stats = connection.stats();
            counters.udp_sent_bytes += stats.udp_tx.bytes;
            counters.udp_received_bytes += stats.udp_rx.bytes;
        }
        counters
    }

    /// Counts what was written to the streams of sync.
    pub(crate) fn sync_wrote(&self, bytes: usize) {
        self.sync_sent_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Closes the connections to a peer that have no path left but to these addresses.
    pub(crate) fn close_to(&self, peer: &VerifyingKey, addresses: &BTreeSet<SocketAddr>) {
        let gone = |path: iroh::endpoint::Path<'_>| match path.remote_addr() {
            TransportAddr::Ip(ip) => addresses.contains(&SocketAddr::new(ip.ip(), ip.port())),
            _ => false,
        };
        for (_, connection) in self.open().iter().filter(|(other, _)| other == peer) {
            if connection.paths().iter().all(gone) {
                tracing::debug!(%peer, "the peer is not at this address any more");
                close(connection, CloseCode::Failed);
            }
        }
    }

    fn open(&self) -> Vec<(VerifyingKey, Connection)> {
        let inner = self.inner.lock().expect("no panic while locked");
        let open = inner.open.values();
        open.filter_map(|(peer, weak)| Some((*peer, weak.upgrade()?)))
            .filter(|(_, connection)| connection.close_reason().is_none())
            .collect()
    }

    fn add(&self, connection: &Connection) {
        let Some(peer) = node_id(connection.remote_id()) else {
            return;
        };
        let weak = connection.weak_handle();
        let closed = weak.closed();
        let number = {
            let mut inner = self.inner.lock().expect("no panic while locked");
            inner.next += 1;
            let number = inner.next;
            inner.open.insert(number, (peer, weak));
            number
        };
        let inner = self.inner.clone();
        tokio::spawn(async move {
            let closed = closed.await;
            let mut inner = inner.lock().expect("no panic while locked");
            inner.open.remove(&number);
            if let Some(closed) = closed {
                inner.sent_bytes += closed.stats.udp_tx.bytes;
                inner.received_bytes += closed.stats.udp_rx.bytes;
            }
        });
    }
}

impl EndpointHooks for Connections {
    async fn after_handshake(&self, connection: &Connection) -> AfterHandshakeOutcome {
        self.add(connection);
        AfterHandshakeOutcome::accept()
    }
}

fn link(connection: &Connection) -> Link {
    let mut link = Link::default();
    for path in connection.paths().iter().filter(|path| path.is_selected()) {
        link = Link {
            relayed: path.is_relay(),
            rtt: Some(path.rtt()),
        };
    }
    link
}
