//! Deterministic CBOR of this layer's structures (`docs/protocol/encryption.md#2`).

use p2panda_core::ordered::BTreeMap;

use p2panda_core::cbor::{self, CborError, Kind};
use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

pub use p2panda_core::cbor::Reader;

/// A structure with one encoding.
///
/// Reading accepts unknown map keys and surplus elements of array-shaped structures, because a
/// later version may add them, and refuses everything else, also bytes after the item.
pub trait Wire: Sized {
    /// Writes one item.
    fn write(&self, w: &mut Writer);

    /// Reads one item of input that was checked to be deterministic CBOR.
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding, in a buffer that is erased when dropped.
    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.into_bytes()
    }

    /// Reads exactly one item.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }

    /// Reads exactly one item that was written from a checked value, such as a row of our own database.
    fn decode_stored(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?.stored();
        let value = Self::read(&mut r)?;
        r.finish()?;
        Ok(value)
    }
}

/// Reason why bytes are not the structure asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not deterministic CBOR, or an item of another type.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A map lacks this key.
    #[error("field {0:?} is missing")]
    Missing(&'static str),
    /// A string of bytes or an array has the wrong length.
    #[error("wrong length")]
    Length,
    /// An integer does not fit.
    #[error("integer out of range")]
    Range,
    /// An enum's variant has an unknown name or a wrong shape.
    #[error("unknown variant")]
    Variant,
    /// A member id is no Ed25519 key.
    #[error("not a verifying key")]
    Key,
    /// More members, secrets or bytes than this layer takes.
    #[error("too large")]
    TooLarge,
    /// A stored state of another version.
    #[error("unknown version of a stored state")]
    Version,
}

/// Builds CBOR in a buffer that is erased, also where it grows.
pub type Writer = cbor::Writer<Zeroizing<Vec<u8>>>;

/// Structures as items of what is written.
pub trait Items {
    /// One item.
    fn item(&mut self, item: &impl Wire) -> &mut Self;

    /// One item or `null`.
    fn optional<T: Wire>(&mut self, item: Option<&T>) -> &mut Self;
}

impl Items for Writer {
    fn item(&mut self, item: &impl Wire) -> &mut Writer {
        item.write(self);
        self
    }

    fn optional<T: Wire>(&mut self, item: Option<&T>) -> &mut Writer {
        match item {
            Some(item) => self.item(item),
            None => self.null(),
        }
    }
}

/// Reads a struct's fields from a map, in encoded order, past keys that are unknown.
pub(crate) struct Fields<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: u64,
    /// A key that was read and does not belong to a field asked for so far.
    pending: Option<&'a str>,
}

impl<'r, 'a> Fields<'r, 'a> {
    pub(crate) fn open(reader: &'r mut Reader<'a>) -> Result<Fields<'r, 'a>, DecodeError> {
        let left = reader.map()?;
        Ok(Fields {
            reader,
            left,
            pending: None,
        })
    }

    /// The value of a field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if !self.seek(name)? {
            return Err(DecodeError::Missing(name));
        }
        read(self.reader)
    }

    /// The value of a field that may be absent or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if !self.seek(name)? {
            return Ok(None);
        }
        nullable(self.reader, read)
    }

    /// Reads past the fields that are left.
    pub(crate) fn close(mut self) -> Result<(), DecodeError> {
        if self.pending.take().is_some() {
            self.reader.skip()?;
        }
        while self.left > 0 {
            self.reader.skip()?;
            self.reader.skip()?;
            self.left -= 1;
        }
        Ok(())
    }

    fn seek(&mut self, name: &str) -> Result<bool, DecodeError> {
        loop {
            let key = match self.pending.take() {
                Some(key) => key,
                None if self.left == 0 => return Ok(false),
                None => {
                    self.left -= 1;
                    self.reader.text()?
                }
            };
            if key == name {
                return Ok(true);
            }
            if (key.len(), key) > (name.len(), name) {
                self.pending = Some(key);
                return Ok(false);
            }
            self.reader.skip()?;
        }
    }
}

/// Reads a struct with one field.
pub(crate) fn field<'a, T>(
    r: &mut Reader<'a>,
    name: &'static str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut fields = Fields::open(r)?;
    let value = fields.required(name, read)?;
    fields.close()?;
    Ok(value)
}

/// Reads an array-shaped struct of at least `fields` elements; the surplus is skipped.
pub(crate) fn tuple<'a, T>(
    r: &mut Reader<'a>,
    fields: u64,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let len = r.array()?;
    let surplus = len.checked_sub(fields).ok_or(DecodeError::Length)?;
    let value = read(r)?;
    for _ in 0..surplus {
        r.skip()?;
    }
    Ok(value)
}

/// Reads an enum: the text of a unit variant, or a map of one entry whose value follows.
///
/// The flag tells whether a value follows. A unit variant may also come as `{name: null}`.
pub(crate) fn variant<'a>(r: &mut Reader<'a>) -> Result<(&'a str, bool), DecodeError> {
    match r.peek()? {
        Kind::Text => Ok((r.text()?, false)),
        Kind::Map => {
            if r.map()? != 1 {
                return Err(DecodeError::Variant);
            }
            Ok((r.text()?, true))
        }
        _ => Err(DecodeError::Variant),
    }
}

/// The rest of a unit variant.
pub(crate) fn unit(r: &mut Reader<'_>, value_follows: bool) -> Result<(), DecodeError> {
    if value_follows {
        r.null()?;
    }
    Ok(())
}

/// An item or `null`.
pub(crate) fn nullable<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if r.peek()? == Kind::Null {
        r.null()?;
        return Ok(None);
    }
    read(r).map(Some)
}

/// Bytes written as an array of integers.
pub(crate) fn ints(r: &mut Reader<'_>) -> Result<Zeroizing<Vec<u8>>, DecodeError> {
    let len = r.array()?;
    let len = usize::try_from(len).map_err(|_| DecodeError::TooLarge)?;
    // Each element takes at least one byte, so a false length cannot reserve memory.
    if len > r.rest().len() {
        return Err(DecodeError::Cbor(CborError::Eof));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(len));
    for _ in 0..len {
        bytes.push(u8::try_from(r.uint()?).map_err(|_| DecodeError::Range)?);
    }
    Ok(bytes)
}

/// Exactly `N` bytes written as an array of integers.
pub(crate) fn ints_array<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    let mut bytes = ints(r)?;
    let array = <[u8; N]>::try_from(bytes.as_slice()).map_err(|_| DecodeError::Length);
    bytes.zeroize();
    array
}

/// A byte string of exactly `N` bytes.
pub(crate) fn bytes_array<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], DecodeError> {
    <[u8; N]>::try_from(r.bytes()?).map_err(|_| DecodeError::Length)
}

/// An array of items, at most `max` of them.
pub(crate) fn list<T: Wire>(r: &mut Reader<'_>, max: usize) -> Result<Vec<T>, DecodeError> {
    let len = r.array()?;
    if len > max as u64 {
        return Err(DecodeError::TooLarge);
    }
    (0..len).map(|_| T::read(r)).collect()
}

/// An array of items.
pub(crate) fn write_list<'i, T: Wire + 'i>(
    items: impl IntoIterator<Item = &'i T, IntoIter: ExactSizeIterator>,
    w: &mut Writer,
) {
    let items = items.into_iter();
    w.array(items.len());
    for item in items {
        w.item(item);
    }
}

/// A map, which is sorted by its encoded keys. The keys used here sort alike when decoded.
pub(crate) fn map<K: Ord, V>(
    r: &mut Reader<'_>,
    key: impl Fn(&mut Reader<'_>) -> Result<K, DecodeError>,
    value: impl Fn(&mut Reader<'_>) -> Result<V, DecodeError>,
) -> Result<BTreeMap<K, V>, DecodeError> {
    let mut entries = BTreeMap::new();
    for _ in 0..r.map()? {
        entries.insert(key(r)?, value(r)?);
    }
    Ok(entries)
}

/// The opening of a stored state of ours: its version.
pub(crate) fn version(r: &mut Reader<'_>, expected: u64) -> Result<(), DecodeError> {
    if r.uint()? != expected {
        return Err(DecodeError::Version);
    }
    Ok(())
}

impl Wire for VerifyingKey {
    fn write(&self, w: &mut Writer) {
        w.bytes(self.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<VerifyingKey, DecodeError> {
        let bytes = bytes_array(r)?;
        if r.is_stored() {
            return Ok(VerifyingKey::from_bytes_unchecked(bytes));
        }
        VerifyingKey::from_bytes(bytes).map_err(|_| DecodeError::Key)
    }
}

impl Wire for Hash {
    fn write(&self, w: &mut Writer) {
        w.bytes(self.as_bytes());
    }

    fn read(r: &mut Reader<'_>) -> Result<Hash, DecodeError> {
        bytes_array(r).map(Hash::from_bytes)
    }
}
