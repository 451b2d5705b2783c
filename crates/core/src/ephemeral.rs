//! Signed messages that are gossiped and never stored (`docs/protocol/operations.md#8`).

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use crate::cbor::{self, CborError, Reader, Writer};
use crate::header::{SIGNATURE_END, SIGNATURE_START};
use crate::key::Point;
use crate::limits::{EPHEMERAL_BYTES_MAX, GOSSIP_PAYLOAD_BYTES_MAX};
use crate::{HybridTimestamp, Signature, SigningKey, VerifyingKey, unsigned};

/// The only version of the format.
const VERSION: u64 = 1;

/// An authentic message. Nothing protects it from being repeated or moved to another topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EphemeralMessage {
    /// The key that signed the message.
    pub author: VerifyingKey,
    /// Makes each message of an author unique; the wall clock is never 0.
    pub timestamp: HybridTimestamp,
    /// One CBOR item, as received.
    pub body: Bytes,
}

/// Reason why a message can be neither sent nor taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EphemeralError {
    /// Above [`GOSSIP_PAYLOAD_BYTES_MAX`] when sending, [`EPHEMERAL_BYTES_MAX`] when receiving.
    #[error("the ephemeral message is too large")]
    TooLarge,
    /// Not deterministic CBOR of the expected shape; when sending, the body.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// Another version than 1.
    #[error("ephemeral message version {found} is not supported")]
    UnsupportedVersion {
        /// The version found.
        found: u64,
    },
    /// The author's key is not a point of the curve.
    #[error("the ephemeral message's verifying key is invalid")]
    InvalidKey,
    /// The wall clock is 0. What is signed would then read like the header of an operation.
    #[error("an ephemeral message needs a clock other than 0")]
    ClockZero,
    /// The signature is not the author's.
    #[error("the ephemeral message's signature is invalid")]
    InvalidSignature,
}

impl EphemeralMessage {
    /// Signs a message. The body is one encoded CBOR item.
    pub fn seal(
        key: &SigningKey,
        timestamp: HybridTimestamp,
        body: &[u8],
    ) -> Result<Bytes, EphemeralError> {
        let signing_bytes = EphemeralMessage::signing_bytes(&key.verifying_key(), timestamp, body)?;
        let signature = key.sign(&signing_bytes);
        Ok(unsigned::with_signature(&signing_bytes, &signature).into())
    }

    /// Returns the bytes that the author of a message signs, if the message can be sent.
    pub(crate) fn signing_bytes(
        author: &VerifyingKey,
        timestamp: HybridTimestamp,
        body: &[u8],
    ) -> Result<Vec<u8>, EphemeralError> {
        if timestamp.wall.as_micros() == 0 {
            return Err(EphemeralError::ClockZero);
        }
        if body.len() > GOSSIP_PAYLOAD_BYTES_MAX {
            return Err(EphemeralError::TooLarge);
        }
        cbor::check(body, cbor::VALUE)?;
        let signing_bytes = encode(author, timestamp, body);
        // The message is one level deeper than its body.
        cbor::check(&signing_bytes, cbor::VALUE)?;
        if signing_bytes.len() + SIGNATURE_END - SIGNATURE_START > GOSSIP_PAYLOAD_BYTES_MAX {
            return Err(EphemeralError::TooLarge);
        }
        Ok(signing_bytes)
    }

    /// Decodes a message and verifies it over the bytes received, not over what they mean.
    pub fn open(message: Bytes) -> Result<EphemeralMessage, EphemeralError> {
        if message.len() > EPHEMERAL_BYTES_MAX {
            return Err(EphemeralError::TooLarge);
        }
        let mut reader = Reader::checked(&message, cbor::VALUE)?;
        let elements = reader.array()?;
        if elements == 0 {
            return Err(CborError::Type.into());
        }
        match reader.uint()? {
            VERSION if elements == 6 => {}
            VERSION => return Err(CborError::Type.into()),
            found => return Err(EphemeralError::UnsupportedVersion { found }),
        }
        let key = fixed(reader.bytes()?)?;
        let point = Point::decompress(&key).map_err(|_| EphemeralError::InvalidKey)?;
        let author = VerifyingKey::from_bytes_unchecked(key);
        let signature = Signature::from_bytes(fixed(reader.bytes()?)?);
        let timestamp = HybridTimestamp::new(reader.uint()?, reader.uint()?);
        if timestamp.wall.as_micros() == 0 {
            return Err(EphemeralError::ClockZero);
        }
        let body = message.slice(reader.position()..);
        point
            .verify(&encode(&author, timestamp, &body), &signature)
            .map_err(|_| EphemeralError::InvalidSignature)?;
        Ok(EphemeralMessage {
            author,
            timestamp,
            body,
        })
    }
}

/// Encodes the signed bytes: the message without its signature.
fn encode(author: &VerifyingKey, timestamp: HybridTimestamp, body: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(128 + body.len());
    writer
        .array(5)
        .uint(VERSION)
        .bytes(author.as_bytes())
        .uint(timestamp.wall.as_micros())
        .uint(timestamp.logical.get())
        .raw(body);
    writer.into_bytes()
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], CborError> {
    bytes.try_into().map_err(|_| CborError::Type)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seal(micros: u64, body: &[u8]) -> Result<Bytes, EphemeralError> {
        let key = SigningKey::from_bytes(&[1; 32]);
        EphemeralMessage::seal(&key, HybridTimestamp::new(micros, 2), body)
    }

    fn text(len: usize) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.bytes(&alloc::vec![0; len]);
        writer.into_bytes()
    }

    #[test]
    fn a_sealed_message_opens() {
        let message = EphemeralMessage::open(seal(1, b"\x65panda").unwrap()).unwrap();
        assert_eq!(
            message.author,
            SigningKey::from_bytes(&[1; 32]).verifying_key()
        );
        assert_eq!(message.timestamp, HybridTimestamp::new(1, 2));
        assert_eq!(message.body, &b"\x65panda"[..]);
    }

    #[test]
    fn clock_zero_is_never_signed_and_never_taken() {
        assert_eq!(seal(0, b"\x00"), Err(EphemeralError::ClockZero));
        let key = SigningKey::from_bytes(&[1; 32]);
        let (author, zero) = (key.verifying_key(), HybridTimestamp::default());
        let signed = encode(&author, zero, b"\x00");
        let message = unsigned::with_signature(&signed, &key.sign(&signed));
        assert_eq!(
            EphemeralMessage::open(message.into()),
            Err(EphemeralError::ClockZero)
        );
    }

    #[test]
    fn what_gossip_would_lose_is_refused() {
        let envelope = seal(1, &text(1000)).unwrap().len() - 1000;
        let largest = seal(1, &text(GOSSIP_PAYLOAD_BYTES_MAX - envelope)).unwrap();
        assert_eq!(largest.len(), GOSSIP_PAYLOAD_BYTES_MAX);
        assert!(EphemeralMessage::open(largest).is_ok());
        let larger = seal(1, &text(GOSSIP_PAYLOAD_BYTES_MAX - envelope + 1));
        assert_eq!(larger, Err(EphemeralError::TooLarge));
    }

    #[test]
    fn a_received_message_may_be_as_large_as_others_allow() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let (author, timestamp) = (key.verifying_key(), HybridTimestamp::new(1, 2));
        let message = |len| {
            let signed = encode(&author, timestamp, &text(len));
            Bytes::from(unsigned::with_signature(&signed, &key.sign(&signed)))
        };
        let envelope = message(1000).len() - 1000;
        assert!(EphemeralMessage::open(message(EPHEMERAL_BYTES_MAX - envelope)).is_ok());
        let larger = EphemeralMessage::open(message(EPHEMERAL_BYTES_MAX - envelope + 1));
        assert_eq!(larger, Err(EphemeralError::TooLarge));
    }

    #[test]
    fn a_body_is_exactly_one_item() {
        for (body, error) in [
            (&b""[..], CborError::Eof),
            (b"\x00\x00", CborError::Trailing),
            (b"\x18\x00", CborError::NonDeterministic),
        ] {
            assert_eq!(seal(1, body), Err(EphemeralError::Cbor(error)));
        }
        let deepest = [&[0x81; 199][..], &[0]].concat();
        assert!(EphemeralMessage::open(seal(1, &deepest).unwrap()).is_ok());
        let deeper = [&[0x81; 200][..], &[0]].concat();
        assert_eq!(
            seal(1, &deeper),
            Err(EphemeralError::Cbor(CborError::TooDeep))
        );
    }
}
