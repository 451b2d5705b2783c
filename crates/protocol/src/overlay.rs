//! Gossip overlays: the ids that discovery answers for and gossip joins.

use p2panda_core::Topic;

/// The id of a gossip overlay, 32 bytes (docs/protocol/network.md#6).
///
/// As secret as a topic, since who knows it can join: it prints only its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Overlay([u8; 32]);

impl Overlay {
    /// The overlay in which the nodes that sync a topic meet.
    pub fn of_sync(topic: &Topic) -> Overlay {
        Overlay(topic.membership())
    }

    /// The overlay that carries the ephemeral messages of a topic.
    pub fn of_ephemeral(topic: &Topic) -> Overlay {
        Overlay(*topic.as_bytes())
    }

    /// An overlay by its id.
    pub const fn from_bytes(bytes: [u8; 32]) -> Overlay {
        Overlay(bytes)
    }

    /// The id as gossip names it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for Overlay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Overlay({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}
