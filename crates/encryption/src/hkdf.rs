//! HKDF-SHA256 (RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;
use thiserror::Error;

use crate::secret::Secret;

/// More than 255 * 32 bytes were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("HKDF gives at most 8160 bytes")]
pub struct HkdfTooLong;

/// Derives as many bytes as `okm` takes. An empty salt is not a salt.
pub fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], okm: &mut [u8]) -> Result<(), HkdfTooLong> {
    let salt = (!salt.is_empty()).then_some(salt);
    Hkdf::<Sha256>::new(salt, ikm)
        .expand(info, okm)
        .map_err(|_| HkdfTooLong)
}

/// Derives a secret from the parts as if they were one string.
pub(crate) fn derive_secret(salt: &[u8], ikm: &[u8], info: &[u8]) -> Secret {
    let mut secret = Secret::zeros();
    hkdf(salt, ikm, info, secret.as_mut()).expect("32 bytes are not too long");
    secret
}

/// Derives the nonce that belongs to a key which is used once.
pub(crate) fn derive_nonce(salt: &[u8], ikm: &[u8]) -> [u8; 12] {
    let mut nonce = [0; 12];
    hkdf(salt, ikm, &[], &mut nonce).expect("12 bytes are not too long");
    nonce
}
