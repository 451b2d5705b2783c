//! What operations are about: topics, the log ids derived from them, and separate networks.

use core::fmt;

use rand_core::CryptoRng;

use crate::Hash;
use crate::fixed::{any_bytes, debug_hex};

/// 32 secret bytes that name what is talked about. Whoever knows them may read.
///
/// There is no constructor from a readable name, because a name can be guessed. `Debug` shows
/// only the first digits of the log id; `Display` shows the topic itself, for the person who
/// shares it (`docs/protocol/operations.md#6`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic([u8; 32]);

any_bytes!(Topic, 32);

/// Separates the membership overlay of a topic from its ephemeral messages.
const MEMBERSHIP_MIX: [u8; 32] = [
    0xfd, 0x06, 0xfb, 0xd9, 0xad, 0xe4, 0xd7, 0xf4, 0x82, 0xb5, 0x96, 0x8e, 0xdc, 0xf4, 0x31, 0xdb,
    0x23, 0x5e, 0xa3, 0xc5, 0xe5, 0x5d, 0x8f, 0xe3, 0x61, 0x3d, 0x26, 0xca, 0x3f, 0xfa, 0x1a, 0xe9,
];

impl Topic {
    /// Draws a new topic from the caller's generator.
    pub fn random(rng: &mut impl CryptoRng) -> Topic {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Topic(bytes)
    }

    /// The id of every author's log of this topic: `BLAKE3(topic)`, which does not reveal it.
    pub fn log_id(&self) -> LogId {
        LogId(*Hash::digest(&self.0).as_bytes())
    }

    /// The id of the gossip overlay in which peers of this topic find each other for sync.
    pub fn membership(&self) -> [u8; 32] {
        *Hash::digest_parts(&[&self.0, &MEMBERSHIP_MIX]).as_bytes()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogId([a, b, c, d, ..]) = self.log_id();
        write!(f, "Topic(log {a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// Names a log of an author, 32 bytes; ordered by its bytes (`docs/protocol/operations.md#7`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId([u8; 32]);

any_bytes!(LogId, 32);
debug_hex!(LogId);

/// 32 bytes that keep networks apart: nodes of different networks cannot connect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId([u8; 32]);

any_bytes!(NetworkId, 32);
debug_hex!(NetworkId);

impl NetworkId {
    /// The protocol name that goes on the wire: `BLAKE3(protocol || network)`
    /// (`docs/protocol/network.md`).
    pub fn alpn(&self, protocol: &[u8]) -> [u8; 32] {
        *Hash::digest_parts(&[protocol, &self.0]).as_bytes()
    }
}

/// The network that everybody is in who chose none.
impl Default for NetworkId {
    fn default() -> NetworkId {
        NetworkId([
            0xf7, 0x45, 0xf8, 0xf2, 0x84, 0x78, 0x9f, 0xe6, 0x62, 0x64, 0xd6, 0xc8, 0x4e, 0x28,
            0x4f, 0x5e, 0xae, 0x08, 0x0c, 0x1b, 0x54, 0xc3, 0xf6, 0x9f, 0x84, 0xf0, 0x4f, 0xd0,
            0x01, 0x2b, 0x84, 0x76,
        ])
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn text_that_is_no_topic_is_told_what_is_wrong_with_it() {
        let said = |text: &str| text.parse::<Topic>().err().map(|error| error.to_string());
        let expected = "expected 64 hexadecimal digits, found 3 characters";
        assert_eq!(said("abc").as_deref(), Some(expected));
        let one_wrong = format!("{}g{}", "a".repeat(9), "b".repeat(54));
        let expected = "character 10 is not a hexadecimal digit";
        assert_eq!(said(&one_wrong).as_deref(), Some(expected));
    }

    #[test]
    fn debug_never_shows_the_topic() {
        let topic = Topic::from_bytes([0xab; 32]);
        assert!(!format!("{topic:?}").contains("abab"));
        assert_eq!(topic.to_string().parse(), Ok(topic));
    }
}
