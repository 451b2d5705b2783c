//! Where iroh finds the addresses of a node that someone dials by id alone, as gossip does.

use std::sync::{Arc, Mutex};

use futures_lite::stream::{self, Boxed};
use iroh::address_lookup::{AddressLookup, EndpointInfo, Error, Item};
use iroh::{EndpointAddr, EndpointId};
use p2panda_core::VerifyingKey;
use p2panda_protocol::book::Book;
use p2panda_protocol::record::Address;

use crate::clock::wall;
use crate::endpoint::{endpoint_addr, node_id};

const PROVENANCE: &str = "p2panda address book";

/// The address book, as an address lookup of the endpoint.
#[derive(Clone, Debug)]
pub(crate) struct BookLookup {
    book: Arc<Mutex<Book>>,
}

impl BookLookup {
    pub(crate) fn new(book: Arc<Mutex<Book>>) -> Self {
        Self { book }
    }

    /// Everything that may lead to a node, unless its last attempt failed.
    pub(crate) fn find(&self, node: &VerifyingKey) -> Option<EndpointAddr> {
        let book = self.book.lock().expect("no panic while locked");
        let entry = book.get(node).filter(|entry| !entry.is_stale(wall()))?;
        let ips = entry.addresses().filter_map(|address| match address {
            Address::Ip(socket) => Some(*socket),
            Address::Relay(_) | Address::Custom(_) => None,
        });
        let relays = entry.addresses().filter_map(|address| match address {
            Address::Relay(url) => Some(url.clone()),
            Address::Ip(_) | Address::Custom(_) => None,
        });
        endpoint_addr(node, ips, relays).filter(|addr| !addr.is_empty())
    }
}

impl AddressLookup for BookLookup {
    fn resolve(&self, id: EndpointId) -> Option<Boxed<Result<Item, Error>>> {
        let found = node_id(id).and_then(|node| self.find(&node))?;
        let item = Item::new(EndpointInfo::from(found), PROVENANCE, None);
        Some(Box::pin(stream::once(Ok(item))))
    }
}
