//! `vectors/recovery.json`: keys of passphrases, and files that they open or that are refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng;
use serde_json::{Value, json};

use super::tests::summed;
use super::{Cost, FileError, Passphrase, lock, unlock};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/recovery.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(error: FileError) -> &'static str {
    match error {
        FileError::NoRecoveryFile => "NoRecoveryFile",
        FileError::Newer { .. } => "Newer",
        FileError::Length => "Length",
        FileError::TooLong => "TooLong",
        FileError::Damaged => "Damaged",
        FileError::TooCostly => "TooCostly",
        FileError::Passphrase => "Passphrase",
    }
}

fn entry(of: &str, passphrase: &str, file: &[u8]) -> Value {
    let expected = match unlock(file, &Passphrase::new(passphrase).unwrap()) {
        Ok(content) => json!({ "content": hex(&content) }),
        Err(error) => json!({ "error": name(error) }),
    };
    json!({
        "name": of,
        "inputs": { "passphrase": passphrase, "file": hex(file) },
        "expected": expected,
    })
}

fn with(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn made() -> Value {
    let passphrase = "correct horse battery staple";
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut locked = |content: &[u8], cost| {
        let passphrase = Passphrase::new(passphrase).unwrap();
        lock(content, &passphrase, cost, &mut rng).unwrap()
    };
    let ours = locked(b"content", Cost::OURS);
    let file = locked(b"content", Cost::new(64, 2).unwrap());
    let empty = locked(b"", Cost::new(8, 1).unwrap());
    let vectors = [
        entry("as we write it", passphrase, &ours),
        entry("other costs", passphrase, &file),
        entry("nothing inside", passphrase, &empty),
        entry("another passphrase", "Correct horse battery staple", &file),
        entry("another beginning", passphrase, &with(&file, 0, b"P")),
        entry("version 2", passphrase, &summed(with(&file, 16, &[2]))),
        entry("cut", passphrase, &file[..file.len() - 1]),
        entry("cut within the front", passphrase, &file[..40]),
        entry("a byte behind", passphrase, &[&file[..], &[0]].concat()),
        entry("a changed byte", passphrase, &with(&file, 66, &[0xff])),
        entry(
            "changed and summed",
            passphrase,
            &summed(with(&file, 66, &[0xff])),
        ),
        entry(
            "1 GiB and 1 KiB",
            passphrase,
            &summed(with(&file, 17, &[0, 0x10, 0, 1])),
        ),
        entry("7 KiB", passphrase, &summed(with(&file, 17, &[0, 0, 0, 7]))),
        entry(
            "17 passes",
            passphrase,
            &summed(with(&file, 21, &[0, 0, 0, 17])),
        ),
        entry(
            "no pass",
            passphrase,
            &summed(with(&file, 21, &[0, 0, 0, 0])),
        ),
    ];
    json!({
        "format": "docs/protocol/recovery.md",
        "generator": "crates/encryption/src/passphrase/vector_tests.rs",
        "vectors": vectors,
    })
}

#[test]
fn recovery_files_are_those_of_the_vector() {
    let made = made();
    if std::env::var_os("WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&made).unwrap();
        std::fs::write(PATH, text + "\n").unwrap();
    }
    let text = std::fs::read_to_string(PATH).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded, made);
}
