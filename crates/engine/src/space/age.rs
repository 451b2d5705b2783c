//! Age of the secret of a space, and when it is replaced (`docs/protocol/spaces.md#8`).

use p2panda_encryption::data::SecretId;
use zeroize::Zeroizing;

const DAY_S: u64 = 24 * 60 * 60;

/// Returns the time at which a secret is so many days old, in seconds since 1970, if its age counts from
/// [`Age::since`].
pub(crate) fn due_at(since: u64, days: u32) -> u64 {
    since.saturating_add(u64::from(days) * DAY_S)
}

/// Rotation by age in one space.
#[derive(Debug, Default)]
pub(crate) struct Age {
    /// Time at which the secret is replaced if it is too old then, in elapsed microseconds.
    pub due_us: Option<u64>,
    /// `true` if that waits for a secret that is sealed elsewhere.
    pub is_drawing: bool,
    noticed: Option<Noticed>,
}

/// A secret with a date in the future, and when this node noticed that, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noticed {
    secret: SecretId,
    at: u64,
}

impl Age {
    /// Returns the time from which the age of a secret counts: its date, or when we noticed that the
    /// date is in the future.
    pub fn since(&self, (secret, date): (SecretId, u64), now: u64) -> u64 {
        if date <= now {
            return date;
        }
        let noticed = self.noticed.filter(|noticed| noticed.secret == secret);
        noticed.map_or(now, |noticed| noticed.at.min(now))
    }

    /// Notices a date in the future. Returns `true` if the row changes by that.
    pub fn notice(&mut self, (secret, date): (SecretId, u64), now: u64) -> bool {
        let at = self.since((secret, date), now);
        let noticed = (date > now).then_some(Noticed { secret, at });
        let has_changed = noticed != self.noticed;
        self.noticed = noticed;
        has_changed
    }

    /// Encodes the row: secret, time. `None` without a date in the future.
    pub fn write(&self) -> Option<Zeroizing<Vec<u8>>> {
        let Noticed { secret, at } = self.noticed?;
        let parts = [&secret.as_bytes()[..], &at.to_be_bytes()];
        Some(Zeroizing::new(parts.concat()))
    }

    /// Decodes the row. `None` if it is damaged.
    pub fn read(row: &[u8]) -> Option<Age> {
        let (secret, at) = row.split_first_chunk()?;
        let noticed = Noticed {
            secret: SecretId::from_bytes(*secret),
            at: u64::from_be_bytes(at.try_into().ok()?),
        };
        Some(Age {
            noticed: Some(noticed),
            ..Age::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use serde_json::Value;

    use super::*;

    const ONE: SecretId = SecretId::from_bytes([1; 32]);
    const TWO: SecretId = SecretId::from_bytes([2; 32]);

    #[test]
    fn the_age_of_a_secret_counts_from_its_date() {
        let mut age = Age::default();
        assert!(!age.notice((ONE, 1_000), 1_000));
        assert_eq!(age.since((ONE, 1_000), 5_000), 1_000);
        assert_eq!(age.write(), None);
    }

    #[test]
    fn a_date_in_the_future_counts_from_when_it_was_noticed() {
        let mut age = Age::default();
        assert!(age.notice((ONE, 9_000), 1_000));
        assert!(!age.notice((ONE, 9_000), 2_000), "it is noticed once");
        assert_eq!(age.since((ONE, 9_000), 5_000), 1_000);
        let age_again = Age::read(&age.write().unwrap()).unwrap();
        assert_eq!(age_again.since((ONE, 9_000), 5_000), 1_000);
        // The next secret is noticed by itself, and one with a date in the past ends the row.
        assert_eq!(age.since((TWO, 9_001), 5_000), 5_000);
        assert!(age.notice((TWO, 9_001), 5_000));
        assert_eq!(age.since((TWO, 9_001), 6_000), 5_000);
        assert!(age.notice((TWO, 9_001), 9_001));
        assert_eq!((age.since((TWO, 9_001), 9_002), age.write()), (9_001, None));
    }

    #[test]
    fn a_clock_set_back_makes_no_secret_older() {
        let mut age = Age::default();
        assert!(age.notice((ONE, 9_000), 5_000));
        assert_eq!(age.since((ONE, 9_000), 4_000), 4_000);
        assert!(age.notice((ONE, 9_000), 4_000));
        assert_eq!(age.since((ONE, 9_000), 5_000), 4_000);
    }

    /// Compares with `vectors/spaces-rotation.json`; everything is read again after each look.
    #[test]
    fn a_secret_is_too_old_when_the_vector_says_so() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read(dir.join("../../vectors/spaces-rotation.json")).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap();
        for vector in file["due"].as_array().unwrap() {
            let days = vector["days"].as_u64().unwrap().try_into().unwrap();
            let mut age = Age::default();
            for step in vector["steps"].as_array().unwrap() {
                let secret = match step["secret"] == "one" {
                    true => (ONE, step["date"].as_u64().unwrap()),
                    false => (TWO, step["date"].as_u64().unwrap()),
                };
                let now = step["now"].as_u64().unwrap();
                age.notice(secret, now);
                let row = age.write();
                age = row.map_or_else(Age::default, |row| Age::read(&row).unwrap());
                let since = age.since(secret, now);
                assert_eq!(since, step["since"], "{}", vector["name"]);
                let is_too_old = due_at(since, days) <= now;
                assert_eq!(is_too_old, step["is_too_old"], "{}", vector["name"]);
            }
        }
    }

    #[test]
    fn a_damaged_row_of_an_age_is_refused() {
        for bytes in [0, 32, 39, 41] {
            assert!(Age::read(&vec![0; bytes]).is_none(), "{bytes}");
        }
    }
}
