//! Topics, the log ids derived from them, and networks.

use core::fmt;

use rand_core::CryptoRng;
use thiserror::Error;

use crate::fixed::{any_bytes, debug_hex};
use crate::limits::LOG_NAME_BYTES_MAX;
use crate::{Hash, VerifyingKey};

/// 32 secret bytes that name a topic. Anyone who knows them may read it.
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

/// Contexts of key derivation (`docs/protocol/operations.md#7`).
const NAMED_LOG: &str = "p2panda named log id v1";
const LOG_LABEL: &str = "p2panda log label v1";

impl Topic {
    /// Draws a new topic from the caller's generator.
    pub fn random(rng: &mut impl CryptoRng) -> Topic {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Topic(bytes)
    }

    /// The id of every author's first log of this topic: `BLAKE3(topic)`, which does not reveal it.
    pub fn log_id(&self) -> LogId {
        LogId(*Hash::digest(&self.0).as_bytes())
    }

    /// The id of every author's log of this topic with a name (`docs/protocol/operations.md#7`).
    pub fn named_log_id(&self, name: &LogName) -> LogId {
        let id = Hash::derived_parts(NAMED_LOG, &[&self.0, &name.0]);
        LogId(*id.as_bytes())
    }

    /// Returns `true` if a log id is that of a log of this topic: of the first one, or of the one
    /// with this name.
    pub fn has_log(&self, id: &LogId, name: Option<&LogName>) -> bool {
        match name {
            None => *id == self.log_id(),
            Some(name) => *id == self.named_log_id(name),
        }
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

/// Represents a log where the logs of a topic are distinguished: the author's key for a first log, a hash for
/// one with a name (`docs/protocol/operations.md#4`). It is compared, and never used as a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label([u8; 32]);

any_bytes!(Label, 32);
debug_hex!(Label);

impl Label {
    /// The greatest one.
    pub const GREATEST: Label = Label([u8::MAX; 32]);

    /// The label where a log of a topic is named by its author. Not checked to be a key, and none where the
    /// log has a name.
    pub const fn in_place_of_author(&self) -> VerifyingKey {
        VerifyingKey::from_bytes_unchecked(self.0)
    }
}

impl From<VerifyingKey> for Label {
    /// Returns the label of the author's first log.
    fn from(author: VerifyingKey) -> Label {
        Label(*author.as_bytes())
    }
}

impl LogId {
    /// The *label* of an author's log with this id, if that is not the first one of its topic: what
    /// stands for the author where logs of a topic are told apart (`docs/protocol/operations.md#4`).
    pub fn label(&self, author: &VerifyingKey) -> Label {
        let label = Hash::derived_parts(LOG_LABEL, &[author.as_bytes(), &self.0]);
        Label(*label.as_bytes())
    }
}

/// Hash of the name of a log, by which its operations say which one they are in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName([u8; 32]);

any_bytes!(LogName, 32);
debug_hex!(LogName);

/// Reason why a text cannot be the name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LogNameError {
    /// It is empty: the first log of a topic has no name.
    #[error("the name of a log is empty")]
    Empty,
    /// More than [`LOG_NAME_BYTES_MAX`] bytes.
    #[error("the name of a log has {bytes} bytes, more than {LOG_NAME_BYTES_MAX}")]
    TooLong {
        /// Its bytes in UTF-8.
        bytes: usize,
    },
}

impl LogName {
    /// `BLAKE3(name)`, of 1 to [`LOG_NAME_BYTES_MAX`] bytes of UTF-8.
    ///
    /// ```
    /// use p2panda_core::LogName;
    ///
    /// assert!(LogName::of("control").is_ok());
    /// assert!(LogName::of("").is_err());
    /// ```
    pub fn of(name: &str) -> Result<LogName, LogNameError> {
        match name.len() {
            0 => Err(LogNameError::Empty),
            bytes if bytes > LOG_NAME_BYTES_MAX => Err(LogNameError::TooLong { bytes }),
            _ => Ok(LogName(*Hash::digest(name.as_bytes()).as_bytes())),
        }
    }
}

/// 32 bytes that keep networks apart: nodes of different networks cannot connect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId([u8; 32]);

any_bytes!(NetworkId, 32);
debug_hex!(NetworkId);

impl NetworkId {
    /// The protocol name that continues the wire: `BLAKE3(protocol || network)`
    /// (`docs/protocol/network.md`).
    pub fn alpn(&self, protocol: &[u8]) -> [u8; 32] {
        *Hash::digest_parts(&[protocol, &self.0]).as_bytes()
    }
}

/// The default network.
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
    fn the_error_for_an_invalid_topic_says_what_is_wrong() {
        let said = |text: &str| text.parse::<Topic>().err().map(|error| error.to_string());
        let expected = "expected 64 hexadecimal digits, found 3 characters";
        assert_eq!(said("abc").as_deref(), Some(expected));
        let one_wrong = format!("{}g{}", "a".repeat(9), "b".repeat(54));
        let expected = "character 10 is not a hexadecimal digit";
        assert_eq!(said(&one_wrong).as_deref(), Some(expected));
    }

    #[test]
    fn the_bytes_of_a_log_name_are_bounded() {
        assert_eq!(LogName::of(""), Err(LogNameError::Empty));
        assert!(LogName::of(&"a".repeat(LOG_NAME_BYTES_MAX)).is_ok());
        let bytes = LOG_NAME_BYTES_MAX + 1;
        let too_long = LogName::of(&"a".repeat(bytes));
        assert_eq!(too_long, Err(LogNameError::TooLong { bytes }));
    }

    #[test]
    fn a_named_log_is_of_one_topic_and_one_name() {
        let [topic, other] = [1, 2].map(|byte| Topic::from_bytes([byte; 32]));
        let [name, another] = [3, 4].map(|byte| LogName::from_bytes([byte; 32]));
        let id = topic.named_log_id(&name);
        assert!(topic.has_log(&id, Some(&name)));
        assert!(!topic.has_log(&id, Some(&another)));
        assert!(!topic.has_log(&id, None));
        assert!(!other.has_log(&id, Some(&name)));
        assert!(!topic.has_log(&topic.log_id(), Some(&name)));
    }

    #[test]
    fn debug_never_shows_the_topic() {
        let topic = Topic::from_bytes([0xab; 32]);
        assert!(!format!("{topic:?}").contains("abab"));
        assert_eq!(topic.to_string().parse(), Ok(topic));
    }
}
