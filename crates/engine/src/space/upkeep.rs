//! Bounds, per hour, on how often a node heals a space by itself and on the bytes that it publishes
//! (`docs/protocol/streams.md#7`).

use p2panda_core::limits::{SPACE_HEALS_PER_HOUR_MAX, SPACE_UPKEEP_BYTES_PER_HOUR_MAX};
use zeroize::Zeroizing;

const HOUR_US: u64 = 60 * 60 * 1_000_000;

/// Upkeep in the current hour by the wall clock. Stored, so it survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upkeep {
    since_us: u64,
    heals: u32,
    bytes: u64,
}

impl Upkeep {
    /// Counts one more heal and returns how many bytes it may publish, or returns how long the hour
    /// still lasts.
    pub fn take(&mut self, wall_us: u64) -> Result<u64, u64> {
        if wall_us < self.since_us {
            // The clock was set back: the count stays, and the hour begins again.
            self.since_us = wall_us;
        }
        let ends_us = self.since_us.saturating_add(HOUR_US);
        if self.heals == 0 || wall_us >= ends_us {
            *self = Upkeep {
                since_us: wall_us,
                ..Upkeep::default()
            };
        }
        let left = SPACE_UPKEEP_BYTES_PER_HOUR_MAX.saturating_sub(self.bytes);
        if self.heals >= SPACE_HEALS_PER_HOUR_MAX || left == 0 {
            return Err(ends_us.saturating_sub(wall_us));
        }
        self.heals += 1;
        Ok(left)
    }

    /// Counts published bytes.
    pub fn made(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Encodes the row: start of the hour, heals, bytes.
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let parts = [
            &self.since_us.to_be_bytes()[..],
            &self.heals.to_be_bytes(),
            &self.bytes.to_be_bytes(),
        ];
        Zeroizing::new(parts.concat())
    }

    /// Decodes the row. `None` if it is damaged.
    pub fn read(row: &[u8]) -> Option<Upkeep> {
        let (since, rest) = row.split_first_chunk()?;
        let (heals, bytes) = rest.split_first_chunk()?;
        Some(Upkeep {
            since_us: u64::from_be_bytes(*since),
            heals: u32::from_be_bytes(*heals),
            bytes: u64::from_be_bytes(bytes.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = SPACE_UPKEEP_BYTES_PER_HOUR_MAX;

    #[test]
    fn healings_per_hour_are_bounded() {
        let mut upkeep = Upkeep::default();
        for at in 0..u64::from(SPACE_HEALS_PER_HOUR_MAX) {
            assert_eq!(upkeep.take(7 + at), Ok(ALL));
        }
        assert_eq!(upkeep.take(7 + HOUR_US - 1), Err(1));
        assert_eq!(upkeep.take(7 + HOUR_US), Ok(ALL));
    }

    #[test]
    fn bytes_of_healing_per_hour_are_bounded() {
        let mut upkeep = Upkeep::default();
        assert_eq!(upkeep.take(7), Ok(ALL));
        upkeep.made(ALL - 1);
        assert_eq!(upkeep.take(8), Ok(1), "one byte is left");
        upkeep.made(1);
        assert_eq!(upkeep.take(9), Err(HOUR_US - 2), "none is");
        assert_eq!(upkeep.take(7 + HOUR_US), Ok(ALL));
    }

    #[test]
    fn a_clock_set_back_neither_grants_nor_denies_upkeep() {
        let mut upkeep = Upkeep::default();
        assert_eq!(upkeep.take(5 * HOUR_US), Ok(ALL));
        upkeep.made(ALL);
        assert_eq!(upkeep.take(HOUR_US), Err(HOUR_US));
        assert_eq!(upkeep.take(2 * HOUR_US), Ok(ALL));
    }

    #[test]
    fn the_row_is_read_back_and_a_damaged_one_refused() {
        let upkeep = Upkeep {
            since_us: 1,
            heals: 2,
            bytes: 3,
        };
        assert_eq!(Upkeep::read(&upkeep.write()), Some(upkeep));
        assert_eq!(Upkeep::read(&[0; 19]), None);
        assert_eq!(Upkeep::read(&[0; 21]), None);
    }
}
