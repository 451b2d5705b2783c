//! Names for an overlay or a topic that mean nothing to a peer that does not know it
//! (docs/protocol/link.md#2).

use p2panda_core::{Hash, Topic};

use crate::overlay::Overlay;

/// The label of the TLS exporter; its context is empty.
pub const LABEL: &[u8] = b"p2panda/link/v1";

const INTEREST: &[u8] = b"interest";
const TOPIC: &[u8] = b"topic";
const RANGES: &[u8] = b"ranges";

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that dialled it.
    Dialler,
    /// The one that accepted it.
    Acceptor,
}

impl Side {
    /// Returns the opposite side.
    pub const fn other(self) -> Side {
        match self {
            Side::Dialler => Side::Acceptor,
            Side::Acceptor => Side::Dialler,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Side::Dialler => 0,
            Side::Acceptor => 1,
        }
    }
}

/// Name of an overlay, used by one side of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub(crate) [u8; 16]);

impl Tag {
    /// A tag by its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Tag {
        Tag(bytes)
    }
}

/// Proof by one side of one link that it knows a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proof(pub(crate) [u8; 32]);

impl Proof {
    /// A proof by its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Proof {
        Proof(bytes)
    }
}

/// The secret of one link: what the TLS exporter gave for [`LABEL`]. It prints nothing.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From the exporter.
    pub const fn new(exported: [u8; 32]) -> Secret {
        Secret(exported)
    }

    /// The tag that `side` sends for an overlay.
    pub fn tag(&self, overlay: &Overlay, side: Side) -> Tag {
        let hash = self.keyed(INTEREST, side, overlay.as_bytes());
        let (tag, _) = hash.split_first_chunk().expect("a hash has 32 bytes");
        Tag(*tag)
    }

    /// The proof that `side` sends for a topic.
    pub fn proof(&self, topic: &Topic, side: Side) -> Proof {
        Proof(self.keyed(TOPIC, side, topic.as_bytes()))
    }

    /// Returns the value that binds the fingerprints of the sessions about a topic to this link
    /// (`docs/protocol/ranges.md#1`). It is the same for both sides.
    pub fn binding(&self, topic: &Topic) -> [u8; 32] {
        *Hash::keyed_parts(&self.0, &[RANGES, topic.as_bytes()]).as_bytes()
    }

    fn keyed(&self, domain: &[u8], side: Side, name: &[u8; 32]) -> [u8; 32] {
        *Hash::keyed_parts(&self.0, &[domain, &[side.byte()], name]).as_bytes()
    }
}

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret")
    }
}
