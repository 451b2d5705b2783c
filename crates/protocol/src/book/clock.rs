//! The clock of a node, as its own record shows it
//! (docs/protocol/network.md#4).

use std::time::Duration;

use p2panda_core::{Timestamp, limits};

use crate::record::is_ahead;

/// Minimum difference between the clock of a peer and ours. Nobody knows which of the two is
/// right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockDifference {
    /// The peer's clock is ahead of ours.
    Ahead(Duration),
    /// The peer's clock is behind ours.
    Behind(Duration),
}

impl ClockDifference {
    /// By a record that its node handed over at `wall`; `None` when the two clocks may agree.
    ///
    /// A record may have been signed [`limits::RECORD_RENEWED_AFTER`] before; other releases keep
    /// theirs for longer, so that a clock has to be far behind to be noticed.
    pub(super) fn of(signed: Timestamp, wall: Timestamp) -> Option<ClockDifference> {
        let (signed_us, wall_us) = (signed.as_micros(), wall.as_micros());
        if is_ahead(signed, wall) {
            let ahead = Duration::from_micros(signed_us.saturating_sub(wall_us));
            return Some(ClockDifference::Ahead(ahead));
        }
        let behind = Duration::from_micros(wall_us.saturating_sub(signed_us));
        (behind >= limits::CLOCK_BEHIND_MIN)
            .then(|| ClockDifference::Behind(behind.saturating_sub(limits::RECORD_RENEWED_AFTER)))
    }

    /// Returns `true` if it is worth telling, after the difference that was told before: small
    /// changes are the age of a record, not of a clock.
    pub fn is_news(self, told: Option<ClockDifference>) -> bool {
        use ClockDifference::{Ahead, Behind};
        match (self, told) {
            (Ahead(now), Some(Ahead(told))) | (Behind(now), Some(Behind(told))) => {
                now.abs_diff(told) > limits::RECORD_RENEWED_AFTER * 2
            }
            _ => true,
        }
    }
}
