//! A key from a passphrase: Argon2id (RFC 9106), as its second recommended option says, on one lane.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// Memory, in KiB.
const MEMORY_KIB: u32 = 64 * 1024;
/// Passes over it.
const PASSES: u32 = 3;

/// The key; none if the salt has fewer than 8 bytes.
pub fn stretch(passphrase: &str, salt: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).ok()?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon
        .hash_password_into(passphrase.as_bytes(), salt, &mut *key)
        .ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn passphrase_and_salt_decide_the_key() {
        let key = stretch("correct horse", b"saltsalt").unwrap();
        assert_eq!(key, stretch("correct horse", b"saltsalt").unwrap());
        assert_ne!(key, stretch("correct horsf", b"saltsalt").unwrap());
        assert_ne!(key, stretch("correct horse", b"saltsalu").unwrap());
        assert!(stretch("correct horse", b"short").is_none());
    }
}
