//! X25519 key agreement that refuses the all-zero result.

use std::fmt;

use curve25519_dalek::MontgomeryPoint;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroize;

use crate::secret::Secret;
use crate::wire::{DecodeError, Reader, Wire, Writer, bytes_array};

/// The agreement's result is zero, no matter what our secret is (`docs/protocol/encryption.md#16`,
/// H1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the key agreement has an all-zero result")]
pub struct ZeroAgreement;

/// A secret scalar, clamped when it is made.
#[derive(PartialEq, Eq)]
pub struct SecretKey(Secret);

impl SecretKey {
    /// Clamps the bytes of a secret that exists already.
    pub fn from_bytes(bytes: [u8; 32]) -> SecretKey {
        SecretKey::clamp(Secret::from_bytes(bytes))
    }

    /// Clamps a secret that was derived.
    pub(crate) fn from_secret(secret: Secret) -> SecretKey {
        SecretKey::clamp(secret)
    }

    /// Draws a key.
    pub fn random(rng: &mut impl CryptoRng) -> SecretKey {
        SecretKey::clamp(Secret::random(rng))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(MontgomeryPoint::mul_base_clamped(*self.as_bytes()).to_bytes())
    }

    /// Agrees with the holder of the other key. The result is not a key yet: derive one with
    /// [`hkdf`](crate::hkdf).
    ///
    /// # Errors
    /// Everybody knows the result, since the other key is of small order.
    pub fn agree(&self, other: &PublicKey) -> Result<Secret, ZeroAgreement> {
        let mut point = MontgomeryPoint(other.0).mul_clamped(*self.as_bytes());
        let shared = Secret::from_bytes(point.0);
        point.zeroize();
        if shared.as_bytes().as_slice().ct_eq(&[0; 32]).into() {
            return Err(ZeroAgreement);
        }
        Ok(shared)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn duplicate(&self) -> SecretKey {
        SecretKey(self.0.duplicate())
    }

    fn clamp(mut secret: Secret) -> SecretKey {
        let bytes = secret.as_mut();
        let [first, .., last] = bytes;
        *first &= 0xf8;
        *last = (*last & 0x7f) | 0x40;
        SecretKey(secret)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl Wire for SecretKey {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<SecretKey, DecodeError> {
        Secret::read(r).map(SecretKey::clamp)
    }
}

/// A public key: the 32 bytes of a Montgomery u-coordinate; every value is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The bytes as they cross the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns `true` if every agreement with this key is zero.
    pub fn is_small_order(&self) -> bool {
        let mut u = self.0;
        if let Some(last) = u.last_mut() {
            *last &= 0x7f;
        }
        SMALL_ORDER.contains(&u)
    }

    /// Returns `true` if the bytes are the only encoding of this coordinate: below 2^255 - 19.
    pub(crate) fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        let field_or_above = *last == 0x7f && middle.iter().all(|&b| b == 0xff) && *first >= 0xed;
        *last & 0x80 == 0 && !field_or_above
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

impl Wire for PublicKey {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<PublicKey, DecodeError> {
        bytes_array(r).map(PublicKey)
    }
}

/// Every u-coordinate of small order below 2^255, also the two that are not reduced.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    small(1, 0, 0),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    small(0xec, 0xff, 0x7f),
    small(0xed, 0xff, 0x7f),
    small(0xee, 0xff, 0x7f),
];

const fn small(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    let [head, .., tail] = &mut bytes;
    *head = first;
    *tail = last;
    bytes
}
