//! Signing elsewhere: the bytes to sign, and the result with a signature
//! (`docs/protocol/operations.md#3.6`).
//!
//! For keys that cannot be exported, such as those of a browser's key store or a hardware token.

use alloc::vec::Vec;

use bytes::Bytes;
use thiserror::Error;

use crate::header::{SIGNATURE_END, SIGNATURE_START};
use crate::{
    Draft, DraftError, EphemeralError, EphemeralMessage, Header, HeaderError, HybridTimestamp,
    Signature, VerifyingKey,
};

/// A header without its signature.
///
/// ```
/// use p2panda_core::{Draft, SigningKey, UnsignedHeader};
///
/// let key = SigningKey::from_bytes(&[1; 32]);
/// let draft = Draft { body: Some(b"\x65hello"), ..Draft::default() };
/// let unsigned = UnsignedHeader::new(&key.verifying_key(), draft)?;
/// // Elsewhere, by the holder of the key:
/// let signature = key.sign(unsigned.signing_bytes());
/// let header = unsigned.assemble(&signature)?;
/// assert_eq!(header.author(), key.verifying_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedHeader {
    signing_bytes: Vec<u8>,
}

/// Reason why a signature cannot complete a header or message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssembleError {
    /// The header, with the signature.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The ephemeral message, with the signature.
    #[error(transparent)]
    Ephemeral(#[from] EphemeralError),
}

impl UnsignedHeader {
    /// The header of a draft by this author.
    ///
    /// # Errors
    ///
    /// Those of [`Header::sign`]: what others could not accept is refused before it is signed.
    pub fn new(author: &VerifyingKey, draft: Draft<'_>) -> Result<UnsignedHeader, DraftError> {
        let signing_bytes = draft.signing_bytes(author)?;
        Ok(UnsignedHeader { signing_bytes })
    }

    /// The bytes that the holder of the key signs.
    pub fn signing_bytes(&self) -> &[u8] {
        &self.signing_bytes
    }

    /// The signed header.
    ///
    /// # Errors
    ///
    /// [`HeaderError::InvalidSignature`] if the signature is not the author's over these bytes.
    pub fn assemble(&self, signature: &Signature) -> Result<Header, AssembleError> {
        Ok(Header::decode(self.unverified(signature))?)
    }

    /// The encoded header with a signature that was not verified, for a [`Verifier`](crate::Verifier).
    pub fn unverified(&self, signature: &Signature) -> Bytes {
        Bytes::from(with_signature(&self.signing_bytes, signature))
    }
}

/// An ephemeral message without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsignedEphemeral {
    signing_bytes: Vec<u8>,
}

impl UnsignedEphemeral {
    /// A message of this author. The body is one encoded CBOR item.
    ///
    /// # Errors
    ///
    /// Those of [`EphemeralMessage::seal`].
    pub fn new(
        author: &VerifyingKey,
        timestamp: HybridTimestamp,
        body: &[u8],
    ) -> Result<UnsignedEphemeral, EphemeralError> {
        let signing_bytes = EphemeralMessage::signing_bytes(author, timestamp, body)?;
        Ok(UnsignedEphemeral { signing_bytes })
    }

    /// The bytes that the holder of the key signs.
    pub fn signing_bytes(&self) -> &[u8] {
        &self.signing_bytes
    }

    /// The signed message, as it is broadcast.
    ///
    /// # Errors
    ///
    /// [`EphemeralError::InvalidSignature`] if the signature is not the author's over these bytes.
    pub fn assemble(&self, signature: &Signature) -> Result<Bytes, AssembleError> {
        let message = Bytes::from(with_signature(&self.signing_bytes, signature));
        EphemeralMessage::open(message.clone())?;
        Ok(message)
    }
}

/// The array of the signing bytes with the signature as its third element. Version and key before
/// it have a fixed width; the head of the array counts one more.
pub(crate) fn with_signature(signing_bytes: &[u8], signature: &Signature) -> Vec<u8> {
    let (before, after) = signing_bytes
        .split_at_checked(SIGNATURE_START)
        .unwrap_or((signing_bytes, &[]));
    let mut bytes = Vec::with_capacity(signing_bytes.len() + SIGNATURE_END - SIGNATURE_START);
    bytes.extend_from_slice(before);
    if let Some(head) = bytes.first_mut() {
        *head = head.wrapping_add(1);
    }
    bytes.extend_from_slice(&SIGNATURE_HEAD);
    bytes.extend_from_slice(signature.as_bytes());
    bytes.extend_from_slice(after);
    bytes
}

/// A byte string of 64 bytes.
const SIGNATURE_HEAD: [u8; 2] = [0x58, 0x40];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::{Hash, SigningKey};

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[42; 32])
    }

    fn drafts() -> [Draft<'static>; 4] {
        let first = Draft::default();
        let later = Draft {
            seq: 7,
            backlink: Some(Hash::digest(b"before")),
            ..first
        };
        let body: Option<&[u8]> = Some(b"\x65hello");
        [
            first,
            Draft { body, ..first },
            later,
            Draft {
                body,
                extensions: Some(&[0xa0]),
                ..later
            },
        ]
    }

    #[test]
    fn a_header_signed_elsewhere_is_the_one_signed_here() {
        for draft in drafts() {
            let unsigned = UnsignedHeader::new(&key().verifying_key(), draft).unwrap();
            let header = unsigned
                .assemble(&key().sign(unsigned.signing_bytes()))
                .unwrap();
            assert_eq!(header, Header::sign(&key(), draft).unwrap());
            assert_eq!(header.signing_bytes(), unsigned.signing_bytes());
        }
    }

    #[test]
    fn a_wrong_signature_completes_nothing() {
        let wrong = Err(AssembleError::Header(HeaderError::InvalidSignature));
        for draft in drafts() {
            let unsigned = UnsignedHeader::new(&key().verifying_key(), draft).unwrap();
            let other = SigningKey::from_bytes(&[1; 32]).sign(unsigned.signing_bytes());
            assert_eq!(unsigned.assemble(&other), wrong);
            let other = key().sign(&unsigned.signing_bytes()[1..]);
            assert_eq!(unsigned.assemble(&other), wrong);
        }
    }

    #[test]
    fn what_others_could_not_decode_is_refused_before_it_is_signed() {
        let author = key().verifying_key();
        let draft = Draft {
            body: Some(b""),
            ..Draft::default()
        };
        let refused = UnsignedHeader::new(&author, draft);
        assert_eq!(refused, Err(DraftError::EmptyBody));
        let refused = UnsignedEphemeral::new(&author, HybridTimestamp::new(0, 0), &[0]);
        assert_eq!(refused, Err(EphemeralError::ClockZero));
    }

    #[test]
    fn an_ephemeral_message_signed_elsewhere_is_the_one_signed_here() {
        let (time, body) = (HybridTimestamp::new(5, 6), b"\x65hello");
        let unsigned = UnsignedEphemeral::new(&key().verifying_key(), time, body).unwrap();
        let message = unsigned
            .assemble(&key().sign(unsigned.signing_bytes()))
            .unwrap();
        assert_eq!(message, EphemeralMessage::seal(&key(), time, body).unwrap());
        let other = SigningKey::from_bytes(&[1; 32]).sign(unsigned.signing_bytes());
        let wrong = Err(AssembleError::Ephemeral(EphemeralError::InvalidSignature));
        assert_eq!(unsigned.assemble(&other), wrong);
    }
}
