//! The two authenticated ciphers.
//!
//! The library is generic: its code is compiled in the crate that calls it. This crate is that one, so that a
//! profile can optimise the ciphers for speed and what calls them for size.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
use thiserror::Error;
use zeroize::Zeroizing;

/// Reason why nothing was sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AeadError {
    /// The plaintext is longer than the cipher allows (256 GiB).
    #[error("the plaintext is too long")]
    Encrypt,
    /// Key, nonce, additional data or ciphertext are not those that were sealed.
    #[error("the ciphertext cannot be decrypted")]
    Decrypt,
}

/// ChaCha20-Poly1305 (RFC 8439); the tag is appended.
pub fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    let msg = plaintext;
    ChaCha20Poly1305::new(key.into())
        .encrypt(nonce.into(), Payload { msg, aad })
        .map_err(|_| AeadError::Encrypt)
}

/// The inverse of [`seal`].
pub fn open(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AeadError> {
    let msg = ciphertext;
    ChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| AeadError::Decrypt)
}

/// XChaCha20-Poly1305; the tag is appended. Its nonce is long enough to be drawn at random.
pub fn seal_x(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    let msg = plaintext;
    XChaCha20Poly1305::new(key.into())
        .encrypt(nonce.into(), Payload { msg, aad })
        .map_err(|_| AeadError::Encrypt)
}

/// The inverse of [`seal_x`].
pub fn open_x(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AeadError> {
    let msg = ciphertext;
    XChaCha20Poly1305::new(key.into())
        .decrypt(nonce.into(), Payload { msg, aad })
        .map(Zeroizing::new)
        .map_err(|_| AeadError::Decrypt)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_sealed_opens_with_what_it_was_sealed_with() {
        let sealed = seal(&[1; 32], &[2; 12], b"aad", b"panda").unwrap();
        let opened = |key, nonce, aad: &[u8]| open(key, nonce, aad, &sealed);
        assert_eq!(
            opened(&[1; 32], &[2; 12], b"aad").unwrap().as_slice(),
            b"panda"
        );
        assert_eq!(opened(&[3; 32], &[2; 12], b"aad"), Err(AeadError::Decrypt));
        assert_eq!(opened(&[1; 32], &[3; 12], b"aad"), Err(AeadError::Decrypt));
        assert_eq!(opened(&[1; 32], &[2; 12], b"add"), Err(AeadError::Decrypt));

        let sealed = seal_x(&[1; 32], &[2; 24], b"aad", b"panda").unwrap();
        let opened = |key, nonce, aad: &[u8]| open_x(key, nonce, aad, &sealed);
        assert_eq!(
            opened(&[1; 32], &[2; 24], b"aad").unwrap().as_slice(),
            b"panda"
        );
        assert_eq!(opened(&[3; 32], &[2; 24], b"aad"), Err(AeadError::Decrypt));
        assert_eq!(opened(&[1; 32], &[3; 24], b"aad"), Err(AeadError::Decrypt));
        assert_eq!(opened(&[1; 32], &[2; 24], b"add"), Err(AeadError::Decrypt));
    }
}
