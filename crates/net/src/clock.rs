//! The driver's clock, and how a machine that slept is noticed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use p2panda_core::{Timestamp, limits};
use p2panda_protocol::time::Time;
use tokio::time::Instant;

/// Microseconds since the network was started: what the machines call the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall_ahead: WallAhead,
}

/// Offset of a node's wall clock to that of the system, in either direction: for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallAhead {
    /// Seconds; negative where it is behind.
    pub seconds: i64,
}

impl Clock {
    #[cfg(test)]
    pub(crate) fn start() -> Self {
        Self::start_ahead(WallAhead::default())
    }

    /// With a wall clock that is wrong.
    pub(crate) fn start_ahead(wall_ahead: WallAhead) -> Self {
        Self {
            start: Instant::now(),
            wall_ahead,
        }
    }

    /// Microseconds since 1970 by the wall clock, 0 before.
    pub(crate) fn wall(&self) -> Timestamp {
        let ahead_us = self.wall_ahead.seconds.saturating_mul(1_000_000);
        Timestamp::from_micros(wall().as_micros().saturating_add_signed(ahead_us))
    }

    pub(crate) fn now(&self) -> Time {
        let micros = self.start.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Returns the instant at which the runtime's timer has to fire for `time`.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        // A wake far beyond any run would overflow the runtime's clock on some systems.
        let since = Duration::from_micros(time.as_micros()).min(Duration::from_secs(1 << 30));
        self.start + since
    }
}

impl Clock {
    /// A moment soon after this one at which others wake as well, when they wait about as long: a
    /// thousand waits then cost one wake-up.
    pub(crate) fn together(&self, at: Instant, wait: Duration) -> Instant {
        let since = at.saturating_duration_since(self.start).as_millis() as u64;
        // At most a quarter of the wait later, always by a power of two.
        let grid = (wait.as_millis() as u64 / 4).max(1);
        let grid = 1 << (63 - grid.leading_zeros());
        self.start + Duration::from_millis(since.next_multiple_of(grid))
    }
}

/// Microseconds since 1970 by the wall clock, 0 before.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Notices that the wall clock moved and the steady one did not: the machine slept, or its clock
/// was set. Either way connections and waits are worth a fresh start.
#[derive(Debug)]
pub(crate) struct JumpWatch {
    steady: Instant,
    wall: SystemTime,
}

impl JumpWatch {
    pub(crate) fn start() -> Self {
        Self {
            steady: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Returns `true` if the clocks moved apart since the last look.
    pub(crate) fn jumped(&mut self, steady: Instant, wall: SystemTime) -> bool {
        let passed = steady.saturating_duration_since(self.steady);
        let apart = match wall.duration_since(self.wall) {
            Ok(passed_wall) => passed_wall.abs_diff(passed),
            Err(back) => back.duration() + passed,
        };
        self.steady = steady;
        self.wall = wall;
        apart > limits::CLOCK_DRIFT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_and_a_set_clock_are_noticed_and_ordinary_time_is_not() {
        let mut watch = JumpWatch::start();
        let (steady, wall) = (watch.steady, watch.wall);
        let second = Duration::from_secs(1);
        assert!(!watch.jumped(steady + second * 3600, wall + second * 3605));
        assert!(watch.jumped(steady + second * 3601, wall + second * 3620));
        assert!(!watch.jumped(steady + second * 3602, wall + second * 3621));
        assert!(watch.jumped(steady + second * 3603, wall));
    }

    #[tokio::test]
    async fn those_who_wait_about_as_long_wake_together_and_soon() {
        let clock = Clock::start();
        let wait = Duration::from_secs(300);
        let at = |ms| clock.start + Duration::from_millis(ms);
        assert_eq!(clock.together(at(65_537), wait), at(131_072));
        assert_eq!(clock.together(at(131_000), wait), at(131_072));
        let second = Duration::from_secs(1);
        for ms in [0, 1, 999, 1_000, 5_555] {
            let together = clock.together(at(ms), second);
            assert!(together >= at(ms) && together < at(ms) + second / 4);
        }
        assert_eq!(clock.together(at(7), Duration::ZERO), at(7));
    }

    #[tokio::test]
    async fn a_wake_is_due_when_the_clock_says_so() {
        let clock = Clock::start();
        let time = clock.now().after(20);
        tokio::time::sleep_until(clock.instant(time)).await;
        assert!(clock.now() >= time);
        assert!(clock.instant(Time::from_micros(u64::MAX)) > clock.instant(time));
    }
}
