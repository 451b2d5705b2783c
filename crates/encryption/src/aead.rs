//! The two authenticated ciphers.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why nothing was sealed or opened.
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
    #[cfg(test)]
    watch::sealed(key, nonce);
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
    #[cfg(test)]
    watch::sealed(key, nonce);
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

/// Watches that nothing is sealed twice with one key and one nonce.
#[cfg(test)]
pub(crate) mod watch {
    use p2panda_core::ordered::BTreeSet;
    use std::cell::RefCell;

    thread_local! {
        static SEALED: RefCell<Option<BTreeSet<Vec<u8>>>> = const { RefCell::new(None) };
    }

    /// Watches what this thread seals while `act` runs; how much that was.
    ///
    /// # Panics
    ///
    /// When a key and a nonce are used twice.
    pub(crate) fn seals(act: impl FnOnce()) -> usize {
        SEALED.set(Some(BTreeSet::new()));
        act();
        SEALED.take().map_or(0, |sealed| sealed.len())
    }

    pub(super) fn sealed(key: &[u8; 32], nonce: &[u8]) {
        SEALED.with_borrow_mut(|sealed| {
            if let Some(sealed) = sealed {
                let new = sealed.insert([&key[..], nonce].concat());
                assert!(new, "a key and a nonce were used twice");
            }
        });
    }

    #[test]
    #[should_panic(expected = "used twice")]
    fn the_watch_sees_a_key_and_a_nonce_that_are_used_twice() {
        seals(|| {
            for text in [b"one", b"two"] {
                let _ = super::seal(&[1; 32], &[2; 12], &[], text);
            }
        });
    }
}
