//! A bound on events per minute.

use std::time::Duration;

use crate::time::Time;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts what happens within a minute. A minute begins with the first thing after the last one is
/// over, so that who keeps to the limit in every minute is never refused.
#[derive(Debug)]
pub(super) struct Rate {
    start: Time,
    count: usize,
    max: usize,
}

impl Rate {
    /// This many in a minute.
    pub(super) const fn new(max: usize) -> Rate {
        Rate {
            start: Time::ZERO,
            count: 0,
            max,
        }
    }

    /// It happened this many times; false if that is too often.
    pub(super) fn take(&mut self, times: usize, now: Time) -> bool {
        if now >= self.start + MINUTE {
            (self.start, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(times);
        self.count <= self.max
    }
}
