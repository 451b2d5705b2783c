//! How a session ends: in order, by an error, or because time is up
//! (`docs/protocol/sync.md#6`, `docs/protocol/sync.md#8`).

use super::{End, Ending, Output, PROGRESS_MS, Sending, Session};
use crate::close::CloseCode;
use crate::sync::pair::{Dialled, Pair};
use crate::time::Time;

impl Session {
    pub(super) fn watch_time(&mut self, pair: &mut Pair, now: Time) {
        if matches!(self.ending, Ending::Closed { .. }) {
            if now >= self.deadline {
                return self.lost(pair);
            }
        } else if self.is_live() {
            return;
        } else if now >= self.deadline {
            let rests = self.asked
                || (self.sending == Sending::Have && self.comparing.is_some())
                || !self.all_stored()
                || self.sending == Sending::Waiting
                || self.waits_for_primary(pair);
            if !rests {
                return self.fail(CloseCode::Timeout, pair);
            }
            self.deadline = now.after(PROGRESS_MS);
        }
        if self.wake.is_none_or(|wake| wake <= now) {
            self.wake = Some(self.deadline);
            self.outputs.push_back(Output::Wake(self.deadline));
        }
    }

    pub(super) fn closed_by_peer(&mut self, pair: &mut Pair) {
        self.outputs.push_back(Output::Finish);
        self.end(self.completed(), true, pair);
    }

    pub(super) fn peer_ended(&mut self, pair: &mut Pair) {
        match self.ending {
            Ending::Closed { .. } => self.end(self.completed(), true, pair),
            _ => self.end(CloseCode::Failed, false, pair),
        }
    }

    pub(super) fn lost(&mut self, pair: &mut Pair) {
        match self.ending {
            Ending::Closed { superseded: false } => self.end(self.completed(), true, pair),
            // What was sent may not have arrived, and another session counts on it.
            _ => self.end(CloseCode::Failed, false, pair),
        }
    }

    pub(super) fn fail(&mut self, code: CloseCode, pair: &mut Pair) {
        self.end(code, false, pair);
    }

    pub(super) fn end(&mut self, code: CloseCode, ok: bool, pair: &mut Pair) {
        // What came before the end is worth storing all the same.
        if !self.pending.is_empty() {
            self.pending_bytes = 0;
            self.outputs
                .push_back(Output::Store(std::mem::take(&mut self.pending)));
        }
        self.ending = Ending::Ended;
        pair.leave(self.id);
        self.outputs.push_back(Output::PairChanged);
        self.outputs.push_back(Output::End(End { code, ok }));
    }

    /// The code of an end in order, by who dialled.
    fn completed(&self) -> CloseCode {
        match self.dialled {
            Dialled::ByUs => CloseCode::SyncInitiated,
            Dialled::ByThem => CloseCode::SyncAccepted,
        }
    }

    fn all_stored(&self) -> bool {
        self.pending.is_empty() && self.stores.is_empty()
    }
}
