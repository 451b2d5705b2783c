//! Bounds of what may wait in front of the engine at a time, and in what pieces
//! (`docs/protocol/streams.md 8.1`).

use bytes::Bytes;
use p2panda_core::Operation;
use p2panda_core::limits::{
    BESIDE_OWN_BYTES_MAX, BESIDE_OWN_OPERATIONS_MAX, QUEUE_LANE_BYTES_MAX,
    QUEUE_UNTRUSTED_BYTES_MAX,
};

use crate::command::Incoming;

/// The holder of the room. A sender takes room first and returns it with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// For the application: no peer can take it.
    Own,
    /// For what comes from elsewhere.
    Others,
    /// The same from peers that are not trusted.
    Untrusted,
}

impl Room {
    /// The total, in KiB.
    pub const fn kib_max(self) -> u32 {
        let bytes = match self {
            Room::Own | Room::Others => QUEUE_LANE_BYTES_MAX,
            Room::Untrusted => QUEUE_UNTRUSTED_BYTES_MAX,
        };
        (bytes / 1024) as u32
    }

    /// The room for this many bytes, in KiB: all of it for larger ones.
    pub fn kib(self, bytes: usize) -> u32 {
        let kib_max = self.kib_max();
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(kib_max);
        kib.min(kib_max)
    }
}

impl Incoming {
    /// Header and body bytes, and the value itself: many small ones are not nothing.
    pub fn held_bytes(&self) -> usize {
        let bytes = match self {
            Incoming::Valid(Operation { header, body }) => {
                header.as_bytes().len() + body.as_ref().map_or(0, Bytes::len)
            }
            Incoming::Invalid {
                header, genuine, ..
            } => {
                let genuine = genuine.as_ref();
                header.len() + genuine.map_or(0, |one| one.header.as_bytes().len())
            }
        };
        size_of::<Incoming>() + bytes
    }
}

/// Parts that the engine processes in a moment, so that a publish can go between them: each is a
/// command of its own. One at least, so that there is an answer; one operation may be larger.
pub fn parts(operations: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut parts: Vec<Vec<Incoming>> = vec![Vec::new()];
    let mut bytes = 0;
    for operation in operations {
        bytes += operation.held_bytes();
        match parts.last_mut() {
            Some(part)
                if part.len() < BESIDE_OWN_OPERATIONS_MAX && bytes <= BESIDE_OWN_BYTES_MAX =>
            {
                part.push(operation);
            }
            _ => {
                bytes = operation.held_bytes();
                parts.push(vec![operation]);
            }
        }
    }
    parts
}
