//! Where iroh finds the addresses of a node that someone dials by id alone, as gossip does, and who
//! may be dialled so.

use futures_lite::stream::{self, Boxed};
use iroh::address_lookup::{AddressLookup, EndpointInfo, Error, Item};
use iroh::endpoint::{AfterHandshakeOutcome, BeforeConnectOutcome, Connection, EndpointHooks};
use iroh::{EndpointAddr, EndpointId};
use p2panda_core::VerifyingKey;

use crate::book::AddressBook;
use crate::connections::Connections;
use crate::peer_id::{endpoint_addr, node_id, remote};

const PROVENANCE: &str = "p2panda address book";

/// The address book, as an address lookup of the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct BookLookup {
    book: AddressBook,
    connections: Connections,
}

impl BookLookup {
    pub(crate) fn new(book: AddressBook, connections: Connections) -> Self {
        Self { book, connections }
    }

    /// Where a node may be dialled without asking first, unless its last attempt failed. What is
    /// only hearsay is not among it.
    fn find(&self, node: &VerifyingKey) -> Option<EndpointAddr> {
        let known = self.book.known(node);
        endpoint_addr(node, &known).filter(|addr| !addr.is_empty())
    }

    /// What to dial for a peer that we know is there: its id alone if a connection to it is open.
    /// Of a node that we know by hearsay only the walk finds out whether it is there.
    pub(crate) fn dialable(&self, peer: &VerifyingKey) -> Option<EndpointAddr> {
        let known = self.find(peer);
        let connected = || self.connections.is_open(peer);
        known.or_else(|| connected().then(|| endpoint_addr(peer, &[])).flatten())
    }
}

impl AddressLookup for BookLookup {
    fn resolve(&self, id: EndpointId) -> Option<Boxed<Result<Item, Error>>> {
        let found = node_id(id).and_then(|node| self.find(&node))?;
        let item = Item::new(EndpointInfo::from(found), PROVENANCE, None);
        Some(Box::pin(stream::once(Ok(item))))
    }
}

/// Keeps gossip from dialling nodes that are known by hearsay only, and notes where a peer proved
/// itself. What else is dialled, the caller has looked up before.
#[derive(Debug)]
pub(crate) struct Gate {
    lookup: BookLookup,
    gossip_alpn: [u8; 32],
}

impl Gate {
    pub(crate) fn new(lookup: BookLookup, gossip_alpn: [u8; 32]) -> Self {
        Self {
            lookup,
            gossip_alpn,
        }
    }

    fn is_dialable(&self, id: EndpointId) -> bool {
        let Some(node) = node_id(id) else {
            return false;
        };
        self.lookup.find(&node).is_some() || self.lookup.connections.is_open(&node)
    }
}

impl EndpointHooks for Gate {
    async fn before_connect(
        &self,
        remote_addr: &EndpointAddr,
        alpn: &[u8],
    ) -> BeforeConnectOutcome {
        if alpn == self.gossip_alpn && !self.is_dialable(remote_addr.id) {
            return BeforeConnectOutcome::Reject;
        }
        BeforeConnectOutcome::Accept
    }

    async fn after_handshake(&self, connection: &Connection) -> AfterHandshakeOutcome {
        if let (Some(node), Some(socket)) = (node_id(connection.remote_id()), remote(connection)) {
            self.lookup.book.lock().answered(&node, socket);
        }
        AfterHandshakeOutcome::accept()
    }
}
