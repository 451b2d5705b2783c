//! Transport info: where a node can be reached, signed by the node itself.
//!
//! Rules: docs/protocol/network.md#4. What is signed is canonical CBOR, what travels is postcard,
//! and the receiver rebuilds the first from the second; so both are exact here. A record counts
//! only for the node whose key signed it, and only if the endpoint id in it is that same key.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Bytes, BytesMut};
use p2panda_core::cbor;
use p2panda_core::{HybridTimestamp, Signature, SigningKey, Timestamp, VerifyingKey, limits};
use thiserror::Error;

use crate::reach::Reach;
use crate::wire::{Reader, WireError, Writer};

const IROH: u32 = 0;

const RELAY: u32 = 0;
const IP: u32 = 1;
const CUSTOM: u32 = 2;

const V4: u32 = 0;
const V6: u32 = 1;

/// Inline size up to which custom addresses are ordered by length first.
const CUSTOM_INLINE_BYTES: usize = 30;

/// One address of a node.
///
/// The order is the one of the signed form: relays, IPv4, IPv6 (each numerically, then by port),
/// custom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// The URL of a relay server, in the normal form of URL parsing (`https://my.relay.net/`).
    Relay(String),
    /// A socket address; IPv6 without scope and flow.
    Ip(SocketAddr),
    /// An address of another transport.
    Custom(CustomAddress),
}

impl Address {
    /// An IP address; scope and flow of IPv6 are left out, since they do not travel.
    pub fn ip(address: SocketAddr) -> Address {
        Address::Ip(SocketAddr::new(address.ip(), address.port()))
    }

    /// The socket address, if it is one.
    pub fn socket(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(socket) => Some(*socket),
            Address::Relay(_) | Address::Custom(_) => None,
        }
    }

    /// Returns `true` if anyone on the internet can route to this address.
    pub fn is_global(&self) -> bool {
        self.socket()
            .is_some_and(|socket| Reach::of(socket.ip()) == Reach::Global)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let text_bytes = match self {
            Address::Ip(_) => 0,
            Address::Relay(url) => url.len(),
            Address::Custom(custom) => custom.data.len(),
        };
        size_of::<Address>() + text_bytes
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::ip(address)
    }
}

/// An address of a transport that is neither IP nor a relay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomAddress {
    /// Number of the transport.
    pub id: u64,
    /// The address, opaque to us.
    pub data: Bytes,
}

impl Ord for CustomAddress {
    fn cmp(&self, other: &CustomAddress) -> std::cmp::Ordering {
        fn rank(address: &CustomAddress) -> (u64, bool, usize, &[u8]) {
            let long = address.data.len() > CUSTOM_INLINE_BYTES;
            let length = if long { 0 } else { address.data.len() };
            (address.id, long, length, &address.data)
        }
        rank(self).cmp(&rank(other))
    }
}

impl PartialOrd for CustomAddress {
    fn partial_cmp(&self, other: &CustomAddress) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Reason why a transport info is not accepted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are not a transport info.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It is longer, or names more addresses or longer ones, than we keep.
    #[error("too long, or too many addresses")]
    TooLarge,
    /// It carries the endpoint id of another node.
    #[error("the addresses are those of another node")]
    ForeignEndpoint,
    /// Its time is more than ten minutes ahead of our clock.
    #[error("the time of the record lies in the future")]
    Future,
    /// The signature is not the node's over these addresses and this time.
    #[error("the signature does not match")]
    Signature,
    /// The text is not the user data of an mDNS announcement.
    #[error("the announcement cannot be read")]
    UserData,
}

/// The addresses of an endpoint, as they travel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Endpoint {
    id: [u8; 32],
    /// In order, each once.
    addresses: Box<[Address]>,
}

impl Endpoint {
    fn new(id: [u8; 32], addresses: BTreeSet<Address>) -> Option<Endpoint> {
        let addresses: Box<[Address]> = addresses.into_iter().collect();
        (!addresses.is_empty()).then_some(Endpoint { id, addresses })
    }
}

/// Addresses of a node, with the time of writing and the node's signature.
///
/// A value of this type may still be wrong: [`TransportInfo::verify`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportInfo {
    timestamp: HybridTimestamp,
    signature: Signature,
    endpoint: Option<Endpoint>,
    oversize: bool,
}

impl TransportInfo {
    /// Signs the addresses of the own node; no address at all is a statement too.
    ///
    /// `timestamp` must be above that of every earlier one of this node: [`next_timestamp`].
    pub fn sign(
        key: &SigningKey,
        timestamp: HybridTimestamp,
        addresses: BTreeSet<Address>,
    ) -> Result<TransportInfo, RecordError> {
        if !within_limits(&addresses) {
            return Err(RecordError::TooLarge);
        }
        let endpoint = Endpoint::new(*key.verifying_key().as_bytes(), addresses);
        let signature = key.sign(&signing_bytes(timestamp, endpoint.as_ref()));
        let info = TransportInfo {
            timestamp,
            signature,
            endpoint,
            oversize: false,
        };
        if info.encoded_bytes() > limits::RECORD_BYTES_MAX {
            return Err(RecordError::TooLarge);
        }
        Ok(info)
    }

    /// Rebuilds what `node` signed from an mDNS announcement: the socket addresses found and the
    /// user data text.
    pub fn announced(
        node: &VerifyingKey,
        sockets: impl IntoIterator<Item = SocketAddr>,
        user_data: &UserData,
    ) -> TransportInfo {
        let relay = user_data.relay.iter().cloned().map(Address::Relay);
        let found = sockets
            .into_iter()
            .map(Address::ip)
            .take(limits::RECORD_ADDRESSES_MAX);
        let addresses: BTreeSet<Address> = relay.chain(found).collect();
        let oversize = !within_limits(&addresses);
        let mut info = TransportInfo {
            timestamp: user_data.timestamp,
            signature: user_data.signature,
            endpoint: Endpoint::new(*node.as_bytes(), addresses),
            oversize,
        };
        info.oversize |= info.encoded_bytes() > limits::RECORD_BYTES_MAX;
        info
    }

    /// Returns the time at which it was written.
    pub fn timestamp(&self) -> HybridTimestamp {
        self.timestamp
    }

    /// The signature of its node.
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The addresses in their order.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.endpoint
            .iter()
            .flat_map(|endpoint| endpoint.addresses.iter())
    }

    /// Bytes that it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<TransportInfo>() + self.addresses().map(Address::bytes).sum::<usize>()
    }

    /// Returns `true` if both name the same addresses, whenever they were written.
    pub fn has_addresses(&self, addresses: &BTreeSet<Address>) -> bool {
        self.addresses().eq(addresses)
    }

    /// Appends the form that travels.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        let HybridTimestamp { wall, logical } = self.timestamp;
        writer.uint(wall.as_micros()).uint(logical.get());
        writer.bytes(self.signature.as_bytes());
        writer.count(self.endpoint.iter().count());
        if let Some(endpoint) = &self.endpoint {
            writer
                .uint(IROH)
                .array(&endpoint.id)
                .count(endpoint.addresses.len());
            for address in endpoint.addresses.iter() {
                write_address(&mut writer, address);
            }
        }
    }

    /// Reads one from the middle of a message.
    ///
    /// An error means that the message cannot be read any further. One that is only beyond our
    /// limits is read to its end, keeps no address, and is refused by [`TransportInfo::verify`],
    /// so that those behind it in a list still count.
    pub fn read(reader: &mut Reader) -> Result<TransportInfo, WireError> {
        let end = reader.remaining().checked_sub(limits::RECORD_BYTES_MAX);
        // Whether more was read than a record may take.
        let is_past = |reader: &Reader| end.is_some_and(|end| reader.remaining() < end);
        let timestamp = HybridTimestamp::new(reader.u64()?, reader.u64()?);
        let signature = Signature::from_bytes(reader.sized::<64>()?);
        let mut info = TransportInfo {
            timestamp,
            signature,
            endpoint: None,
            oversize: false,
        };
        let count = reader.count(34)?;
        for _ in 0..count {
            info.read_endpoint(reader, is_past)?;
        }
        // There is one kind of transport, and one entry per kind.
        info.oversize |= count > 1 || is_past(reader);
        if info.oversize {
            info.endpoint = None;
        }
        Ok(info)
    }

    /// Reads one that stands alone.
    pub fn decode(bytes: Bytes) -> Result<TransportInfo, RecordError> {
        let mut reader = Reader::new(bytes);
        let info = TransportInfo::read(&mut reader)?;
        reader.finish()?;
        Ok(info)
    }

    /// The bytes that the signature covers.
    pub fn signing_bytes(&self) -> Vec<u8> {
        signing_bytes(self.timestamp, self.endpoint.as_ref())
    }

    /// Returns `true` if it is beyond our limits; then it holds no address.
    pub(crate) fn is_oversize(&self) -> bool {
        self.oversize
    }

    /// Checks that `node` signed this, for itself, not later than ten minutes from `now`: what
    /// anybody may tell.
    ///
    /// The signature comes last, since it costs most.
    pub fn verify(&self, node: &VerifyingKey, now: Timestamp) -> Result<(), RecordError> {
        self.verify_form(node)?;
        if self.is_ahead(now) {
            return Err(RecordError::Future);
        }
        self.verify_signature(node)
    }

    /// Checks that `node` signed this, for itself, no matter what its clock said: enough for what
    /// the node hands over itself.
    pub fn verify_any_time(&self, node: &VerifyingKey) -> Result<(), RecordError> {
        self.verify_form(node)?;
        self.verify_signature(node)
    }

    /// Returns `true` if it was signed by a clock that is ahead of ours.
    pub(crate) fn is_ahead(&self, now: Timestamp) -> bool {
        is_ahead(self.timestamp.wall, now)
    }

    fn verify_form(&self, node: &VerifyingKey) -> Result<(), RecordError> {
        if self.oversize {
            return Err(RecordError::TooLarge);
        }
        let mut endpoints = self.endpoint.iter();
        if endpoints.any(|endpoint| endpoint.id != *node.as_bytes()) {
            return Err(RecordError::ForeignEndpoint);
        }
        Ok(())
    }

    fn verify_signature(&self, node: &VerifyingKey) -> Result<(), RecordError> {
        node.verify(&self.signing_bytes(), &self.signature)
            .map_err(|_| RecordError::Signature)
    }

    /// Returns `true` if this replaces `stored`: only a strictly later one does.
    pub fn replaces(&self, stored: Option<&TransportInfo>) -> bool {
        stored.is_none_or(|stored| self.timestamp > stored.timestamp)
    }

    /// Keeps nothing once the record is known to be beyond our limits.
    fn read_endpoint(
        &mut self,
        reader: &mut Reader,
        is_past: impl Fn(&Reader) -> bool,
    ) -> Result<(), WireError> {
        if reader.tag()? != IROH {
            return Err(WireError::Tag);
        }
        let id = reader.array()?;
        let mut addresses = BTreeSet::new();
        for position in 0..reader.count(3)? {
            let address = read_address(reader)?;
            self.oversize |= position >= limits::RECORD_ADDRESSES_MAX || address.is_none();
            self.oversize |= is_past(reader);
            if !self.oversize {
                addresses.extend(address);
            }
        }
        self.endpoint = Some(Endpoint {
            id,
            addresses: addresses.into_iter().collect(),
        });
        Ok(())
    }

    fn encoded_bytes(&self) -> usize {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.len()
    }
}

/// Returns `true` if a time is further ahead of our clock than clocks that are right may differ.
pub(crate) fn is_ahead(time: Timestamp, now: Timestamp) -> bool {
    let ahead = time.as_micros().saturating_sub(now.as_micros());
    u128::from(ahead) > limits::RECORD_AHEAD_MAX.as_micros()
}

/// The timestamp of the own next record: the clock, but always above `previous`, unless that is from
/// when the clock was ahead.
pub fn next_timestamp(previous: Option<HybridTimestamp>, now: Timestamp) -> HybridTimestamp {
    match previous.filter(|previous| !is_ahead(previous.wall, now)) {
        Some(previous) => HybridTimestamp::next(previous, now),
        None => HybridTimestamp::new(now.as_micros(), 0),
    }
}

/// Data of an mDNS announcement next to the socket addresses (docs/protocol/network.md#5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    /// The signature of the transport info.
    pub signature: Signature,
    /// Its time.
    pub timestamp: HybridTimestamp,
    /// The relay among its addresses.
    pub relay: Option<String>,
}

impl UserData {
    /// The user data for a record of ours.
    ///
    /// `None` when it cannot be announced: with more than one relay, with a custom address, or
    /// when the text would be longer than mDNS allows.
    pub fn of(info: &TransportInfo) -> Option<UserData> {
        let mut relay = None;
        for address in info.addresses() {
            match address {
                Address::Ip(_) => {}
                Address::Relay(url) if relay.is_none() => relay = Some(url.clone()),
                Address::Relay(_) | Address::Custom(_) => return None,
            }
        }
        let data = UserData {
            signature: info.signature,
            timestamp: info.timestamp,
            relay,
        };
        (data.to_string().len() <= limits::MDNS_USER_DATA_BYTES_MAX).then_some(data)
    }
}

/// `<signature>|<micros>/<counter>` and, with a relay, `|<url>`.
impl std::fmt::Display for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}", self.signature, self.timestamp)?;
        match &self.relay {
            Some(relay) => write!(f, "|{relay}"),
            None => Ok(()),
        }
    }
}

impl std::str::FromStr for UserData {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<UserData, RecordError> {
        if text.len() > limits::MDNS_USER_DATA_BYTES_MAX {
            return Err(RecordError::TooLarge);
        }
        parse_user_data(text).ok_or(RecordError::UserData)
    }
}

fn parse_user_data(text: &str) -> Option<UserData> {
    let mut parts = text.splitn(3, '|');
    let signature = parts.next()?.parse().ok()?;
    let timestamp = parts.next()?.parse().ok()?;
    let relay = parts.next().map(str::to_owned);
    Some(UserData {
        signature,
        timestamp,
        relay,
    })
}

fn within_limits(addresses: &BTreeSet<Address>) -> bool {
    let fits = |address: &Address| match address {
        Address::Ip(_) => true,
        Address::Relay(url) => url.len() <= limits::RECORD_ADDRESS_BYTES_MAX,
        Address::Custom(custom) => custom.data.len() <= limits::RECORD_ADDRESS_BYTES_MAX,
    };
    addresses.len() <= limits::RECORD_ADDRESSES_MAX && addresses.iter().all(fits)
}

pub(crate) fn write_address(writer: &mut Writer<'_>, address: &Address) {
    match address {
        Address::Relay(url) => writer.uint(RELAY).bytes(url.as_bytes()),
        Address::Ip(SocketAddr::V4(v4)) => writer
            .uint(IP)
            .uint(V4)
            .array(&v4.ip().octets())
            .uint(v4.port()),
        Address::Ip(SocketAddr::V6(v6)) => writer
            .uint(IP)
            .uint(V6)
            .array(&v6.ip().octets())
            .uint(v6.port()),
        Address::Custom(custom) => writer.uint(CUSTOM).uint(custom.id).bytes(&custom.data),
    };
}

/// `None` is an address that is longer than we keep.
pub(crate) fn read_address(reader: &mut Reader) -> Result<Option<Address>, WireError> {
    let fits = |bytes: &Bytes| bytes.len() <= limits::RECORD_ADDRESS_BYTES_MAX;
    match reader.tag()? {
        RELAY => {
            let url = reader.bytes()?;
            let text = core::str::from_utf8(&url).map_err(|_| WireError::Utf8)?;
            Ok(fits(&url).then(|| Address::Relay(text.to_owned())))
        }
        IP => read_ip(reader).map(Some),
        CUSTOM => {
            let (id, data) = (reader.u64()?, reader.bytes()?);
            let copy = || Bytes::copy_from_slice(&data);
            Ok(fits(&data).then(|| Address::Custom(CustomAddress { id, data: copy() })))
        }
        _ => Err(WireError::Tag),
    }
}

fn read_ip(reader: &mut Reader) -> Result<Address, WireError> {
    let ip = match reader.tag()? {
        V4 => Ipv4Addr::from(reader.array::<4>()?).into(),
        V6 => Ipv6Addr::from(reader.array::<16>()?).into(),
        _ => return Err(WireError::Tag),
    };
    Ok(Address::Ip(SocketAddr::new(ip, reader.u16()?)))
}

/// `{"addresses": [{"Iroh": {"id": [..], "addrs": [..]}}], "timestamp": [micros, counter]}`
///
/// Keys and IP addresses are arrays of integers here, not byte strings.
fn signing_bytes(timestamp: HybridTimestamp, endpoint: Option<&Endpoint>) -> Vec<u8> {
    let mut cbor = cbor::Writer::new();
    cbor.map(2);
    cbor.text("addresses");
    cbor.array(endpoint.iter().count());
    if let Some(endpoint) = endpoint {
        cbor.map(1);
        cbor.text("Iroh");
        cbor.map(2);
        cbor.text("id");
        cbor.ints(&endpoint.id);
        cbor.text("addrs");
        cbor.array(endpoint.addresses.len());
        for address in endpoint.addresses.iter() {
            sign_address(&mut cbor, address);
        }
    }
    cbor.text("timestamp");
    cbor.array(2);
    cbor.uint(timestamp.wall.as_micros());
    cbor.uint(timestamp.logical.get());
    cbor.into_bytes()
}

fn sign_address(cbor: &mut cbor::Writer, address: &Address) {
    cbor.map(1);
    match address {
        Address::Relay(url) => {
            cbor.text("Relay");
            cbor.text(url);
        }
        Address::Ip(SocketAddr::V4(v4)) => sign_ip(cbor, "V4", &v4.ip().octets(), v4.port()),
        Address::Ip(SocketAddr::V6(v6)) => sign_ip(cbor, "V6", &v6.ip().octets(), v6.port()),
        Address::Custom(custom) => {
            cbor.text("Custom");
            cbor.map(2);
            cbor.text("id");
            cbor.uint(custom.id);
            cbor.text("data");
            cbor.bytes(&custom.data);
        }
    }
}

fn sign_ip(cbor: &mut cbor::Writer, version: &str, octets: &[u8], port: u16) {
    cbor.text("Ip");
    cbor.map(1);
    cbor.text(version);
    cbor.array(2);
    cbor.ints(octets);
    cbor.uint(u64::from(port));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_bytes(&[byte; 32])
    }

    fn at(micros: u64) -> HybridTimestamp {
        HybridTimestamp::new(micros, 0)
    }

    fn relay(len: usize) -> Address {
        Address::Relay("a".repeat(len))
    }

    #[test]
    fn every_kind_of_address_comes_back_in_order() {
        let custom = CustomAddress {
            id: 1,
            data: Bytes::from_static(&[0xaa, 0xbb]),
        };
        let addresses = BTreeSet::from([
            Address::Custom(custom),
            Address::ip("[2001:db8::1%3]:5".parse().unwrap()),
            Address::ip("10.0.0.1:5".parse().unwrap()),
            Address::ip("9.0.0.1:6".parse().unwrap()),
            Address::Relay("https://my.relay.net/".to_owned()),
        ]);
        let info = TransportInfo::sign(&key(1), at(5), addresses.clone()).unwrap();
        let mut out = BytesMut::new();
        info.encode(&mut out);
        let back = TransportInfo::decode(out.freeze()).unwrap();
        assert_eq!(back, info);
        assert!(back.has_addresses(&addresses));
        assert_eq!(back.verify(&key(1).verifying_key(), NOW), Ok(()));
        assert_eq!(
            back.verify(&key(2).verifying_key(), NOW),
            Err(RecordError::ForeignEndpoint)
        );
    }

    #[test]
    fn a_record_may_be_ten_minutes_ahead_and_no_microsecond_more() {
        let node = key(1).verifying_key();
        let limit = NOW.as_micros() + 600_000_000;
        let fine = TransportInfo::sign(&key(1), at(limit), BTreeSet::new()).unwrap();
        assert_eq!(fine.verify(&node, NOW), Ok(()));
        let late = TransportInfo::sign(&key(1), at(limit + 1), BTreeSet::new()).unwrap();
        assert_eq!(late.verify(&node, NOW), Err(RecordError::Future));
    }

    #[test]
    fn a_record_at_the_address_limits_is_signed() {
        let long = limits::RECORD_ADDRESS_BYTES_MAX;
        let many = limits::RECORD_ADDRESSES_MAX;
        let ips = |count| (0..count).map(|port| Address::ip(([1, 1, 1, 1], port).into()));
        for (addresses, fits) in [
            (BTreeSet::from([relay(long)]), true),
            (BTreeSet::from([relay(long + 1)]), false),
            (ips(many as u16).collect(), true),
            (ips(many as u16 + 1).collect(), false),
        ] {
            assert_eq!(TransportInfo::sign(&key(1), at(1), addresses).is_ok(), fits);
        }
    }

    #[test]
    fn a_record_past_our_limits_does_not_hide_what_follows_it() {
        let mut out = BytesMut::new();
        let mut writer = Writer::new(&mut out);
        writer.uint(1u32).uint(0u32).bytes(&[0; 64]).count(1);
        writer.uint(IROH).array(&[1; 32]).count(1);
        write_address(&mut writer, &relay(limits::RECORD_ADDRESS_BYTES_MAX + 1));
        writer.array(&[0x77]);
        let mut reader = Reader::new(out.freeze());
        let info = TransportInfo::read(&mut reader).unwrap();
        assert_eq!(reader.u8(), Ok(0x77));
        assert_eq!(
            info.verify(&key(1).verifying_key(), NOW),
            Err(RecordError::TooLarge)
        );
    }

    #[test]
    fn a_record_of_two_kib_is_kept_whole() {
        let node = key(1).verifying_key();
        for (more, fits) in [(0, true), (1, false)] {
            // Signed by a node that does not know the limit.
            let signed = |last: usize| {
                let lens = [490, 491, 492, last];
                let addresses = lens.into_iter().map(relay).collect();
                let endpoint = Endpoint::new(*node.as_bytes(), addresses);
                TransportInfo {
                    timestamp: at(5),
                    signature: key(1).sign(&signing_bytes(at(5), endpoint.as_ref())),
                    endpoint,
                    oversize: false,
                }
            };
            let missing = limits::RECORD_BYTES_MAX + more - signed(300).encoded_bytes();
            let info = signed(300 + missing);
            assert_eq!(info.encoded_bytes(), limits::RECORD_BYTES_MAX + more);
            let mut out = BytesMut::new();
            info.encode(&mut out);
            out.extend_from_slice(&[0x77]);
            let mut reader = Reader::new(out.freeze());
            let read = TransportInfo::read(&mut reader).unwrap();
            assert_eq!(reader.u8(), Ok(0x77));
            assert_eq!(read.verify(&node, NOW).is_ok(), fits);
            assert_eq!(read.addresses().count(), if fits { 4 } else { 0 });
        }
    }

    #[test]
    fn the_own_timestamp_grows_when_the_clock_steps_back() {
        let mut last = next_timestamp(None, Timestamp::from_micros(9));
        for micros in [9, 3, 3, 10, 0] {
            let next = next_timestamp(Some(last), Timestamp::from_micros(micros));
            assert!(next > last);
            last = next;
        }
    }

    #[test]
    fn an_announcement_that_cannot_be_read_is_an_error() {
        let good = format!("{}|12/3|https://r/", "0a".repeat(64));
        let parsed: UserData = good.parse().unwrap();
        assert_eq!(parsed.to_string(), good);
        for bad in [
            "".to_owned(),
            "|".to_owned(),
            format!("{}|12", "0a".repeat(64)),
            format!("{}|+12/3", "0a".repeat(64)),
            format!("{}|/3", "0a".repeat(64)),
            format!("{}|12/18446744073709551616", "0a".repeat(64)),
            format!("{}|12/3", "0a".repeat(63)),
            format!("{}|12/3", "éa".repeat(43)),
        ] {
            assert_eq!(bad.parse::<UserData>(), Err(RecordError::UserData), "{bad}");
        }
        let long = format!("{}|12/3|{}", "0a".repeat(64), "u".repeat(200));
        assert_eq!(long.parse::<UserData>(), Err(RecordError::TooLarge));
    }

    #[test]
    fn private_and_reserved_addresses_are_not_global() {
        for (address, global) in [
            ("8.8.8.8:1", true),
            ("10.1.2.3:1", false),
            ("100.64.0.1:1", false),
            ("127.0.0.1:1", false),
            ("[2a00::1]:1", true),
            ("[fe80::1]:1", false),
            ("[fd00::1]:1", false),
            ("[::1]:1", false),
            ("[::ffff:10.0.0.1]:1", false),
        ] {
            assert_eq!(
                Address::ip(address.parse().unwrap()).is_global(),
                global,
                "{address}"
            );
        }
    }
}
