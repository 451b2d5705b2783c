//! The time, as an argument.

use std::time::Duration;

use p2panda_core::Timestamp;

/// The time, read by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The wall clock, for timestamps only.
    pub wall: Timestamp,
    /// Microseconds since some start, never going back.
    pub elapsed_us: u64,
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
