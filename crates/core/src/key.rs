//! Ed25519 identities and signatures, verified strictly.

use core::fmt;

use ed25519_dalek as dalek;
use ed25519_dalek::Signer;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ParseError;
use crate::fixed::{any_bytes, debug_hex, fixed_bytes};

/// A secret Ed25519 seed of 32 bytes (RFC 8032). Erased from memory when dropped, never printed.
#[derive(Clone)]
pub struct SigningKey(dalek::SigningKey);

impl SigningKey {
    /// Takes a seed that already exists, for instance from a key file.
    pub fn from_bytes(seed: &[u8; 32]) -> SigningKey {
        SigningKey(dalek::SigningKey::from_bytes(seed))
    }

    /// Draws a new key from the caller's generator.
    pub fn generate(rng: &mut impl CryptoRng) -> SigningKey {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut_slice());
        SigningKey::from_bytes(&seed)
    }

    /// The public half, which names author and node.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key().to_bytes())
    }

    /// Signs the bytes; the same bytes always give the same signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }

    /// The seed, to be written to a key file.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.verifying_key())
    }
}

/// A public Ed25519 key: 32 bytes that decompress to a curve point; ordered by its bytes.
///
/// It names an author and a node. Keys of small order and encodings that are not canonical
/// parse, as the published protocol demands, and then verify nothing
/// (`docs/protocol/operations.md#1`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

fixed_bytes!(VerifyingKey, 32);
debug_hex!(VerifyingKey);

impl VerifyingKey {
    /// Takes bytes that decompress to a point.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<VerifyingKey, KeyError> {
        Point::decompress(&bytes)?;
        Ok(VerifyingKey(bytes))
    }

    /// Takes bytes without decompressing them.
    ///
    /// For bytes that were checked before, such as those of our own database. Nothing verifies
    /// under bytes that are no point, so a wrong use costs an error later and nothing else.
    pub const fn from_bytes_unchecked(bytes: [u8; 32]) -> VerifyingKey {
        VerifyingKey(bytes)
    }

    /// Verifies strictly: signatures with `S` out of range and points of small order fail.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureError> {
        Point::decompress(&self.0)
            .map_err(|_| SignatureError)?
            .verify(message, signature)
    }

    fn from_array(bytes: [u8; 32]) -> Result<VerifyingKey, ParseError> {
        Ok(VerifyingKey::from_bytes(bytes)?)
    }
}

/// An Ed25519 signature: 64 bytes, `R` then `S`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature([u8; 64]);

any_bytes!(Signature, 64);
debug_hex!(Signature);

/// Why bytes are no verifying key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The 32 bytes do not decompress to a curve point.
    #[error("not a point of the curve")]
    NotAPoint,
}

/// The signature is not valid for this key and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid signature")]
pub struct SignatureError;

/// A decompressed key. Decompressing costs a tenth of a verification, so decoders keep the point.
pub(crate) struct Point(dalek::VerifyingKey);

impl Point {
    pub(crate) fn decompress(bytes: &[u8; 32]) -> Result<Point, KeyError> {
        dalek::VerifyingKey::from_bytes(bytes)
            .map(Point)
            .map_err(|_| KeyError::NotAPoint)
    }

    pub(crate) fn verify(
        &self,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        self.0
            .verify_strict(message, &dalek::Signature::from_bytes(&signature.0))
            .map_err(|_| SignatureError)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::format;
    use core::convert::Infallible;

    use rand_core::{TryCryptoRng, TryRng};

    use super::*;

    struct Counter(u8);

    impl TryRng for Counter {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
            for byte in bytes {
                *byte = self.0;
                self.0 += 1;
            }
            Ok(())
        }
    }

    impl TryCryptoRng for Counter {}

    #[test]
    fn a_key_is_drawn_from_the_callers_generator() {
        let mut seed = [0; 32];
        for (index, byte) in seed.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let key = SigningKey::generate(&mut Counter(0));
        assert_eq!(*key.to_bytes(), seed);
    }

    #[test]
    fn debug_never_shows_the_secret() {
        let key = SigningKey::from_bytes(&[0xab; 32]);
        assert!(!format!("{key:?}").contains("abab"));
    }

    #[test]
    fn bytes_that_are_no_point_verify_nothing() {
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert_eq!(VerifyingKey::from_bytes(bytes), Err(KeyError::NotAPoint));
        let signature = SigningKey::from_bytes(&[1; 32]).sign(b"panda");
        let unchecked = VerifyingKey::from_bytes_unchecked(bytes);
        assert_eq!(unchecked.verify(b"panda", &signature), Err(SignatureError));
    }
}
