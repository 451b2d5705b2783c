//! The messages of a sync session (docs/protocol/sync.md#4) and their limits.

use bytes::{Bytes, BytesMut};
use p2panda_core::{LogId, LogRange, VerifyingKey, limits};
use thiserror::Error;

pub use super::announced::{Announced, Entries, Prefer};
use super::have::Have;
use crate::frame::{self, FrameError};
use crate::wire::{self, Reader, WireError, Writer, varint_len};

const SYNC: u32 = 0;
const LIVE: u32 = 1;
const CLOSE: u32 = 2;

const HAVE: u32 = 0;
const PRE_SYNC: u32 = 1;
const OPERATION: u32 = 2;
const DONE: u32 = 3;
// 4 is the digest, which is a message of its own.
const WANTED: u32 = 5;
const ABSENT: u32 = 6;
const ANNOUNCE: u32 = 16;
const FETCH: u32 = 17;
const PREFER: u32 = 18;
const LARGE: u32 = 19;
const PIECE: u32 = 20;

/// Author and log id with their lengths in front, first and last entry.
const RANGE_BYTES_MIN: usize = 2 * 33 + 2;

/// Reason why a peer does not send a body (`docs/protocol/digest.md#5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It does not have it. It may come later.
    Lacking,
    /// It was dropped there on purpose, and does not come.
    Dropped,
}

/// One message of a sync session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The highest stored entry of every log of the topic.
    ///
    /// Its list is not read yet ([`Have::items`]).
    Have(Have),
    /// Amount that the sender is about to send; an estimate for progress only.
    PreSync {
        /// Number of operations.
        operations: u32,
        /// Bytes of their headers and bodies.
        bytes: u32,
    },
    /// A stored operation, in catch-up.
    Operation {
        /// The signed header, unchanged.
        header: Bytes,
        /// The body, unless it was deleted or there is none.
        body: Option<Bytes>,
    },
    /// The sender has sent everything that the receiver lacked.
    Done,
    /// An operation that became durable after catch-up.
    Live {
        /// The signed header, unchanged.
        header: Bytes,
        /// The body, unless it was deleted or there is none.
        body: Option<Bytes>,
    },
    /// The sender wants to end the session; legal in live mode only.
    Close,
    /// The sender lacks the bodies of these entries; of the digest protocol, in live mode only.
    Wanted(Vec<LogRange>),
    /// Ends the answer to Wanted: these bodies are not part of it.
    Absent(Vec<(LogRange, Absence)>),
    /// The sender has these entries and does not send them unless they are fetched; on links, in live
    /// mode only, as are the following two.
    Announce(Vec<Announced>),
    /// The sender wants these entries, which were announced.
    Fetch(Vec<Entries>),
    /// Authors whose operations the sender wants whole from now on, and those that it wants
    /// announced.
    Prefer(Prefer),
    /// An Operation or Live of that many bytes follows in pieces; on links only
    /// (`docs/protocol/link.md#11`).
    Large(u32),
    /// The next bytes of it.
    Piece(Bytes),
}

/// Reason why a payload is not a message. Ends the session.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The payload does not follow the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A range of entries ends before it begins.
    #[error("a range of entries ends before it begins")]
    Range,
}

/// The largest payload of each kind of message, in bytes (docs/protocol/sync.md#2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest Have.
    pub have_bytes_max: u32,
    /// Largest Operation or Live; at most 128 MiB.
    pub operation_bytes_max: u32,
    /// Largest message of every other kind.
    pub control_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            have_bytes_max: limits::HAVE_BYTES_MAX as u32,
            operation_bytes_max: limits::OPERATION_BYTES_MAX_DEFAULT as u32,
            control_bytes_max: limits::CONTROL_BYTES_MAX as u32,
        }
    }
}

/// The largest payload that may start with `prefix`, for [`frame::Decoder::next`].
///
/// An operation whose header is above its own limit is not kept either: the payload can only be
/// larger than the limit of a header, which is the answer then.
pub fn frame_limit(prefix: &[u8], limits: &Limits) -> u32 {
    let kind = match number(prefix) {
        Some((SYNC, rest)) => number(rest).map(|(tag, rest)| (SYNC, tag, rest)),
        Some((tag, rest)) => Some((tag, 0, rest)),
        None => None,
    };
    match kind {
        Some((SYNC, HAVE, _)) => limits.have_bytes_max,
        Some((SYNC, OPERATION, rest) | (LIVE, _, rest)) => operation_limit(rest, limits),
        _ => limits.control_bytes_max,
    }
}

fn operation_limit(rest: &[u8], limits: &Limits) -> u32 {
    let header_bytes_max = limits::HEADER_BYTES_MAX as u32;
    match wire::varint(rest, 64) {
        Ok((len, _)) if len > u64::from(header_bytes_max) => {
            limits.operation_bytes_max.min(header_bytes_max)
        }
        _ => limits.operation_bytes_max,
    }
}

/// A tag at the start of bytes that may be cut off.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (value, len) = wire::varint(bytes, 32).ok()?;
    Some((value as u32, bytes.get(len..)?))
}

/// Result of reading the first bytes of an operation: its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The whole header.
    Header(Bytes),
    /// A header of this many bytes that goes beyond them; its first bytes.
    Cut(Bytes, u64),
}

/// The header of an operation of which only the first bytes are there. `None` when this is no
/// operation.
pub fn operation_beginning(prefix: &Bytes) -> Option<Beginning> {
    let mut reader = Reader::new(prefix.clone());
    match reader.tag().ok()? {
        SYNC if reader.tag().ok()? == OPERATION => {}
        LIVE => {}
        _ => return None,
    }
    let whole = reader.clone().bytes();
    let len = reader.u64().ok()?;
    Some(match whole {
        Ok(header) => Beginning::Header(header),
        Err(_) => Beginning::Cut(prefix.slice(prefix.len() - reader.remaining()..), len),
    })
}

impl Message {
    /// Appends this message as one frame. Fails only above 128 MiB, and then appends nothing.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        match self {
            Message::Operation { header, body } => {
                encode_operation(false, header, body.as_deref(), out)
            }
            Message::Live { header, body } => encode_operation(true, header, body.as_deref(), out),
            Message::Have(have) => frame::encode(out, |out| {
                Writer::new(out)
                    .uint(SYNC)
                    .uint(HAVE)
                    .array(have.as_bytes());
            }),
            Message::PreSync { operations, bytes } => frame::encode(out, |out| {
                Writer::new(out)
                    .uint(SYNC)
                    .uint(PRE_SYNC)
                    .uint(*operations)
                    .uint(*bytes);
            }),
            Message::Done => frame::encode(out, |out| {
                Writer::new(out).uint(SYNC).uint(DONE);
            }),
            Message::Close => frame::encode(out, |out| {
                Writer::new(out).uint(CLOSE);
            }),
            Message::Wanted(ranges) => frame::encode(out, |out| {
                let mut writer = Writer::new(out);
                writer.uint(SYNC).uint(WANTED).count(ranges.len());
                for range in ranges {
                    write_range(range, &mut writer);
                }
            }),
            Message::Absent(ranges) => frame::encode(out, |out| {
                let mut writer = Writer::new(out);
                writer.uint(SYNC).uint(ABSENT).count(ranges.len());
                for (range, absence) in ranges {
                    write_range(range, &mut writer);
                    writer.uint(u32::from(*absence == Absence::Dropped));
                }
            }),
            Message::Announce(entries) => frame::encode(out, |out| {
                let mut writer = Writer::new(out);
                writer.uint(SYNC).uint(ANNOUNCE).count(entries.len());
                entries.iter().for_each(|one| one.write(&mut writer));
            }),
            Message::Fetch(entries) => frame::encode(out, |out| {
                let mut writer = Writer::new(out);
                writer.uint(SYNC).uint(FETCH).count(entries.len());
                entries.iter().for_each(|one| one.write(&mut writer));
            }),
            Message::Prefer(prefer) => frame::encode(out, |out| {
                let mut writer = Writer::new(out);
                prefer.write(writer.uint(SYNC).uint(PREFER));
            }),
            Message::Large(bytes) => frame::encode(out, |out| {
                Writer::new(out).uint(SYNC).uint(LARGE).uint(*bytes);
            }),
            Message::Piece(bytes) => {
                encode_piece_head(bytes.len(), out)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Reads one payload. Byte strings and the list of a Have are slices of it.
    pub fn decode(payload: Bytes) -> Result<Message, MessageError> {
        let mut reader = Reader::new(payload);
        let message = match reader.tag()? {
            SYNC => read_sync(&mut reader)?,
            LIVE => {
                let (header, body) = read_operation(&mut reader)?;
                Message::Live { header, body }
            }
            CLOSE => Message::Close,
            _ => return Err(WireError::Tag.into()),
        };
        reader.finish()?;
        Ok(message)
    }
}

/// Bytes that an operation takes as the payload of a frame, for limits and progress.
pub fn operation_payload_len(header_bytes: usize, body_bytes: Option<usize>) -> usize {
    let string = |len: usize| varint_len(len as u64) + len;
    2 + string(header_bytes) + 1 + body_bytes.map_or(0, string)
}

/// Appends an operation of catch-up, or of live mode, as one frame.
pub(super) fn encode_operation(
    live: bool,
    header: &[u8],
    body: Option<&[u8]>,
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    let len = operation_payload_len(header.len(), body.map(<[u8]>::len));
    if len > limits::FRAME_BYTES_MAX as usize + 1 {
        // Refused before copying it; the exact check follows in the frame.
        return Err(FrameError::TooLarge { len: len as u64 });
    }
    out.reserve(len + 4);
    frame::encode(out, |out| {
        Writer::new(out)
            .array(operation_tags(live))
            .bytes(header)
            .option_bytes(body);
    })
}

/// The same without the bytes of the body, which follow.
pub(super) fn encode_operation_head(
    live: bool,
    header: &[u8],
    body_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    frame::encode_head(out, body_bytes, |out| {
        write_operation_head(live, header, Some(body_bytes), out);
    })
}

/// Appends a piece without its bytes, which follow.
pub(super) fn encode_piece_head(bytes: usize, out: &mut BytesMut) -> Result<(), FrameError> {
    frame::encode_head(out, bytes, |out| {
        Writer::new(out).uint(SYNC).uint(PIECE);
    })
}

/// Appends the payload of an operation as far as its body, whose bytes follow if there is one.
pub(super) fn write_operation_head(
    live: bool,
    header: &[u8],
    body_bytes: Option<usize>,
    out: &mut BytesMut,
) {
    let mut writer = Writer::new(out);
    writer.array(operation_tags(live)).bytes(header);
    match body_bytes {
        Some(bytes) => writer.array(&[1]).count(bytes),
        None => writer.array(&[0]),
    };
}

fn operation_tags(live: bool) -> &'static [u8] {
    match live {
        true => &[1],
        false => &[0, 2],
    }
}

fn write_range(range: &LogRange, writer: &mut Writer<'_>) {
    writer
        .bytes(range.author.as_bytes())
        .bytes(range.log.as_bytes())
        .uint(range.after.map_or(0, |after| after.saturating_add(1)))
        .uint(range.until);
}

fn read_range(reader: &mut Reader) -> Result<LogRange, MessageError> {
    // It may be the label of a log, which is not a key.
    let author = VerifyingKey::from_bytes_unchecked(reader.sized::<32>()?);
    let log = LogId::from_bytes(reader.sized::<32>()?);
    let (first, until) = (reader.u32()?, reader.u32()?);
    if first > until {
        return Err(MessageError::Range);
    }
    Ok(LogRange {
        author,
        log,
        after: first.checked_sub(1),
        until,
    })
}

fn read_wanted(reader: &mut Reader) -> Result<Message, MessageError> {
    let count = reader.count(RANGE_BYTES_MIN)?;
    let ranges = (0..count).map(|_| read_range(reader));
    Ok(Message::Wanted(ranges.collect::<Result<_, _>>()?))
}

/// A reason that is not known says no more than that the body does not come now.
fn read_absent(reader: &mut Reader) -> Result<Message, MessageError> {
    let mut ranges = Vec::new();
    for _ in 0..reader.count(RANGE_BYTES_MIN + 1)? {
        let range = read_range(reader)?;
        let absence = match reader.u32()? {
            1 => Absence::Dropped,
            _ => Absence::Lacking,
        };
        ranges.push((range, absence));
    }
    Ok(Message::Absent(ranges))
}

fn read_sync(reader: &mut Reader) -> Result<Message, MessageError> {
    Ok(match reader.tag()? {
        HAVE => Message::Have(Have::new(reader.rest())),
        PRE_SYNC => Message::PreSync {
            operations: reader.u32()?,
            bytes: reader.u32()?,
        },
        OPERATION => {
            let (header, body) = read_operation(reader)?;
            Message::Operation { header, body }
        }
        DONE => Message::Done,
        WANTED => read_wanted(reader)?,
        ABSENT => read_absent(reader)?,
        ANNOUNCE => {
            let count = reader.count(Announced::BYTES_MIN)?;
            let entries = (0..count).map(|_| Announced::read(reader));
            Message::Announce(entries.collect::<Result<_, _>>()?)
        }
        FETCH => {
            let count = reader.count(Entries::BYTES_MIN)?;
            let entries = (0..count).map(|_| Entries::read(reader));
            Message::Fetch(entries.collect::<Result<_, _>>()?)
        }
        PREFER => Message::Prefer(Prefer::read(reader)?),
        LARGE => Message::Large(reader.u32()?),
        PIECE => Message::Piece(reader.rest()),
        _ => return Err(WireError::Tag.into()),
    })
}

fn read_operation(reader: &mut Reader) -> Result<(Bytes, Option<Bytes>), WireError> {
    let header = reader.bytes()?;
    let body = if reader.option()? {
        Some(reader.bytes()?)
    } else {
        None
    };
    Ok((header, body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_limit_of_a_frame_follows_from_its_first_bytes() {
        let limits = Limits {
            have_bytes_max: 8,
            operation_bytes_max: 16,
            control_bytes_max: 1,
        };
        for (prefix, limit) in [
            (&[0, 0][..], 8),
            (&[0, 1], 1),
            (&[0, 2], 16),
            (&[0, 3], 1),
            (&[1, 0xb9], 16),
            (&[1], 16),
            (&[2], 1),
            (&[3, 0], 1),
            (&[0], 1),
            (&[0x80, 0, 0x80, 0], 8),
            (&[0x81, 0, 5], 16),
            (&[0x80, 0, 0x82, 0, 5], 16),
            (&[0x80, 0], 1),
        ] {
            assert_eq!(frame_limit(prefix, &limits), limit, "{prefix:?}");
        }
    }

    #[test]
    fn a_header_above_its_limit_makes_the_frame_too_large() {
        let limits = Limits::default();
        let header_bytes_max = limits::HEADER_BYTES_MAX as u32;
        let with = |tags: &[u8], len: u32| {
            let mut out = BytesMut::from(tags);
            Writer::new(&mut out).uint(len);
            frame_limit(&out, &limits)
        };
        for tags in [&[0, 2][..], &[1], &[0x80, 0, 0x82, 0]] {
            assert_eq!(with(tags, header_bytes_max), limits.operation_bytes_max);
            assert_eq!(with(tags, header_bytes_max + 1), header_bytes_max);
            assert_eq!(with(tags, u32::MAX), header_bytes_max);
        }
    }

    #[test]
    fn the_header_of_an_oversize_operation_is_found() {
        let mut out = BytesMut::new();
        let header = Bytes::from_static(b"header");
        let body = Some(Bytes::from_static(b"body"));
        let message = Message::Live {
            header: header.clone(),
            body,
        };
        message.encode(&mut out).unwrap();
        let prefix = out.freeze().slice(4..12);
        let beginning = |len: usize| operation_beginning(&prefix.slice(..len));
        assert_eq!(beginning(8), Some(Beginning::Header(header.clone())));
        let cut = Beginning::Cut(header.slice(..2), 6);
        assert_eq!(beginning(4), Some(cut));
        assert_eq!(beginning(1), None);
        assert_eq!(operation_beginning(&Bytes::from_static(&[2])), None);
    }
}
