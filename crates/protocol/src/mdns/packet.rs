//! The two packets: the query, and what a node announces of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use p2panda_core::{VerifyingKey, limits};
use thiserror::Error;

use super::dns::{Header, Name, Owner, PacketError, Reader, Record};
use crate::record::{Address, TransportInfo, UserData};

/// `_p2pandav1._udp.local.` as it is on the wire.
const SERVICE: &[u8] = b"\x0a_p2pandav1\x04_udp\x05local\0";
const LOCAL: &[u8] = b"\x05local\0";
/// Position of the service name in an announcement: right behind the header.
const SERVICE_AT: u16 = 12;
const USER_DATA: &str = "user-data=";
const RELAY: &str = "relay=";

const A: u16 = 1;
const PTR: u16 = 12;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const CLASS_IN: u16 = 1;
const TTL_S: u32 = 120;
const AUTHORITATIVE_RESPONSE: u16 = 0x8400;
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Digits of base32 for 32 bytes.
const LABEL_BYTES: usize = 52;

/// Meaning of a packet that came by multicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Somebody asks who is there.
    Query,
    /// A node announces itself.
    Announcement(Box<Announcement>),
    /// It is about other services.
    Other,
}

/// Reason why the own record is not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unannounceable {
    /// There is no socket address in it.
    #[error("no address")]
    NoAddress,
    /// More than one relay, a relay with a long URL, or a custom address.
    #[error("its relays or custom addresses do not fit")]
    UserData,
    /// It does not fit into one packet.
    #[error("it does not fit into {} bytes", limits::MDNS_PACKET_BYTES_MAX)]
    TooLarge,
}

/// The packet that asks who is there.
pub fn query() -> Vec<u8> {
    let mut packet = header(0, 1, 0, 0);
    packet.extend_from_slice(SERVICE);
    put_u16(&mut packet, PTR);
    put_u16(&mut packet, CLASS_IN);
    packet
}

impl Packet {
    /// Reads a packet as it came.
    ///
    /// # Errors
    /// [`PacketError`] when it is not DNS, or about this service and invalid.
    pub fn read(packet: &[u8]) -> Result<Packet, PacketError> {
        if packet.len() > limits::MDNS_PACKET_BYTES_MAX {
            return Err(PacketError::Long);
        }
        let mut reader = Reader::new(packet);
        let header = reader.header()?;
        match (header.is_lookup, header.is_response) {
            (false, _) => Ok(Packet::Other),
            (true, false) => read_query(reader, &header),
            (true, true) => read_response(reader, &header),
        }
    }
}

fn read_query(mut reader: Reader<'_>, header: &Header) -> Result<Packet, PacketError> {
    for _ in 0..header.questions {
        let Owner {
            name,
            kind,
            is_internet,
        } = reader.question()?;
        if is_internet && kind == PTR && name.is(without_zero(SERVICE)) {
            return Ok(Packet::Query);
        }
    }
    Ok(Packet::Other)
}

fn read_response(mut reader: Reader<'_>, header: &Header) -> Result<Packet, PacketError> {
    for _ in 0..header.questions {
        reader.question()?;
    }
    let mut heard = Heard::default();
    for _ in 0..header.answers {
        heard.answer(reader.record()?)?;
    }
    for _ in 0..header.authorities {
        reader.record()?;
    }
    for _ in 0..header.additionals {
        heard.additional(reader.record()?)?;
    }
    heard.finish()
}

/// Data of the first node in a response, read so far.
#[derive(Debug, Default)]
struct Heard {
    node: Option<VerifyingKey>,
    /// By the name that the addresses have.
    ports: BTreeMap<Name, BTreeSet<u16>>,
    user_data: Option<UserData>,
    sockets: BTreeSet<SocketAddr>,
}

impl Heard {
    fn answer(&mut self, record: Record<'_>) -> Result<(), PacketError> {
        let Record { owner, data } = record;
        let label = owner.name.label_in(without_zero(SERVICE));
        let (true, SRV | TXT, Some(label)) = (owner.is_internet, owner.kind, label) else {
            return Ok(());
        };
        let node = node_of(label).ok_or(PacketError::Label)?;
        if *self.node.get_or_insert(node) != node {
            return Ok(());
        }
        match owner.kind {
            SRV => self.port(data),
            _ => self.text(data),
        }
    }

    fn port(&mut self, mut data: Reader<'_>) -> Result<(), PacketError> {
        let _priority_and_weight = data.bytes(4)?;
        let port = data.u16()?;
        let target = data.name()?;
        ended(&data)?;
        self.ports.entry(target).or_default().insert(port);
        Ok(())
    }

    /// The first user data counts, as it does for others.
    fn text(&mut self, mut data: Reader<'_>) -> Result<(), PacketError> {
        while !data.is_at_end() {
            let text = std::str::from_utf8(data.text()?).unwrap_or_default();
            if let (None, Some(text)) = (&self.user_data, text.strip_prefix(USER_DATA)) {
                self.user_data = Some(text.parse()?);
            }
        }
        Ok(())
    }

    fn additional(&mut self, record: Record<'_>) -> Result<(), PacketError> {
        let Record { owner, mut data } = record;
        let ports = self.ports.get(&owner.name);
        let (true, Some(ports)) = (owner.is_internet, ports) else {
            return Ok(());
        };
        let ip: IpAddr = match owner.kind {
            A => Ipv4Addr::from(data.array::<4>()?).into(),
            AAAA => Ipv6Addr::from(data.array::<16>()?).into(),
            _ => return Ok(()),
        };
        ended(&data)?;
        let sockets = ports.iter().map(|port| SocketAddr::new(ip, *port));
        self.sockets.extend(sockets);
        // One more than is allowed, so that it is still seen to be too many.
        while self.sockets.len() > limits::RECORD_ADDRESSES_MAX + 1 {
            self.sockets.pop_last();
        }
        Ok(())
    }

    fn finish(self) -> Result<Packet, PacketError> {
        let Some(node) = self.node else {
            return Ok(Packet::Other);
        };
        let user_data = self.user_data.ok_or(PacketError::UserData)?;
        Ok(Packet::Announcement(Box::new(Announcement {
            node,
            sockets: self.sockets,
            user_data,
        })))
    }
}

fn ended(data: &Reader<'_>) -> Result<(), PacketError> {
    data.is_at_end().then_some(()).ok_or(PacketError::Record)
}

/// Announcement of a node about itself on the local network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Id of the announced node.
    pub node: VerifyingKey,
    /// Socket addresses of the announced node.
    pub sockets: BTreeSet<SocketAddr>,
    /// Its signature over them, when it signed, and its relay.
    pub user_data: UserData,
}

impl Announcement {
    /// The announcement of a record.
    ///
    /// # Errors
    /// [`Unannounceable`] when the record says what an announcement cannot.
    pub fn of(node: &VerifyingKey, record: &TransportInfo) -> Result<Self, Unannounceable> {
        let sockets: BTreeSet<_> = record.addresses().filter_map(Address::socket).collect();
        if sockets.is_empty() {
            return Err(Unannounceable::NoAddress);
        }
        Ok(Self {
            node: *node,
            sockets,
            user_data: UserData::of(record).ok_or(Unannounceable::UserData)?,
        })
    }

    /// The record that was announced; its signature was not checked.
    pub fn record(&self) -> TransportInfo {
        let sockets = self.sockets.iter().copied();
        TransportInfo::announced(&self.node, sockets, &self.user_data)
    }

    /// The packet.
    ///
    /// # Errors
    /// [`Unannounceable::TooLarge`] when it does not fit into one packet.
    pub fn to_packet(&self) -> Result<Vec<u8>, Unannounceable> {
        let mut by_port: BTreeMap<u16, Vec<IpAddr>> = BTreeMap::new();
        for socket in &self.sockets {
            by_port.entry(socket.port()).or_default().push(socket.ip());
        }
        let label = label(&self.node);
        let count = |len: usize| u16::try_from(len).map_err(|_| Unannounceable::TooLarge);
        let (ports, addresses) = (count(by_port.len())?, count(self.sockets.len())?);
        let answers = ports.checked_add(2).ok_or(Unannounceable::TooLarge)?;
        let mut packet = header(AUTHORITATIVE_RESPONSE, 0, answers, addresses);
        packet.extend_from_slice(SERVICE);
        let mut instance = 0;
        put_data(&mut packet, PTR, |packet| {
            instance = here(packet);
            put_label(packet, &label);
            put_pointer(packet, SERVICE_AT);
        });
        let mut targets = Vec::new();
        for (port, ips) in &by_port {
            put_pointer(&mut packet, instance);
            put_data(&mut packet, SRV, |packet| {
                packet.extend_from_slice(&[0; 4]);
                put_u16(packet, *port);
                targets.push((here(packet), ips));
                put_label(packet, format!("{label}-{port}").as_str());
                packet.extend_from_slice(LOCAL);
            });
        }
        put_pointer(&mut packet, instance);
        put_data(&mut packet, TXT, |packet| self.put_texts(packet));
        for (target, ips) in targets {
            for ip in ips {
                put_pointer(&mut packet, target);
                put_ip(&mut packet, *ip);
            }
        }
        let fits = packet.len() <= limits::MDNS_PACKET_BYTES_MAX;
        fits.then_some(packet).ok_or(Unannounceable::TooLarge)
    }

    fn put_texts(&self, packet: &mut Vec<u8>) {
        if let Some(relay) = &self.user_data.relay {
            put_label(packet, &format!("{RELAY}{relay}"));
        }
        put_label(packet, &format!("{USER_DATA}{}", self.user_data));
    }
}

fn header(flags: u16, questions: u16, answers: u16, additionals: u16) -> Vec<u8> {
    let mut packet = Vec::with_capacity(limits::MDNS_PACKET_BYTES_MAX);
    for part in [0, flags, questions, answers, 0, additionals] {
        put_u16(&mut packet, part);
    }
    packet
}

fn put_u16(packet: &mut Vec<u8>, value: u16) {
    packet.extend_from_slice(&value.to_be_bytes());
}

/// The place of the next byte, for a pointer; what is after the reach of pointers does not fit
/// into a packet anyway.
fn here(packet: &[u8]) -> u16 {
    u16::try_from(packet.len()).unwrap_or(u16::MAX) & 0x3fff
}

fn put_pointer(packet: &mut Vec<u8>, to: u16) {
    put_u16(packet, 0xc000 | to);
}

/// A label or text with its length in front; the user data and labels of a node are shorter than
/// a byte can count.
fn put_label(packet: &mut Vec<u8>, text: &str) {
    packet.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    packet.extend_from_slice(text.as_bytes());
}

fn put_ip(packet: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => put_data(packet, A, |packet| packet.extend_from_slice(&ip.octets())),
        IpAddr::V6(ip) => put_data(packet, AAAA, |packet| {
            packet.extend_from_slice(&ip.octets())
        }),
    }
}

/// All of a record behind its name.
fn put_data(packet: &mut Vec<u8>, kind: u16, data: impl FnOnce(&mut Vec<u8>)) {
    put_u16(packet, kind);
    put_u16(packet, CLASS_IN);
    packet.extend_from_slice(&TTL_S.to_be_bytes());
    let at = packet.len();
    put_u16(packet, 0);
    data(packet);
    let len = u16::try_from(packet.len() - at - 2).unwrap_or(u16::MAX);
    for (place, byte) in packet.iter_mut().skip(at).zip(len.to_be_bytes()) {
        *place = byte;
    }
}

fn without_zero(name: &'static [u8]) -> &'static [u8] {
    name.strip_suffix(&[0]).unwrap_or(name)
}

/// Lower case base32 without padding (RFC 4648).
fn label(node: &VerifyingKey) -> String {
    let (mut bits, mut held) = (0_u16, 0);
    let mut text = String::with_capacity(LABEL_BYTES);
    for byte in node.as_bytes().iter().chain(&[0]) {
        bits = bits << 8 | u16::from(*byte);
        held += 8;
        while held >= 5 && text.len() < LABEL_BYTES {
            held -= 5;
            let digit = DIGITS.get(usize::from(bits >> held & 31));
            text.extend(digit.map(|digit| char::from(*digit)));
        }
        bits &= (1 << held) - 1;
    }
    text
}

fn node_of(label: &[u8]) -> Option<VerifyingKey> {
    if label.len() != LABEL_BYTES {
        return None;
    }
    let (mut bits, mut held) = (0_u16, 0);
    let mut bytes = Vec::with_capacity(33);
    for letter in label {
        let digit = DIGITS.iter().position(|digit| digit == letter)?;
        bits = bits << 5 | u16::try_from(digit).ok()?;
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.extend((bits >> held).to_be_bytes().last());
            bits &= (1 << held) - 1;
        }
    }
    // What is left over has to be zero: one label for one node.
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    (bits == 0)
        .then(|| VerifyingKey::from_bytes(bytes).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use p2panda_core::{HybridTimestamp, SigningKey, Timestamp};

    use super::*;
    use crate::draws::Draws;

    const NOW: Timestamp = Timestamp::from_micros(1_795_232_231_798_810);

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[5; 32])
    }

    fn record(sockets: &[SocketAddr], relay: Option<&str>) -> TransportInfo {
        let sockets = sockets.iter().copied().map(Address::ip);
        let relay = relay.map(|url| Address::Relay(url.to_owned()));
        let at = HybridTimestamp::new(NOW.as_micros(), 0);
        TransportInfo::sign(&key(), at, sockets.chain(relay).collect()).unwrap()
    }

    fn packet(record: &TransportInfo) -> Result<Vec<u8>, Unannounceable> {
        Announcement::of(&key().verifying_key(), record).and_then(|own| own.to_packet())
    }

    fn read(packet: &[u8]) -> Announcement {
        let Ok(Packet::Announcement(read)) = Packet::read(packet) else {
            panic!("no announcement: {packet:?}");
        };
        *read
    }

    /// As many as a record names, each with a port of its own, which takes the most bytes.
    fn most() -> Vec<SocketAddr> {
        let ip = |n: u16| Ipv6Addr::from([0xfd00, n, 1, 1, 1, 1, 1, 1]);
        let sockets = 1..=limits::RECORD_SOCKETS_USED_MAX as u16;
        sockets.map(|n| (ip(n), 65_000 + n).into()).collect()
    }

    #[test]
    fn an_announcement_is_exactly_the_signed_record() {
        let both = ["192.168.1.2:4107", "[fd00::2]:4107", "10.0.0.2:4108"];
        let both = both.map(|socket| socket.parse().unwrap());
        for relay in [None, Some("https://my.relay.net/")] {
            let record = record(&both, relay);
            let read = read(&packet(&record).unwrap());
            assert_eq!(read.record(), record);
            assert_eq!(read.record().verify(&read.node, NOW), Ok(()));
        }
    }

    #[test]
    fn the_largest_own_record_fits() {
        let url = format!("https://{}/", "r".repeat(88));
        let largest = record(&most(), Some(&url));
        assert_eq!(UserData::of(&largest).unwrap().to_string().len(), 245);
        let announced = packet(&largest).unwrap();
        assert_eq!(read(&announced).record(), largest);
        let none = record(&[], None);
        assert_eq!(packet(&none), Err(Unannounceable::NoAddress));
        let long = record(&most(), Some(&format!("https://{}/", "r".repeat(89))));
        assert_eq!(packet(&long), Err(Unannounceable::UserData));
        let many = |n: u16| SocketAddr::from((Ipv6Addr::from([0xfd00, n, 1, 1, 1, 1, 1, 1]), n));
        let many: Vec<_> = (1..=20).map(many).collect();
        let many = record(&many, None);
        assert_eq!(packet(&many), Err(Unannounceable::TooLarge));
    }

    #[test]
    fn a_packet_of_1472_bytes_is_read_and_one_of_1473_is_not() {
        let mut packet = packet(&record(&most(), None)).unwrap();
        packet.resize(limits::MDNS_PACKET_BYTES_MAX, 0);
        assert!(matches!(Packet::read(&packet), Ok(Packet::Announcement(_))));
        packet.push(0);
        assert_eq!(Packet::read(&packet), Err(PacketError::Long));
    }

    #[test]
    fn names_in_capitals_and_the_cache_flush_bit_do_not_matter() {
        let record = record(&most(), None);
        let mut changed = packet(&record).unwrap();
        changed[12..34].make_ascii_uppercase();
        let class = |bytes: &[u8]| bytes.windows(4).position(|w| w == [0, 33, 0, 1]).unwrap() + 2;
        let at = class(&changed);
        changed[at] = 0x80;
        assert_eq!(read(&changed).record(), record);
    }

    #[test]
    fn other_services_and_operations_are_nothing_to_us() {
        let mut other = packet(&record(&most(), None)).unwrap();
        other[13] = b'x';
        assert_eq!(Packet::read(&other), Ok(Packet::Other));
        let mut other = query();
        other[13] = b'x';
        assert_eq!(Packet::read(&other), Ok(Packet::Other));
        let mut update = query();
        update[2] = 0x28;
        assert_eq!(Packet::read(&update), Ok(Packet::Other));
        // A known answer in a question is not an answer.
        let mut asked = packet(&record(&most(), None)).unwrap();
        asked[2] = 0;
        assert_eq!(Packet::read(&asked), Ok(Packet::Other));
    }

    #[test]
    fn counts_that_promise_more_than_there_is_are_refused() {
        let packet = packet(&record(&most(), None)).unwrap();
        for at in [4, 6, 8, 10] {
            let mut changed = packet.clone();
            changed[at..at + 2].fill(0xff);
            assert!(Packet::read(&changed).is_err());
        }
        for end in 0..packet.len() {
            assert!(Packet::read(&packet[..end]).is_err());
        }
    }

    #[test]
    fn a_label_is_one_node_and_a_node_one_label() {
        for seed in 0..50 {
            let node = SigningKey::from_bytes(&[seed; 32]).verifying_key();
            let label = label(&node);
            assert_eq!(label.len(), LABEL_BYTES);
            assert_eq!(node_of(label.as_bytes()), Some(node));
            // The last digit has four bits too many.
            let last = DIGITS
                .iter()
                .position(|d| Some(d) == label.as_bytes().last());
            let mut other = label.into_bytes();
            *other.last_mut().unwrap() = DIGITS[last.unwrap() ^ 1];
            assert_eq!(node_of(&other), None);
        }
        assert_eq!(node_of(&[b'a'; 51]), None);
        assert_eq!(node_of(&[b'1'; 52]), None);
    }

    #[test]
    fn random_bytes_and_changes_never_panic() {
        let good = packet(&record(&most(), Some("https://r.net/"))).unwrap();
        let mut draws = Draws::from_seed([3; 32]);
        for _ in 0..20_000 {
            let mut packet = good.clone();
            for _ in 0..draws.between(1, 6) {
                let at = draws.below(packet.len() as u64) as usize;
                packet[at] = draws.below(256) as u8;
            }
            let _ = Packet::read(&packet);
        }
    }
}
