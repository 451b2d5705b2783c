//! From the keys and addresses of p2panda to those of iroh, and back.

use std::net::SocketAddr;

use iroh::endpoint::Connection;
use iroh::{EndpointAddr, PublicKey, TransportAddr};
use p2panda_core::VerifyingKey;
use p2panda_protocol::record::Address;

/// The node id behind an endpoint id; the two are the same key.
pub(crate) fn node_id(id: PublicKey) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(*id.as_bytes()).ok()
}

/// The endpoint id of a node.
pub(crate) fn endpoint_id(node: &VerifyingKey) -> Option<PublicKey> {
    PublicKey::from_bytes(node.as_bytes()).ok()
}

/// Returns the address for iroh to dial: the id with these addresses.
pub(crate) fn endpoint_addr<'a>(
    node: &VerifyingKey,
    addresses: impl IntoIterator<Item = &'a Address>,
) -> Option<EndpointAddr> {
    let addresses = addresses.into_iter().filter_map(transport_addr);
    Some(EndpointAddr::from_parts(endpoint_id(node)?, addresses))
}

/// An address as iroh has it; none if it has no such thing.
pub(crate) fn transport_addr(address: &Address) -> Option<TransportAddr> {
    match address {
        Address::Ip(socket) => Some(TransportAddr::Ip(*socket)),
        Address::Relay(url) => url.parse().ok().map(TransportAddr::Relay),
        Address::Custom(_) => None,
    }
}

/// An address of iroh's as records have it; none if they have no such thing.
pub(crate) fn address(address: TransportAddr) -> Option<Address> {
    match address {
        TransportAddr::Ip(socket) => Some(Address::ip(socket)),
        TransportAddr::Relay(url) => Some(Address::Relay(url.to_string())),
        _ => None,
    }
}

/// The address that the other side of a connection has, unless it goes through a relay.
pub(crate) fn remote(connection: &Connection) -> Option<SocketAddr> {
    let paths = connection.paths();
    let direct = |path: &iroh::endpoint::Path<'_>| match path.remote_addr() {
        TransportAddr::Ip(ip) => Some(SocketAddr::new(ip.ip().to_canonical(), ip.port())),
        _ => None,
    };
    let selected = paths.iter().find(|path| path.is_selected());
    match selected {
        Some(path) => direct(&path),
        None => paths.iter().find_map(|path| direct(&path)),
    }
}
