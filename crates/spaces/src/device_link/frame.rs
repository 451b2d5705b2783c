//! Frames of a device link (`docs/protocol/device-link.md#3`).

use p2panda_core::VerifyingKey;
use p2panda_core::cbor::{self, Reader};
use p2panda_core::limits::{
    DEVICE_LINK_DEPTH_MAX, DEVICE_LINK_FRAME_BYTES_MAX, DEVICE_LINK_PART_BYTES_MAX,
    DEVICE_LINK_PARTS_MAX,
};
use p2panda_encryption::{HybridBundle, PublicKey, Secret, Wire, Writer, aead};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Side;
use crate::Invalid;
use crate::sealed::read_array;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

const LIMITS: cbor::Limits = cbor::Limits {
    length_max: DEVICE_LINK_FRAME_BYTES_MAX as u64,
    depth_max: DEVICE_LINK_DEPTH_MAX,
};

/// Key that seals a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Link,
    Session,
}

/// Content of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Commit([u8; 32]),
    Reveal(PublicKey),
    End(u64),
    /// A bundle, encoded.
    Device(Vec<u8>),
    Taken(u64),
    Answer(Part),
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub part: usize,
    pub parts: usize,
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Content {
    pub fn stage(&self) -> Stage {
        match self {
            Content::Commit(_) | Content::Reveal(_) | Content::End(_) => Stage::Link,
            Content::Device(_) | Content::Taken(_) | Content::Answer(_) => Stage::Session,
        }
    }

    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut w = Writer::default();
        match self {
            Content::Commit(commitment) => w.array(2).uint(0).bytes(commitment),
            Content::Reveal(key) => w.array(2).uint(1).bytes(key.as_bytes()),
            Content::End(reason) => w.array(2).uint(2).uint(*reason),
            Content::Device(bundle) => w.array(2).uint(3).raw(bundle),
            Content::Taken(taken) => w.array(2).uint(4).uint(*taken),
            Content::Answer(part) => part.write(&mut w),
        };
        w.into_bytes()
    }

    pub fn decode(bytes: &[u8], stage: Stage) -> Result<Content, Invalid> {
        let mut r = Reader::checked(bytes, LIMITS)?;
        let length = r.array()?;
        let content = match (stage, r.uint()?, length) {
            (Stage::Link, 0, 2) => Content::Commit(read_array(&mut r)?),
            (Stage::Link, 1, 2) => Content::Reveal(PublicKey::from_bytes(read_array(&mut r)?)),
            (Stage::Link, 2, 2) => Content::End(r.uint()?),
            (Stage::Session, 3, 2) => {
                Content::Device(HybridBundle::read(&mut r)?.encode().to_vec())
            }
            (Stage::Session, 4, 2) => Content::Taken(r.uint()?),
            (Stage::Session, 5, 4) => Content::Answer(Part::read(&mut r)?),
            _ => return Err(Invalid::Variant),
        };
        r.finish()?;
        Ok(content)
    }
}

impl Part {
    fn write<'w>(&self, w: &'w mut Writer) -> &'w mut Writer {
        w.array(4).uint(5);
        w.uint(self.part as u64).uint(self.parts as u64);
        w.bytes(&self.bytes)
    }

    fn read(r: &mut Reader<'_>) -> Result<Part, Invalid> {
        let (part, parts) = (r.uint()?, r.uint()?);
        let bytes = r.bytes()?;
        let fits = bytes.len() <= DEVICE_LINK_PART_BYTES_MAX;
        if parts > DEVICE_LINK_PARTS_MAX as u64 || part >= parts || !fits {
            return Err(Invalid::TooLong);
        }
        Ok(Part {
            // Both are below the limit of parts.
            part: part as usize,
            parts: parts as usize,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }
}

fn bound(stage: Stage, side: Side, author: &VerifyingKey) -> Vec<u8> {
    let front = [VERSION, stage as u8, side as u8];
    [&front[..], author.as_bytes()].concat()
}

/// A frame of ours. The nonce is random: frames under one key are few.
pub(super) fn seal(
    content: &Content,
    key: &Secret,
    (side, me): (Side, &VerifyingKey),
    rng: &mut impl CryptoRng,
) -> Option<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let stage = content.stage();
    let aad = bound(stage, side, me);
    let sealed = aead::seal_x(key.as_bytes(), &nonce, &aad, &content.encode()).ok()?;
    let frame = [&[VERSION, stage as u8][..], &nonce, &sealed].concat();
    (frame.len() <= DEVICE_LINK_FRAME_BYTES_MAX).then_some(frame)
}

/// Returns the key that a frame is sealed under.
pub(super) fn stage_of(frame: &[u8]) -> Option<Stage> {
    if frame.len() > DEVICE_LINK_FRAME_BYTES_MAX {
        return None;
    }
    match frame {
        [VERSION, 0, ..] => Some(Stage::Link),
        [VERSION, 1, ..] => Some(Stage::Session),
        _ => None,
    }
}

/// The content of a frame of the other side; `None` is noise.
pub(super) fn open(
    frame: &[u8],
    key: &Secret,
    (side, author): (Side, &VerifyingKey),
) -> Option<Zeroizing<Vec<u8>>> {
    let stage = stage_of(frame)?;
    let (nonce, sealed) = frame.get(2..)?.split_first_chunk()?;
    aead::open_x(key.as_bytes(), nonce, &bound(stage, side, author), sealed).ok()
}
