//! The network as the application sees it.

use std::net::SocketAddr;

use p2panda_core::{HostAddr, Topic, VerifyingKey};
use p2panda_net::{Bootstrap, BootstrapHost, Counters, LocalNetwork, Net, PeerStatus};
use p2panda_protocol::reach::Reach;

/// Returns `true` for an address at which no node is dialled unless the configuration names it there:
/// documentation, multicast, unspecified and reserved addresses, and port 0
/// (`docs/protocol/network.md#5`).
pub fn names_no_machine(addr: SocketAddr) -> bool {
    addr.port() == 0 || Reach::of(addr.ip()) == Reach::Nobody
}

/// Peers, addresses and counters of a node. Made by [`crate::Node::net`].
#[derive(Clone)]
pub struct Network(Net);

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("addr", &self.addr())
            .finish()
    }
}

impl Network {
    /// Sessions on a topic.
    pub(crate) fn sessions_on(&self, topic: &Topic) -> usize {
        self.0.sessions_on(topic).0
    }

    pub(crate) fn new(net: Net) -> Self {
        Self(net)
    }

    /// Every node that is known, connected or not.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.peers()
    }

    /// The interfaces on which this node looks for others by multicast DNS: one entry per
    /// interface for IPv4 and one for IPv6. Empty if it does not look.
    pub fn local_networks(&self) -> Vec<LocalNetwork> {
        self.0.local_networks()
    }

    /// The socket addresses that this node announces now.
    pub fn addr(&self) -> Vec<SocketAddr> {
        self.0.addr()
    }

    /// Reports a node at an address. It is a hint: addresses that the node signed itself have
    /// priority.
    pub fn add_peer(&self, node: VerifyingKey, addr: SocketAddr) {
        self.0.add_peer(Bootstrap {
            node,
            addrs: vec![addr],
            relay: None,
        });
    }

    /// Reports a node at a host name, which is resolved now and again whenever its addresses do not
    /// answer.
    pub fn add_peer_host(&self, node: VerifyingKey, host: HostAddr) {
        self.0.add_host(BootstrapHost { node, host });
    }

    /// Bytes on the wire since the start, and what peers make this node hold.
    pub fn counters(&self) -> Counters {
        self.0.counters()
    }

    /// The machine's network has changed: everything is tried again at once. Nodes notice a sleep
    /// or a new interface themselves; this is for platforms that know earlier.
    pub async fn changed(&self) {
        self.0.network_change().await;
    }
}
