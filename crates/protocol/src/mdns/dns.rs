//! The little of DNS messages that is needed: names, questions and records of a packet that a
//! stranger wrote.

use p2panda_core::limits;
use thiserror::Error;

use crate::record::RecordError;

/// Bytes of a name with the length of each label and the final zero (RFC 1035, 2.3.4).
const NAME_BYTES: usize = 255;
/// The bit of a class that asks for a unicast answer, or tells caches to flush (RFC 6762).
const TOP_BIT: u16 = 0x8000;
const CLASS_IN: u16 = 1;

/// Reason why a packet is dropped: it is no DNS, or no announcement of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// It is longer than any node announces.
    #[error("longer than {} bytes", limits::MDNS_PACKET_BYTES_MAX)]
    Long,
    /// It ends too early.
    #[error("it ends too early")]
    Short,
    /// A name in it is too long, or leads nowhere.
    #[error("a name is invalid")]
    Name,
    /// The label of the service is not a node id.
    #[error("the label is not a node id")]
    Label,
    /// A record does not end where it says.
    #[error("a record is invalid")]
    Record,
    /// It has no user data, or invalid ones.
    #[error("the user data is missing or invalid")]
    UserData,
}

impl From<RecordError> for PacketError {
    fn from(_: RecordError) -> Self {
        PacketError::UserData
    }
}

/// A name as it is on the wire, in lower case and without compression or final zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(Vec<u8>);

impl Name {
    pub(super) fn is(&self, labels: &[u8]) -> bool {
        self.0 == labels
    }

    /// The first label, and whether the rest of the name is `parent`.
    pub(super) fn label_in(&self, parent: &[u8]) -> Option<&[u8]> {
        let (len, rest) = self.0.split_first()?;
        let (label, above) = rest.split_at_checked(usize::from(*len))?;
        (above == parent).then_some(label)
    }
}

/// The counts and flags at the start of a packet.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) is_response: bool,
    /// `true` if it is about looking names up; there are other operations.
    pub(super) is_lookup: bool,
    pub(super) questions: u16,
    pub(super) answers: u16,
    pub(super) authorities: u16,
    pub(super) additionals: u16,
}

/// A question or a record, without what it says.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) name: Name,
    pub(super) kind: u16,
    /// `true` if the class is IN, the only one there is.
    pub(super) is_internet: bool,
}

/// A record, and a reader at what it says.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) owner: Owner,
    pub(super) data: Reader<'a>,
}

/// Reads a packet from front to back; every step is bounded by the bytes that are there.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
    /// End of what is read: the packet, or the data of a record.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: &'a [u8]) -> Self {
        let (at, end) = (0, packet.len());
        Self { packet, at, end }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.end
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], PacketError> {
        let end = self.at + len;
        if end > self.end {
            return Err(PacketError::Short);
        }
        let bytes = self.packet.get(self.at..end).ok_or(PacketError::Short)?;
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], PacketError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| PacketError::Short)
    }

    pub(super) fn u16(&mut self) -> Result<u16, PacketError> {
        self.array().map(u16::from_be_bytes)
    }

    /// A text with one byte of length in front.
    pub(super) fn text(&mut self) -> Result<&'a [u8], PacketError> {
        let [len] = self.array()?;
        self.bytes(usize::from(len))
    }

    pub(super) fn header(&mut self) -> Result<Header, PacketError> {
        let _id = self.u16()?;
        let flags = self.u16()?;
        Ok(Header {
            is_response: flags & 0x8000 != 0,
            is_lookup: flags & 0x7800 == 0,
            questions: self.u16()?,
            answers: self.u16()?,
            authorities: self.u16()?,
            additionals: self.u16()?,
        })
    }

    pub(super) fn question(&mut self) -> Result<Owner, PacketError> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let is_internet = class & !TOP_BIT == CLASS_IN;
        Ok(Owner {
            name,
            kind,
            is_internet,
        })
    }

    pub(super) fn record(&mut self) -> Result<Record<'a>, PacketError> {
        let owner = self.question()?;
        let _ttl = self.bytes(4)?;
        let len = usize::from(self.u16()?);
        let mut data = self.clone();
        self.bytes(len)?;
        data.end = self.at;
        Ok(Record { owner, data })
    }

    /// A name. A pointer leads to an earlier place than all of the name before it, so that no
    /// packet leads in circles.
    pub(super) fn name(&mut self) -> Result<Name, PacketError> {
        let mut name = Vec::new();
        let (mut at, mut earlier_than) = (self.at, self.at);
        let mut after = None;
        loop {
            let byte = |at: usize| self.packet.get(at).copied().ok_or(PacketError::Short);
            let len = byte(at)?;
            match (len >> 6, len) {
                (0, 0) => break,
                (0, _) => {
                    let end = at + 1 + usize::from(len);
                    let label = self.packet.get(at..end).ok_or(PacketError::Short)?;
                    // The length is below the letters, and stays as it is.
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                    at = end;
                }
                (3, _) => {
                    let target = usize::from(u16::from_be_bytes([len & 0x3f, byte(at + 1)?]));
                    after.get_or_insert(at + 2);
                    if target >= earlier_than {
                        return Err(PacketError::Name);
                    }
                    (at, earlier_than) = (target, target);
                }
                _ => return Err(PacketError::Name),
            }
            if name.len() >= NAME_BYTES {
                return Err(PacketError::Name);
            }
        }
        self.at = after.unwrap_or(at + 1);
        if self.at > self.end {
            return Err(PacketError::Short);
        }
        Ok(Name(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn name(packet: &[u8], at: usize) -> Result<(Name, usize), PacketError> {
        let mut reader = Reader::new(packet);
        reader.bytes(at)?;
        let name = reader.name()?;
        Ok((name, reader.at))
    }

    #[test]
    fn a_name_is_read_in_lower_case_and_through_pointers() {
        let packet = b"\x05LOCAL\0\x01a\xc0\x00\x01b\xc0\x07after";
        assert_eq!(
            name(packet, 11).unwrap(),
            (Name(b"\x01b\x01a\x05local".into()), 15)
        );
        assert_eq!(name(packet, 0).unwrap(), (Name(b"\x05local".into()), 7));
    }

    #[test]
    fn pointers_in_circles_forward_or_past_the_end_are_refused() {
        for packet in [
            &b"\xc0\x00"[..],
            b"\x01a\xc0\x00",
            b"\xc0\x02\x01a\0",
            b"\xc0\x09",
            b"\xc0",
            b"\x3fa",
            b"\x40a\0",
            b"\x80a\0",
            b"\x01a",
            b"",
        ] {
            assert!(name(packet, 0).is_err(), "{packet:?}");
        }
        // Backwards, but in a circle.
        assert!(name(b"\x01a\xc0\x00\xc0\x00", 4).is_err());
    }

    #[test]
    fn a_name_has_at_most_255_bytes() {
        // Three labels of 63 and one of 61, with their lengths and the zero.
        let mut packet = [[&[63][..], &[b'a'; 63]].concat().repeat(3), vec![61]].concat();
        packet.extend([b'a'; 61]);
        packet.push(0);
        assert_eq!(packet.len(), NAME_BYTES);
        assert!(name(&packet, 0).is_ok());
        packet[192] = 62;
        packet.insert(193, b'a');
        assert_eq!(name(&packet, 0), Err(PacketError::Name));
    }
}
