//! Content that an application publishes: one CBOR item (`docs/protocol/operations.md#7`).

use bytes::Bytes;
use p2panda_core::cbor::{self, CborError, Reader, Writer};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Marks a stream of untyped messages: text or bytes.
#[derive(Clone, Copy, Debug)]
pub enum Raw {}

/// The body of an operation: one CBOR item in the deterministic form.
///
/// ```
/// use p2panda::Body;
/// assert_eq!(Body::from("hi").as_bytes().as_ref(), [0x62, b'h', b'i']);
/// assert_eq!(Body::from(vec![1, 2]).as_bytes().as_ref(), [0x42, 1, 2]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body(Bytes);

/// Reason why a value cannot be a body.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value's `Serialize` implementation failed.
    #[error("the message cannot be written as CBOR: {0}")]
    Value(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes are not one CBOR item in the deterministic form.
    #[error("the body is not one deterministic CBOR item: {0}")]
    Cbor(#[from] CborError),
}

/// Reason why a body is not what the application expects. The message stays stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not CBOR in the deterministic form.
    #[error("the body is not deterministic CBOR: {0}")]
    Cbor(#[from] CborError),
    /// The item is not a text string.
    #[error("the body is not text")]
    NotText,
    /// The item is not a byte string.
    #[error("the body is not a byte string")]
    NotBytes,
    /// The stream has no type; use `text`, `bytes` or `raw`.
    #[error("the stream has no message type")]
    Untyped,
    /// The message reports a change and has no content; see `Message::change`.
    #[error("the message reports a change and has no content")]
    Change,
    /// The body does not have the shape of the type.
    #[error("the body does not fit the message type: {0}")]
    Value(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Body {
    /// A typed value through its `Serialize` implementation, with sorted keys and shortest numbers.
    ///
    /// # Errors
    /// [`EncodeError::Value`] where the implementation fails.
    pub fn value<M: Serialize>(value: &M) -> Result<Self, EncodeError> {
        let value = cbor_core::Value::serialized(value)
            .map_err(|error| EncodeError::Value(error.into()))?;
        Ok(Self(value.encode().into()))
    }

    /// A CBOR item that is encoded already.
    ///
    /// # Errors
    /// [`EncodeError::Cbor`] when the bytes are anything but one item in the deterministic form.
    pub fn from_cbor(item: impl Into<Bytes>) -> Result<Self, EncodeError> {
        let item = item.into();
        cbor::check(&item, cbor::VALUE)?;
        Ok(Self(item))
    }

    /// The encoded item.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        let mut writer = Writer::with_capacity(text.len() + 9);
        writer.text(text);
        Self(writer.into_bytes().into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        let mut writer = Writer::with_capacity(9);
        writer.text_head(text.len());
        Self(behind(writer.into_bytes(), text.into_bytes()))
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        let mut writer = Writer::with_capacity(bytes.len() + 9);
        writer.bytes(bytes);
        Self(writer.into_bytes().into())
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let mut writer = Writer::with_capacity(9);
        writer.bytes_head(bytes.len());
        Self(behind(writer.into_bytes(), bytes))
    }
}

/// Puts the head before the content in the content's own memory, so that a large one is not copied.
fn behind(head: Vec<u8>, mut content: Vec<u8>) -> Bytes {
    content.reserve_exact(head.len());
    content.splice(..0, head);
    content.into()
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::from(bytes.as_ref())
    }
}

impl<const N: usize> From<&[u8; N]> for Body {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

/// The text of a body. Bytes behind the first item are ignored, as 0.7.1 does.
pub(crate) fn text(body: &[u8]) -> Result<&str, DecodeError> {
    let mut reader = Reader::new(first_item(body)?, cbor::VALUE);
    reader.text().map_err(|_| DecodeError::NotText)
}

/// The content of a byte string body.
pub(crate) fn bytes(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(first_item(body)?, cbor::VALUE);
    reader.bytes().map_err(|_| DecodeError::NotBytes)
}

/// The typed value of a body.
pub(crate) fn value<M: DeserializeOwned>(body: &[u8]) -> Result<M, DecodeError> {
    let item = first_item(body)?;
    let value = cbor_core::Value::decode(item).map_err(|error| DecodeError::Value(error.into()))?;
    value
        .deserialized()
        .map_err(|error| DecodeError::Value(error.into()))
}

fn first_item(body: &[u8]) -> Result<&[u8], DecodeError> {
    let (item, _) = cbor::first(body, cbor::VALUE)?;
    Ok(item)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Todo {
        title: String,
        a: Option<f64>,
        done: bool,
    }

    #[test]
    fn typed_values_are_written_with_sorted_keys_and_short_numbers() {
        let todo = Todo {
            title: "x".to_owned(),
            a: Some(1.5),
            done: true,
        };
        let body = Body::value(&todo).unwrap();
        let expected = b"\xa3\x61a\xf9\x3e\x00\x64done\xf5\x65title\x61x";
        assert_eq!(body.as_bytes().as_ref(), expected);
        assert_eq!(value::<Todo>(body.as_bytes()).unwrap(), todo);
    }

    #[test]
    fn a_body_of_another_kind_is_an_error_and_not_a_guess() {
        assert!(matches!(
            text(Body::from(b"ab").as_bytes()),
            Err(DecodeError::NotText)
        ));
        assert!(matches!(
            bytes(Body::from("ab").as_bytes()),
            Err(DecodeError::NotBytes)
        ));
        assert!(matches!(text(&[0xff]), Err(DecodeError::Cbor(_))));
        assert!(value::<BTreeMap<String, u8>>(Body::from("ab").as_bytes()).is_err());
        assert!(
            Body::from_cbor(vec![0x18, 0x01]).is_err(),
            "not the shortest form"
        );
    }
}
