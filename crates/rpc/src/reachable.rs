//! Addresses of a node for a ticket (`docs/protocol/ticket.md#3`).

use std::net::{IpAddr, SocketAddr};

use p2panda::NamedAddr;

/// Addresses of a node in a ticket: each makes it longer.
const TICKET_ADDRESSES: usize = 3;

/// Those first that most others can use (`docs/protocol/ticket.md#3`).
pub fn reachable(mut addrs: Vec<SocketAddr>) -> Vec<NamedAddr> {
    addrs.sort_by_key(|addr| (distance(addr.ip()), addr.is_ipv6()));
    addrs.truncate(TICKET_ADDRESSES);
    addrs.into_iter().map(NamedAddr::Socket).collect()
}

/// 0: everybody, 1: a private network, 2: a link, 3: this machine.
fn distance(ip: IpAddr) -> u8 {
    match ip {
        ip if ip.is_loopback() => 3,
        IpAddr::V4(ip) if ip.is_link_local() => 2,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V4(ip) if ip.is_private() => 1,
        IpAddr::V6(ip) if ip.is_unique_local() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_that_most_can_use_come_first() {
        let addrs = [
            "127.0.0.1:1",
            "[fe80::1]:1",
            "192.168.1.7:1",
            "[2001:db8::1]:1",
            "198.51.100.1:1",
        ];
        let addrs = addrs.map(|addr| addr.parse().unwrap()).to_vec();
        let sorted: Vec<String> = reachable(addrs).iter().map(ToString::to_string).collect();
        assert_eq!(
            sorted,
            ["198.51.100.1:1", "[2001:db8::1]:1", "192.168.1.7:1"]
        );
    }
}
