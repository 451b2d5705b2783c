//! The sessions of a topic that are in catch-up and may still bring what others depend on
//! (`docs/protocol/streams.md#6`).
//!
//! A session counts as long as each stretch of [`PROGRESS_BYTES`] that it has stored took it no
//! longer than [`PROGRESS_TIMEOUT`]. One that is slower counts for nobody, until it is fast
//! enough again: then for what arrives from there on.

use std::collections::{BTreeSet, HashMap, VecDeque};

use p2panda_core::limits::{CATCH_UP_ENDS_MAX, PROGRESS_BYTES_PER_SECOND_MIN, PROGRESS_TIMEOUT};

/// Bytes that a session must store within the time limit to count.
const PROGRESS_BYTES: u64 = PROGRESS_BYTES_PER_SECOND_MIN * PROGRESS_TIMEOUT.as_secs();
const PROGRESS_US: u64 = PROGRESS_TIMEOUT.as_micros() as u64;

#[derive(Default)]
pub(crate) struct CatchUps {
    sessions: HashMap<u64, CatchUp>,
    /// Numbers of those that count: the smallest one counted first.
    counted: BTreeSet<u64>,
    /// Time at which each of those is too slow, with the session.
    lapses: BTreeSet<(u64, u64)>,
    numbers: u64,
    ends: VecDeque<End>,
}

struct CatchUp {
    /// Set while the session counts.
    number: Option<u64>,
    /// Bytes stored in this stretch.
    bytes: u64,
    /// Time at which the stretch is over.
    until_us: u64,
}

/// Result of waiting for sessions.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// Nothing that counts has a number below this one.
    below: u64,
    pub at_us: u64,
    /// The session was too slow, and nothing is expected any more.
    pub too_slow: bool,
}

impl CatchUps {
    pub fn started(&mut self, session: u64, now_us: u64) {
        self.ended(session, now_us);
        self.numbers += 1;
        let until_us = now_us.saturating_add(PROGRESS_US);
        self.counted.insert(self.numbers);
        self.lapses.insert((until_us, session));
        self.sessions.insert(
            session,
            CatchUp {
                number: Some(self.numbers),
                bytes: 0,
                until_us,
            },
        );
    }

    pub fn ended(&mut self, session: u64, now_us: u64) {
        if let Some(one) = self.sessions.remove(&session)
            && let Some(number) = one.number
        {
            self.lapses.remove(&(one.until_us, session));
            self.discount(number, now_us, false);
        }
        if self.sessions.is_empty() {
            // Most topics have none for most of the time: not the room for those that were.
            (self.sessions, self.counted, self.lapses) = Default::default();
        }
    }

    /// A session has stored an operation.
    pub fn stored(&mut self, session: u64, bytes: u64, now_us: u64) {
        let Some(one) = self.sessions.get_mut(&session) else {
            return;
        };
        let over = one.until_us < now_us;
        let next_us = now_us.saturating_add(PROGRESS_US);
        if one.number.is_none() && over {
            (one.bytes, one.until_us) = (0, next_us);
        }
        one.bytes = one.bytes.saturating_add(bytes);
        // One that is over is about to be left out.
        if one.bytes < PROGRESS_BYTES || (over && one.number.is_some()) {
            return;
        }
        self.lapses.remove(&(one.until_us, session));
        (one.bytes, one.until_us) = (0, next_us);
        if one.number.is_none() {
            self.numbers += 1;
            one.number = Some(self.numbers);
            self.counted.insert(self.numbers);
        }
        self.lapses.insert((next_us, session));
    }

    /// Leaves out the sessions that are too slow.
    pub fn lapse(&mut self, now_us: u64) {
        while let Some((until_us, session)) = self.lapses.first().copied() {
            if until_us > now_us {
                return;
            }
            self.lapses.pop_first();
            let one = self.sessions.get_mut(&session);
            if let Some(number) = one.and_then(|one| {
                one.bytes = 0;
                one.number.take()
            }) {
                self.discount(number, until_us, true);
            }
        }
    }

    /// Returns the time at which the next session is too slow.
    pub fn next_lapse(&self) -> Option<u64> {
        self.lapses.first().map(|(until_us, _)| *until_us)
    }

    /// Returns `true` if the session is in catch-up, fast enough or not.
    pub fn includes(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Returns `true` if no session is in catch-up.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Returns the last session that an operation waits for from now on; `None`: there is none.
    pub fn awaited(&self) -> Option<u64> {
        (!self.counted.is_empty()).then_some(self.numbers)
    }

    /// Returns the result of waiting for all sessions up to this number, if it has ended.
    pub fn end_of(&self, awaited: u64) -> Option<End> {
        let place = self.ends.partition_point(|end| end.below <= awaited);
        self.ends.get(place).copied()
    }

    /// Waiting for all sessions below this number is over.
    pub fn over_below(&self) -> u64 {
        self.ends.back().map_or(0, |end| end.below)
    }

    /// Nothing waits any more.
    pub fn forget_ends(&mut self) {
        self.ends.clear();
    }

    fn discount(&mut self, number: u64, at_us: u64, too_slow: bool) {
        self.counted.remove(&number);
        let below = self.counted.first().copied().unwrap_or(self.numbers + 1);
        if below > self.over_below() {
            self.ends.push_back(End {
                below,
                at_us,
                too_slow,
            });
        }
        if self.ends.len() > CATCH_UP_ENDS_MAX {
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn a_session_counts_at_sixty_four_bytes_per_second() {
        let mut sessions = CatchUps::default();
        sessions.started(7, 0);
        for second in 1..=300 {
            sessions.stored(7, 64, second * SECOND_US);
            sessions.lapse(second * SECOND_US);
        }
        assert_eq!(sessions.awaited(), Some(1));
        for second in 301..=400 {
            sessions.stored(7, 63, second * SECOND_US);
            sessions.lapse(second * SECOND_US);
        }
        assert_eq!(sessions.awaited(), None);
        assert!(sessions.includes(7));
    }

    #[test]
    fn a_session_fast_again_counts_for_later_arrivals() {
        let mut sessions = CatchUps::default();
        sessions.started(7, 0);
        let awaited = sessions.awaited();
        sessions.lapse(30 * SECOND_US);
        let end = awaited.and_then(|awaited| sessions.end_of(awaited));
        assert!(end.is_some_and(|end| end.too_slow && end.at_us == 30 * SECOND_US));
        sessions.stored(7, PROGRESS_BYTES, 31 * SECOND_US);
        assert_eq!(sessions.awaited(), Some(2));
        assert!(sessions.end_of(2).is_none());
        assert_eq!(sessions.next_lapse(), Some(61 * SECOND_US));
    }

    #[test]
    fn ends_that_are_forgotten_only_make_the_wait_longer() {
        let mut sessions = CatchUps::default();
        for session in 0..2 * CATCH_UP_ENDS_MAX as u64 {
            sessions.started(session, session);
            sessions.ended(session, session);
        }
        assert_eq!(sessions.ends.len(), CATCH_UP_ENDS_MAX);
        let first = sessions.end_of(1).map(|end| end.at_us);
        assert_eq!(first, Some(CATCH_UP_ENDS_MAX as u64));
        assert!(sessions.lapses.is_empty() && sessions.counted.is_empty());
    }
}
