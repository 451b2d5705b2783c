//! The messages of a discovery session (docs/protocol/discovery.md#2).

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use p2panda_core::{Hash, VerifyingKey, limits};
use thiserror::Error;

use crate::draws::Draws;
use crate::frame::{self, FrameError};
use crate::overlay::Overlay;
use crate::record::TransportInfo;
use crate::wire::{Reader, WireError, Writer};

const SALT: u32 = 0;
const SALT_AND_HASHES: u32 = 1;
const HASHES: u32 = 2;
const NODES: u32 = 3;

/// A key with its length and the smallest signed transport info.
const NODE_BYTES_MIN: usize = 33 + 1 + 1 + 65 + 1;

/// Fewest hashes that we send, so that few topics look like none.
const HASHES_MIN: usize = 8;

/// The side that sends a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that dialled.
    Alice,
    /// The side that accepted.
    Bob,
}

/// Records of nodes as they travel; nobody has verified them yet.
pub type Records = Vec<(VerifyingKey, TransportInfo)>;

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Alice's half of the salt.
    Salt([u8; 32]),
    /// Bob's half of the salt and the salted hashes of his overlays.
    SaltAndHashes([u8; 32], BTreeSet<[u8; 32]>),
    /// The salted hashes of Alice's overlays.
    Hashes(BTreeSet<[u8; 32]>),
    /// Records of nodes, by node.
    Nodes(Records),
}

/// Reason why a payload is not a message. Ends the session.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload does not follow the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It holds more hashes or records than we take.
    #[error("too many hashes or records in one message")]
    TooMany,
}

impl Message {
    /// Appends this message as one frame.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        frame::encode(out, |out| match self {
            Message::Salt(half) => {
                Writer::new(out).uint(SALT).array(half);
            }
            Message::SaltAndHashes(half, hashes) => {
                Writer::new(out).uint(SALT_AND_HASHES).array(half);
                write_hashes(hashes, out);
            }
            Message::Hashes(hashes) => {
                Writer::new(out).uint(HASHES);
                write_hashes(hashes, out);
            }
            Message::Nodes(records) => write_nodes(records, out),
        })
    }

    /// Reads one payload. Memory stays within a small multiple of the payload's length.
    pub fn decode(payload: Bytes) -> Result<Message, MessageError> {
        let mut reader = Reader::new(payload);
        let message = match reader.tag()? {
            SALT => Message::Salt(reader.array()?),
            SALT_AND_HASHES => Message::SaltAndHashes(reader.array()?, read_hashes(&mut reader)?),
            HASHES => Message::Hashes(read_hashes(&mut reader)?),
            NODES => Message::Nodes(read_nodes(&mut reader)?),
            _ => return Err(WireError::Tag.into()),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// The hash of an overlay that `sender` sends in a session with these halves of the salt.
pub fn salted_hash(
    overlay: &Overlay,
    alice_half: &[u8; 32],
    bob_half: &[u8; 32],
    sender: Role,
) -> [u8; 32] {
    let direction = match sender {
        Role::Alice => 0x00,
        Role::Bob => 0x01,
    };
    *Hash::digest_parts(&[overlay.as_bytes(), alice_half, bob_half, &[direction]]).as_bytes()
}

/// Fills a set of hashes with random values up to the next power of two, so that it does not
/// tell how many overlays there are.
pub fn pad(hashes: &mut BTreeSet<[u8; 32]>, draws: &mut Draws) {
    let padded = hashes.len().next_power_of_two().max(HASHES_MIN);
    while hashes.len() < padded.min(limits::DISCOVERY_HASHES_MAX) {
        hashes.insert(draws.bytes());
    }
}

/// Returns the part of these records that we send in one message; the first ones come first.
pub fn fit(records: Records) -> Records {
    let (mut bytes, mut addresses) = (16, 0);
    let mut scratch = BytesMut::new();
    let fits = |(_, record): &(VerifyingKey, TransportInfo)| {
        scratch.clear();
        record.encode(&mut scratch);
        bytes += 33 + scratch.len();
        addresses += record.addresses().count();
        bytes <= limits::DISCOVERY_BYTES_SENT_MAX && addresses <= limits::DISCOVERY_ADDRESSES_MAX
    };
    records
        .into_iter()
        .take(limits::DISCOVERY_RECORDS_SENT_MAX)
        .take_while(fits)
        .collect()
}

fn write_hashes(hashes: &BTreeSet<[u8; 32]>, out: &mut BytesMut) {
    let mut writer = Writer::new(out);
    writer.count(hashes.len());
    for hash in hashes {
        writer.bytes(hash);
    }
}

fn write_nodes(records: &Records, out: &mut BytesMut) {
    let sorted: BTreeMap<_, _> = records
        .iter()
        .map(|(node, record)| (node, record))
        .collect();
    Writer::new(out).uint(NODES).count(sorted.len());
    for (node, record) in sorted {
        Writer::new(out).bytes(node.as_bytes());
        record.encode(out);
    }
}

fn read_hashes(reader: &mut Reader) -> Result<BTreeSet<[u8; 32]>, MessageError> {
    let count = reader.count(33)?;
    if count > limits::DISCOVERY_HASHES_MAX {
        return Err(MessageError::TooMany);
    }
    (0..count).map(|_| Ok(reader.sized::<32>()?)).collect()
}

fn read_nodes(reader: &mut Reader) -> Result<Records, MessageError> {
    let count = reader.count(NODE_BYTES_MIN)?;
    if count > limits::DISCOVERY_RECORDS_MAX {
        return Err(MessageError::TooMany);
    }
    let mut records = Records::with_capacity(count);
    let mut addresses = 0;
    for _ in 0..count {
        // Nothing verifies under bytes that are not a key, so such a record is refused later, alone.
        let node = VerifyingKey::from_bytes_unchecked(reader.sized::<32>()?);
        let record = TransportInfo::read(reader)?;
        addresses += record.addresses().count();
        if addresses > limits::DISCOVERY_ADDRESSES_MAX {
            return Err(MessageError::TooMany);
        }
        records.push((node, record));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hashes(count: u64) -> BTreeSet<[u8; 32]> {
        let mut draws = Draws::from_seed([3; 32]);
        (0..count).map(|_| draws.bytes()).collect()
    }

    #[test]
    fn the_number_of_hashes_is_a_power_of_two_from_eight() {
        for (count, padded) in [(0, 8), (8, 8), (9, 16), (1_000, 1_024), (4_000, 4_096)] {
            let mut set = hashes(count);
            pad(&mut set, &mut Draws::from_seed([1; 32]));
            assert_eq!(set.len(), padded);
        }
    }

    #[test]
    fn as_many_hashes_as_the_limit_are_read_and_one_more_is_not() {
        let limit = limits::DISCOVERY_HASHES_MAX as u64;
        for (count, fits) in [(limit, true), (limit + 1, false)] {
            let mut out = BytesMut::new();
            Message::Hashes(hashes(count)).encode(&mut out).unwrap();
            let decoded = Message::decode(out.freeze().slice(4..));
            assert_eq!(decoded.is_ok(), fits);
            if !fits {
                assert_eq!(decoded, Err(MessageError::TooMany));
            }
        }
    }

    #[test]
    fn a_repeated_hash_counts_once() {
        let payload = [&[2, 2, 32][..], &[7; 32], &[32], &[7; 32]].concat();
        let decoded = Message::decode(payload.into()).unwrap();
        assert_eq!(decoded, Message::Hashes(BTreeSet::from([[7; 32]])));
    }

    #[test]
    fn the_limit_of_addresses_in_all_holds() {
        let per_record = limits::RECORD_ADDRESSES_MAX;
        let full = limits::DISCOVERY_ADDRESSES_MAX / per_record;
        for (more, fits) in [(0, true), (1, false)] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).uint(NODES).count(full + 1);
            for position in 0..=full {
                let count = if position == full { more } else { per_record };
                let mut writer = Writer::new(&mut out);
                writer.bytes(&[1; 32]).uint(1u32).uint(0u32).bytes(&[0; 64]);
                writer.count(1).uint(0u32).array(&[1; 32]).count(count);
                for port in 0..count {
                    writer.array(&[1, 0, 8, 8, 8, 8]).count(port);
                }
            }
            assert_eq!(Message::decode(out.freeze()).is_ok(), fits);
        }
    }

    #[test]
    fn no_more_records_are_sent_than_the_limits() {
        use p2panda_core::{HybridTimestamp, SigningKey};
        use std::net::SocketAddr;

        use crate::record::Address;

        let key = SigningKey::from_bytes(&[1; 32]);
        let sign =
            |addresses| TransportInfo::sign(&key, HybridTimestamp::new(1, 0), addresses).unwrap();
        let ips = |count: u16| {
            let ips = (0..count).map(|port| SocketAddr::from(([8, 8, 8, 8], port)));
            sign(ips.map(Address::ip).collect())
        };
        let relays = (0..4).map(|number| Address::Relay(format!("{number}{}", "a".repeat(480))));
        let long = sign(relays.collect());
        let long_bytes = 33 + {
            let mut out = BytesMut::new();
            long.encode(&mut out);
            out.len()
        };
        let (max, addresses_max) = (
            limits::DISCOVERY_RECORDS_SENT_MAX,
            limits::DISCOVERY_ADDRESSES_MAX,
        );
        for (record, count) in [
            (ips(0), max),
            (ips(16), max),
            (ips(17), addresses_max / 17),
            (ips(64), addresses_max / 64),
            (long, (limits::DISCOVERY_BYTES_SENT_MAX - 16) / long_bytes),
        ] {
            let sent = fit(vec![(key.verifying_key(), record); 4_000]);
            assert_eq!(sent.len(), count);
        }
    }

    #[test]
    fn more_records_than_limits_or_bytes_are_refused() {
        for count in [
            limits::DISCOVERY_RECORDS_MAX,
            limits::DISCOVERY_RECORDS_MAX + 1,
        ] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).uint(NODES).count(count);
            for _ in 0..count {
                Writer::new(&mut out)
                    .bytes(&[1; 32])
                    .uint(1u32)
                    .uint(0u32)
                    .bytes(&[0; 64])
                    .count(0);
            }
            let decoded = Message::decode(out.freeze());
            assert_eq!(decoded.is_ok(), count == limits::DISCOVERY_RECORDS_MAX);
        }
        let short = Bytes::from_static(&[3, 0x80, 0x40, 1, 2, 3]);
        assert_eq!(
            Message::decode(short),
            Err(MessageError::Wire(WireError::Eof))
        );
    }
}
