//! Reads vector files.

use std::path::Path;

use p2panda_core::cbor::Writer;
use serde_json::Value;

/// A whole file of `vectors/`.
pub fn file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The entries of a file in the common format.
pub fn entries(name: &str) -> Vec<Entry> {
    let file = file(name);
    assert_eq!(file["format"], 1);
    let entries = file["vectors"].as_array().unwrap();
    assert!(!entries.is_empty());
    entries.iter().map(Entry::of).collect()
}

pub struct Entry {
    pub name: String,
    pub inputs: Value,
    pub expected: Value,
}

impl Entry {
    fn of(value: &Value) -> Entry {
        Entry {
            name: value["name"].as_str().unwrap().to_string(),
            inputs: value["inputs"].clone(),
            expected: value["expected"].clone(),
        }
    }
}

/// Hexadecimal text as bytes.
pub fn hex(value: &Value) -> Vec<u8> {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not hexadecimal text"));
    assert!(text.len().is_multiple_of(2));
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Hexadecimal text as an array.
pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

/// Hexadecimal text, or `null`.
pub fn optional(value: &Value) -> Option<Vec<u8>> {
    (!value.is_null()).then(|| hex(value))
}

/// Writes JSON as CBOR, in the mapping of typed values.
pub fn write_json(writer: &mut Writer, value: &Value) {
    match value {
        Value::Null => {
            writer.null();
        }
        Value::Bool(value) => {
            writer.bool(*value);
        }
        Value::Number(number) => {
            writer.uint(number.as_u64().unwrap());
        }
        Value::String(text) => {
            writer.text(text);
        }
        Value::Array(items) => {
            writer.array(items.len());
            items.iter().for_each(|item| write_json(writer, item));
        }
        Value::Object(pairs) => {
            let mut pairs: Vec<(&String, &Value)> = pairs.iter().collect();
            pairs.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            writer.map(pairs.len());
            for (key, value) in pairs {
                writer.text(key);
                write_json(writer, value);
            }
        }
    }
}
