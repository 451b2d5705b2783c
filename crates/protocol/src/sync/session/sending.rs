//! Output to a peer: what it lacks in catch-up, what became durable in live mode
//! (`docs/protocol/sync.md#5`, `docs/protocol/sync.md#6`).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use p2panda_core::{Absent, Entry, LogRange, Page, Read, limits};

use super::{Output, Sending, Session};
use crate::frame::FrameError;
use crate::sync::message::{self, Message};
use crate::sync::pair::Pair;

impl Session {
    /// Takes the totals of catch-up, with the ranges in the order in which their logs became
    /// known.
    pub(super) fn totals(
        &mut self,
        operations: u64,
        bytes: u64,
        mut ranges: Vec<LogRange>,
        pair: &Pair,
    ) {
        self.asked = false;
        if self.sending != Sending::Totals {
            return;
        }
        self.sending = Sending::Done;
        let shown = self.forked.len() as u64;
        let operations = operations + shown;
        self.totals_out = Some((operations, bytes));
        // Done is said once: here when nothing is left, after the last operation otherwise.
        if shown == 0 && (operations == 0 || bytes == 0) {
            return self.send(&Message::Done);
        }
        self.send(&Message::PreSync {
            operations: u32::try_from(operations).unwrap_or(u32::MAX),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        });
        // The peer's own log first: it may have lost it, and must not publish before it is back.
        ranges.sort_by_key(|range| match range.author {
            author if author == pair.remote() => 0,
            author if author == pair.local() => 1,
            _ => 2,
        });
        self.sending = Sending::Transfer(ranges.into());
    }

    pub(super) fn page(&mut self, page: Page, pair: &mut Pair) {
        self.asked = false;
        let live = self.sending == Sending::Done;
        // No more than is needed: it is held until the peer has it.
        let mut out = BytesMut::with_capacity(page.entries.iter().map(frame_bytes).sum());
        let last = page.entries.last();
        let last = last.map(|entry| (entry.label(), entry.seq()));
        if live {
            self.hold(&page.entries, pair);
        }
        for entry in page.entries {
            let (author, seq) = (entry.label(), entry.seq());
            if live && !self.named && author != entry.header.author() {
                continue;
            }
            let wanted = matches!(entry.absent, Some(Absent::Wanted { .. }));
            let lacking = wanted || entry.absent == Some(Absent::Overdue);
            if lacking {
                pair.keeps_back(self.id, author, seq);
                if live {
                    self.saw_wanted(&entry, pair);
                }
                if wanted {
                    continue;
                }
            }
            let owed = live && self.bodies.pays(&entry, self.log_id);
            if live {
                let covered = pair.covers(&author, seq);
                pair.passes(self.id, author, seq);
                if covered && !owed {
                    continue;
                }
                if !owed && self.passes_over(&entry, pair) {
                    continue;
                }
            }
            if !lacking {
                pair.sends(self.id, author, seq);
            }
            self.encode(entry, live, &mut out);
        }
        if live {
            self.position = self.position.max(page.last_arrival);
        } else if let Sending::Transfer(ranges) = &mut self.sending {
            ranges.drain(..page.ranges.min(ranges.len()));
            match (last, ranges.front_mut()) {
                (Some((author, seq)), Some(range)) if range.author == author => {
                    range.after = range.after.max(Some(seq));
                }
                // Nothing of it can be read.
                (None, Some(_)) if page.ranges == 0 => drop(ranges.pop_front()),
                _ => {}
            }
        }
        self.hand_out(out);
    }

    /// Appends an entry as a message. A body that is not small is not copied: it is handed out by
    /// itself, behind what was appended.
    pub(super) fn encode_whole(&mut self, entry: Entry, live: bool, out: &mut BytesMut) {
        let bytes = entry.bytes();
        let (header, body) = (entry.header.as_bytes(), entry.body);
        // Fails only above the limit of every frame, which nothing stored exceeds.
        if encode_operation(live, header, body.as_ref(), out).is_err() {
            return;
        }
        self.counters.sent_operations += 1;
        self.counters.sent_bytes += bytes as u64;
        if let Some(body) = body.filter(is_apart) {
            self.hand_out(out.split());
            self.outputs.push_back(Output::Send(body));
        }
    }

    pub(super) fn hand_out(&mut self, out: BytesMut) {
        if !out.is_empty() {
            self.drained = false;
            self.outputs.push_back(Output::Send(out.freeze()));
        }
    }

    /// Promises these ranges to the peer: what it lacks, without what other sessions of the pair
    /// have sent or will send.
    pub(super) fn send_ranges(&mut self, ranges: Vec<LogRange>, pair: &mut Pair) {
        pair.plans(self.id, &ranges);
        if ranges.is_empty() && !self.forked.is_empty() {
            self.sending = Sending::Totals;
            return self.totals(0, 0, ranges, pair);
        }
        if ranges.is_empty() {
            self.totals_out = Some((0, 0));
            self.sending = Sending::Done;
            return self.send(&Message::Done);
        }
        self.sending = Sending::Totals;
        self.ask(Output::Totals(ranges));
    }

    pub(super) fn transfer(&mut self) {
        let Sending::Transfer(ranges) = &self.sending else {
            return;
        };
        if self.asked || !self.drained || self.pieces.is_full() {
            return;
        }
        if !ranges.is_empty() {
            let ranges = one_page(ranges);
            return self.ask(Output::Read(Read::Logs {
                ranges,
                bytes_max: limits::SESSION_PAGE_BYTES_MAX,
            }));
        }
        if !self.pieces.is_idle() {
            return;
        }
        match self.forked.pop_front() {
            Some(author) => self.ask(Output::Evidence(author)),
            None => {
                self.sending = Sending::Done;
                self.send(&Message::Done);
            }
        }
    }

    pub(super) fn send(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        // Control messages are far below the limit of every frame.
        if message.encode(&mut out).is_ok() {
            self.outputs.push_back(Output::Send(out.freeze()));
        }
    }

    pub(super) fn ask(&mut self, question: Output) {
        self.asked = true;
        self.outputs.push_back(question);
    }
}

/// The first ranges, as many as one page may have rows: short logs share it.
fn one_page(ranges: &VecDeque<LogRange>) -> Vec<LogRange> {
    let mut entries = 0;
    let fit = ranges.iter().take_while(|range| {
        let fits = entries < limits::SESSION_PAGE_ROWS_MAX as u64;
        let first = range.after.map_or(0, |after| u64::from(after) + 1);
        entries += (u64::from(range.until) + 1).saturating_sub(first);
        fits
    });
    fit.copied().collect()
}

/// Bytes of an entry as a message, at most, without a body that is handed out by itself.
fn frame_bytes(entry: &Entry) -> usize {
    let apart = entry.body.as_ref().filter(|body| is_apart(body));
    entry.bytes() - apart.map_or(0, Bytes::len) + limits::OPERATION_FRAME_OVERHEAD_BYTES
}

/// Returns `true` if a body is written by itself.
fn is_apart(body: &Bytes) -> bool {
    body.len() >= limits::BODY_APART_BYTES
}

/// Appends an operation as one frame, without a body that is written by itself.
fn encode_operation(
    live: bool,
    header: &Bytes,
    body: Option<&Bytes>,
    out: &mut BytesMut,
) -> Result<(), FrameError> {
    let written = body.filter(|body| !is_apart(body));
    match (body, written) {
        (Some(body), None) => message::encode_operation_head(live, header, body.len(), out),
        _ => message::encode_operation(live, header, written.map(|body| &body[..]), out),
    }
}
