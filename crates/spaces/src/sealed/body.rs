//! The bytes of messages between our own nodes (`docs/protocol/spaces.md#9`).

use p2panda_core::ordered::BTreeMap;
use std::fmt;

use p2panda_core::cbor::{self, Reader};
use p2panda_core::limits::{
    GROUP_MEMBERS_MAX, GROUP_SECRETS_MAX, OPERATION_BYTES_MAX, SPACE_BOXES_MAX, SPACE_NAMED_MAX,
    SPACE_NOTES_MAX, SPACE_OPERATIONS_MAX, SPACE_REQUEST_BOXES_MAX,
};
use p2panda_core::{Hash, Signature, VerifyingKey};
use p2panda_encryption::aead::{self, AeadError};
use p2panda_encryption::data::SecretId;
use p2panda_encryption::{DirectMessage, HybridBundle, Items, Secret, Wire, Writer, hkdf};
use p2panda_groups::{Arguments, GroupId};
use zeroize::Zeroizing;

use super::floor::SUITE;
use super::invites::Note;
use crate::{Invalid, SpaceId};

const VERSION: u64 = 1;

const BUNDLE: u64 = 0;
const CONTROL: u64 = 1;
const CONTENT: u64 = 2;
const REQUEST: u64 = 3;
const MESSAGE: u64 = 4;

/// Domain of the signature of an operation on a group.
const SIGNED: &[u8] = b"p2panda group operation v1";

pub(crate) const STRUCTURE: &str = "p2panda space structure v1";
pub(crate) const DATA: &str = "p2panda space content v1";
pub(crate) const BOX: &[u8] = b"p2panda space box v1";

/// Names a structure key: says nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 16]) -> KeyId {
        KeyId(bytes)
    }

    /// The bytes as they cross the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn of(key: &Secret) -> KeyId {
        let mut id = [0; 16];
        hkdf(b"p2panda space key id v1", key.as_bytes(), &[], &mut id)
            .expect("16 bytes are not too long");
        KeyId(id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The scheme with which a space encrypts content; it never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// Secrets of long life: what was written stays readable to those who were given them.
    #[default]
    Data,
    /// A key for each message, erased when it is used: a stored message cannot be opened again.
    Message,
}

impl Scheme {
    fn of(number: u64) -> Option<Scheme> {
        let known = [Scheme::Data, Scheme::Message];
        known.into_iter().find(|scheme| *scheme as u64 == number)
    }
}

/// Settings of a space, chosen by its creator; they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The scheme of encryption.
    pub scheme: Scheme,
    /// `true` if newcomers read what was written before they came.
    pub history: bool,
    /// The least suite of the channels that secrets go through; 2, which a quantum computer of
    /// later does not open, unless set. Owners can raise it
    /// ([`Spaces::raise_floor`](crate::Spaces::raise_floor)).
    pub floor: u8,
}

impl Settings {
    /// The data scheme; newcomers read what was written before they came.
    pub fn with_history() -> Settings {
        Settings {
            scheme: Scheme::Data,
            history: true,
            floor: SUITE,
        }
    }

    /// The data scheme; newcomers read from about the time they came.
    pub fn from_joining_on() -> Settings {
        Settings {
            history: false,
            ..Settings::with_history()
        }
    }

    /// The message scheme; newcomers read messages written after they join.
    pub fn with_a_key_per_message() -> Settings {
        Settings {
            scheme: Scheme::Message,
            ..Settings::from_joining_on()
        }
    }

    /// The same with another least suite ([`Settings::floor`]).
    #[must_use]
    pub fn with_suite(self, floor: u8) -> Settings {
        Settings { floor, ..self }
    }

    pub(crate) fn write<B: cbor::Buffer>(&self, w: &mut cbor::Writer<B>) {
        let is_raised = self.floor != SUITE;
        w.array(2 + usize::from(is_raised));
        w.uint(self.scheme as u64).bool(self.history);
        if is_raised {
            w.uint(self.floor.into());
        }
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Settings, Invalid> {
        let (len, scheme) = (r.array()?, r.uint()?);
        let scheme = Scheme::of(scheme).filter(|_| (2..=3).contains(&len));
        let scheme = scheme.ok_or(Invalid::Variant)?;
        let settings = match r.bool()? {
            true => Settings::with_history(),
            false => Settings::from_joining_on(),
        };
        let floor = match len {
            2 => SUITE,
            _ => u8::try_from(r.uint()?).map_err(|_| Invalid::Variant)?,
        };
        // It is written only where it is another one, and no space has a smaller one.
        let has_history = scheme == Scheme::Message && settings.history;
        match (len == 2 || floor > SUITE) && !has_history {
            true => Ok(Settings {
                scheme,
                floor,
                ..settings
            }),
            false => Err(Invalid::Variant),
        }
    }
}

/// The body of an operation, as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Bundle(HybridBundle),
    Control(Envelope),
    Content(Encrypted),
    Request(Request),
    Message(Chained),
}

/// A node asks to join by an invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) bundle: HybridBundle,
    pub(crate) boxes: Vec<Vec<u8>>,
}

/// A control message from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) boxes: Vec<Vec<u8>>,
    pub(crate) key: KeyId,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed: Vec<u8>,
}

/// A content message from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encrypted {
    pub(crate) secret: SecretId,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed: Vec<u8>,
}

/// A sealed content message of the message scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chained {
    /// Control message that began the epoch.
    pub(crate) epoch: Hash,
    /// Index in the chain of its author.
    pub(crate) generation: u32,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed: Vec<u8>,
}

impl Body {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut w = cbor::Writer::new();
        match self {
            Body::Bundle(bundle) => {
                w.array(3).uint(VERSION).uint(BUNDLE);
                w.raw(&bundle.encode());
            }
            Body::Control(envelope) => {
                w.array(6).uint(VERSION).uint(CONTROL);
                w.array(envelope.boxes.len());
                for sealed in &envelope.boxes {
                    w.bytes(sealed);
                }
                w.bytes(&envelope.key.0).bytes(&envelope.nonce);
                w.bytes(&envelope.sealed);
            }
            Body::Content(encrypted) => {
                w.array(5).uint(VERSION).uint(CONTENT);
                w.bytes(encrypted.secret.as_bytes());
                w.bytes(&encrypted.nonce).bytes(&encrypted.sealed);
            }
            Body::Message(chained) => {
                w.array(6).uint(VERSION).uint(MESSAGE);
                w.bytes(chained.epoch.as_bytes());
                w.uint(chained.generation.into());
                w.bytes(&chained.nonce).bytes(&chained.sealed);
            }
            Body::Request(request) => {
                w.array(4).uint(VERSION).uint(REQUEST);
                w.raw(&request.bundle.encode());
                w.array(request.boxes.len());
                for sealed in &request.boxes {
                    w.bytes(sealed);
                }
            }
        }
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Body, Invalid> {
        if bytes.len() > OPERATION_BYTES_MAX {
            return Err(Invalid::TooLarge);
        }
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        let len = r.array()?;
        if len < 2 || r.uint()? != VERSION {
            return Err(Invalid::Variant);
        }
        let body = match (r.uint()?, len) {
            (BUNDLE, 3) => Body::Bundle(HybridBundle::read(&mut r)?),
            (CONTROL, 6) => Body::Control(Envelope {
                boxes: read_list(&mut r, SPACE_BOXES_MAX, |r| Ok(r.bytes()?.to_vec()))?,
                key: KeyId(read_array(&mut r)?),
                nonce: read_array(&mut r)?,
                sealed: r.bytes()?.to_vec(),
            }),
            (CONTENT, 5) => Body::Content(Encrypted {
                secret: SecretId::from_bytes(read_array(&mut r)?),
                nonce: read_array(&mut r)?,
                sealed: r.bytes()?.to_vec(),
            }),
            (MESSAGE, 6) => Body::Message(Chained {
                epoch: read_hash(&mut r)?,
                generation: u32::try_from(r.uint()?).map_err(|_| Invalid::Bytes)?,
                nonce: read_array(&mut r)?,
                sealed: r.bytes()?.to_vec(),
            }),
            (REQUEST, 4) => Body::Request(Request {
                bundle: HybridBundle::read(&mut r)?,
                boxes: read_list(&mut r, SPACE_REQUEST_BOXES_MAX, |r| Ok(r.bytes()?.to_vec()))?,
            }),
            _ => return Err(Invalid::Variant),
        };
        r.finish()?;
        Ok(body)
    }
}

/// An operation on a group, signed on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupOperation {
    pub(crate) author: VerifyingKey,
    pub(crate) arguments: Arguments,
    /// The whole of it, as it was signed.
    pub(crate) bytes: Vec<u8>,
    pub(crate) id: Hash,
    /// `true` if the signature is the author's.
    pub(crate) is_signed: bool,
}

impl GroupOperation {
    /// Returns the bytes that the author signs.
    pub(crate) fn to_sign(author: &VerifyingKey, arguments: &Arguments) -> Vec<u8> {
        [SIGNED, author.as_bytes(), &arguments.encode()].concat()
    }

    pub(crate) fn new(
        author: VerifyingKey,
        arguments: &Arguments,
        signature: &Signature,
    ) -> GroupOperation {
        let encoded = arguments.encode();
        let mut w = cbor::Writer::new();
        w.array(3).bytes(author.as_bytes()).raw(&encoded);
        w.bytes(signature.as_bytes());
        GroupOperation {
            author,
            arguments: arguments.clone(),
            bytes: w.into_bytes(),
            id: operation_id(&author, &encoded),
            is_signed: true,
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<GroupOperation, Invalid> {
        let mut r = Reader::new(bytes, cbor::VALUE);
        if r.array()? != 3 {
            return Err(Invalid::Bytes);
        }
        let author = read_key(&mut r)?;
        let encoded = r.item()?;
        let signature = Signature::from_bytes(read_array(&mut r)?);
        let signed = [SIGNED, author.as_bytes(), encoded].concat();
        Ok(GroupOperation {
            author,
            arguments: Arguments::decode(encoded)?,
            bytes: bytes.to_vec(),
            id: operation_id(&author, encoded),
            is_signed: author.verify(&signed, &signature).is_ok(),
        })
    }
}

fn operation_id(author: &VerifyingKey, arguments: &[u8]) -> Hash {
    let context = "p2panda group operation id v1";
    Hash::derived_parts(context, &[author.as_bytes(), arguments])
}

/// The sealed part of a control message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) dependencies: Vec<Hash>,
    pub(crate) operations: Vec<GroupOperation>,
    pub(crate) pointer: Option<(GroupId, Hash)>,
    pub(crate) directs: Vec<DirectMessage>,
    pub(crate) heights: BTreeMap<VerifyingKey, u64>,
    pub(crate) keys: Vec<Secret>,
    pub(crate) asks: bool,
    pub(crate) settings: Option<Settings>,
    pub(crate) notes: Vec<Note>,
}

impl Structure {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        w.array(9).array(self.dependencies.len());
        for id in &self.dependencies {
            w.bytes(id.as_bytes());
        }
        w.array(self.operations.len());
        for operation in &self.operations {
            w.raw(&operation.bytes);
        }
        match self.pointer {
            Some((group, auth)) => {
                w.array(2).bytes(group.as_bytes()).bytes(auth.as_bytes());
            }
            None => {
                w.null();
            }
        }
        w.array(self.directs.len());
        for direct in &self.directs {
            w.item(direct);
        }
        w.array(self.heights.len());
        for (author, count) in &self.heights {
            w.array(2).bytes(author.as_bytes()).uint(*count);
        }
        w.array(self.keys.len());
        for key in &self.keys {
            w.bytes(key.as_bytes());
        }
        w.bool(self.asks);
        match self.settings {
            Some(settings) => settings.write(&mut w),
            None => {
                w.null();
            }
        }
        w.array(self.notes.len());
        for note in &self.notes {
            note.write(&mut w);
        }
        w.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Structure, Invalid> {
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        if r.array()? != 9 {
            return Err(Invalid::Bytes);
        }
        let structure = Structure {
            dependencies: read_list(&mut r, SPACE_NAMED_MAX, read_hash)?,
            operations: read_list(&mut r, SPACE_OPERATIONS_MAX, |r| {
                GroupOperation::decode(r.item()?)
            })?,
            pointer: read_optional(&mut r, |r| match r.array()? {
                2 => Ok((read_key(r)?.into(), read_hash(r)?)),
                _ => Err(Invalid::Bytes),
            })?,
            directs: read_list(&mut r, GROUP_MEMBERS_MAX, |r| Ok(DirectMessage::read(r)?))?,
            heights: read_list(&mut r, GROUP_MEMBERS_MAX, |r| match r.array()? {
                2 => Ok((read_key(r)?, r.uint()?)),
                _ => Err(Invalid::Bytes),
            })?
            .into_iter()
            .collect(),
            keys: read_list(&mut r, GROUP_SECRETS_MAX, |r| {
                Ok(Secret::from_bytes(read_array(r)?))
            })?,
            asks: r.bool()?,
            settings: read_optional(&mut r, Settings::read)?,
            notes: read_list(&mut r, SPACE_NOTES_MAX, Note::read)?,
        };
        r.finish()?;
        Ok(structure)
    }
}

/// Returns the associated data of sealed bytes.
fn bound_to(kind: &str, space: &SpaceId, author: &VerifyingKey) -> Vec<u8> {
    [kind.as_bytes(), space.as_bytes(), author.as_bytes()].concat()
}

/// Seals under a key of a space.
pub(crate) fn seal(
    key: &Secret,
    nonce: &[u8; 24],
    (kind, space, author): (&str, &SpaceId, &VerifyingKey),
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    let aad = bound_to(kind, space, author);
    aead::seal_x(key.as_bytes(), nonce, &aad, plaintext)
}

/// The reverse of [`seal`].
pub(crate) fn open(
    key: &Secret,
    nonce: &[u8; 24],
    (kind, space, author): (&str, &SpaceId, &VerifyingKey),
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AeadError> {
    let aad = bound_to(kind, space, author);
    aead::open_x(key.as_bytes(), nonce, &aad, sealed)
}

/// Returns the content of a box: the space, and the key of the message.
pub(crate) fn box_content(space: &SpaceId, key: &Secret) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(Vec::with_capacity(64));
    content.extend_from_slice(space.as_bytes());
    content.extend_from_slice(key.as_bytes());
    content
}

pub(crate) fn read_box(content: &[u8]) -> Option<(SpaceId, Secret)> {
    let (space, key) = content.split_first_chunk()?;
    let key = key.try_into().ok().map(Secret::from_bytes)?;
    Some((SpaceId::from_bytes(*space), key))
}

pub(crate) fn read_array<const N: usize>(r: &mut Reader<'_>) -> Result<[u8; N], Invalid> {
    r.bytes()?.try_into().map_err(|_| Invalid::Bytes)
}

fn read_hash(r: &mut Reader<'_>) -> Result<Hash, Invalid> {
    read_array(r).map(Hash::from_bytes)
}

pub(crate) fn read_key(r: &mut Reader<'_>) -> Result<VerifyingKey, Invalid> {
    VerifyingKey::from_bytes(read_array(r)?).map_err(|_| Invalid::Key)
}

pub(crate) fn read_optional<T>(
    r: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    match r.peek()? {
        cbor::Kind::Null => {
            r.null()?;
            Ok(None)
        }
        _ => read(r).map(Some),
    }
}

pub(crate) fn read_list<T>(
    r: &mut Reader<'_>,
    max: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    let len = r.array()?;
    if len > max as u64 {
        return Err(Invalid::TooLong);
    }
    (0..len).map(|_| read(r)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
#[path = "body_tests.rs"]
mod tests;
