//! Received operations that are not stored yet, and what is kept of one that is too large
//! (`docs/protocol/streams.md#4`).

use bytes::Bytes;
use p2panda_core::limits::UNSTORED_BYTES_MAX;
use p2panda_core::{Hash, Header, Received, Refusal, Refused};

use crate::sync::message::{Beginning, operation_beginning};

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
    let kept = Refused::beginning(&bytes);
    let whole = Header::decode_unverified(bytes).ok();
    let id = match &whole {
        Some(header) => header.id(),
        // The rest was never there: what was kept and the length tell one from another.
        None => Hash::digest_parts(&[&kept, &len.to_be_bytes()]),
    };
    Refused {
        id,
        whole: whole.map(|header| header.detached()),
        header: kept,
        bytes: frame_bytes,
        refusal: Refusal::TooLarge,
    }
}
