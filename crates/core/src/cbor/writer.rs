//! Writes each value in its one form.

use alloc::vec::Vec;
use core::fmt;

use super::Buffer;
use super::float::{shorten_32, shorten_64};

/// Builds deterministic CBOR item by item.
///
/// Integers, lengths and floats take their shortest form by themselves. The caller writes as
/// many items as it announced, map keys sorted by their encoded bytes and without repeats.
///
/// The bytes go into a vector, or into another [`Buffer`] where they are secret.
#[derive(Default)]
pub struct Writer<B = Vec<u8>>(B);

impl Writer {
    /// Starts with nothing.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// Starts with nothing and room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer(Vec::with_capacity(bytes))
    }
}

/// Only of bytes that are not secret.
impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.0).finish()
    }
}

impl<B: Buffer> Writer<B> {
    /// An unsigned integer.
    pub fn uint(&mut self, value: u64) -> &mut Writer<B> {
        self.head(0, value)
    }

    /// A signed integer.
    pub fn int(&mut self, value: i64) -> &mut Writer<B> {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            // -1 - value, which is what the bits of a negative number say inverted.
            Err(_) => self.head(1, !value as u64),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Writer<B> {
        self.head(2, bytes.len() as u64).raw(bytes)
    }

    /// The start of a byte string; `len` bytes follow.
    pub fn bytes_head(&mut self, len: usize) -> &mut Writer<B> {
        self.head(2, len as u64)
    }

    /// Bytes as an array of integers.
    pub fn ints(&mut self, bytes: &[u8]) -> &mut Writer<B> {
        self.array(bytes.len());
        for &byte in bytes {
            self.uint(u64::from(byte));
        }
        self
    }

    /// A text string.
    pub fn text(&mut self, text: &str) -> &mut Writer<B> {
        self.head(3, text.len() as u64).raw(text.as_bytes())
    }

    /// The start of a text string; `len` bytes follow.
    pub fn text_head(&mut self, len: usize) -> &mut Writer<B> {
        self.head(3, len as u64)
    }

    /// The start of an array; `len` items follow.
    pub fn array(&mut self, len: usize) -> &mut Writer<B> {
        self.head(4, len as u64)
    }

    /// The start of a map; `len` pairs of key and value follow.
    pub fn map(&mut self, len: usize) -> &mut Writer<B> {
        self.head(5, len as u64)
    }

    /// A tag; the item that it marks follows.
    pub fn tag(&mut self, tag: u64) -> &mut Writer<B> {
        self.head(6, tag)
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Writer<B> {
        self.raw(&[if value { 0xf5 } else { 0xf4 }])
    }

    /// `null`, also the absent option.
    pub fn null(&mut self) -> &mut Writer<B> {
        self.raw(&[0xf6])
    }

    /// A float, in the shortest form that keeps every bit.
    pub fn float(&mut self, value: f64) -> &mut Writer<B> {
        let bits = value.to_bits();
        let Some(single) = shorten_64(bits) else {
            return self.raw(&[0xfb]).raw(&bits.to_be_bytes());
        };
        match shorten_32(single) {
            Some(half) => self.raw(&[0xf9]).raw(&half.to_be_bytes()),
            None => self.raw(&[0xfa]).raw(&single.to_be_bytes()),
        }
    }

    /// Bytes that are encoded already, usually one item.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Writer<B> {
        self.0.append(bytes);
        self
    }

    /// Returns the written bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// Returns the written bytes.
    pub fn into_bytes(self) -> B {
        self.0
    }

    fn head(&mut self, major: u8, argument: u64) -> &mut Writer<B> {
        let major = major << 5;
        if argument < 24 {
            self.0.append(&[major | argument as u8]);
        } else if let Ok(argument) = u8::try_from(argument) {
            self.0.append(&[major | 24, argument]);
        } else if let Ok(argument) = u16::try_from(argument) {
            self.0.append(&[major | 25]);
            self.0.append(&argument.to_be_bytes());
        } else if let Ok(argument) = u32::try_from(argument) {
            self.0.append(&[major | 26]);
            self.0.append(&argument.to_be_bytes());
        } else {
            self.0.append(&[major | 27]);
            self.0.append(&argument.to_be_bytes());
        }
        self
    }
}
