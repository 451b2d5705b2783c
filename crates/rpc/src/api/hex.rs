//! Keys and hashes of messages as text. Each message has two of them, so both directions are fast.

/// A key. Consecutive messages of an author check only once that it is a point of the curve.
pub(crate) mod key {
    use std::cell::Cell;

    use p2panda_core::{Hash, VerifyingKey};
    use serde::{Deserialize, Deserializer, Serializer};

    thread_local! {
        static LAST: Cell<Option<[u8; 32]>> = const { Cell::new(None) };
    }

    pub(crate) fn serialize<S: Serializer>(
        key: &VerifyingKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize(key.as_bytes(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VerifyingKey, D::Error> {
        let bytes = *Hash::deserialize(deserializer)?.as_bytes();
        if LAST.get() == Some(bytes) {
            return Ok(VerifyingKey::from_bytes_unchecked(bytes));
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(serde::de::Error::custom)?;
        LAST.set(Some(bytes));
        Ok(key)
    }
}

/// A hash.
pub(crate) mod hash {
    use p2panda_core::Hash;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(hash.as_bytes(), serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        Hash::deserialize(deserializer)
    }
}

fn serialize<S: serde::Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = [0; 64];
    data_encoding::HEXLOWER.encode_mut(bytes, &mut text);
    serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::{Hash, SigningKey, VerifyingKey};
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Both {
        #[serde(with = "super::key")]
        key: VerifyingKey,
        #[serde(with = "super::hash")]
        hash: Hash,
    }

    #[test]
    fn keys_and_hashes_are_text_as_their_types_write_it() {
        for seed in [1, 1, 2, 1] {
            let both = Both {
                key: SigningKey::from_bytes(&[seed; 32]).verifying_key(),
                hash: Hash::digest(&[seed]),
            };
            let text = serde_json::to_string(&both).unwrap();
            let plain = serde_json::json!({"key": both.key, "hash": both.hash});
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap(),
                plain
            );
            assert_eq!(serde_json::from_str::<Both>(&text).unwrap(), both);
        }
        // No point of the curve has this encoding.
        let hash = "00".repeat(32);
        for key in ["02".repeat(32), "7".repeat(63), "7g".repeat(32)] {
            let text = format!(r#"{{"key":"{key}","hash":"{hash}"}}"#);
            let read = serde_json::from_str::<Both>(&text);
            let plain = key.parse::<VerifyingKey>();
            assert_eq!(read.is_ok(), plain.is_ok(), "{key}");
        }
    }
}
