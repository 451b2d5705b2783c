//! Thirty-two secret bytes.

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::wire::{DecodeError, Reader, Wire, Writer};

/// A secret of 32 bytes: erased when dropped, compared in constant time, never printed, never
/// cloned by accident (`docs/protocol/encryption.md#4`).
///
/// The bytes live behind a pointer, so that moving the value, as a sorted map does with its
/// entries, leaves no copies behind that nobody erases.
pub struct Secret(Box<[u8; 32]>);

impl Secret {
    /// Takes the bytes of a secret that exists already.
    ///
    /// ```
    /// # use p2panda_encryption::Secret;
    /// let secret = Secret::from_bytes([7; 32]);
    /// assert_eq!(format!("{secret:?}"), "Secret(..)");
    /// ```
    pub fn from_bytes(mut bytes: [u8; 32]) -> Secret {
        let secret = Secret(Box::new(bytes));
        bytes.zeroize();
        secret
    }

    /// Draws 32 bytes.
    pub fn random(rng: &mut impl CryptoRng) -> Secret {
        let mut secret = Secret(Box::new([0; 32]));
        rng.fill_bytes(secret.0.as_mut_slice());
        secret
    }

    /// A second copy, where the algorithm needs one.
    pub(crate) fn duplicate(&self) -> Secret {
        Secret(self.0.clone())
    }

    /// The bytes, for the ciphers of [`crate::aead`] and for storing them sealed.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8; 32] {
        &mut self.0
    }

    pub(crate) fn zeros() -> Secret {
        Secret(Box::new([0; 32]))
    }

    /// Copies a slice; `None` unless it has 32 bytes.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Secret> {
        let mut secret = Secret::zeros();
        if bytes.len() != 32 {
            return None;
        }
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for Secret {}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Wire for Secret {
    fn write(&self, w: &mut Writer) {
        w.bytes(self.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Secret, DecodeError> {
        Secret::from_slice(r.bytes()?).ok_or(DecodeError::Length)
    }
}
