//! How often a node does something in a space that nobody asked for (`docs/protocol/streams.md#7`).

use p2panda_core::limits::SPACE_HEALS_PER_HOUR_MAX;

const HOUR_US: u64 = 60 * 60 * 1_000_000;

/// What was done in the hour that is under way.
#[derive(Default)]
pub(crate) struct Upkeep {
    since_us: u64,
    heals: u32,
}

impl Upkeep {
    /// Counts one more, or says when the next hour begins.
    pub fn take(&mut self, now_us: u64) -> Result<(), u64> {
        let ends_us = self.since_us.saturating_add(HOUR_US);
        if self.heals == 0 || now_us >= ends_us {
            (self.since_us, self.heals) = (now_us, 0);
        }
        if self.heals >= SPACE_HEALS_PER_HOUR_MAX {
            return Err(ends_us);
        }
        self.heals += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_times_in_an_hour_and_then_again_in_the_next() {
        let mut upkeep = Upkeep::default();
        for at in 0..u64::from(SPACE_HEALS_PER_HOUR_MAX) {
            assert_eq!(upkeep.take(7 + at), Ok(()));
        }
        assert_eq!(upkeep.take(7 + HOUR_US - 1), Err(7 + HOUR_US));
        assert_eq!(upkeep.take(7 + HOUR_US), Ok(()));
    }
}
