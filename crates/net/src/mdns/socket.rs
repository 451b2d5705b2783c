//! The socket of one interface and family.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use p2panda_protocol::mdns::{PORT, Segment};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::ground::Interface;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Packets that were forwarded would arrive with less (RFC 6762, 11).
const HOPS: u32 = 255;

/// An interface, with one family of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) name: String,
    pub(super) segment: Segment,
    /// The own address from which IPv4 is sent; none with IPv6.
    from: Option<Ipv4Addr>,
}

impl Place {
    /// The IPv4 side of an interface, if it has one.
    pub(super) fn v4(interface: &Interface) -> Option<Self> {
        let from = interface.nets.iter().find_map(|net| match net.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        })?;
        Some(Self::of(interface, Some(from)))
    }

    /// The IPv6 side of an interface, if it has one. Loopback has no multicast with IPv6.
    pub(super) fn v6(interface: &Interface) -> Option<Self> {
        let has_v6 = interface.nets.iter().any(|net| net.ip.is_ipv6());
        (has_v6 && !interface.is_loopback).then(|| Self::of(interface, None))
    }

    fn of(interface: &Interface, from: Option<Ipv4Addr>) -> Self {
        let same = |ip: IpAddr| ip.is_ipv4() == from.is_some();
        let nets = interface.nets.iter().filter(|net| same(net.ip));
        Self {
            name: interface.name.clone(),
            segment: Segment {
                index: interface.index,
                nets: nets.copied().collect(),
            },
            from,
        }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.from.is_none()
    }

    pub(super) fn key(&self) -> (u32, bool) {
        (self.segment.index, self.is_v6())
    }

    /// Everybody on this segment.
    pub(super) fn group(&self) -> SocketAddr {
        match self.from {
            Some(_) => (GROUP_V4, PORT).into(),
            None => SocketAddrV6::new(GROUP_V6, PORT, 0, self.segment.index).into(),
        }
    }

    /// Opens a socket that hears the group on this interface, and sends there.
    ///
    /// The port is shared with everything else that answers multicast DNS on this machine.
    pub(super) fn open(&self) -> io::Result<UdpSocket> {
        let socket = match self.from {
            Some(from) => self.open_v4(from),
            None => self.open_v6(),
        }?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    }

    fn open_v4(&self, from: Ipv4Addr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        share_port(&socket)?;
        only_from(&socket, &self.name);
        socket.bind(&bind_addr(self.group()).into())?;
        socket.join_multicast_v4(&GROUP_V4, &from)?;
        socket.set_multicast_if_v4(&from)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(HOPS)?;
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
        Ok(socket)
    }

    fn open_v6(&self) -> io::Result<Socket> {
        let index = self.segment.index;
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        share_port(&socket)?;
        socket.bind(&bind_addr(self.group()).into())?;
        socket.join_multicast_v6(&GROUP_V6, index)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(HOPS)?;
        Ok(socket)
    }
}

/// Returns the address to bind to: the group, if the system allows it. Packets to one of our
/// addresses then do not reach the socket, and other responders keep theirs.
fn bind_addr(group: SocketAddr) -> SocketAddr {
    let unspecified = match group {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, PORT).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, PORT).into(),
    };
    if cfg!(any(target_os = "linux", target_os = "android")) {
        group
    } else {
        unspecified
    }
}

fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    #[cfg(all(
        unix,
        not(any(target_os = "illumos", target_os = "solaris", target_os = "cygwin"))
    ))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// Packets of other interfaces do not arrive at all where this is allowed; elsewhere they are told
/// by their source.
fn only_from(socket: &Socket, name: &str) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = socket.bind_device(Some(name.as_bytes())) {
        tracing::debug!(name, %error, "the socket is not bound to its interface");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (socket, name);
}
