//! The files in `vectors/`.

use serde_json::Value;

pub fn read(name: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");
    let text = std::fs::read_to_string(format!("{path}{name}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}"))
}

/// Hex, with or without the marks of a byte string.
pub fn bytes(text: &str) -> Vec<u8> {
    let digits = text.trim_start_matches("h'").trim_end_matches('\'');
    let pairs = (0..digits.len() / 2).map(|at| &digits[2 * at..2 * at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

pub fn array(text: &str) -> [u8; 32] {
    bytes(text).try_into().unwrap()
}
