//! An operation on its way from a peer to the store (`docs/protocol/streams.md#4`).

use bytes::Bytes;

use crate::limits::REJECTED_HEADER_BYTES_MAX;
use crate::{Hash, Header};

/// An operation as received.
#[derive(Clone, Debug)]
// Nearly all are operations: a box would cost an allocation each.
#[allow(clippy::large_enum_variant)]
pub enum Received {
    /// The header is decoded, its signature and the body are not verified.
    Operation {
        /// Decoded header with the received bytes.
        header: Header,
        /// Body bytes, if the peer had them.
        body: Option<Bytes>,
    },
    /// Refused: it gets a row, and no more.
    Refused(Refused),
}

/// The kept part of an operation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The operation id, or its substitute (`docs/protocol/streams.md#4`).
    pub id: Hash,
    /// The first [`REJECTED_HEADER_BYTES_MAX`] bytes of the header, in memory of their own.
    pub header: Bytes,
    /// Header and body bytes that came, most of which were not kept.
    pub bytes: usize,
    /// The reason.
    pub refusal: Refusal,
    /// The whole header, where it was kept: it shows which log cannot continue. Its signature is
    /// not verified.
    pub whole: Option<Header>,
}

/// Reason why an operation was refused on arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The header does not decode.
    Undecodable,
    /// The frame, or its header, is above the limit. It was not kept.
    TooLarge,
    /// It is of a log with a name, which this session does not carry (`docs/protocol/sync.md#5`).
    OtherLog,
}

impl Received {
    /// Header and body bytes that are held.
    pub fn wire_bytes(&self) -> usize {
        match self {
            Received::Operation { header, body } => {
                header.as_bytes().len() + body.as_ref().map_or(0, Bytes::len)
            }
            Received::Refused(refused) => {
                let whole = refused.whole.as_ref();
                refused.header.len() + whole.map_or(0, |header| header.as_bytes().len())
            }
        }
    }

    /// Bytes that it took on the wire.
    pub fn came_bytes(&self) -> usize {
        match self {
            Received::Operation { .. } => self.wire_bytes(),
            Received::Refused(refused) => refused.bytes,
        }
    }
}

impl Refused {
    /// A header that does not decode. Its id is the hash of all its bytes.
    pub fn undecodable(header: &[u8], body_bytes: usize) -> Refused {
        Refused {
            id: Hash::digest(header),
            header: Refused::beginning(header),
            bytes: header.len() + body_bytes,
            refusal: Refusal::Undecodable,
            whole: None,
        }
    }

    /// An operation of a log that the session does not carry.
    pub fn other_log(header: &Header, body_bytes: usize) -> Refused {
        Refused {
            id: header.id(),
            header: Refused::beginning(header.as_bytes()),
            bytes: header.as_bytes().len() + body_bytes,
            refusal: Refusal::OtherLog,
            whole: None,
        }
    }

    /// The part of a header that a row keeps. A copy: a slice would keep the whole frame alive.
    pub fn beginning(header: &[u8]) -> Bytes {
        let kept = header.get(..REJECTED_HEADER_BYTES_MAX).unwrap_or(header);
        Bytes::copy_from_slice(kept)
    }
}
