//! Operation headers: one signed CBOR array of five to eight elements
//! (`docs/protocol/operations.md#3`).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::cbor::{self, CborError, Kind, Reader, Writer};
use crate::header::id::Id;
use crate::key::Point;
use crate::limits::{HEADER_BYTES_MAX, OPERATION_BYTES_MAX, OPERATION_FRAME_OVERHEAD_BYTES};
use crate::{
    ExtensionsError, Hash, KeyError, NodeExtensions, Signature, SigningKey, VerifyingKey, unsigned,
};

mod id;

/// The only version of the header format.
const VERSION: u16 = 1;

/// A decoded header, together with exactly the bytes it was decoded from.
///
/// Those bytes are what is stored and forwarded; nothing is ever encoded a second time. Equality
/// is equality of the bytes.
#[derive(Clone)]
pub struct Header {
    bytes: Bytes,
    id: Id,
    author: VerifyingKey,
    signature: Signature,
    payload_size: u32,
    payload_hash: Option<Hash>,
    seq: u32,
    backlink: Option<Hash>,
    /// Start of the extensions, which reach to the end.
    extensions_start: Option<usize>,
}

/// Choices of an author about an operation, before it is signed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    /// Position in the log, from 0.
    pub seq: u32,
    /// Id of the operation before this one; none at position 0, always given elsewhere.
    pub backlink: Option<Hash>,
    /// The body, at least one byte long; `None` for an operation without one.
    pub body: Option<&'a [u8]>,
    /// One encoded CBOR item, such as [`NodeExtensions::encode`] gives.
    pub extensions: Option<&'a [u8]>,
}

/// The fields of a header, as [`HeaderError`] names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Field {
    Version,
    VerifyingKey,
    Signature,
    PayloadSize,
    PayloadHash,
    SeqNum,
    Backlink,
}

/// Reason why bytes are not a header; the first failing step of `docs/protocol/operations.md#3.2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// More than [`HEADER_BYTES_MAX`] bytes.
    #[error("the header is larger than {HEADER_BYTES_MAX} bytes")]
    TooLarge,
    /// The bytes are not one deterministic CBOR item within the limits.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// A CBOR item of another type.
    #[error("the header is not an array")]
    NotAnArray,
    /// The array ends before this field.
    #[error("the header has no {0}")]
    Missing(Field),
    /// The field has another type, or its number does not fit.
    #[error("the header's {0} has an unexpected type")]
    Type(Field),
    /// A CBOR tag that re-encoding would drop: on the header or on one of its fields.
    #[error("the header carries a CBOR tag")]
    Tagged,
    /// Another version than 1.
    #[error("header version {found} is not supported")]
    UnsupportedVersion {
        /// The version in the header.
        found: u16,
    },
    /// The byte string has another length.
    #[error("the header's {field} has {found} bytes instead of {expected}")]
    Length {
        /// Affected field.
        field: Field,
        /// Bytes that the field has by definition.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The author's key is not a point of the curve.
    #[error("the header's verifying key is invalid")]
    InvalidKey,
    /// Something follows the extensions.
    #[error("the header has too many fields")]
    ExcessiveFields,
    /// The signature is not the author's.
    #[error("the header's signature is invalid")]
    InvalidSignature,
}

/// Reason why a draft cannot become an operation that others accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DraftError {
    /// Position 0 has no backlink.
    #[error("the first operation of a log has no backlink")]
    SeqNumMismatch,
    /// Positions above 0 need a backlink.
    #[error("an operation after the first needs a backlink")]
    BacklinkMissing,
    /// An empty body is not a body.
    #[error("an empty body must be omitted")]
    EmptyBody,
    /// Header and body together do not fit into any frame ([`OPERATION_BYTES_MAX`]), or the
    /// header alone is above [`HEADER_BYTES_MAX`].
    #[error("the operation is too large to be synced")]
    TooLarge,
    /// The extensions are not one deterministic CBOR item within a header's limits.
    #[error("invalid extensions: {0}")]
    Extensions(CborError),
}

impl Header {
    /// Decodes a header and verifies its signature.
    pub fn decode(bytes: Bytes) -> Result<Header, HeaderError> {
        let mut point = None;
        let header = parse(bytes, |key| {
            point = Some(Point::decompress(key)?);
            Ok(())
        })?;
        // A parsed header had a key.
        let point = point.ok_or(HeaderError::InvalidKey)?;
        header.verify_with(&point)?;
        Ok(header)
    }

    /// Decodes a header without looking at the signature, nor whether the key is a point.
    ///
    /// For bytes that were verified before, and to route a header before [`Header::verify`].
    pub fn decode_unverified(bytes: Bytes) -> Result<Header, HeaderError> {
        parse(bytes, |_| Ok(()))
    }

    /// Verifies key and signature, as [`Header::decode`] does. For many headers in a row use a
    /// [`Verifier`].
    pub fn verify(&self) -> Result<(), HeaderError> {
        self.verify_with(&Point::decompress(self.author.as_bytes())?)
    }

    /// Builds and signs the header of a draft. Refuses what others could not decode.
    pub fn sign(key: &SigningKey, draft: Draft<'_>) -> Result<Header, DraftError> {
        draft.check()?;
        let author = key.verifying_key();
        let payload_hash = draft.body.map(Hash::digest);
        let signing_bytes = draft.encode(&author, payload_hash.as_ref())?;
        let signature = key.sign(&signing_bytes);
        let bytes = unsigned::with_signature(&signing_bytes, &signature);
        Ok(Header {
            id: Id::known(Hash::digest(&bytes)),
            author,
            signature,
            // The size was checked to be far below u32::MAX.
            payload_size: draft.body.map_or(0, <[u8]>::len) as u32,
            payload_hash,
            seq: draft.seq,
            backlink: draft.backlink,
            extensions_start: draft.extensions.map(|item| bytes.len() - item.len()),
            bytes: Bytes::from(bytes),
        })
    }

    /// A copy of the header in its own memory, which keeps no larger buffer alive.
    pub fn detached(&self) -> Header {
        Header {
            bytes: Bytes::copy_from_slice(&self.bytes),
            ..self.clone()
        }
    }

    /// The operation's id: the hash of the header bytes, signature included.
    pub fn id(&self) -> Hash {
        self.id.of(&self.bytes)
    }

    /// The author of the operation and of its log.
    pub fn author(&self) -> VerifyingKey {
        self.author
    }

    /// The label of the log, which represents its author: the author itself for the first log, and for
    /// a log with a name a hash of author and log id
    /// (`docs/protocol/operations.md#4`).
    pub fn label(&self) -> VerifyingKey {
        match self.extensions() {
            Some(item) if !NodeExtensions::is_short(item) => {
                let extensions = NodeExtensions::decode(item);
                extensions.map_or(self.author, |extensions| extensions.label(&self.author))
            }
            _ => self.author,
        }
    }

    /// The author's signature over [`Header::signing_bytes`].
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// Bytes of the body; 0 means that there is none.
    pub fn payload_size(&self) -> u32 {
        self.payload_size
    }

    /// Hash of the body; given exactly if [`Header::payload_size`] is not 0.
    pub fn payload_hash(&self) -> Option<Hash> {
        self.payload_hash
    }

    /// Position in the log, from 0.
    pub fn seq(&self) -> u32 {
        self.seq
    }

    /// Id of the operation before this one; given exactly if [`Header::seq`] is not 0.
    pub fn backlink(&self) -> Option<Hash> {
        self.backlink
    }

    /// The extensions, one encoded CBOR item of any type.
    pub fn extensions(&self) -> Option<&[u8]> {
        self.extensions_start
            .and_then(|start| self.bytes.get(start..))
    }

    /// The encoded header, unchanged as received or built.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes that the author signs: the header without the signature.
    pub fn signing_bytes(&self) -> Vec<u8> {
        let (head, before, after) = self.signed_parts();
        [&[head], before, after].concat()
    }

    /// Head of the array, what stands before the signature and what follows.
    fn signed_parts(&self) -> (u8, &[u8], &[u8]) {
        // Version and key have a fixed place and width; the head of the array counts one less.
        let head = self.bytes.first().map_or(0, |head| head.wrapping_sub(1));
        let before = self.bytes.get(1..SIGNATURE_START).unwrap_or_default();
        let after = self.bytes.get(SIGNATURE_END..).unwrap_or_default();
        (head, before, after)
    }

    /// Reads the extensions as those of the node.
    pub fn node_extensions(&self) -> Result<NodeExtensions, ExtensionsError> {
        let extensions = self
            .extensions()
            .ok_or(ExtensionsError::MissingExtensions)?;
        NodeExtensions::decode(extensions)
    }

    /// Refuses a header with extensions, where the application defines none.
    pub fn expect_no_extensions(&self) -> Result<(), ExtensionsError> {
        match self.extensions_start {
            Some(_) => Err(ExtensionsError::UnexpectedExtensions),
            None => Ok(()),
        }
    }

    fn verify_with(&self, point: &Point) -> Result<(), HeaderError> {
        // Anyone who verifies it is about to store it: the id is computed here, where there are
        // threads for it.
        self.id();
        let (head, before, after) = self.signed_parts();
        point
            .verify_parts(&[&[head], before, after], &self.signature)
            .map_err(|_| HeaderError::InvalidSignature)
    }
}

/// Verifies headers one after the other. It remembers the key of the last author, which spares a
/// tenth of the work along a log.
#[derive(Debug, Default)]
pub struct Verifier {
    last: Option<(VerifyingKey, Point)>,
}

impl Verifier {
    /// Verifies a header as [`Header::verify`] does.
    pub fn verify(&mut self, header: &Header) -> Result<(), HeaderError> {
        let author = header.author;
        if let Some((_, point)) = self.last.as_ref().filter(|(last, _)| *last == author) {
            return header.verify_with(point);
        }
        let point = Point::decompress(author.as_bytes())?;
        let verdict = header.verify_with(&point);
        self.last = Some((author, point));
        verdict
    }
}

impl PartialEq for Header {
    fn eq(&self, other: &Header) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Header {}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("id", &self.id())
            .field("author", &self.author)
            .field("seq", &self.seq)
            .field("backlink", &self.backlink)
            .field("payload_size", &self.payload_size)
            .field("extensions_bytes", &self.extensions().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Version => "version",
            Field::VerifyingKey => "verifying_key",
            Field::Signature => "signature",
            Field::PayloadSize => "payload_size",
            Field::PayloadHash => "payload_hash",
            Field::SeqNum => "seq_num",
            Field::Backlink => "backlink",
        })
    }
}

impl From<KeyError> for HeaderError {
    fn from(_: KeyError) -> HeaderError {
        HeaderError::InvalidKey
    }
}

/// Array head, version 1, key with its head.
pub(crate) const SIGNATURE_START: usize = 1 + 1 + 34;
/// The signature has a head of two bytes.
pub(crate) const SIGNATURE_END: usize = SIGNATURE_START + 66;

/// All fields but the extensions, at most: heads of the array and of both numbers, key, signature
/// and two hashes.
const FIELDS_BYTES_MAX: usize = SIGNATURE_END + 2 * 5 + 2 * 34;

/// The bounds of an element of the header's array.
const INSIDE_HEADER: cbor::Limits = cbor::Limits {
    depth_max: cbor::HEADER.depth_max - 1,
    ..cbor::HEADER
};

/// Steps 1 to 11 of decoding; `check_key` is step 4's question whether the key is a point.
fn parse(
    bytes: Bytes,
    check_key: impl FnOnce(&[u8; 32]) -> Result<(), KeyError>,
) -> Result<Header, HeaderError> {
    if bytes.len() > HEADER_BYTES_MAX {
        return Err(HeaderError::TooLarge);
    }
    let mut fields = Fields::open(Reader::checked(&bytes, cbor::HEADER)?)?;
    fields.version()?;
    let author = fields.bytes(Field::VerifyingKey)?;
    check_key(&author)?;
    let signature = fields.bytes(Field::Signature)?;
    let payload_size = fields.uint(Field::PayloadSize)?;
    let payload_hash = fields.hash_if(payload_size > 0, Field::PayloadHash)?;
    let seq = fields.uint(Field::SeqNum)?;
    let backlink = fields.hash_if(seq > 0, Field::Backlink)?;
    let extensions_start = fields.extensions_start()?;
    Ok(Header {
        id: Id::default(),
        author: VerifyingKey::from_bytes_unchecked(author),
        signature: Signature::from_bytes(signature),
        payload_size,
        payload_hash,
        seq,
        backlink,
        extensions_start,
        bytes,
    })
}

/// The elements of a header's array that were not read yet.
struct Fields<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Fields<'a> {
    fn open(mut reader: Reader<'a>) -> Result<Fields<'a>, HeaderError> {
        match reader.peek()? {
            Kind::Array => Ok(Fields {
                left: reader.array()?,
                reader,
            }),
            Kind::Tag => Err(HeaderError::Tagged),
            _ => Err(HeaderError::NotAnArray),
        }
    }

    fn version(&mut self) -> Result<(), HeaderError> {
        let version = self.uint(Field::Version)?;
        match u16::try_from(version) {
            Ok(VERSION) => Ok(()),
            Ok(found) => Err(HeaderError::UnsupportedVersion { found }),
            Err(_) => Err(HeaderError::Type(Field::Version)),
        }
    }

    fn next(&mut self, field: Field, kind: Kind) -> Result<&mut Reader<'a>, HeaderError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(HeaderError::Missing(field))?;
        match self.reader.peek()? {
            found if found == kind => Ok(&mut self.reader),
            Kind::Tag => Err(HeaderError::Tagged),
            _ => Err(HeaderError::Type(field)),
        }
    }

    fn uint(&mut self, field: Field) -> Result<u32, HeaderError> {
        let value = self.next(field, Kind::Uint)?.uint()?;
        u32::try_from(value).map_err(|_| HeaderError::Type(field))
    }

    fn bytes<const N: usize>(&mut self, field: Field) -> Result<[u8; N], HeaderError> {
        let bytes = self.next(field, Kind::Bytes)?.bytes()?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| HeaderError::Length {
            field,
            expected: N,
            found,
        })
    }

    fn hash_if(&mut self, present: bool, field: Field) -> Result<Option<Hash>, HeaderError> {
        if !present {
            return Ok(None);
        }
        Ok(Some(Hash::from_bytes(self.bytes(field)?)))
    }

    fn extensions_start(&self) -> Result<Option<usize>, HeaderError> {
        match self.left {
            0 => Ok(None),
            1 => Ok(Some(self.reader.position())),
            _ => Err(HeaderError::ExcessiveFields),
        }
    }
}

impl Draft<'_> {
    fn check(&self) -> Result<(), DraftError> {
        match (self.seq, self.backlink) {
            (0, Some(_)) => return Err(DraftError::SeqNumMismatch),
            (1.., None) => return Err(DraftError::BacklinkMissing),
            _ => {}
        }
        if self.body.is_some_and(<[u8]>::is_empty) {
            return Err(DraftError::EmptyBody);
        }
        self.check_size(self.extensions.map_or(0, <[u8]>::len))?;
        self.extensions
            .map_or(Ok(()), |item| cbor::check(item, INSIDE_HEADER))
            .map_err(DraftError::Extensions)
    }

    fn check_size(&self, header_bytes: usize) -> Result<(), DraftError> {
        let body_bytes = self.body.map_or(0, <[u8]>::len);
        let frame_bytes = body_bytes
            .saturating_add(header_bytes)
            .saturating_add(OPERATION_FRAME_OVERHEAD_BYTES);
        if header_bytes > HEADER_BYTES_MAX || frame_bytes > OPERATION_BYTES_MAX {
            return Err(DraftError::TooLarge);
        }
        Ok(())
    }

    /// Returns the bytes that its author signs: the header without the signature.
    pub(crate) fn signing_bytes(&self, author: &VerifyingKey) -> Result<Vec<u8>, DraftError> {
        self.check()?;
        self.encode(author, self.body.map(Hash::digest).as_ref())
    }

    fn encode(
        &self,
        author: &VerifyingKey,
        payload_hash: Option<&Hash>,
    ) -> Result<Vec<u8>, DraftError> {
        let optional = [
            payload_hash.is_some(),
            self.backlink.is_some(),
            self.extensions.is_some(),
        ];
        let extensions = self.extensions.unwrap_or_default();
        let mut writer = Writer::with_capacity(FIELDS_BYTES_MAX + extensions.len());
        writer.array(4 + optional.into_iter().filter(|present| *present).count());
        writer.uint(u64::from(VERSION)).bytes(author.as_bytes());
        writer.uint(self.body.map_or(0, <[u8]>::len) as u64);
        if let Some(hash) = payload_hash {
            writer.bytes(hash.as_bytes());
        }
        writer.uint(u64::from(self.seq));
        if let Some(backlink) = &self.backlink {
            writer.bytes(backlink.as_bytes());
        }
        writer.raw(extensions);
        let bytes = writer.into_bytes();
        self.check_size(bytes.len() + SIGNATURE_END - SIGNATURE_START)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
