use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What cases publish: one CBOR text or byte string, as applications of both sides write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text string.
    Text(String),
    /// A byte string.
    Bytes(Vec<u8>),
}

impl Message {
    /// The message as it stands in a body or in an ephemeral message.
    ///
    /// # Errors
    ///
    /// Only if the published encoder fails, which it does not for these.
    pub fn encode(&self) -> Result<Vec<u8>, crate::Error> {
        p2panda_core::cbor::encode_cbor(self).map_err(crate::Error::published)
    }

    /// The message in a body or in an ephemeral message.
    ///
    /// # Errors
    ///
    /// When `bytes` is anything but one text or byte string.
    pub fn decode(bytes: &[u8]) -> Result<Self, crate::Error> {
        p2panda_core::cbor::decode_cbor(bytes).map_err(crate::Error::published)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => to.serialize_str(text),
            Self::Bytes(bytes) => to.serialize_bytes(bytes),
        }
    }
}

impl<'a> Deserialize<'a> for Message {
    fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextOrBytes)
    }
}

struct TextOrBytes;

impl Visitor<'_> for TextOrBytes {
    type Value = Message;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or byte string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Message, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Message, E> {
        Ok(bytes.to_vec().into())
    }
}
