//! Time as the machines see it: microseconds since the driver started.

use std::ops::Add;
use std::time::Duration;

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
}
