//! JSON that is stored as CBOR: what it would lose on the way is refused (`docs/protocol/rpc.md#8`).

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Reads a value whose names and whole numbers are kept as they are.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let text = <Box<RawValue>>::deserialize(deserializer)?;
    read(text.get()).map_err(D::Error::custom)
}

fn read(text: &str) -> Result<Value, serde_json::Error> {
    if let Some(number) = numbers(text).find(|number| !is_kept(number)) {
        let shown: String = number.chars().take(40).collect();
        let message = format!("the whole number {shown} does not fit 64 bits; send it as a text");
        return Err(serde_json::Error::custom(message));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Once.deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// Returns `true` if a number with a fraction or exponent, or one that fits 64 bits.
fn is_kept(number: &str) -> bool {
    let is_whole = !number.contains(['.', 'e', 'E']);
    // Without a sign there is no other zero.
    let fits = number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
    !is_whole || (fits && number != "-0")
}

/// The numbers of valid JSON.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let (mut in_text, mut escaped) = (false, false);
    let mut is_outside = move |c: char| {
        let was_outside = !in_text;
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_text,
            '"' => in_text = !in_text,
            _ => {}
        }
        was_outside
    };
    let part = move |c: char| {
        let is_outside = is_outside(c);
        !(is_outside && matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
    };
    let begins = |part: &&str| part.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    text.split(part).filter(begins)
}

/// A value in which no object has a name twice.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Once)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if values.contains_key(&name) {
                let shown: String = name.chars().take(40).collect();
                let message = format!("an object has the name {shown:?} twice");
                return Err(A::Error::custom(message));
            }
            let value = map.next_value_seed(Once)?;
            values.insert(name, value);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_cbor_would_not_keep_is_refused() {
        for kept in [
            r#"{"a":1,"b":{"a":-2.5e3}}"#,
            "[18446744073709551615,-9223372036854775808,1.5,1e30,0,null,true]",
            r#""18446744073709551616 \" 99999999999999999999""#,
            r#"{"99999999999999999999":"-0"}"#,
        ] {
            let value: Value = serde_json::from_str(kept).unwrap();
            assert_eq!(read(kept).unwrap(), value, "{kept}");
        }
        for lost in [
            r#"{"a":1,"a":2}"#,
            r#"[{"b":{"a":1,"\u0061":2}}]"#,
            "18446744073709551616",
            "[-9223372036854775809]",
            r#"{"a":-0}"#,
            "1e999",
        ] {
            assert!(read(lost).is_err(), "{lost}");
        }
    }
}
