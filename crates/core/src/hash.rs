//! BLAKE3 digests.

use crate::fixed::{any_bytes, debug_hex};

/// A BLAKE3 digest: 32 bytes, unkeyed, without context; ordered by its bytes.
///
/// The id of an operation is the hash of its header bytes (`docs/protocol/operations.md#1`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

any_bytes!(Hash, 32);
debug_hex!(Hash);

impl Hash {
    /// Hashes the bytes.
    pub fn digest(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes the parts as if they were one string of bytes, without a separator.
    pub fn digest_parts(parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Hashes the parts as if they were one string of bytes, with a key of 32 bytes (the keyed mode of
    /// BLAKE3).
    pub fn keyed_parts(key: &[u8; 32], parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(key);
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Hashes the parts as if they were one string of bytes, for one purpose only (the key derivation
    /// mode of BLAKE3): the same bytes in another context give another hash.
    pub fn derived_parts(context: &str, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::string::ToString;

    use super::*;
    use crate::ParseError;

    #[test]
    fn text_and_bytes_come_back_unchanged() {
        let hash = Hash::digest_parts(&[b"pan", b"da"]);
        assert_eq!(hash, Hash::digest(b"panda"));
        assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
        assert_eq!(
            hash.to_string().to_uppercase().parse::<Hash>().unwrap(),
            hash
        );
        assert_eq!(Hash::try_from(&hash.as_bytes()[..]).unwrap(), hash);
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, alloc::format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
    }

    #[test]
    fn wrong_text_names_what_is_wrong() {
        let short = ParseError::Digits {
            expected: 64,
            found: 2,
        };
        assert_eq!("00".parse::<Hash>(), Err(short));
        assert_eq!(
            "g".repeat(64).parse::<Hash>(),
            Err(ParseError::Digit { place: 1 })
        );
        // What counts is characters, not bytes.
        assert_eq!(
            "ä".repeat(64).parse::<Hash>(),
            Err(ParseError::Digit { place: 1 })
        );
    }
}
