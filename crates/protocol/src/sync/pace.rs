//! Check that a peer brings what it owes (`docs/protocol/sync.md#8`).

use std::time::Duration;

use p2panda_core::limits::{
    PROGRESS_BYTES, PROGRESS_PATH_PART, PROGRESS_SCALE_MAX, PROGRESS_TIMEOUT,
};

use crate::time::Time;

/// Measurements of the path of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// Round-trip time.
    pub rtt: Duration,
    /// Bytes that may be in progress at once.
    pub window_bytes: u64,
    /// Sessions with the same peer that share it.
    pub sessions: usize,
}

impl Path {
    /// Returns the time that a peer has for [`PROGRESS_BYTES`], in milliseconds: 30 s, longer
    /// where the path carries less than four times as much in that time or several sessions share
    /// it, and eight times as long at most.
    pub fn progress_window_ms(&self) -> u64 {
        let timeout_ms = PROGRESS_TIMEOUT.as_millis() as u64;
        let rtt_ms = u64::try_from(self.rtt.as_millis()).unwrap_or(u64::MAX);
        // The path carries `window_bytes` per round trip.
        let needs = PROGRESS_PATH_PART * PROGRESS_BYTES as u64;
        let slow = needs.saturating_mul(rtt_ms) / self.window_bytes.max(1) / timeout_ms + 1;
        let scale = slow.max(self.sessions as u64).clamp(1, PROGRESS_SCALE_MAX);
        scale * timeout_ms
    }
}

/// Debt of the peer that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Debt {
    /// Nothing is open: it may be silent forever.
    None,
    /// Something is open, and at the moment it waits for this node.
    Rests,
    /// It is the peer's turn.
    Owed,
}

/// Counts the bytes that move while it is the peer's turn.
#[derive(Debug)]
pub(super) struct Pace {
    window_ms: u64,
    bytes: u64,
    owed_us: u64,
    debt: Debt,
    since: Time,
}

impl Pace {
    pub(super) fn new(now: Time) -> Pace {
        Pace {
            window_ms: PROGRESS_TIMEOUT.as_millis() as u64,
            bytes: 0,
            owed_us: 0,
            debt: Debt::Rests,
            since: now,
        }
    }

    pub(super) fn set_window(&mut self, window_ms: u64) {
        self.window_ms = window_ms;
    }

    /// The peer gave, or took, that many bytes.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Up to now the last debt held, from now on this one does. Returns whether enough moved.
    pub(super) fn watch(&mut self, debt: Debt, now: Time) -> bool {
        if self.debt == Debt::Owed {
            let passed = now.as_micros().saturating_sub(self.since.as_micros());
            self.owed_us = self.owed_us.saturating_add(passed);
        }
        (self.since, self.debt) = (now, debt);
        if debt == Debt::None {
            (self.owed_us, self.bytes) = (0, 0);
            return true;
        }
        if self.owed_us < self.window_ms * 1_000 {
            return true;
        }
        let enough = self.bytes >= PROGRESS_BYTES as u64;
        (self.owed_us, self.bytes) = (0, 0);
        enough
    }

    /// Returns the time at which to look again, while it is the peer's turn.
    pub(super) fn deadline(&self) -> Option<Time> {
        let left_us = (self.window_ms * 1_000).saturating_sub(self.owed_us);
        (self.debt == Debt::Owed)
            .then(|| Time::from_micros(self.since.as_micros().saturating_add(left_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window_s(rtt_ms: u64, window_bytes: u64, sessions: usize) -> u64 {
        let path = Path {
            rtt: Duration::from_millis(rtt_ms),
            window_bytes,
            sessions,
        };
        path.progress_window_ms() / 1_000
    }

    #[test]
    fn a_slow_or_crowded_path_has_more_than_thirty_seconds() {
        assert_eq!(window_s(50, 12_000, 1), 30);
        // A satellite.
        assert_eq!(window_s(2_000, 12_000, 2), 60);
        // 2.4 kbit/s: two packets under way, 8 s for each round trip.
        assert_eq!(window_s(8_000, 2_400, 1), 30);
        // Four connections share it.
        assert_eq!(window_s(32_000, 2_400, 4), 120);
        // No matter what a peer makes of its round trips, there is an end.
        assert_eq!(window_s(u64::MAX, 0, 1), 240);
        assert_eq!(window_s(1, 1_000_000, 1_000), 240);
    }

    #[test]
    fn only_the_time_in_which_it_is_the_peers_turn_counts() {
        let mut now = Time::from_micros(5);
        let mut pace = Pace::new(now);
        for _ in 0..29 {
            assert!(pace.watch(Debt::Owed, now));
            now = now.after(1_000);
            assert!(pace.watch(Debt::Rests, now));
            assert_eq!(pace.deadline(), None);
            now = now.after(100_000);
        }
        assert!(pace.watch(Debt::Owed, now));
        assert_eq!(pace.deadline(), Some(now.after(1_000)));
        assert!(pace.watch(
            Debt::Owed,
            Time::from_micros(now.after(1_000).as_micros() - 1)
        ));
        assert!(!pace.watch(Debt::Owed, now.after(1_000)));
    }

    #[test]
    fn enough_is_64_bytes_per_second() {
        for (bytes, enough) in [(1_919, false), (1_920, true)] {
            let now = Time::from_micros(0);
            let mut pace = Pace::new(now);
            pace.watch(Debt::Owed, now);
            pace.moved(bytes);
            assert_eq!(pace.watch(Debt::Owed, now.after(30_000)), enough);
        }
    }

    #[test]
    fn a_debt_that_is_paid_leaves_no_time_behind() {
        let now = Time::from_micros(0);
        let mut pace = Pace::new(now);
        pace.watch(Debt::Owed, now);
        assert!(pace.watch(Debt::None, now.after(29_000)));
        assert!(pace.watch(Debt::Owed, now.after(29_000)));
        assert!(pace.watch(Debt::Owed, now.after(58_999)));
        assert!(!pace.watch(Debt::Owed, now.after(59_000)));
    }
}
