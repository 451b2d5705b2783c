//! Clocks as values. Reading one is the caller's business.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Wall clock: microseconds since the UNIX epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Takes microseconds since the UNIX epoch.
    pub const fn from_micros(micros: u64) -> Timestamp {
        Timestamp(micros)
    }

    /// Microseconds since the UNIX epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A counter that tells events of the same wall clock apart.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LamportTimestamp(u64);

impl LamportTimestamp {
    /// Takes a count.
    pub const fn new(count: u64) -> LamportTimestamp {
        LamportTimestamp(count)
    }

    /// The count.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for LamportTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Wall clock and counter, ordered in this order; as text `micros/count`
/// (`docs/protocol/operations.md#1`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct HybridTimestamp {
    /// Wall clock.
    pub wall: Timestamp,
    /// Counter among equal wall clocks.
    pub logical: LamportTimestamp,
}

impl HybridTimestamp {
    /// Joins a wall clock in microseconds and a counter.
    pub const fn new(micros: u64, count: u64) -> HybridTimestamp {
        HybridTimestamp {
            wall: Timestamp(micros),
            logical: LamportTimestamp(count),
        }
    }

    /// The next timestamp after `previous`, at `now` if the clock has moved on.
    ///
    /// Always greater than `previous`, also when the clock is stopped or jumps back; only the very
    /// last value repeats itself.
    pub fn next(previous: HybridTimestamp, now: Timestamp) -> HybridTimestamp {
        if now > previous.wall {
            return HybridTimestamp {
                wall: now,
                logical: LamportTimestamp(0),
            };
        }
        match previous.logical.0.checked_add(1) {
            Some(count) => HybridTimestamp {
                logical: LamportTimestamp(count),
                ..previous
            },
            None => match previous.wall.0.checked_add(1) {
                Some(micros) => HybridTimestamp::new(micros, 0),
                None => previous,
            },
        }
    }
}

impl fmt::Display for HybridTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.wall, self.logical)
    }
}

impl FromStr for HybridTimestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<HybridTimestamp, ParseTimestampError> {
        let (micros, count) = text.split_once('/').ok_or(ParseTimestampError)?;
        Ok(HybridTimestamp::new(number(micros)?, number(count)?))
    }
}

/// The text is not `micros/count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a timestamp looks like 1780572316919000/0")]
pub struct ParseTimestampError;

/// Digits only and no leading zero, so that each timestamp has one text.
fn number(text: &str) -> Result<u64, ParseTimestampError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(ParseTimestampError);
    }
    text.parse().map_err(|_| ParseTimestampError)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_next_timestamp_is_always_greater() {
        let previous = HybridTimestamp::new(10, 3);
        let at = |micros| HybridTimestamp::next(previous, Timestamp::from_micros(micros));
        assert_eq!(at(11), HybridTimestamp::new(11, 0));
        assert_eq!(at(10), HybridTimestamp::new(10, 4));
        assert_eq!(at(1), HybridTimestamp::new(10, 4));
        let full = HybridTimestamp::new(10, u64::MAX);
        let next = HybridTimestamp::next(full, Timestamp::from_micros(1));
        assert_eq!(next, HybridTimestamp::new(11, 0));
        let last = HybridTimestamp::new(u64::MAX, u64::MAX);
        assert_eq!(HybridTimestamp::next(last, Timestamp::from_micros(1)), last);
    }

    #[test]
    fn text_comes_back_and_has_one_form() {
        let timestamp = HybridTimestamp::new(u64::MAX, 7);
        assert_eq!(timestamp.to_string(), "18446744073709551615/7");
        assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        for wrong in [
            "", "1", "/", "1/", "/1", "01/1", "+1/1", "1/1/1", "-1/0", "1 /0",
        ] {
            assert_eq!(
                wrong.parse::<HybridTimestamp>(),
                Err(ParseTimestampError),
                "{wrong}"
            );
        }
        assert!("18446744073709551616/0".parse::<HybridTimestamp>().is_err());
    }
}
