//! X-Wing, the hybrid of X25519 and ML-KEM-768 (`docs/protocol/encryption-hybrid.md#3.1`).

use std::fmt;

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use thiserror::Error;
use x_wing::{DecapsulationKey, DecapsulationKeyRejectNonContrib, EncapsulationKey};
use x_wing::{KeyExport, SharedKey, TryDecapsulate};
use zeroize::{Zeroize, Zeroizing};

use crate::secret::Secret;
use crate::wire::{DecodeError, Reader, Wire, Writer};
use crate::x25519::{PublicKey, SecretKey};

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = x_wing::ENCAPSULATION_KEY_SIZE;

/// Bytes of an encapsulation.
pub const ENCAPSULATION_BYTES: usize = x_wing::CIPHERTEXT_SIZE;

/// Random bytes that one encapsulation takes.
pub const RANDOMNESS_BYTES: usize = x_wing::ENCAPSULATION_RANDOMNESS_SIZE;

/// Bytes of the X25519 part, at the end of keys and encapsulations.
const X25519_BYTES: usize = 32;

/// Reason why a key or an encapsulation is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum XWingError {
    /// Not a public key: of another length, not reduced, or of small order.
    #[error("not an X-Wing public key")]
    Key,
    /// Not an encapsulation: of another length, or its agreement would be zero.
    #[error("not an X-Wing encapsulation")]
    Encapsulation,
}

/// A seed, from which both secret keys are expanded where they are used.
#[derive(Debug, PartialEq, Eq)]
pub struct XWingSecret(Secret);

impl XWingSecret {
    /// Takes a seed that exists already.
    pub fn from_seed(seed: Secret) -> XWingSecret {
        XWingSecret(seed)
    }

    /// Draws a seed.
    pub fn random(rng: &mut impl CryptoRng) -> XWingSecret {
        XWingSecret(Secret::random(rng))
    }

    /// A second copy, for another channel.
    pub(crate) fn duplicate(&self) -> XWingSecret {
        XWingSecret(self.0.duplicate())
    }

    /// The public half.
    pub fn public_key(&self) -> XWingPublic {
        let key = DecapsulationKey::from(*self.0.as_bytes());
        let key = x_wing::Decapsulator::encapsulation_key(&key).to_bytes();
        XWingPublic(Box::new(key.into()))
    }

    /// The secret that somebody encapsulated.
    pub fn open(&self, encapsulation: &[u8]) -> Result<Secret, XWingError> {
        let refused = |_| XWingError::Encapsulation;
        let encapsulation = encapsulation
            .try_into()
            .map_err(|_| XWingError::Encapsulation)?;
        let key = DecapsulationKeyRejectNonContrib::from(*self.0.as_bytes());
        key.try_decapsulate(&encapsulation)
            .map(take)
            .map_err(refused)
    }
}

impl Wire for XWingSecret {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<XWingSecret, DecodeError> {
        Secret::read(r).map(XWingSecret)
    }
}

/// A public key that was checked.
#[derive(Clone, PartialEq, Eq)]
pub struct XWingPublic(Box<[u8; PUBLIC_KEY_BYTES]>);

impl XWingPublic {
    /// Checks the bytes of a key.
    pub fn from_bytes(bytes: &[u8]) -> Result<XWingPublic, XWingError> {
        EncapsulationKey::try_from(bytes).map_err(|_| XWingError::Key)?;
        let key: Box<[u8; PUBLIC_KEY_BYTES]> =
            bytes.to_vec().try_into().map_err(|_| XWingError::Key)?;
        let x25519 = key.last_chunk::<X25519_BYTES>();
        match x25519.map(|key| PublicKey::from_bytes(*key).is_small_order()) {
            Some(false) => Ok(XWingPublic(key)),
            _ => Err(XWingError::Key),
        }
    }

    /// The bytes as they cross the wire.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// Makes a secret for the holder of the secret key, with randomness that must not be used
    /// again.
    pub fn encapsulate(&self, randomness: &Randomness) -> (Box<[u8; ENCAPSULATION_BYTES]>, Secret) {
        let key = EncapsulationKey::try_from(self.0.as_slice())
            .expect("the key was checked when it was made");
        let mut drawn = (**randomness.0).into();
        let (encapsulation, shared) = key.encapsulate_deterministic(&drawn);
        drawn.zeroize();
        (Box::new(encapsulation.into()), take(shared))
    }
}

impl fmt::Debug for XWingPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XWingPublic({})", p2panda_core::Hash::digest(&*self.0))
    }
}

impl Wire for XWingPublic {
    fn write(&self, w: &mut Writer) {
        w.bytes(self.0.as_slice());
    }

    fn read(r: &mut Reader<'_>) -> Result<XWingPublic, DecodeError> {
        XWingPublic::from_bytes(r.bytes()?).map_err(|_| DecodeError::Key)
    }
}

/// The ephemeral X25519 key of an encapsulation.
pub(crate) fn ephemeral_of(encapsulation: &[u8]) -> Result<PublicKey, XWingError> {
    let key = encapsulation.last_chunk::<X25519_BYTES>();
    let key = key.filter(|_| encapsulation.len() == ENCAPSULATION_BYTES);
    key.map(|key| PublicKey::from_bytes(*key))
        .ok_or(XWingError::Encapsulation)
}

/// Random bytes that one encapsulation draws.
pub struct Randomness(Box<Zeroizing<[u8; RANDOMNESS_BYTES]>>);

impl Randomness {
    /// Takes bytes of a recording; to encapsulate in earnest, draw them.
    pub fn from_bytes(bytes: [u8; RANDOMNESS_BYTES]) -> Randomness {
        Randomness(Box::new(Zeroizing::new(bytes)))
    }

    /// Draws the bytes.
    pub fn random(rng: &mut impl CryptoRng) -> Randomness {
        let mut bytes = Box::new(Zeroizing::new([0; RANDOMNESS_BYTES]));
        rng.fill_bytes(bytes.as_mut_slice());
        Randomness(bytes)
    }

    /// The secret half of the ephemeral X25519 key of the encapsulation.
    pub(crate) fn ephemeral(&self) -> SecretKey {
        let last = self.0.last_chunk::<X25519_BYTES>();
        SecretKey::from_bytes(*last.expect("64 bytes are more than 32"))
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness(..)")
    }
}

impl PartialEq for Randomness {
    fn eq(&self, other: &Randomness) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

fn take(mut shared: SharedKey) -> Secret {
    let secret = Secret::from_bytes(shared.0);
    shared.zeroize();
    secret
}

#[cfg(test)]
#[path = "xwing_tests.rs"]
mod tests;
