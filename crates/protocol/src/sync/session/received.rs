//! An operation on its way from a peer to the store (`docs/protocol/streams.md#4`).

use bytes::Bytes;
use p2panda_core::limits::{REJECTED_HEADER_BYTES_MAX, UNSTORED_BYTES_MAX};
use p2panda_core::{Hash, Header};

use crate::sync::message::{Beginning, operation_beginning};

/// An operation as it came.
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
    /// Worth a row, and no more.
    Refused(Refused),
}

/// What is kept of an operation that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The operation id, or what takes its place (`docs/protocol/streams.md#4`).
    pub id: Hash,
    /// The first [`REJECTED_HEADER_BYTES_MAX`] bytes of the header, in memory of their own.
    pub header: Bytes,
    /// Header and body bytes that came, most of which were not kept.
    pub bytes: usize,
    /// What was wrong.
    pub refusal: Refusal,
}

/// Why an operation was refused as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The header does not decode.
    Undecodable,
    /// The frame, or its header, is above the limit. It was not kept.
    TooLarge,
}

/// Bytes of operations that the store has not taken yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unstored {
    /// In memory.
    pub(super) held: usize,
    /// As they count against [`UNSTORED_BYTES_MAX`]: a refused one with all that came.
    pub(super) came: usize,
}

impl Unstored {
    pub(super) fn add(&mut self, received: &Received) {
        let came = received.came_bytes().min(UNSTORED_BYTES_MAX);
        self.held += size_of::<Received>() + received.wire_bytes();
        self.came += size_of::<Received>() + came.max(received.wire_bytes());
    }
}

impl Received {
    /// Header and body bytes that are held.
    pub fn wire_bytes(&self) -> usize {
        match self {
            Received::Operation { header, body } => {
                header.as_bytes().len() + body.as_ref().map_or(0, Bytes::len)
            }
            Received::Refused(refused) => refused.header.len(),
        }
    }

    /// What crossed the line for it.
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
            header: beginning(header),
            bytes: header.len() + body_bytes,
            refusal: Refusal::Undecodable,
        }
    }

    /// An operation of which only the first bytes were kept.
    pub(super) fn too_large(prefix: &Bytes, frame_bytes: usize) -> Refused {
        let (bytes, len) = match operation_beginning(prefix) {
            Some(Beginning::Header(header)) => {
                let len = header.len() as u64;
                (header, len)
            }
            Some(Beginning::Cut(bytes, len)) => (bytes, len),
            None => (prefix.clone(), prefix.len() as u64),
        };
        let kept = beginning(&bytes);
        let id = match Header::decode_unverified(bytes) {
            Ok(header) => header.id(),
            // The rest was never there: what was kept and the length tell one from another.
            Err(_) => Hash::digest_parts(&[&kept, &len.to_be_bytes()]),
        };
        Refused {
            id,
            header: kept,
            bytes: frame_bytes,
            refusal: Refusal::TooLarge,
        }
    }
}

/// A copy: a slice would hold on to the whole frame.
fn beginning(header: &[u8]) -> Bytes {
    let kept = header.get(..REJECTED_HEADER_BYTES_MAX).unwrap_or(header);
    Bytes::copy_from_slice(kept)
}
