//! The addresses at which a node may be dialled, and those at which peers proved themselves.

use futures_lite::stream::{self, Boxed};
use iroh::address_lookup::{AddressLookup, EndpointInfo, Error, Item};
use iroh::endpoint::{AfterHandshakeOutcome, Connection, EndpointHooks};
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

    /// Returns the addresses at which a node may be dialled without a probe, unless the last
    /// attempt failed. Hearsay is not included.
    fn find(&self, node: &VerifyingKey) -> Option<EndpointAddr> {
        let known = self.book.known(node);
        endpoint_addr(node, &known).filter(|addr| !addr.is_empty())
    }

    /// Returns the address to dial for a peer that is known to be online; its id alone if a
    /// connection is open. Only the walk probes nodes that are known by hearsay.
    pub(crate) fn dialable(&self, peer: &VerifyingKey) -> Option<EndpointAddr> {
        let known = self.book.known_at_any_time(peer);
        let known = endpoint_addr(peer, &known).filter(|addr| !addr.is_empty());
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

/// Notes where a peer proved itself.
#[derive(Debug)]
pub(crate) struct Answers(pub(crate) BookLookup);

impl EndpointHooks for Answers {
    async fn after_handshake(&self, connection: &Connection) -> AfterHandshakeOutcome {
        if let (Some(node), Some(socket)) = (node_id(connection.remote_id()), remote(connection)) {
            self.0.book.lock().answered(&node, socket);
        }
        AfterHandshakeOutcome::accept()
    }
}
