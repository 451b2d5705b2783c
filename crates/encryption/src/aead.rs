//! The two authenticated ciphers.

pub use p2panda_ciphers::{AeadError, open, open_x};

/// ChaCha20-Poly1305 (RFC 8439); the tag is appended.
pub fn seal(
    key: &[u8; 32],
    nonce: &[u8; 12],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    #[cfg(test)]
    watch::sealed(key, nonce);
    p2panda_ciphers::seal(key, nonce, aad, plaintext)
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
    p2panda_ciphers::seal_x(key, nonce, aad, plaintext)
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
