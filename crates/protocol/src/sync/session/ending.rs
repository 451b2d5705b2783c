//! End of a session: in order, by an error, or because time is up (`docs/protocol/sync.md#6`,
//! `docs/protocol/sync.md#8`).

use super::received::Unstored;
use super::{End, Ending, Output, Sending, Session};
use crate::close::CloseCode;
use crate::sync::pace::Debt;
use crate::sync::pair::{Dialled, Pair};
use crate::time::Time;

impl Session {
    pub(super) fn watch_time(&mut self, pair: &mut Pair, now: Time) {
        let deadline = if matches!(self.ending, Ending::Closed { .. }) {
            if now >= self.deadline {
                return self.lost(pair);
            }
            self.deadline
        } else {
            if !self.pace.watch(self.debt(pair), now) {
                return self.fail(CloseCode::Timeout, pair);
            }
            let idle = self.is_live() && self.ending == Ending::No;
            let bodies = idle.then(|| self.bodies_due(pair)).flatten();
            let offers = idle.then(|| self.offers_due()).flatten();
            let due = [self.pace.deadline(), bodies, offers];
            let Some(deadline) = due.into_iter().flatten().min() else {
                return self.rest();
            };
            deadline
        };
        self.wake_at(deadline);
    }

    /// Sets the one timer of the driver, for the earliest of all that waits. One that is due comes
    /// first: everything is checked again then.
    fn wake_at(&mut self, deadline: Time) {
        let is_due = self.wake.is_some_and(|wake| wake <= self.now);
        if !is_due && self.wake != Some(deadline) {
            self.wake = Some(deadline);
            self.outputs.push_back(Output::Wake(deadline));
        }
    }

    /// Nothing waits for time: a timer that is set would come in vain, and wake a node for each of its
    /// topics.
    fn rest(&mut self) {
        if self.wake.take_if(|wake| *wake > self.now).is_some() {
            self.outputs.push_back(Output::Rest);
        }
    }

    /// The driver's timer comes at once, in place of any later one.
    pub(super) fn wake_soon(&mut self) {
        self.wake_at(self.now);
    }

    /// The driver's timer is no longer set. One that came too early still is.
    pub(super) fn timer_came(&mut self) {
        self.wake = self.wake.filter(|wake| *wake > self.now);
    }

    /// Returns whose turn it is: in catch-up something is open until both sides are done, in live
    /// mode only while a frame has begun.
    fn debt(&self, pair: &Pair) -> Debt {
        if self.is_live() {
            return match self.is_in_frame() {
                false => Debt::None,
                true if self.reading && self.wants_bytes() => Debt::Owed,
                true => Debt::Rests,
            };
        }
        let rests = self.asked
            || !self.reading
            || !self.all_stored()
            || self.sending == Sending::Waiting
            || (self.sending == Sending::Have && self.comparing.is_some())
            || self.waits_for_primary(pair);
        if rests { Debt::Rests } else { Debt::Owed }
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
            self.pending_bytes = Unstored::default();
            self.outputs
                .push_back(Output::Store(std::mem::take(&mut self.pending)));
        }
        self.ending = Ending::Ended;
        self.pieces.forget();
        self.leave_sources(pair);
        pair.leave(self.id);
        self.outputs.push_back(Output::PairChanged);
        self.outputs.push_back(Output::End(End { code, ok }));
    }

    /// The code of an end cleanly, by who dialled.
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
