//! How often something may happen in a minute.

use std::time::Duration;

use crate::time::Time;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts what happens within a minute.
#[derive(Debug)]
pub(crate) struct Pace {
    start: Time,
    count: usize,
    max: usize,
}

impl Pace {
    /// So many in a minute.
    pub(crate) const fn new(max: usize) -> Pace {
        Pace {
            start: Time::ZERO,
            count: 0,
            max,
        }
    }

    /// It happened; false if that is too often.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        if now >= self.start + MINUTE {
            (self.start, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= self.max
    }
}
