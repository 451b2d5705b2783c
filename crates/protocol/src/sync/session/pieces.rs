//! Large operations on a link: they cross in pieces, between which the other messages of the session go
//! (`docs/protocol/link.md#11`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Entry, VerifyingKey, limits};

use super::{Ending, Output, Session};
use crate::close::CloseCode;
use crate::frame::{Decoder, Frame};
use crate::sync::Protocol;
use crate::sync::message::{self, Message, frame_limit, operation_beginning};
use crate::sync::pair::Pair;

/// The operation that crosses in pieces, of each side.
#[derive(Debug)]
pub(super) struct Pieces {
    /// `true` if the peer understands them.
    spoken: bool,
    leaving: Option<Leaving>,
    /// Operations that wait for it, in order: those of the same log, and large ones.
    behind: VecDeque<(Entry, bool)>,
    behind_bytes: usize,
    /// Takes what comes as the frame that it would have been.
    coming: Decoder,
    /// Bytes of it that have not arrived.
    missing: usize,
    /// Frames that had come when it began.
    frames: u64,
}

/// An operation of which more is to be sent.
#[derive(Debug)]
struct Leaving {
    author: VerifyingKey,
    /// Announcement that is sent before the pieces, until it is.
    announced: bool,
    head: Bytes,
    body: Bytes,
}

impl Leaving {
    fn new(entry: Entry, live: bool) -> Self {
        let mut head = BytesMut::new();
        let body_bytes = entry.body.as_ref().map(Bytes::len);
        message::write_operation_head(live, entry.header.as_bytes(), body_bytes, &mut head);
        Self {
            author: entry.label(),
            announced: false,
            head: head.freeze(),
            body: entry.body.unwrap_or_default(),
        }
    }

    fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The next bytes of it, in two parts that are slices.
    fn take(&mut self) -> [Bytes; 2] {
        let most = limits::LINK_PIECE_BYTES;
        let head = self.head.split_to(self.head.len().min(most));
        let body = self.body.len().min(most - head.len());
        [head, self.body.split_to(body)]
    }
}

impl Pieces {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            spoken: matches!(protocol, Protocol::Link { .. }),
            leaving: None,
            behind: VecDeque::new(),
            behind_bytes: 0,
            coming: Decoder::default(),
            missing: 0,
            frames: 0,
        }
    }

    /// Returns `true` if nothing is to be sent in pieces, or waits for that.
    pub(super) fn is_idle(&self) -> bool {
        self.leaving.is_none()
    }

    /// Returns `true` if so much waits that no more is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.behind.len() >= limits::LINK_BEHIND_MAX
            || self.behind_bytes >= limits::LINK_BEHIND_BYTES_MAX
    }

    /// Returns `true` if an operation has begun that has not arrived whole.
    pub(super) fn is_coming(&self) -> bool {
        self.missing > 0
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.coming.held_bytes()
    }

    /// Frames that came whole, those of an operation in pieces and those between them as one.
    pub(super) fn frames(&self, decoder: &Decoder) -> u64 {
        match self.is_coming() {
            true => self.frames,
            false => decoder.frames(),
        }
    }

    /// Nothing more comes or goes.
    pub(super) fn forget(&mut self) {
        self.give_up();
        self.coming = Decoder::default();
        self.missing = 0;
    }

    /// The rest is not sent.
    pub(super) fn give_up(&mut self) {
        self.leaving = None;
        self.behind = VecDeque::new();
        self.behind_bytes = 0;
    }

    /// Takes an entry that is not to be sent whole now.
    fn keep(&mut self, entry: Entry, live: bool) -> Option<Entry> {
        if !self.spoken {
            return Some(entry);
        }
        let author = entry.label();
        let large = entry.bytes() > limits::LINK_WHOLE_BYTES_MAX;
        let Some(leaving) = &self.leaving else {
            if !large {
                return Some(entry);
            }
            self.leaving = Some(Leaving::new(entry, live));
            return None;
        };
        let waits = |(one, _): &(Entry, bool)| one.label() == author;
        if !large && leaving.author != author && !self.behind.iter().any(waits) {
            return Some(entry);
        }
        self.behind_bytes += entry.bytes();
        self.behind.push_back((entry, live));
        None
    }
}

impl Session {
    /// Returns `true` if there are pieces to send, of which the driver says when there is room for
    /// them ([`super::Input::Room`]).
    pub fn has_pieces(&self) -> bool {
        self.ending == Ending::No && !self.pieces.is_idle()
    }

    /// Appends an entry as a message, unless it crosses in pieces or waits for one that does.
    pub(super) fn encode(&mut self, entry: Entry, live: bool, out: &mut BytesMut) {
        if let Some(entry) = self.pieces.keep(entry, live) {
            self.encode_whole(entry, live, out);
        }
    }

    /// Hands out the next piece.
    pub(super) fn room(&mut self) {
        let going = self.has_pieces();
        let Some(leaving) = self.pieces.leaving.as_mut().filter(|_| going) else {
            return;
        };
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut leaving.announced, true) {
            self.counters.sent_operations += 1;
            self.counters.sent_bytes += leaving.bytes() as u64;
            // Nothing stored is above the limit of every frame.
            let bytes = u32::try_from(leaving.bytes()).unwrap_or(u32::MAX);
            let _ = Message::Large(bytes).encode(&mut out);
        }
        let [head, body] = leaving.take();
        let left = leaving.bytes();
        // Fails only above the limit of every frame.
        let _ = message::encode_piece_head(head.len() + body.len(), &mut out);
        out.extend_from_slice(&head);
        self.outputs.push_back(Output::Send(out.freeze()));
        if !body.is_empty() {
            self.outputs.push_back(Output::Send(body));
        }
        if left == 0 {
            self.piece_was_last();
        }
    }

    /// Continues with what waited for the operation that has left.
    fn piece_was_last(&mut self) {
        let waiting = std::mem::take(&mut self.pieces.behind);
        self.pieces.give_up();
        let mut out = BytesMut::new();
        for (entry, live) in waiting {
            self.encode(entry, live, &mut out);
        }
        self.end_answer(&mut out);
        self.hand_out(out);
    }

    /// The peer begins an operation that comes in pieces.
    pub(super) fn large_comes(&mut self, bytes: u32, pair: &mut Pair) {
        if !self.pieces.spoken || self.pieces.is_coming() {
            return self.fail(CloseCode::Violation, pair);
        }
        self.pieces.missing = bytes as usize;
        self.pieces.frames = self.decoder.frames();
        let length = Bytes::copy_from_slice(&bytes.to_be_bytes());
        self.pieces.coming.push(length);
        self.take_coming(pair);
    }

    pub(super) fn piece_comes(&mut self, bytes: Bytes, pair: &mut Pair) {
        let fits = !bytes.is_empty() && bytes.len() <= self.pieces.missing;
        if !fits {
            return self.fail(CloseCode::Violation, pair);
        }
        self.pace.moved(bytes.len());
        self.pieces.missing -= bytes.len();
        self.pieces.coming.push(bytes);
        self.take_coming(pair);
    }

    /// Looks whether what comes in pieces is whole, or too large to be kept.
    fn take_coming(&mut self, pair: &mut Pair) {
        let limits = self.limits;
        let limit_of = |prefix: &[u8]| frame_limit(prefix, &limits);
        match self.pieces.coming.next(limit_of) {
            Ok(None) => {}
            Ok(Some(Frame::Message(payload))) => match Message::decode(payload) {
                Ok(message @ (Message::Operation { .. } | Message::Live { .. })) => {
                    self.message(message, pair);
                }
                _ => self.fail(CloseCode::Violation, pair),
            },
            Ok(Some(Frame::Oversize { prefix, len })) => match operation_beginning(&prefix) {
                Some(_) => self.oversize(&prefix, len as usize, pair),
                None => self.fail(CloseCode::Violation, pair),
            },
            Err(_) => self.fail(CloseCode::Violation, pair),
        }
    }
}
