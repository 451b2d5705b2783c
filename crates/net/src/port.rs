//! Check for closed ports of a node, as far as its system reports them
//! (`docs/protocol/network.md#5`).
//!
//! The endpoint does not hear of it: its socket is shared by all peers, and the system reports what an
//! address refused only to a socket that belongs to that address alone.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use p2panda_core::limits::{PORT_ANSWER_WAIT, PORTS_ASKED_MAX};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Returns `true` if the system at each of these addresses says that nobody listens there. One
/// that says nothing is not closed, as far as anybody can tell.
pub(crate) async fn all_closed(addrs: &[SocketAddr]) -> bool {
    if addrs.is_empty() || addrs.len() > PORTS_ASKED_MAX {
        return false;
    }
    for addr in addrs {
        let asked = timeout(PORT_ANSWER_WAIT, is_closed(*addr)).await;
        if !asked.unwrap_or(false) {
            return false;
        }
    }
    true
}

/// Sends a byte that is not a packet of QUIC, and waits for what comes of it.
async fn is_closed(addr: SocketAddr) -> bool {
    let from = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let asked = async {
        let socket = UdpSocket::bind(from).await?;
        socket.connect(addr).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0]).await
    };
    matches!(asked.await, Err(error) if error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_port_is_closed_only_where_the_system_says_so() {
        let open = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let unused = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (listened, closed) = (open.local_addr().unwrap(), unused.local_addr().unwrap());
        drop(unused);
        assert!(all_closed(&[closed]).await);
        assert!(!all_closed(&[closed, listened]).await);
        assert!(!all_closed(&[]).await);
    }
}
