//! Opens the node as asked.

use std::net::{Ipv4Addr, SocketAddrV4};

use p2panda::{NamedAddr, Node, SigningKey};
use p2panda_core::limits::DRIVER_ADDRESSES_WAIT;
use tokio::time::timeout;

use super::ServeError;
use crate::mapping;
use crate::wire::{Hex, Open, Opened};

/// The settings of the node.
pub fn builder(open: Open) -> Result<p2panda::Builder, ServeError> {
    let v4 = open
        .bind_v4
        .unwrap_or(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let mut builder = p2panda::builder()
        .bind(v4, open.bind_v6)
        .state_dir(open.state_dir)
        .mdns(mapping::mdns(open.mdns));
    if open.low_bandwidth {
        builder = builder.low_bandwidth();
    }
    builder = match open.dir {
        Some(dir) => builder.data_dir(dir),
        None => builder.temporary(),
    };
    if let Some(Hex(seed)) = open.seed {
        let seed = <[u8; 32]>::try_from(&seed[..]).map_err(|_| ServeError::Seed)?;
        builder = builder.signing_key(SigningKey::from_bytes(&seed));
    }
    if let Some(network) = open.network {
        builder = builder.network_id(network);
    }
    for contact in open.bootstrap {
        builder = match contact.addr {
            NamedAddr::Socket(addr) => builder.bootstrap(contact.node, addr),
            NamedAddr::Host(host) => builder.bootstrap_host(contact.node, host),
        };
    }
    if let Some(bytes) = open.operation_bytes_max {
        builder = builder.operation_bytes_max(bytes);
    }
    if let Some(compare) = open.state_digest {
        builder = builder.state_digest(compare);
    }
    Ok(builder)
}

/// The node and its addresses, once it knows them.
pub async fn opened(node: &Node) -> Opened {
    let mut events = node.events();
    let known = async { while node.net().addr().is_empty() && events.next().await.is_some() {} };
    // A machine without any network has no address to name.
    let _ = timeout(DRIVER_ADDRESSES_WAIT, known).await;
    Opened {
        node: node.id(),
        addrs: node.net().addr(),
    }
}
