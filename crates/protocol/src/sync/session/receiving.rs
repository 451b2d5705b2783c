//! Input from a peer: frames become messages, and operations become batches for the store
//! (`docs/protocol/sync.md#5`).

use bytes::Bytes;
use p2panda_core::{Header, Received, Refused, limits};

use super::received::too_large;
use super::{Ending, Output, Receiving, Session};
use crate::close::CloseCode;
use crate::frame::Frame;
use crate::ranges;
use crate::sync::message::{Message, frame_limit, operation_beginning};
use crate::sync::pair::Pair;

impl Session {
    pub(super) fn bytes(&mut self, bytes: Bytes, pair: &mut Pair) {
        // Nothing else counts for one who has begun a large operation.
        if !self.pieces.is_coming() {
            self.pace.moved(bytes.len());
        }
        self.decoder.push(bytes);
        self.take_frames(pair);
    }

    /// Takes the frames that are whole. One of a comparison may take a moment: other work has its turn
    /// before the next one.
    pub(super) fn take_frames(&mut self, pair: &mut Pair) {
        self.behind = false;
        while self.ending != Ending::Ended {
            let limits = self.limits;
            let opens = matches!(self.receiving, Receiving::Digest(_));
            let compares = self.receiving == Receiving::Ranges;
            let limit_of = |prefix: &[u8]| match (opens, compares) {
                (true, _) => limits::DIGEST_BYTES_MAX as u32,
                (_, true) => ranges::frame_bytes_max(prefix),
                _ => frame_limit(prefix, &limits),
            };
            match self.decoder.next(limit_of) {
                Ok(Some(Frame::Message(payload))) if opens => self.remote_digest(payload, pair),
                Ok(Some(Frame::Message(payload))) if compares => {
                    self.compare_ranges(payload, pair);
                    if !self.decoder.is_between_frames() {
                        return self.read_on_soon();
                    }
                }
                Ok(Some(Frame::Message(payload))) => match Message::decode(payload) {
                    Ok(message) => self.message(message, pair),
                    Err(_) => self.fail(CloseCode::Violation, pair),
                },
                Ok(Some(Frame::Oversize { prefix, len })) => {
                    self.oversize(&prefix, len as usize, pair);
                }
                Ok(None) => break,
                Err(_) => self.fail(CloseCode::Violation, pair),
            }
        }
    }

    fn read_on_soon(&mut self) {
        if self.ending != Ending::Ended {
            self.behind = true;
            self.wake_soon();
        }
    }

    pub(super) fn message(&mut self, message: Message, pair: &mut Pair) {
        let peer_is_live = self.exchanged();
        match (&self.receiving, message) {
            (Receiving::Have, Message::Have(have)) => self.remote_have(have),
            (Receiving::PreSync, Message::PreSync { operations, bytes }) => {
                self.totals_in = Some((operations.into(), bytes.into()));
                self.receiving = Receiving::Transfer;
            }
            (Receiving::PreSync, Message::Done) => {
                self.totals_in = Some((0, 0));
                self.receiving = Receiving::Done;
            }
            (Receiving::Transfer, Message::Operation { header, body }) => {
                self.operation(header, body, pair);
            }
            (Receiving::Transfer, Message::Done) if self.pieces.is_coming() => {
                self.fail(CloseCode::Violation, pair);
            }
            (Receiving::Transfer, Message::Done) => self.receiving = Receiving::Done,
            (Receiving::Transfer, Message::Large(bytes)) => self.large_comes(bytes, pair),
            (Receiving::Transfer, Message::Piece(bytes)) => self.piece_comes(bytes, pair),
            (Receiving::Done, Message::Large(bytes)) if peer_is_live => {
                self.large_comes(bytes, pair);
            }
            (Receiving::Done, Message::Piece(bytes)) if peer_is_live => {
                self.piece_comes(bytes, pair);
            }
            (Receiving::Done, Message::Live { header, body }) if peer_is_live => {
                self.operation(header, body, pair);
            }
            (Receiving::Done, Message::Wanted(ranges)) if peer_is_live => {
                self.peer_wants(ranges, pair);
            }
            (Receiving::Done, Message::Absent(absent)) if peer_is_live => {
                self.absent(&absent, pair);
            }
            (Receiving::Done, Message::Announce(entries)) if peer_is_live => {
                self.announced(&entries, pair);
            }
            (Receiving::Done, Message::Fetch(entries)) if peer_is_live => {
                self.peer_fetches(&entries, pair);
            }
            (Receiving::Done, Message::Prefer(prefer)) if peer_is_live => {
                self.peer_prefers(prefer, pair);
            }
            (Receiving::Done, Message::Close) if peer_is_live => self.closed_by_peer(pair),
            // A 0.7.1 peer whose entries vanish while it counts them says Done twice.
            (Receiving::Done, Message::Done) => {}
            _ => self.fail(CloseCode::Violation, pair),
        }
    }

    fn operation(&mut self, header: Bytes, body: Option<Bytes>, pair: &mut Pair) {
        let Ok(header) = Header::decode_unverified(header.clone()) else {
            let body_bytes = body.map_or(0, |body| body.len());
            return self.receive(Received::Refused(Refused::undecodable(&header, body_bytes)));
        };
        let extensions = header.node_extensions().ok();
        if !self.named && extensions.as_ref().is_some_and(|one| one.name.is_some()) {
            let body_bytes = body.map_or(0, |body| body.len());
            return self.receive(Received::Refused(Refused::other_log(&header, body_bytes)));
        }
        let of_topic = extensions.is_some_and(|extensions| match extensions.name {
            None => extensions.log_id == self.log_id,
            name => self.topic.has_log(&extensions.log_id, name.as_ref()),
        });
        let complete = body.is_some() || header.payload_size() == 0;
        match (of_topic, complete) {
            (true, true) => {
                pair.peer_has(self.id, header.label(), header.seq());
                self.came_with_body(&header);
                self.came_whole(&header, pair);
            }
            // It may lack the body, or withhold it.
            (true, false) => self.came_without_body(&header, pair),
            (false, _) => {}
        }
        // A header that is kept must not hold on to a large body.
        let large = body.as_ref().map_or(0, Bytes::len) >= limits::BODY_APART_BYTES;
        let header = if large { header.detached() } else { header };
        let received = Received::Operation { header, body };
        self.counters.received_operations += 1;
        self.counters.received_bytes += received.wire_bytes() as u64;
        self.receive(received);
    }

    pub(super) fn oversize(&mut self, prefix: &Bytes, len: usize, pair: &mut Pair) {
        let may_come = self.receiving == Receiving::Transfer || self.exchanged();
        if may_come && operation_beginning(prefix).is_some() {
            let refused = too_large(prefix, len);
            if let Some(header) = &refused.whole {
                self.came_without_body(header, pair);
            }
            self.receive(Received::Refused(refused));
        } else {
            self.fail(CloseCode::Limit, pair);
        }
    }

    /// Adds a received operation. What is refused goes the same way as everything else and counts
    /// with all that came, so that it pushes back as well.
    fn receive(&mut self, received: Received) {
        self.pending_bytes.add(&received);
        self.pending.push(received);
    }

    pub(super) fn stored(&mut self, invalid: usize, pair: &mut Pair) {
        self.stores.pop_front();
        self.unsettled = self.unsettled.map(|batches| batches.saturating_sub(1));
        if invalid > 0 {
            self.came_invalid(pair);
        }
        self.count_invalid(invalid, pair);
    }

    /// A peer may relay what others forged, so a few invalid operations do not end the session.
    fn count_invalid(&mut self, count: usize, pair: &mut Pair) {
        self.invalid = self.invalid.saturating_add(count);
        if self.invalid > limits::SESSION_INVALID_MAX {
            self.fail(CloseCode::Violation, pair);
        }
    }

    /// Hands received operations over; while batches are in progress, the rest gathers.
    pub(super) fn flush(&mut self) {
        if !self.pending.is_empty() && self.stores.len() < limits::STORES_IN_FLIGHT_MAX {
            self.stores
                .push_back(std::mem::take(&mut self.pending_bytes));
            self.outputs
                .push_back(Output::Store(std::mem::take(&mut self.pending)));
        }
    }
}
