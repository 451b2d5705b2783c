//! One peer as a topic sees it, and how long it rests after an attempt that came to nothing.

use std::time::Duration;

use p2panda_core::limits;

use super::{Fault, Place};
use crate::draws::Draws;
use crate::sync::pair::Dialled;
use crate::sync::session::SessionId;
use crate::time::Time;

const FIRST_MS: u64 = limits::DIAL_RETRY_FIRST.as_millis() as u64;
const SOON_MS: u64 = limits::DIAL_RETRY_SOON_MAX.as_millis() as u64;
const MAX_MS: u64 = limits::DIAL_RETRY_MAX.as_millis() as u64;
const SHORT_SILENCE_MS: u64 = limits::SHORT_SILENCE.as_millis() as u64;
const LOST_SOUGHT_MS: u64 = limits::LOST_SOUGHT.as_millis() as u64;

/// A peer that may share the topic.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) place: Place,
    /// The configuration names it.
    pub(super) named: bool,
    /// Only another peer said that it is interested.
    pub(super) told: bool,
    /// The overlay has it as a neighbour.
    pub(super) up: bool,
    /// It speaks the published protocol only.
    pub(super) published: bool,
    /// Sessions that run: who dialled them and since when.
    pub(super) sessions: Vec<(SessionId, Dialled, Time)>,
    /// A dial of ours that is not over: since when.
    pub(super) dialling: Option<Time>,
    /// Time at which it was dialled last.
    dialled: Option<Time>,
    /// Reason why the last attempt came to nothing, unless a session or a sign of the peer came
    /// after it.
    fault: Option<Fault>,
    failures: u32,
    /// Time at which the peer last gave a sign of life, or became known.
    heard: Time,
    /// Not dialled before.
    pub(super) due: Time,
    /// The last session was lost rather than ended.
    lost: bool,
    /// Time at which to compare again although a session runs.
    pub(super) compare: Option<Time>,
    comparisons: u32,
    compared: Time,
}

impl Candidate {
    pub(super) fn new(place: Place, now: Time) -> Self {
        Self {
            place,
            named: false,
            told: false,
            up: false,
            published: false,
            sessions: Vec::new(),
            dialling: None,
            dialled: None,
            fault: None,
            failures: 0,
            heard: now,
            due: now,
            lost: false,
            compare: None,
            comparisons: 0,
            compared: Time::ZERO,
        }
    }

    pub(super) fn has_session(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// Returns `true` if nothing speaks against a session with it, or it has one.
    pub(super) fn is_living(&self) -> bool {
        self.has_session() || self.fault.is_none()
    }

    /// Returns `true` if it has a session, or is about to have one.
    pub(super) fn is_served(&self) -> bool {
        self.has_session() || (self.dialling.is_some() && self.is_living())
    }

    pub(super) fn is_failing(&self) -> bool {
        !self.is_living()
    }

    /// Returns `true` if a session with it was lost a short time ago.
    pub(super) fn is_missed(&self, now: Time) -> bool {
        self.lost && self.is_failing() && now.ms_since(self.heard) < LOST_SOUGHT_MS
    }

    pub(super) fn heard(&self) -> Time {
        self.heard
    }

    /// Returns `true` if the dial that the smaller node id owes a published neighbour is missing.
    pub(super) fn owes_primary(&self) -> bool {
        !self.sessions.iter().any(|(_, by, _)| *by == Dialled::ByUs)
    }

    pub(super) fn dial(&mut self, now: Time) {
        self.dialling = Some(now);
        self.dialled = Some(now);
        self.compare = None;
    }

    pub(super) fn opened(&mut self, session: SessionId, dialled: Dialled, now: Time) {
        self.sessions.reserve_exact(1);
        self.sessions.push((session, dialled, now));
        if dialled == Dialled::ByUs {
            self.dialling = None;
        }
        self.heard = now;
        self.fault = None;
        self.lost = false;
        self.compare = None;
    }

    /// A session is over, and this is what it means for the next one.
    pub(super) fn ended(
        &mut self,
        session: SessionId,
        fault: Option<Fault>,
        head_start_ms: u64,
        now: Time,
        draws: &mut Draws,
    ) {
        let mut sessions = self.sessions.iter();
        let Some(position) = sessions.position(|(other, ..)| *other == session) else {
            return;
        };
        let (_, _, since) = self.sessions.swap_remove(position);
        self.heard = now;
        if fault.is_some() && now >= since + limits::GOOD_SESSION_MIN {
            self.failures = 0;
        }
        if self.has_session() {
            // What the failed session still planned to send, a new one sends.
            if fault.is_some() {
                self.compare_soon(head_start_ms, now, draws);
            }
            return;
        }
        self.compare = None;
        self.lost = fault == Some(Fault::Failed);
        match fault {
            Some(fault) => self.failed(fault, now, draws),
            // It may have left the topic, and may come back to it.
            None => {
                self.failures = self.failures.max(2);
                self.failed(Fault::Left, now, draws);
            }
        }
        // Both sides have seen it end.
        self.due = self.due.after(head_start_ms);
    }

    /// An attempt came to nothing.
    pub(super) fn failed(&mut self, fault: Fault, now: Time, draws: &mut Draws) {
        self.fault = Some(fault);
        let wait_ms = match fault {
            Fault::Silent => silence_wait_ms(now.ms_since(self.heard), draws),
            // It answered: that it is silent does not grow, so the waits do by themselves.
            _ => {
                self.failures = self.failures.saturating_add(1);
                let wait_ms = doubled_ms(self.failures, draws);
                match fault {
                    Fault::Refused(wait) => wait_ms.max(asked_ms(wait, draws)),
                    _ => wait_ms,
                }
            }
        };
        self.due = now.after(wait_ms);
    }

    /// A dial next to a session that runs came to nothing.
    pub(super) fn not_compared(&mut self, now: Time, draws: &mut Draws) {
        self.compare_soon(FIRST_MS, now, draws);
        self.due = self.compare.unwrap_or(now);
    }

    /// The peer is there: it connected, met us, or has a new address.
    pub(super) fn shown(&mut self, head_start_ms: u64, now: Time) {
        self.heard = now;
        let (wait_ms, at_once) = match self.fault {
            None => return,
            // It is there and does not want us: that it is there is no news.
            Some(Fault::Refused(_)) => return,
            Some(Fault::Silent) => (FIRST_MS, true),
            Some(Fault::Left | Fault::NotServed | Fault::Failed) => {
                (FIRST_MS << self.failures.min(4), false)
            }
        };
        let earliest = self.dialled.map_or(now, |dialled| dialled.after(wait_ms));
        self.due = self.due.min(earliest.max(now.after(head_start_ms)));
        if at_once && self.dialling.is_none() {
            self.fault = None;
        }
    }

    /// The peer is in the overlay of the topic: no matter what it said before, it has the topic
    /// now.
    pub(super) fn joined(&mut self, head_start_ms: u64, now: Time) {
        if matches!(self.fault, Some(Fault::Left | Fault::NotServed)) {
            self.fault = Some(Fault::Silent);
        }
        self.shown(head_start_ms, now);
    }

    /// Everything is worth another try at once.
    pub(super) fn reset(&mut self, now: Time) {
        self.failures = 0;
        self.fault = None;
        self.due = now;
        if self.has_session() {
            self.compare = Some(now);
        }
    }

    /// Another session soon, although one runs: ever later the more often it is asked for.
    pub(super) fn compare_soon(&mut self, wait_ms: u64, now: Time, draws: &mut Draws) {
        if self.compare.is_some() {
            return;
        }
        if now.ms_since(self.compared) > 2 * MAX_MS {
            self.comparisons = 0;
        }
        self.compared = now;
        self.comparisons = self.comparisons.saturating_add(1);
        let wait_ms = match self.comparisons {
            1 => wait_ms,
            more => doubled_ms(more, draws),
        };
        self.compare = Some(now.after(wait_ms));
    }
}

/// A tenth of the silence, between the first and the longest wait, and short as long as the silence
/// is.
fn silence_wait_ms(silence_ms: u64, draws: &mut Draws) -> u64 {
    let max_ms = match silence_ms < SHORT_SILENCE_MS {
        true => SOON_MS,
        false => MAX_MS,
    };
    let wait_ms = (silence_ms / limits::DIAL_RETRY_SILENCE_PART).clamp(FIRST_MS, max_ms);
    // Never longer: the rule is a promise.
    draws.between(wait_ms * 3 / 4, wait_ms)
}

/// As long as a peer asks for that serves enough, and up to a quarter more, so that those who were
/// refused at the same time do not come back at the same time.
fn asked_ms(wait: Duration, draws: &mut Draws) -> u64 {
    let wait_ms = u64::try_from(wait.as_millis())
        .unwrap_or(MAX_MS)
        .min(MAX_MS);
    draws.between(wait_ms, wait_ms * 5 / 4)
}

/// Doubles from the first wait to the longest, spread by a quarter either way.
fn doubled_ms(failures: u32, draws: &mut Draws) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let wait_ms = (FIRST_MS << doublings).min(MAX_MS);
    draws.between(wait_ms * 3 / 4, wait_ms * 5 / 4)
}
