//! The part of postcard that the protocols use: a zero-copy reader and a writer.
//!
//! Numbers, lengths and enum tags are unsigned LEB128 varints, byte strings carry their length,
//! sequences and maps their count (docs/protocol/sync.md#2). The reader accepts varints that are
//! longer than needed but no value beyond its type, and [`Reader::finish`] refuses bytes behind
//! the message. We write the shortest form.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Reason why bytes are not the message they should be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends inside a value.
    #[error("the message ends inside a value")]
    Eof,
    /// A varint does not end or its value is beyond its type.
    #[error("a number is beyond its type")]
    Varint,
    /// The byte in front of an optional value is neither 0 nor 1.
    #[error("an optional value starts with neither 0 nor 1")]
    Option,
    /// The tag of an enum is not known.
    #[error("unknown tag")]
    Tag,
    /// A byte string with a fixed size has another length.
    #[error("a value has the wrong length")]
    Length,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// Bytes follow the message inside its frame.
    #[error("bytes follow the message")]
    Trailing,
}

/// Reads values one after the other; byte strings are slices of the input.
#[derive(Clone, Debug)]
pub struct Reader {
    rest: Bytes,
}

impl Reader {
    /// A reader over one whole message.
    pub fn new(message: Bytes) -> Reader {
        Reader { rest: message }
    }

    /// Number of bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// One byte as it is.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        let (&byte, _) = self.rest.split_first().ok_or(WireError::Eof)?;
        let _ = self.rest.split_to(1);
        Ok(byte)
    }

    /// A varint of a 16 bit number.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        let value = self.varint(16)?;
        u16::try_from(value).map_err(|_| WireError::Varint)
    }

    /// A varint of a 32 bit number.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        let value = self.varint(32)?;
        u32::try_from(value).map_err(|_| WireError::Varint)
    }

    /// A varint of a 64 bit number.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.varint(64)
    }

    /// The tag of an enum.
    pub fn tag(&mut self) -> Result<u32, WireError> {
        self.u32()
    }

    /// The count of a sequence or map whose items take at least `item_bytes_min` bytes each.
    ///
    /// A count that the rest of the message cannot hold is an error here, so the caller may
    /// reserve that many items.
    pub fn count(&mut self, item_bytes_min: usize) -> Result<usize, WireError> {
        let count = self.length()?;
        let bytes = count.checked_mul(item_bytes_min).ok_or(WireError::Eof)?;
        if bytes > self.remaining() {
            return Err(WireError::Eof);
        }
        Ok(count)
    }

    /// `N` bytes without a length in front.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.rest.first_chunk::<N>().ok_or(WireError::Eof)?;
        let array = *bytes;
        let _ = self.rest.split_to(N);
        Ok(array)
    }

    /// A byte string that must hold exactly `N` bytes.
    pub fn sized<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        if self.length()? != N {
            return Err(WireError::Length);
        }
        self.array::<N>()
    }

    /// A byte string, as a slice of the input.
    pub fn bytes(&mut self) -> Result<Bytes, WireError> {
        let len = self.length()?;
        if len > self.remaining() {
            return Err(WireError::Eof);
        }
        Ok(self.rest.split_to(len))
    }

    /// Everything that is left, as a slice of the input.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest)
    }

    /// Reads a UTF-8 string with its length.
    pub fn text(&mut self) -> Result<String, WireError> {
        let bytes = self.bytes()?;
        let text = core::str::from_utf8(&bytes).map_err(|_| WireError::Utf8)?;
        Ok(text.to_owned())
    }

    /// Returns `true` if an optional value follows.
    pub fn option(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Option),
        }
    }

    /// Ends the message: nothing may be left.
    pub fn finish(self) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Trailing)
        }
    }

    fn length(&mut self) -> Result<usize, WireError> {
        usize::try_from(self.u64()?).map_err(|_| WireError::Varint)
    }

    fn varint(&mut self, bits: u32) -> Result<u64, WireError> {
        let (value, len) = varint(&self.rest, bits)?;
        self.rest.advance(len);
        Ok(value)
    }
}

/// The varint at the start of bytes, of a number of this many bits, and how many bytes it takes.
pub(crate) fn varint(bytes: &[u8], bits: u32) -> Result<(u64, usize), WireError> {
    let mut value = 0u64;
    let mut shift = 0u32;
    for (place, byte) in bytes.iter().enumerate() {
        let group = u64::from(byte & 0x7f);
        let room = bits - shift;
        if room < 7 && group >> room != 0 {
            return Err(WireError::Varint);
        }
        value |= group << shift;
        if byte & 0x80 == 0 {
            return Ok((value, place + 1));
        }
        shift += 7;
        if shift >= bits {
            return Err(WireError::Varint);
        }
    }
    Err(WireError::Eof)
}

/// Writes values behind each other.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Writer<'a> {
        Writer { out }
    }

    /// A number, a length, a count or a tag.
    pub fn uint(&mut self, value: impl Into<u64>) -> &mut Self {
        let mut rest = value.into();
        while rest >= 0x80 {
            // Truncation is the point: the lowest seven bits, marked as continued.
            self.out.put_u8((rest as u8) | 0x80);
            rest >>= 7;
        }
        self.out.put_u8(rest as u8);
        self
    }

    /// The count of a sequence or map.
    pub fn count(&mut self, count: usize) -> &mut Self {
        self.uint(count as u64)
    }

    /// Bytes without a length in front.
    pub fn array(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.put_slice(bytes);
        self
    }

    /// A byte string with its length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).array(bytes)
    }

    /// An optional byte string.
    pub fn option_bytes(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        match bytes {
            None => self.array(&[0]),
            Some(bytes) => self.array(&[1]).bytes(bytes),
        }
    }
}

/// Number of bytes that a varint of `value` takes.
pub fn varint_len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    bits.max(1).div_ceil(7)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn numbers_come_back_in_their_shortest_form() {
        for value in [
            0u64,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut out = BytesMut::new();
            Writer::new(&mut out).uint(value);
            assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(out.freeze());
            assert_eq!(reader.u64(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn a_longer_form_is_accepted_but_no_value_beyond_the_type() {
        assert_eq!(read(&[0x82, 0x00]).u32(), Ok(2));
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x00]).u32(), Ok(0));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]).u32(), Ok(u32::MAX));
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0x1f]).u32(),
            Err(WireError::Varint)
        );
        assert_eq!(
            read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).u32(),
            Err(WireError::Varint)
        );
        assert_eq!(read(&[0xff, 0xff, 0x03]).u16(), Ok(u16::MAX));
        assert_eq!(read(&[0xff, 0xff, 0x07]).u16(), Err(WireError::Varint));
        let mut big = [0xff; 10];
        *big.last_mut().unwrap() = 1;
        assert_eq!(read(&big).u64(), Ok(u64::MAX));
        *big.last_mut().unwrap() = 2;
        assert_eq!(read(&big).u64(), Err(WireError::Varint));
        assert_eq!(read(&[0x80]).u32(), Err(WireError::Eof));
    }

    #[test]
    fn a_count_is_checked_before_anyone_reserves_memory() {
        assert_eq!(read(&[3, 0, 0]).count(1), Err(WireError::Eof));
        assert_eq!(read(&[2, 0, 0]).count(1), Ok(2));
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(read(&huge).count(33), Err(WireError::Eof));
        assert_eq!(read(&huge).bytes(), Err(WireError::Eof));
    }

    #[test]
    fn byte_strings_are_slices_of_the_message() {
        let message = Bytes::from_static(&[3, 7, 8, 9, 0]);
        let mut reader = Reader::new(message.clone());
        let bytes = reader.bytes().unwrap();
        assert_eq!(bytes.as_ptr(), message.slice(1..).as_ptr());
        assert_eq!(reader.clone().finish(), Err(WireError::Trailing));
        assert_eq!(reader.option(), Ok(false));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn fixed_sizes_options_and_texts_are_checked() {
        assert_eq!(read(&[2, 1, 2]).sized::<3>(), Err(WireError::Length));
        assert_eq!(read(&[2, 1, 2]).sized::<2>(), Ok([1, 2]));
        assert_eq!(read(&[1]).array::<2>(), Err(WireError::Eof));
        assert_eq!(read(&[2]).option(), Err(WireError::Option));
        assert_eq!(read(&[1, 0xff]).text(), Err(WireError::Utf8));
    }
}
