//! Deterministic CBOR: one encoding per value, checked on the way in
//! (`docs/protocol/operations.md#2`).
//!
//! The reader borrows from its input, allocates nothing but a small stack bounded by the nesting
//! limit, and never recurses.
//!
//! ```
//! use p2panda_core::cbor::{self, Reader, Writer};
//!
//! let mut writer = Writer::new();
//! writer.array(2).uint(24).text("panda");
//! let bytes = writer.into_bytes();
//!
//! let mut reader = Reader::checked(&bytes, cbor::VALUE)?;
//! assert_eq!(reader.array()?, 2);
//! assert_eq!(reader.uint()?, 24);
//! assert_eq!(reader.text()?, "panda");
//! reader.finish()?;
//! # Ok::<(), cbor::CborError>(())
//! ```

mod buffer;
mod float;
mod reader;
mod writer;

use thiserror::Error;

pub use buffer::Buffer;
pub use reader::{Kind, Reader};
pub use writer::Writer;

use crate::limits::{HEADER_DEPTH_MAX, HEADER_LENGTH_MAX, VALUE_DEPTH_MAX, VALUE_LENGTH_MAX};

/// Bounds that a decoder enforces before it allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Declared length of any array (items), map (pairs), byte string or text (bytes).
    pub length_max: u64,
    /// Levels of arrays, maps and tags.
    pub depth_max: usize,
}

/// The bounds of an operation header.
pub const HEADER: Limits = Limits {
    length_max: HEADER_LENGTH_MAX,
    depth_max: HEADER_DEPTH_MAX,
};

/// The bounds of everything else: bodies, cursors, ephemeral messages.
pub const VALUE: Limits = Limits {
    length_max: VALUE_LENGTH_MAX,
    depth_max: VALUE_DEPTH_MAX,
};

/// Reason why bytes are not deterministic CBOR, or not of the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CborError {
    /// Not CBOR at all: reserved values, a break outside an indefinite item.
    #[error("malformed CBOR")]
    Malformed,
    /// CBOR, but not the one encoding of its value.
    #[error("CBOR is not in its deterministic form")]
    NonDeterministic,
    /// The input ends within the item.
    #[error("CBOR ends too early")]
    Eof,
    /// A declared length is above [`Limits::length_max`].
    #[error("a length in CBOR is too large")]
    TooLong,
    /// Nesting is above [`Limits::depth_max`].
    #[error("CBOR is nested too deeply")]
    TooDeep,
    /// Text is not UTF-8.
    #[error("text in CBOR is not UTF-8")]
    Utf8,
    /// Bytes follow the item.
    #[error("bytes follow the CBOR item")]
    Trailing,
    /// The item is of another type than the one asked for.
    #[error("a CBOR item has an unexpected type")]
    Type,
}

/// Checks that the bytes are exactly one deterministic item within the limits.
pub fn check(bytes: &[u8], limits: Limits) -> Result<(), CborError> {
    let mut reader = Reader::new(bytes, limits);
    reader.skip()?;
    reader.finish()
}

/// Splits the first item, checked, from what follows it.
///
/// Application bodies are read this way, because published peers ignore bytes after the item.
pub fn first(bytes: &[u8], limits: Limits) -> Result<(&[u8], &[u8]), CborError> {
    let mut reader = Reader::new(bytes, limits);
    let item = reader.item()?;
    Ok((item, reader.rest()))
}

#[cfg(test)]
mod tests;
