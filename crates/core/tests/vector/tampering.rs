//! Flips, drops and adds every byte of every valid vector. Nothing panics, nothing forged is
//! taken, and what still decodes has one encoding only.

use bytes::Bytes;
use p2panda_core::{Cursor, EphemeralMessage, Header, Heights, NodeExtensions};
use serde_json::Value;

use crate::file::{entries, file, hex};
use crate::headers::reencoded;

/// All inputs that differ from `valid` in one byte, or are one byte shorter or longer.
fn tampered(valid: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..valid.len() * 8).map(|bit| {
        let mut bytes = valid.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let dropped = (0..valid.len()).map(|at| {
        let mut bytes = valid.to_vec();
        bytes.remove(at);
        bytes
    });
    let cut = (0..valid.len()).map(|at| valid[..at].to_vec());
    // Of each kind of CBOR one head.
    let heads = [
        0x00, 0x18, 0x20, 0x40, 0x58, 0x60, 0x80, 0x9b, 0xa1, 0xc0, 0xc2, 0xf6, 0xf9, 0xff,
    ];
    let added = (0..=valid.len()).flat_map(move |at| {
        heads.into_iter().map(move |byte| {
            let mut bytes = valid.to_vec();
            bytes.insert(at, byte);
            bytes
        })
    });
    flipped.chain(dropped).chain(cut).chain(added)
}

fn valid_headers() -> Vec<Vec<u8>> {
    let all = entries("headers.json")
        .into_iter()
        .map(|entry| hex(&entry.expected["header_bytes"]));
    let more = entries("invalid_headers.json");
    let more = more
        .into_iter()
        .map(|entry| hex(&entry.inputs["header_bytes"]));
    let mut valid: Vec<Vec<u8>> = all
        .chain(more)
        .filter(|bytes| Header::decode(Bytes::from(bytes.clone())).is_ok())
        .collect();
    valid.sort();
    valid.dedup();
    assert!(!valid.is_empty());
    valid
}

#[test]
fn a_tampered_header_vector_never_panics_and_never_verifies() {
    for valid in valid_headers() {
        for bytes in tampered(&valid) {
            let Ok(header) = Header::decode_unverified(Bytes::from(bytes.clone())) else {
                continue;
            };
            assert_eq!(reencoded(&header), bytes);
            assert!(header.verify().is_err(), "{bytes:02x?}");
            let _ = header.node_extensions();
        }
    }
}

#[test]
fn tampered_extensions_never_panic_and_keep_their_meaning() {
    let headers = valid_headers().into_iter().filter_map(|bytes| {
        let header = Header::decode(Bytes::from(bytes)).unwrap();
        header
            .node_extensions()
            .ok()
            .and(header.extensions().map(<[u8]>::to_vec))
    });
    let vectors = entries("node_extensions.json");
    let vectors = vectors
        .into_iter()
        .map(|entry| hex(&entry.expected["cbor"]));
    for valid in vectors.chain(headers).chain([with_dependencies()]) {
        for bytes in tampered(&valid) {
            let Ok(extensions) = NodeExtensions::decode(&bytes) else {
                continue;
            };
            // Unknown elements and tags are passed over, so only the rest comes back.
            let encoded = extensions.encode();
            if encoded.len() == bytes.len() {
                assert_eq!(encoded, bytes);
            }
            assert_eq!(NodeExtensions::decode(&encoded), Ok(extensions));
        }
    }
}

/// No published vector has dependencies.
fn with_dependencies() -> Vec<u8> {
    let header = valid_headers().remove(0);
    let author = Header::decode(Bytes::from(header)).unwrap().author();
    let vector = entries("node_extensions.json").remove(0);
    let mut extensions = NodeExtensions::decode(&hex(&vector.expected["cbor"])).unwrap();
    for seq in [0, 24] {
        let mut bytes = *author.as_bytes();
        bytes[0] = seq;
        let author = p2panda_core::VerifyingKey::from_bytes_unchecked(bytes);
        let id = p2panda_core::Hash::digest(&bytes);
        extensions.deps.push(p2panda_core::Dependency {
            log: None,
            author,
            seq: u32::from(seq),
            id,
        });
    }
    assert_eq!(
        NodeExtensions::decode(&extensions.encode()),
        Ok(extensions.clone())
    );
    extensions.encode()
}

#[test]
fn a_tampered_cursor_vector_never_panics_and_has_one_encoding() {
    for entry in entries("cursors.json") {
        let Some(Value::String(_)) = entry.expected.get("cbor") else {
            continue;
        };
        for bytes in tampered(&hex(&entry.expected["cbor"])) {
            if let Ok(cursor) = Cursor::decode(&bytes) {
                assert_eq!(cursor.encode(), bytes);
            }
        }
        for bytes in tampered(&hex(&entry.expected["log_heights_cbor"])) {
            if let Ok(heights) = Heights::decode(&bytes) {
                assert_eq!(heights.encode(), bytes);
            }
        }
    }
}

#[test]
fn a_tampered_ephemeral_vector_never_panics_and_never_opens() {
    let mut messages: Vec<Vec<u8>> = entries("ephemeral.json")
        .iter()
        .map(|entry| hex(&entry.expected["message_bytes"]))
        .collect();
    let file = file("network-ephemeral.json");
    let captured = file["captured"].as_array().unwrap();
    let captured = captured.iter().chain([&file["crafted"]]);
    messages.extend(captured.map(|vector| hex(&vector["message"])));
    for valid in messages {
        for bytes in tampered(&valid) {
            assert!(
                EphemeralMessage::open(Bytes::from(bytes.clone())).is_err(),
                "{bytes:02x?}"
            );
        }
    }
}
