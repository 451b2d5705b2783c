//! Vectors whose bytes tests make again from seeds.

use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Returns the file `name` of `vectors`.
pub(crate) fn recorded(name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{VECTORS}{name}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Compares what a test made with the file `name` of `vectors`. With `WRITE_VECTORS` in the
/// environment, the file is written first.
pub(crate) fn is_recorded(name: &str, made: &Value) {
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).unwrap();
        std::fs::write(format!("{VECTORS}{name}"), text + "\n").unwrap();
    }
    assert_eq!(recorded(name), *made);
}
