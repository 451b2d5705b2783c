//! Bytes in JSON.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are base64 with padding in JSON (RFC 4648, section 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bin(pub Bytes);

impl Serialize for Bin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bin, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes());
        let bytes = bytes.map_err(|_| D::Error::custom("not base64 with padding"))?;
        Ok(Bin(bytes.into()))
    }
}

impl JsonSchema for Bin {
    fn schema_name() -> Cow<'static, str> {
        "Bin".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

impl<T: Into<Bytes>> From<T> for Bin {
    fn from(bytes: T) -> Self {
        Bin(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_are_padded_base64_and_nothing_else() {
        let text = serde_json::to_string(&Bin::from(vec![0, 0xab, 0xff, 1])).unwrap();
        assert_eq!(text, "\"AKv/AQ==\"");
        assert_eq!(
            serde_json::from_str::<Bin>(&text).unwrap().0,
            vec![0, 0xab, 0xff, 1]
        );
        for wrong in ["\"AKv/AQ\"", "\"AKv_AQ==\"", "\"!\"", "1"] {
            assert!(serde_json::from_str::<Bin>(wrong).is_err(), "{wrong}");
        }
    }
}
