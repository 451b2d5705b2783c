//! Ed25519 identities and signatures, verified strictly.

use core::fmt;

use ed25519_dalek as dalek;
use ed25519_dalek::Signer;
use ed25519_dalek::ed25519::signature::MultipartVerifier;
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
    /// under bytes that are not a point, so a wrong use costs an error later and nothing else.
    pub const fn from_bytes_unchecked(bytes: [u8; 32]) -> VerifyingKey {
        VerifyingKey(bytes)
    }

    /// Returns `false` for a key under which nobody can sign: its bytes are no point of the curve, a point of
    /// small order, or not the canonical encoding of a point.
    pub fn is_usable(&self) -> bool {
        Point::decompress(&self.0).is_ok() && !is_small_order(&self.0) && is_canonical(&self.0)
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

/// Reason why bytes are not a verifying key.
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
#[derive(Debug)]
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
        self.verify_parts(&[message], signature)
    }

    /// Verifies a message given in parts.
    ///
    /// The verdict of the library's `verify_strict`, for every input, without its decompression of
    /// R: an R that the plain check accepts is byte for byte the canonical encoding of a point, so
    /// that point has a small order exactly if R is one of eight strings of bytes
    /// (`docs/decisions/0034-strict-verdict.md`).
    pub(crate) fn verify_parts(
        &self,
        message: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), SignatureError> {
        let signature = dalek::Signature::from_bytes(&signature.0);
        if is_small_order(signature.r_bytes()) || self.0.is_weak() {
            return Err(SignatureError);
        }
        self.0
            .multipart_verify(message, &signature)
            .map_err(|_| SignatureError)
    }
}

/// The y coordinates of the eight points of small order, sign bit cleared: order 1, 2, 4 and twice 8.
const SMALL_ORDER: [[u8; 32]; 5] = [
    small(1),
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    small(0),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// A small number as a field element.
const fn small(number: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = number;
    bytes
}

/// Returns `true` if these bytes are the canonical encoding of a point of small order. With the
/// sign bit of the two that have no sign, they are not canonical and fail the check anyway.
fn is_small_order(bytes: &[u8; 32]) -> bool {
    let mut y = *bytes;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// Returns `true` if the y coordinate is below the prime 2^255 - 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || last & 0x7f < 0x7f || middle.iter().any(|byte| *byte < 0xff)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use alloc::format;
    use alloc::vec::Vec;
    use core::convert::Infallible;

    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::Verifier;
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

    /// All that the library's strict check could see differently: points of small order in either
    /// place, encodings that are not canonical, scalars out of range, and any mix of them.
    #[test]
    fn the_verdict_is_that_of_strict_verification() {
        let seed = SigningKey::from_bytes(&[5; 32]);
        let honest = seed.sign(b"panda");
        let torsion: Vec<[u8; 32]> = EIGHT_TORSION
            .iter()
            .map(|point| point.compress().to_bytes())
            .collect();
        assert!(torsion.iter().all(is_small_order));
        let mut points = torsion;
        points.push(seed.verifying_key().0);
        points.extend(honest.0.first_chunk::<32>());
        // Numbers from p on stand for smaller ones: y = 0, 1 and 2, and the largest encoding.
        for low in [0xed, 0xee, 0xef, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            points.push(bytes);
        }
        let signs = points.clone().into_iter().map(|mut bytes| {
            bytes[31] ^= 0x80;
            bytes
        });
        points.extend(signs);
        let zero = [0; 32];
        let mut one = zero;
        one[0] = 1;
        let scalars = [zero, one, honest.0[32..].try_into().unwrap(), [0xff; 32]];
        let mut accepted = 0;
        for key in &points {
            let Ok(point) = Point::decompress(key) else {
                continue;
            };
            for (r, s) in points.iter().flat_map(|r| scalars.map(|s| (r, s))) {
                let bytes: [u8; 64] = [*r, s].concat().try_into().unwrap();
                // The messages are enough for every small challenge to come up.
                for message in (0..32_u8).map(|byte| [byte]).chain([*b"p"]) {
                    let strict = point
                        .0
                        .verify_strict(&message, &dalek::Signature::from_bytes(&bytes));
                    let ours = point.verify(&message, &Signature(bytes));
                    assert_eq!(ours.is_ok(), strict.is_ok());
                }
                let ours = point.verify(b"panda", &Signature(bytes));
                let strict = point
                    .0
                    .verify_strict(b"panda", &dalek::Signature::from_bytes(&bytes));
                assert_eq!(ours.is_ok(), strict.is_ok());
                accepted += usize::from(ours.is_ok());
            }
        }
        assert_eq!(accepted, 1);
    }

    #[test]
    fn a_point_of_small_order_passes_the_plain_check_only() {
        let identity = small(1);
        let point = Point::decompress(&identity).unwrap();
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let plain = point
            .0
            .verify(b"panda", &dalek::Signature::from_bytes(&bytes));
        assert!(plain.is_ok());
        assert!(point.verify(b"panda", &Signature(bytes)).is_err());
    }

    #[test]
    fn only_keys_that_somebody_can_have_are_usable() {
        for seed in 0..50 {
            assert!(
                SigningKey::from_bytes(&[seed; 32])
                    .verifying_key()
                    .is_usable()
            );
        }
        let mut no_point = [0; 32];
        no_point[0] = 2;
        let mut large = [0xff; 32];
        large[0] = 0xed;
        let torsion = EIGHT_TORSION
            .iter()
            .map(|point| point.compress().to_bytes());
        let all = torsion.chain([no_point, large, [0; 32], [0xff; 32]]);
        for bytes in all {
            let key = VerifyingKey::from_bytes_unchecked(bytes);
            assert!(!key.is_usable(), "{key}");
        }
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
