//! Hexadecimal text in JSON.

use std::fmt::Write;

use bytes::Bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are lower-case hexadecimal digits in JSON; either case is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex(pub Bytes);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(2 * self.0.len());
        for byte in &self.0 {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if !rest.is_empty() {
            return Err(D::Error::custom("odd number of hexadecimal digits"));
        }
        let digit = |byte: u8| char::from(byte).to_digit(16);
        pairs
            .iter()
            .map(|&[high, low]| Some((digit(high)? << 4 | digit(low)?) as u8))
            .collect::<Option<Vec<u8>>>()
            .map(|bytes| Hex(bytes.into()))
            .ok_or_else(|| D::Error::custom("not a hexadecimal digit"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn hex_reads_what_it_writes_and_nothing_else() {
        let hex = Hex(Bytes::from_static(&[0, 0xab, 0xff]));
        let text = serde_json::to_string(&hex).unwrap();
        assert_eq!(text, "\"00abff\"");
        assert_eq!(serde_json::from_str::<Hex>(&text).unwrap(), hex);
        assert!(serde_json::from_str::<Hex>("\"0\"").is_err());
        assert!(serde_json::from_str::<Hex>("\"0g\"").is_err());
        assert!(serde_json::from_str::<Hex>("\"ü\"").is_err());
    }
}
