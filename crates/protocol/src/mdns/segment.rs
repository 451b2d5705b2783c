//! Filter for packets on an interface.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::reach::{Net, Reach};

/// The port of multicast DNS.
pub const PORT: u16 = 5353;

/// The part of the network that an interface is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The number that the system gives the interface, which link-local IPv6 addresses name.
    pub index: u32,
    /// The networks of the interface.
    pub nets: BTreeSet<Net>,
}

impl Segment {
    /// Returns `true` if a packet from `source` was sent by a responder on this segment: from the
    /// port of multicast DNS, and from an address that lies in a network of the interface or is
    /// link-local and, with IPv6, of this interface.
    pub fn has_responder(&self, source: SocketAddr) -> bool {
        let ip = source.ip().to_canonical();
        let on_link = match (Reach::of(ip), source) {
            (Reach::Link, SocketAddr::V6(v6)) if ip.is_ipv6() => v6.scope_id() == self.index,
            (Reach::Link, _) => true,
            (Reach::Nobody, _) => false,
            (Reach::Loopback, _) => self.nets.iter().any(|net| is_loopback(net.ip)),
            (Reach::Site | Reach::Global, _) => self.nets.iter().any(|net| net.contains(ip)),
        };
        on_link && source.port() == PORT
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    Reach::of(ip) == Reach::Loopback
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn segment(nets: &[(&str, u8)]) -> Segment {
        let net = |(ip, prefix_bits): &(&str, u8)| Net {
            ip: ip.parse().unwrap(),
            prefix_bits: *prefix_bits,
        };
        Segment {
            index: 3,
            nets: nets.iter().map(net).collect(),
        }
    }

    fn v6(ip: &str, index: u32) -> SocketAddr {
        std::net::SocketAddrV6::new(ip.parse().unwrap(), PORT, 0, index).into()
    }

    #[test]
    fn only_responders_on_the_segment_count() {
        let lan = segment(&[("192.168.7.2", 24), ("fe80::2", 64), ("fd00:7::2", 64)]);
        for heard in ["192.168.7.9:5353", "192.168.7.2:5353", "169.254.9.9:5353"] {
            assert!(lan.has_responder(heard.parse().unwrap()), "{heard}");
        }
        assert!(lan.has_responder(v6("fe80::9", 3)) && lan.has_responder(v6("fd00:7::9", 0)));
        for ignored in [
            "192.168.7.9:5354",
            "192.168.8.9:5353",
            "8.8.8.8:5353",
            "127.0.0.1:5353",
            "224.0.0.251:5353",
            "192.168.7.255:5353",
            "0.0.0.0:5353",
        ] {
            assert!(!lan.has_responder(ignored.parse().unwrap()), "{ignored}");
        }
        assert!(!lan.has_responder(v6("fe80::9", 4)) && !lan.has_responder(v6("fd00:8::9", 3)));
        assert!(!lan.has_responder(v6("2001:db8::1", 3)) && !lan.has_responder(v6("::1", 0)));
    }

    #[test]
    fn loopback_counts_on_the_loopback_interface() {
        let loopback = segment(&[("127.0.0.1", 8)]);
        assert!(loopback.has_responder("127.0.0.1:5353".parse().unwrap()));
        assert!(!loopback.has_responder("10.0.0.1:5353".parse().unwrap()));
    }
}
