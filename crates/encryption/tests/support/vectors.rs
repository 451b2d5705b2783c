//! Reads the recorded vectors.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use p2panda_core::{Hash, VerifyingKey};
use serde_json::Value;

/// A time at which the recorded bundles are valid.
pub const NOW: u64 = 1_790_000_000;

pub fn load(file: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors");
    let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn list(value: &Value) -> &Vec<Value> {
    value.as_array().expect("a list")
}

pub fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

pub fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

pub fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii());
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn bytes(value: &Value) -> Vec<u8> {
    unhex(text(value))
}

pub fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

pub fn rng(value: &Value) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(array(value))
}

pub fn member(value: &Value) -> VerifyingKey {
    VerifyingKey::from_bytes(array(value)).unwrap()
}

pub fn operation(value: &Value) -> Hash {
    Hash::from_bytes(array(value))
}

/// Returns the required result: what the case says, otherwise what was recorded.
pub fn required<'a>(case: &'a Value, recorded: &'a str) -> &'a str {
    case.get("required_of_us").map_or(recorded, text)
}

/// Returns `true` if a listed rule makes us refuse what was recorded as accepted.
pub fn overridden(file: &str, section: &str, case: &str) -> bool {
    let overrides = load("encryption-overrides.json");
    list(&overrides["overrides"])
        .iter()
        .any(|o| o["file"] == file && o["section"] == section && o["case"] == case)
}
