//! The scope of an address, and which addresses of others we send to.
//!
//! Rules: docs/protocol/network.md#5. Nothing here looks at the machine: the driver tells on which
//! networks it is.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::record::Address;

/// From where an IP address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From the internet.
    Global,
    /// From within one site: private, unique local, shared and benchmark addresses.
    Site,
    /// From the same link.
    Link,
    /// From the same machine.
    Loopback,
    /// It names no single machine, or none at all: multicast, broadcast, unspecified, reserved,
    /// documentation, and the prefixes that translate to another address.
    Nobody,
}

impl Reach {
    /// The reach of an address; an IPv4 address in IPv6 form counts as the IPv4 address.
    pub fn of(ip: IpAddr) -> Reach {
        match ip.to_canonical() {
            IpAddr::V4(ip) => of_v4(ip),
            IpAddr::V6(ip) => of_v6(ip),
        }
    }
}

fn of_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [127, ..] => Reach::Loopback,
        [169, 254, ..] => Reach::Link,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Site,
        // Shared by a provider's customers, and for benchmarks.
        [100, 64..=127, ..] | [198, 18..=19, ..] => Reach::Site,
        [0, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Nobody,
        [224..=255, ..] => Reach::Nobody,
        _ => Reach::Global,
    }
}

fn of_v6(ip: Ipv6Addr) -> Reach {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        [0xfe80..=0xfebf, ..] => Reach::Link,
        [0xfec0..=0xfeff, ..] | [0xfc00..=0xfdff, ..] => Reach::Site,
        // Teredo, documents, 6to4.
        [0x2001, 0 | 0x0db8, ..] | [0x2002, ..] => Reach::Nobody,
        [0x2000..=0x3fff, ..] => Reach::Global,
        _ => Reach::Nobody,
    }
}

/// Returns `true` if both lie in the same private range: the same site, as far as one can tell
/// from outside.
fn same_site(one: IpAddr, other: IpAddr) -> bool {
    match (one.to_canonical(), other.to_canonical()) {
        (IpAddr::V4(one), IpAddr::V4(other)) => match (one.octets(), other.octets()) {
            ([10, ..], [10, ..])
            | ([172, ..], [172, ..])
            | ([192, ..], [192, ..])
            | ([100, ..], [100, ..])
            | ([198, ..], [198, ..]) => of_v4(one) == Reach::Site && of_v4(other) == Reach::Site,
            _ => false,
        },
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            one.segments().first_chunk::<3>() == other.segments().first_chunk::<3>()
        }
        _ => false,
    }
}

/// A network that an interface of this machine is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    /// The address of the interface.
    pub ip: IpAddr,
    /// Bits that all its neighbours share.
    pub prefix_bits: u8,
}

impl Net {
    /// Returns `true` if `ip` is that of a neighbour or our own, and not the one that means all of
    /// them.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                let host = u32::MAX.checked_shr(self.prefix_bits.into()).unwrap_or(0);
                let (own, ip) = (own.to_bits(), ip.to_bits());
                let means_all = host > 1 && (ip & host == host || ip & host == 0);
                own & !host == ip & !host && !means_all
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                let host = u128::MAX.checked_shr(self.prefix_bits.into()).unwrap_or(0);
                own.to_bits() & !host == ip.to_bits() & !host
            }
            _ => false,
        }
    }
}

/// Own networks: those of our interfaces, and the relays that the user allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ground {
    /// The networks that we are on.
    pub nets: BTreeSet<Net>,
    /// The relays of the configuration, in the normal form of URL parsing.
    pub relays: BTreeSet<String>,
}

impl Ground {
    /// Returns `true` if a neighbour of ours has this address.
    pub fn is_on_link(&self, ip: IpAddr) -> bool {
        self.nets.iter().any(|net| net.contains(ip.to_canonical()))
    }

    /// Returns `true` if a node may send to an address that it was told by a node whose connection
    /// came from `teller`.
    pub fn permits(&self, told: SocketAddr, teller: Option<IpAddr>) -> bool {
        let ip = told.ip().to_canonical();
        let teller = teller.map(|teller| (Reach::of(teller), teller));
        let reach = Reach::of(ip);
        told.port() != 0
            && match (reach, teller) {
                (Reach::Nobody, _) => false,
                (Reach::Global, _) => !self.is_broadcast(ip),
                (Reach::Loopback, teller) => teller.is_some_and(|(of, _)| of == Reach::Loopback),
                (Reach::Link, Some((Reach::Link, _))) => !self.is_broadcast(ip),
                (Reach::Site, Some((Reach::Site, teller))) if same_site(ip, teller) => {
                    !self.is_broadcast(ip)
                }
                (Reach::Link | Reach::Site, _) => self.is_on_link(ip),
            }
    }

    /// Returns `true` if an address of the configuration or of an announcement names a machine at
    /// all.
    pub fn names_a_machine(&self, told: SocketAddr) -> bool {
        let ip = told.ip().to_canonical();
        told.port() != 0 && Reach::of(ip) != Reach::Nobody && !self.is_broadcast(ip)
    }

    /// Returns `true` if the address means all neighbours on one of our networks.
    fn is_broadcast(&self, ip: IpAddr) -> bool {
        let IpAddr::V4(ip) = ip else { return false };
        self.nets.iter().any(|net| match net.ip {
            IpAddr::V4(own) if net.prefix_bits < 31 => {
                let host = u32::MAX.checked_shr(net.prefix_bits.into()).unwrap_or(0);
                own.to_bits() | host == ip.to_bits() || own.to_bits() & !host == ip.to_bits()
            }
            _ => false,
        })
    }
}

/// At most `max` addresses of a set, of every reach and family some: the widest reach first, and
/// from each reach and family the first ones in order.
pub fn spread(
    sockets: impl IntoIterator<Item = SocketAddr>,
    first: impl Fn(&SocketAddr) -> bool,
    max: usize,
) -> Vec<SocketAddr> {
    let group = |socket: &SocketAddr| (!first(socket), Reach::of(socket.ip()), socket.is_ipv6());
    let mut sockets: Vec<_> = sockets.into_iter().map(|s| (group(&s), s)).collect();
    sockets.sort_unstable();
    let mut position = 0;
    let mut last = None;
    let ranked = sockets.into_iter().map(|(group, socket)| {
        position = if last == Some(group) { position + 1 } else { 0 };
        last = Some(group);
        (position, group, socket)
    });
    let mut ranked: Vec<_> = ranked.collect();
    ranked.sort_unstable();
    let spread = ranked.into_iter().map(|(_, _, socket)| socket);
    spread.take(max).collect()
}

/// The addresses to sign when there are more than a record should name.
pub fn to_sign(addresses: BTreeSet<Address>) -> BTreeSet<Address> {
    use p2panda_core::limits::{RECORD_RELAYS_USED_MAX, RECORD_SOCKETS_USED_MAX};

    let relays = addresses
        .iter()
        .filter(|address| matches!(address, Address::Relay(_)))
        .take(RECORD_RELAYS_USED_MAX);
    let sockets = addresses.iter().filter_map(Address::socket);
    let sockets = spread(sockets, |_| false, RECORD_SOCKETS_USED_MAX);
    let sockets = sockets.into_iter().map(Address::ip);
    relays.cloned().chain(sockets).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(ip(text), 4)
    }

    fn ground() -> Ground {
        let net = |text, prefix_bits| Net {
            ip: ip(text),
            prefix_bits,
        };
        Ground {
            nets: BTreeSet::from([
                net("192.168.1.7", 24),
                net("fd00:1:2:3::7", 64),
                net("fe80::7", 64),
                net("8.8.4.2", 24),
            ]),
            relays: BTreeSet::new(),
        }
    }

    #[test]
    fn what_names_no_machine_is_never_sent_to() {
        let tellers = [None, Some(ip("127.0.0.1")), Some(ip("192.168.1.9"))];
        for told in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.251",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "192.168.1.255",
            "192.168.1.0",
            "8.8.4.255",
            "192.0.2.1",
            "::",
            "ff02::fb",
            "::ffff:224.0.0.1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
        ] {
            for teller in tellers {
                assert!(!ground().permits(at(told), teller), "{told} by {teller:?}");
            }
        }
        assert!(!ground().permits(SocketAddr::new(ip("8.8.8.8"), 0), None));
    }

    #[test]
    fn a_private_address_is_sent_to_in_its_network_only() {
        for (told, teller, permitted) in [
            ("192.168.1.9", None, true),
            ("192.168.1.9", Some("8.8.8.8"), true),
            ("192.168.2.9", Some("8.8.8.8"), false),
            ("192.168.2.9", Some("192.168.1.8"), true),
            ("10.0.0.9", Some("192.168.1.8"), false),
            ("10.0.0.9", Some("10.200.0.1"), true),
            ("172.16.0.9", Some("172.32.0.9"), false),
            ("100.64.0.9", Some("100.100.0.9"), true),
            ("169.254.3.3", Some("8.8.8.8"), false),
            ("169.254.3.3", Some("169.254.9.9"), true),
            ("fd00:1:2:3::9", Some("2a00::1"), true),
            ("fd00:1:2:4::9", Some("2a00::1"), false),
            ("fd00:1:2:4::9", Some("fd00:1:2:5::1"), true),
            ("fd00:1:9:4::9", Some("fd00:1:2:5::1"), false),
            ("fe80::9", Some("2a00::1"), true),
            ("::ffff:192.168.1.9", None, true),
            ("::ffff:192.168.2.9", None, false),
        ] {
            let teller_ip = teller.map(ip);
            assert_eq!(
                ground().permits(at(told), teller_ip),
                permitted,
                "{told} by {teller:?}"
            );
        }
    }

    #[test]
    fn loopback_is_sent_to_only_when_it_was_told_over_loopback() {
        for (told, teller, permitted) in [
            ("127.0.0.1", Some("127.0.0.1"), true),
            ("127.3.0.1", Some("::1"), true),
            ("::1", Some("127.0.0.1"), true),
            ("127.0.0.1", Some("192.168.1.8"), false),
            ("127.0.0.1", None, false),
            ("::1", Some("8.8.8.8"), false),
            ("::ffff:127.0.0.1", Some("8.8.8.8"), false),
        ] {
            let teller_ip = teller.map(ip);
            assert_eq!(
                ground().permits(at(told), teller_ip),
                permitted,
                "{told} by {teller:?}"
            );
        }
    }

    #[test]
    fn the_own_record_names_some_interfaces_of_every_kind() {
        let many = (0..40).map(|last| Address::ip(at(&format!("172.17.{last}.1"))));
        let six = (0..9).map(|last| Address::ip(at(&format!("2a00::{last}"))));
        let relays = (0..5).map(|n| Address::Relay(format!("https://{n}.r/")));
        let mut addresses: BTreeSet<Address> = many.chain(six).chain(relays).collect();
        addresses.insert(Address::ip(at("8.8.8.8")));
        addresses.insert(Address::ip(at("127.0.0.1")));
        let signed = to_sign(addresses);
        let sockets: Vec<_> = signed.iter().filter_map(Address::socket).collect();
        assert_eq!(sockets.len(), 8);
        assert_eq!(signed.len(), 10);
        for one in ["8.8.8.8", "172.17.0.1", "2a00::", "127.0.0.1"] {
            assert!(sockets.contains(&at(one)), "{one}");
        }
    }
}
