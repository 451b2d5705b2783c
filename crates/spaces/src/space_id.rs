//! The id of a space.

use core::fmt;

/// Names a space: 32 bytes, chosen by its creator in the form of 0.7.1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceId([u8; 32]);

impl SpaceId {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> SpaceId {
        SpaceId(bytes)
    }

    /// The bytes as they cross the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpaceId({self})")
    }
}
