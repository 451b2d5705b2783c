//! The shipped vectors for the wire: every entry is run, verdicts follow the rules of the pages
//! (docs/decisions/0017-recorded-verdicts.md), never a list of names.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod announcements;
mod blocked;
mod bodies;
mod digest;
mod discovery;
mod gossip;
mod link;
mod live;
mod mdns;
mod pieces;
mod ranges;
mod receipts;
mod record;
mod records;
mod sync;

use std::path::Path;

use bytes::{Bytes, BytesMut};
use p2panda_core::limits::FRAME_BYTES_MAX;
use p2panda_protocol::frame::{Decoder, Frame};
use serde_json::Value;

/// Reads one file of `vectors/`.
fn load(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The text of a value that must be there.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The bytes of a hex value that must be there.
fn hex(value: &Value) -> Bytes {
    let digits: Vec<u8> = text(value)
        .chars()
        .map(|c| c.to_digit(16).unwrap() as u8)
        .collect();
    assert_eq!(digits.len() % 2, 0);
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// 32 bytes of a hex value.
fn hex32(value: &Value) -> [u8; 32] {
    hex(value).as_ref().try_into().unwrap()
}

/// The items of a list that must be there.
fn list(value: &Value) -> &Vec<Value> {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

/// The payload of the only frame in these bytes.
fn payload(framed: &Bytes) -> Bytes {
    let mut decoder = Decoder::new();
    decoder.push(framed.clone());
    let Ok(Some(Frame::Message(payload))) = decoder.next(|_| FRAME_BYTES_MAX) else {
        panic!("not one frame: {framed:?}");
    };
    assert!(decoder.is_between_frames());
    payload
}

/// Returns what `encode` appends.
fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

/// Every way to change, drop or add one byte.
fn tampered(bytes: &[u8]) -> impl Iterator<Item = Bytes> + '_ {
    let positions = 0..bytes.len();
    let flipped = positions.clone().flat_map(move |at| {
        [0x01, 0x02, 0x80, 0xff].into_iter().map(move |mask| {
            let mut copy = bytes.to_vec();
            copy[at] ^= mask;
            Bytes::from(copy)
        })
    });
    let dropped = positions.map(move |at| [&bytes[..at], &bytes[at + 1..]].concat().into());
    let added = (0..=bytes.len()).flat_map(move |at| {
        [0x00, 0x01, 0x20, 0xff]
            .into_iter()
            .map(move |byte| [&bytes[..at], &[byte], &bytes[at..]].concat().into())
    });
    let cut = (0..bytes.len()).map(move |len| Bytes::copy_from_slice(&bytes[..len]));
    flipped.chain(dropped).chain(added).chain(cut)
}
