//! Time as the machines see it: microseconds since the driver started.

use std::ops::Add;
use std::time::Duration;

use p2panda_core::limits;

/// A moment, in microseconds since the start of the driver (docs/decisions/0013-time-and-randomness.md).
///
/// Only differences mean anything. It never steps back; the wall clock is not involved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the driver.
    pub const ZERO: Time = Time(0);

    /// A moment `micros` microseconds after the start.
    pub const fn from_micros(micros: u64) -> Time {
        Time(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment `wait_ms` milliseconds later; stays at the largest moment instead of wrapping.
    pub const fn after(self, wait_ms: u64) -> Time {
        Time(self.0.saturating_add(wait_ms.saturating_mul(1_000)))
    }

    /// The moment `wait_ms` milliseconds later, `None` where that cannot be written.
    pub const fn checked_after(self, wait_ms: u64) -> Option<Time> {
        match wait_ms.checked_mul(1_000) {
            Some(micros) => match self.0.checked_add(micros) {
                Some(sum) => Some(Time(sum)),
                None => None,
            },
            None => None,
        }
    }

    /// Whole milliseconds from `earlier` to this moment, 0 when `earlier` is later.
    pub const fn ms_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

/// Stays at the largest moment instead of wrapping.
impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, wait: Duration) -> Time {
        let micros = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(micros))
    }
}

/// Returns the time that a peer has for a step: the wait of a usual path, or some round trips of
/// this one where that is more, up to a bound (`docs/protocol/network.md#1`).
pub fn patience(usual: Duration, round_trip: Duration) -> Duration {
    stretched(usual, round_trip, limits::PATIENCE_ROUND_TRIPS)
}

/// The same for the answer to a dial. What the transport repeats meanwhile has time to be answered,
/// too.
pub fn dial_patience(usual: Duration, round_trip: Duration) -> Duration {
    stretched(usual, round_trip, limits::DIAL_ROUND_TRIPS)
}

/// The same for the answer to a question to an address.
pub fn knock_patience(usual: Duration, round_trip: Duration) -> Duration {
    stretched(usual, round_trip, limits::KNOCK_ROUND_TRIPS)
}

fn stretched(usual: Duration, round_trip: Duration, times: u32) -> Duration {
    let slow = round_trip.saturating_mul(times);
    usual.max(slow.min(limits::PATIENCE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_time_does_not_wrap() {
        let end = Time::from_micros(u64::MAX);
        assert_eq!(end.after(1), end);
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(end.checked_after(1), None);
        assert_eq!(Time::ZERO.checked_after(u64::MAX), None);
        assert_eq!(Time::ZERO.after(2).as_micros(), 2_000);
        assert_eq!(Time::ZERO.ms_since(end), 0);
    }

    #[test]
    fn waits_follow_the_round_trip_above_the_usual_ones_and_end() {
        let ms = Duration::from_millis;
        let usual = ms(10_000);
        assert_eq!(patience(usual, ms(50)), usual);
        assert_eq!(patience(usual, ms(2_000)), ms(40_000));
        assert_eq!(patience(usual, Duration::MAX), limits::PATIENCE_MAX);
        assert_eq!(dial_patience(usual, limits::FIRST_ROUND_TRIP), usual);
        assert_eq!(dial_patience(usual, ms(2_000)), ms(18_000));
        assert_eq!(knock_patience(ms(1_000), ms(2_000)), ms(8_000));
        // A wait that was longer before stays as it is.
        assert_eq!(patience(ms(500_000), Duration::MAX), ms(500_000));
    }
}
