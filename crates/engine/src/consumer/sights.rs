//! Ends of the feed when parts of it were read (`docs/protocol/consumers.md#9`).

use std::collections::VecDeque;

use p2panda_core::limits::CONSUMER_SIGHTS_MAX;

/// Offset above which the feed was read when it reached a given end, or further.
#[derive(Clone, Copy, Debug)]
struct Sight {
    above: u64,
    feed_end: u64,
}

/// Sights of a part of the feed that is not read yet; each reaches further than the one before.
#[derive(Debug, Default)]
pub(super) struct Sights(VecDeque<Sight>);

impl Sights {
    /// Adds one, and forgets those that say nothing of what is still to be read.
    pub fn add(&mut self, read: u64, above: u64, feed_end: u64) {
        while self.0.front().is_some_and(|first| first.feed_end <= read) {
            self.0.pop_front();
        }
        let is_known = self.0.back().is_some_and(|last| last.feed_end >= feed_end);
        if !is_known && self.0.len() < CONSUMER_SIGHTS_MAX {
            self.0.push_back(Sight { above, feed_end });
        }
    }

    /// Returns `true` if the entry at `offset` was in the feed when what stood at `first` was
    /// read.
    pub fn hold(&self, first: u64, offset: u64) -> bool {
        let mut sights = self.0.iter();
        sights.any(|sight| first > sight.above && offset <= sight.feed_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sight_holds_the_feed_at_the_first_read() {
        let mut sights = Sights::default();
        sights.add(0, 4, 10);
        sights.add(7, 7, 20);
        assert!(sights.hold(5, 10) && sights.hold(8, 20) && sights.hold(8, 11));
        assert!(!sights.hold(4, 10), "it was read before");
        assert!(
            !sights.hold(5, 11) && !sights.hold(7, 20),
            "the change came later"
        );
        assert!(!sights.hold(8, 21));
        sights.add(10, 10, 20);
        assert!(!sights.hold(5, 10), "what ended at 10 is read");
        assert!(sights.hold(8, 20));
    }

    #[test]
    fn sights_are_bounded_and_what_finds_no_room_holds_nothing() {
        let mut sights = Sights::default();
        let max = CONSUMER_SIGHTS_MAX as u64;
        for number in 1..=max + 1 {
            sights.add(0, number, 1_000 + number);
        }
        assert_eq!(sights.0.len(), CONSUMER_SIGHTS_MAX);
        assert!(sights.hold(max + 1, 1_000 + max));
        assert!(!sights.hold(max + 2, 1_001 + max));
    }
}
