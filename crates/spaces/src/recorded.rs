//! Vectors whose bytes tests make again from seeds.

use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/");

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares what a test made with the file `name` of `vectors`. With `WRITE_VECTORS` in the
/// environment, the file is written first.
pub(crate) fn is_recorded(name: &str, made: &Value) {
    let path = format!("{VECTORS}{name}");
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(made).unwrap();
        std::fs::write(&path, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(path).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded, *made);
}
