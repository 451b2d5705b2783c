//! Frames: a length as big-endian u32, then that many bytes of payload.
//!
//! Rules: docs/protocol/sync.md#2. The decoder never reserves memory for a length that a peer
//! only announced, and a frame above the limit of its kind passes through without being kept.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use p2panda_core::limits::{FRAME_BYTES_MAX, FRAME_PART_BYTES_MAX, OVERSIZE_PREFIX_BYTES_MAX};
use thiserror::Error;

/// Bytes of the length in front of a payload.
const LENGTH_BYTES: usize = 4;

/// Bytes of a payload by which its limit is chosen: two tags and the length of a byte string,
/// even if they are written longer than needed.
const KIND_BYTES: usize = 5 + 5 + 10;

/// Payloads below this size are copied, so that a message that is kept does not keep the whole
/// receive buffer with it.
const SHARED_BYTES_MIN: usize = 4096;

/// Reason why a byte stream cannot be cut into frames. The stream is lost after it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame announced no payload.
    #[error("a frame has no payload")]
    Empty,
    /// A payload above [`FRAME_BYTES_MAX`] was announced, or was about to be sent.
    #[error("a frame of {len} bytes is above the limit of every frame")]
    TooLarge {
        /// The announced length in bytes.
        len: u64,
    },
}

/// One frame taken from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole payload within its limit.
    Message(Bytes),
    /// A payload above its limit; what follows the prefix is dropped as it arrives.
    Oversize {
        /// The first bytes of the payload, at most [`OVERSIZE_PREFIX_BYTES_MAX`].
        prefix: Bytes,
        /// The announced length in bytes.
        len: u32,
    },
}

/// Cuts a byte stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// A payload that is not small and not complete. What follows it is in `buffer`.
    begun: Option<Begun>,
    drop_bytes: u32,
    frames: u64,
    failed: Option<FrameError>,
}

/// A payload within its limit, as far as it has come: in parts that are full but for the last one,
/// so that memory is taken by what comes and not by doubling what is large already. Once half of it
/// has come it is in one piece, so that it is not there twice when it is whole.
#[derive(Debug)]
struct Begun {
    full: Vec<Vec<u8>>,
    last: Vec<u8>,
    /// In all parts.
    bytes: usize,
    len: usize,
}

impl Begun {
    fn new(payload: &[u8], len: usize) -> Begun {
        Begun {
            full: Vec::new(),
            last: payload.to_vec(),
            bytes: payload.len(),
            len,
        }
    }

    /// Takes what belongs to this payload. Reserves what has come once more, up to a part, and never
    /// beyond the end.
    fn take_from(&mut self, bytes: &mut Bytes) {
        let mut part = bytes.split_to(bytes.len().min(self.len - self.bytes));
        while !part.is_empty() {
            if self.last.len() == self.last.capacity() {
                self.reserve(part.len());
            }
            let room = self.last.capacity() - self.last.len();
            let taken = part.split_to(part.len().min(room));
            self.last.extend_from_slice(&taken);
            self.bytes += taken.len();
        }
    }

    /// For more than nothing of that many bytes, in parts: those of one size leave no holes that
    /// the next one does not fit into.
    fn reserve(&mut self, needed: usize) {
        let left = self.len - self.bytes;
        if self.bytes >= FRAME_PART_BYTES_MAX && self.bytes >= left {
            self.gather();
        } else if self.last.len() >= FRAME_PART_BYTES_MAX {
            let next = Vec::with_capacity(left.min(FRAME_PART_BYTES_MAX));
            self.full.push(std::mem::replace(&mut self.last, next));
        } else {
            let most = left.min(FRAME_PART_BYTES_MAX - self.last.len());
            self.last
                .reserve_exact(needed.max(self.last.len()).min(most));
        }
    }

    /// Puts all parts into one, with room for the rest. Each is released as soon as it was copied.
    fn gather(&mut self) {
        let mut whole = Vec::with_capacity(self.len);
        let parts = std::mem::take(&mut self.full);
        for part in parts.into_iter().chain([std::mem::take(&mut self.last)]) {
            whole.extend_from_slice(&part);
        }
        self.last = whole;
    }

    fn is_complete(&self) -> bool {
        self.bytes == self.len
    }

    fn held_bytes(&self) -> usize {
        self.full.iter().map(Vec::capacity).sum::<usize>() + self.last.capacity()
    }

    /// In one piece.
    fn into_payload(mut self) -> Bytes {
        if !self.full.is_empty() {
            self.gather();
        }
        self.last.into()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes the next bytes of the stream.
    ///
    /// Holds what was pushed until [`Decoder::next`] takes it, so a caller pushes only while
    /// [`Decoder::buffered_bytes`] is within what it allows.
    pub fn push(&mut self, mut bytes: Bytes) {
        if self.failed.is_some() {
            return;
        }
        let dropped = bytes.len().min(self.drop_bytes as usize);
        bytes.advance(dropped);
        self.drop_bytes -= dropped as u32;
        if let Some(begun) = &mut self.begun {
            begun.take_from(&mut bytes);
        }
        self.buffer.extend_from_slice(&bytes);
    }

    /// The next frame, or `None` until more bytes are pushed.
    ///
    /// `limit_of` is given the first bytes of the payload (20, or the whole payload when it is
    /// shorter) and answers the largest payload of that kind in bytes. After an error every call
    /// gives the same error.
    pub fn next(&mut self, limit_of: impl Fn(&[u8]) -> u32) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(begun) = self.begun.take_if(|begun| begun.is_complete()) {
            self.frames += 1;
            return Ok(Some(Frame::Message(begun.into_payload())));
        }
        if self.begun.is_some() {
            return Ok(None);
        }
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*length);
        if let Err(error) = check_length(len) {
            self.failed = Some(error);
            self.buffer = BytesMut::new();
            return Err(error);
        }
        let payload = self.buffer.get(LENGTH_BYTES..).unwrap_or_default();
        let kind_bytes = KIND_BYTES.min(len as usize);
        let Some(kind) = payload.get(..kind_bytes) else {
            return Ok(None);
        };
        let available = payload.len();
        if len > limit_of(kind) {
            return Ok(self.take_oversize(len, available));
        }
        if available < len as usize {
            if len as usize >= SHARED_BYTES_MIN {
                self.begun = Some(Begun::new(payload, len as usize));
                self.buffer = BytesMut::new();
            }
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        self.frames += 1;
        Ok(Some(Frame::Message(self.take(len as usize))))
    }

    /// Bytes of frames that are not complete or not yet taken.
    pub fn buffered_bytes(&self) -> usize {
        let begun = |begun: &Begun| LENGTH_BYTES + begun.bytes;
        self.begun.as_ref().map_or(0, begun) + self.buffer.len()
    }

    /// Bytes of memory reserved for them: at most twice as many, and a part more at most as long as
    /// less than half of a frame has come.
    pub fn held_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, Begun::held_bytes) + self.buffer.capacity()
    }

    /// Frames taken so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Returns `true` if the stream is between two frames: only there may it end.
    pub fn is_between_frames(&self) -> bool {
        self.buffer.is_empty() && self.begun.is_none() && self.drop_bytes == 0
    }

    fn take_oversize(&mut self, len: u32, available: usize) -> Option<Frame> {
        let prefix_bytes = len.min(OVERSIZE_PREFIX_BYTES_MAX) as usize;
        if available < prefix_bytes {
            return None;
        }
        self.buffer.advance(LENGTH_BYTES);
        let prefix = self.take(prefix_bytes);
        let rest = len as usize - prefix_bytes;
        let dropped = rest.min(self.buffer.len());
        self.buffer.advance(dropped);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        self.drop_bytes = (rest - dropped) as u32;
        self.frames += 1;
        Some(Frame::Oversize { prefix, len })
    }

    fn take(&mut self, len: usize) -> Bytes {
        let payload = self.buffer.split_to(len);
        if self.buffer.is_empty() {
            // Else it would continue with the memory of the largest frame.
            self.buffer = BytesMut::new();
        }
        if len < SHARED_BYTES_MIN {
            Bytes::copy_from_slice(&payload)
        } else {
            payload.freeze()
        }
    }
}

/// Appends one frame whose payload `write` appends; nothing is left in `out` on an error.
pub fn encode(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) -> Result<(), FrameError> {
    encode_head(out, 0, write)
}

/// The same for a payload of which `rest_bytes` follow behind what `write` appends.
pub fn encode_head(
    out: &mut BytesMut,
    rest_bytes: usize,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), FrameError> {
    let start = out.len();
    out.put_u32(0);
    write(out);
    let len = (out.len() - start - LENGTH_BYTES).saturating_add(rest_bytes);
    let checked = match u32::try_from(len) {
        Ok(len) => check_length(len).map(|()| len),
        Err(_) => Err(FrameError::TooLarge { len: len as u64 }),
    };
    match checked {
        Ok(len) => {
            out.get_mut(start..start + LENGTH_BYTES)
                .expect("the length was put here")
                .copy_from_slice(&len.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

fn check_length(len: u32) -> Result<(), FrameError> {
    match len {
        0 => Err(FrameError::Empty),
        1..=FRAME_BYTES_MAX => Ok(()),
        _ => Err(FrameError::TooLarge {
            len: u64::from(len),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const LIMIT: u32 = 100_000;

    fn framed(payload: &[u8]) -> Bytes {
        let mut out = BytesMut::new();
        encode(&mut out, |out| out.put_slice(payload)).unwrap();
        out.freeze()
    }

    #[test]
    fn frames_come_back_with_any_cuts() {
        let first = vec![7; 5_000];
        let second = vec![8; 3];
        let stream = [framed(&first), framed(&second)].concat();
        for size in [1, 2, 3, 1_000, stream.len()] {
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            for chunk in stream.chunks(size) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(frame) = decoder.next(|_| LIMIT).unwrap() {
                    frames.push(frame);
                }
            }
            let expected = [first.clone(), second.clone()].map(|p| Frame::Message(p.into()));
            assert_eq!(frames, expected);
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn a_begun_frame_takes_at_most_twice_what_came() {
        let stream = framed(&vec![7; LIMIT as usize]);
        let mut decoder = Decoder::new();
        let mut came = 0;
        for chunk in stream.chunks(1_500) {
            decoder.push(Bytes::copy_from_slice(chunk));
            came += chunk.len();
            if came < stream.len() {
                assert_eq!(decoder.next(|_| LIMIT), Ok(None));
                assert!(decoder.held_bytes() <= (2 * came).min(LIMIT as usize).max(4_096));
            }
            assert_eq!(decoder.buffered_bytes(), came);
        }
        let frame = decoder.next(|_| LIMIT).unwrap();
        assert_eq!(frame, Some(Frame::Message(stream.slice(4..))));
        assert!(decoder.is_between_frames());
        assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn a_large_frame_is_in_one_piece_from_its_half_on() {
        let payload: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
        let stream = framed(&payload);
        let mut decoder = Decoder::new();
        let mut came = 0;
        for chunk in stream.chunks(1_201) {
            decoder.push(Bytes::copy_from_slice(chunk));
            came += chunk.len();
            if came < stream.len() {
                assert_eq!(decoder.next(|_| u32::MAX), Ok(None));
                let spare = came.min(FRAME_PART_BYTES_MAX);
                let most = match came < stream.len() / 2 {
                    true => (came + spare).max(4_096),
                    false => payload.len().max(came),
                };
                assert!(decoder.held_bytes() <= most, "{came}");
                let begun = decoder.begun.as_ref();
                let pieces = begun.map_or(0, |begun| begun.full.len());
                let late = came > stream.len() / 2 + FRAME_PART_BYTES_MAX;
                assert!(!late || pieces == 0, "{came}");
            }
        }
        let frame = decoder.next(|_| u32::MAX).unwrap();
        assert_eq!(frame, Some(Frame::Message(payload.into())));
        assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn a_frame_at_its_limit_is_a_message_and_one_past_it_is_not() {
        for (len, fits) in [(LIMIT, true), (LIMIT + 1, false)] {
            let mut decoder = Decoder::new();
            decoder.push(framed(&vec![1; len as usize]));
            let frame = decoder.next(|_| LIMIT).unwrap().unwrap();
            assert_eq!(matches!(frame, Frame::Message(_)), fits);
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn an_oversize_frame_passes_and_the_next_one_arrives() {
        let mut decoder = Decoder::new();
        decoder.push(Bytes::copy_from_slice(&FRAME_BYTES_MAX.to_be_bytes()));
        let chunk = Bytes::from(vec![1; 65_536]);
        let mut seen = 0;
        for _ in 0..FRAME_BYTES_MAX / 65_536 {
            decoder.push(chunk.clone());
            if let Some(frame) = decoder.next(|_| LIMIT).unwrap() {
                let Frame::Oversize { prefix, len } = frame else {
                    panic!("not oversize")
                };
                assert_eq!(
                    (prefix.len() as u32, len),
                    (OVERSIZE_PREFIX_BYTES_MAX, FRAME_BYTES_MAX)
                );
                seen += 1;
            }
            assert!(decoder.buffered_bytes() <= 65_536 + 4);
        }
        assert_eq!(seen, 1);
        decoder.push(framed(b"next"));
        let frame = decoder.next(|_| LIMIT).unwrap();
        assert_eq!(frame, Some(Frame::Message(Bytes::from_static(b"next"))));
    }

    #[test]
    fn what_was_pushed_behind_an_oversize_frame_is_kept() {
        let stream = [framed(&[1; 10]), framed(&[2; 3])].concat();
        let mut decoder = Decoder::new();
        decoder.push(Bytes::from(stream));
        let limit = |kind: &[u8]| if kind[0] == 1 { 5 } else { 10 };
        let first = decoder.next(limit).unwrap().unwrap();
        assert_eq!(
            first,
            Frame::Oversize {
                prefix: Bytes::from_static(&[1; 10]),
                len: 10
            }
        );
        let second = decoder.next(limit).unwrap().unwrap();
        assert_eq!(second, Frame::Message(Bytes::from_static(&[2; 3])));
    }

    #[test]
    fn empty_and_gigantic_frames_end_the_stream() {
        for (length, error) in [
            (0u32, FrameError::Empty),
            (
                FRAME_BYTES_MAX + 1,
                FrameError::TooLarge { len: 0x0800_0001 },
            ),
        ] {
            let mut decoder = Decoder::new();
            decoder.push(Bytes::copy_from_slice(&length.to_be_bytes()));
            assert_eq!(decoder.next(|_| u32::MAX), Err(error));
            decoder.push(framed(b"more"));
            assert_eq!(decoder.next(|_| u32::MAX), Err(error));
            assert_eq!(decoder.buffered_bytes(), 0);
        }
    }

    #[test]
    fn an_empty_payload_is_not_sent() {
        let mut out = BytesMut::from(&b"kept"[..]);
        assert_eq!(encode(&mut out, |_| ()), Err(FrameError::Empty));
        assert_eq!(&out[..], b"kept");
    }
}
