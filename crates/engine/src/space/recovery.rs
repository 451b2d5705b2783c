//! The recovery keys that were written to files, and the one that restores this node
//! (`docs/protocol/recovery.md`).

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::limits::{RECOVERY_REMINDER, RECOVERY_REMINDER_INTERVAL};
use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_encryption::Row;
use zeroize::Zeroizing;

use crate::now::{Now, micros};

/// First byte of the key of a sealed row about a recovery key.
pub(crate) const RECOVERY_ROW: u8 = 10;
/// First byte of the key of the sealed row with the recovery key that restores this node.
pub(crate) const RESTORING_ROW: u8 = 11;

/// Date of a file that lacks the newest secrets: it is written again at once, or is due.
pub(crate) const UNFINISHED: u64 = 1;

/// The recovery keys that this node knows of.
#[derive(Default)]
pub(crate) struct Recovery {
    /// Time at which the file of each key was written, in seconds since 1970; 0 if it may not have
    /// been written.
    written: BTreeMap<VerifyingKey, u64>,
    changed: BTreeSet<VerifyingKey>,
    /// The recovery key that restores this node, until this node is a member of all its spaces.
    restoring: Option<SigningKey>,
    is_changed: bool,
    /// Time of the next check for a reminder, in elapsed microseconds.
    remind_us: Option<u64>,
}

impl Recovery {
    /// A key, and when its file was written: the newest date counts.
    pub fn note(&mut self, key: VerifyingKey, written: u64) {
        let known = self.written.get(&key);
        if known.is_none_or(|known| *known < written) {
            self.written.insert(key, written);
            self.changed.insert(key);
            self.remind_us = Some(0);
        }
    }

    /// A file is being written: it is reminded of in a day, unless that is finished by then.
    pub fn remind_later(&mut self, now: Now) {
        let later_us = micros(RECOVERY_REMINDER_INTERVAL);
        self.remind_us = Some(now.elapsed_us.saturating_add(later_us));
    }

    /// All keys, with when their files were written; also those that are no devices any more.
    pub fn all(&self) -> impl Iterator<Item = (VerifyingKey, u64)> + '_ {
        self.written.iter().map(|(key, written)| (*key, *written))
    }

    /// Returns `true` if a key is or was a recovery key of the person.
    pub fn knows(&self, key: &VerifyingKey) -> bool {
        self.written.contains_key(key)
    }

    /// Returns `true` if it is time to look for a file that is to be renewed.
    pub fn is_time(&self, now: Now) -> bool {
        self.remind_us.is_some_and(|at| at <= now.elapsed_us)
    }

    /// Says once a day that a file is to be renewed, if the newest one was written at that time.
    pub fn take_reminder(&mut self, now: Now, written: Option<u64>) -> Option<u64> {
        self.remind_us.take_if(|at| *at <= now.elapsed_us)?;
        let written = written?;
        let seconds = now.wall.as_micros() / 1_000_000;
        self.remind_later(now);
        is_due(Some(written), seconds).then_some(written)
    }

    /// Returns the time of the next check for a reminder.
    pub fn next_wake(&self) -> Option<u64> {
        self.remind_us
    }

    /// Returns the recovery key that restores this node.
    pub fn restoring(&self) -> Option<&SigningKey> {
        self.restoring.as_ref()
    }

    /// Sets the recovery key that restores this node.
    pub fn restore(&mut self, key: SigningKey) {
        self.restoring = Some(key);
        self.is_changed = true;
    }

    /// Erases the key: no space needs it any more.
    pub fn end(&mut self) {
        self.is_changed |= self.restoring.take().is_some();
    }

    /// Loads a stored row, without the first byte of its key. `None` if the row is damaged.
    pub fn load(&mut self, kind: u8, name: &[u8], value: &[u8]) -> Option<()> {
        match kind {
            RECOVERY_ROW => {
                let key = VerifyingKey::from_bytes(name.try_into().ok()?).ok()?;
                let written = u64::from_be_bytes(value.try_into().ok()?);
                self.written.insert(key, written);
                self.remind_us = Some(0);
            }
            _ => {
                let seed = Zeroizing::new(value.try_into().ok()?);
                self.restoring = Some(SigningKey::from_bytes(&seed));
            }
        }
        Some(())
    }

    /// Takes the rows that have changed.
    pub fn take_changed(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let written = self.written.get(&key);
            rows.push(Row {
                key: [&[RECOVERY_ROW][..], key.as_bytes()].concat(),
                value: written.map(|at| Zeroizing::new(at.to_be_bytes().to_vec())),
            });
        }
        if std::mem::take(&mut self.is_changed) {
            let seed = self.restoring.as_ref().map(SigningKey::to_bytes);
            rows.push(Row {
                key: vec![RESTORING_ROW],
                value: seed.map(|seed| Zeroizing::new(seed.to_vec())),
            });
        }
        rows
    }
}

/// Returns the time of the newest file.
pub(crate) fn newest(written: impl Iterator<Item = u64>) -> Option<u64> {
    written.max().filter(|written| *written > 0)
}

/// Returns `true` if a file of that date is to be renewed, at a time in seconds since 1970.
pub(crate) fn is_due(written: Option<u64>, now: u64) -> bool {
    let due = |written: u64| written.saturating_add(RECOVERY_REMINDER.as_secs());
    written.is_some_and(|written| due(written) <= now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_core::Timestamp;

    use super::*;

    fn at(seconds: u64, elapsed_us: u64) -> Now {
        let wall = Timestamp::from_micros(seconds * 1_000_000);
        Now { wall, elapsed_us }
    }

    #[test]
    fn keys_are_rows_until_they_are_none() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut recovery = Recovery::default();
        recovery.note(key.verifying_key(), 7);
        recovery.restore(key.clone());
        let rows = recovery.take_changed();
        assert_eq!((rows.len(), recovery.take_changed().len()), (2, 0));
        let mut loaded = Recovery::default();
        for row in rows {
            let (kind, name) = row.key.split_first().unwrap();
            loaded.load(*kind, name, &row.value.unwrap()).unwrap();
        }
        assert!(loaded.all().eq([(key.verifying_key(), 7)]));
        let restoring = loaded.restoring().map(SigningKey::to_bytes);
        assert_eq!(restoring, Some(key.to_bytes()));
        assert!(loaded.knows(&key.verifying_key()));
        loaded.end();
        assert!(loaded.take_changed().iter().all(|row| row.value.is_none()));
        assert_eq!(loaded.load(RECOVERY_ROW, &[9; 3], &[1]), None);
    }

    #[test]
    fn the_newest_date_of_a_file_counts() {
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let mut recovery = Recovery::default();
        recovery.note(key, 0);
        assert_eq!(
            newest(recovery.all().map(|(_, at)| at)),
            None,
            "it was never finished"
        );
        recovery.note(key, 7);
        recovery.take_changed();
        recovery.note(key, 6);
        assert!(recovery.all().eq([(key, 7)]));
        assert!(recovery.take_changed().is_empty());
    }

    #[test]
    fn a_file_is_to_be_renewed_after_thirty_days() {
        let day = 24 * 3_600;
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let mut recovery = Recovery::default();
        assert_eq!(recovery.take_reminder(at(40 * day, 0), Some(1)), None);
        recovery.note(key, 1);
        assert!(recovery.is_time(at(30 * day, 0)));
        let early = recovery.take_reminder(at(30 * day, 0), Some(1));
        assert_eq!(early, None, "not yet");
        assert!(!is_due(Some(1), 30 * day) && is_due(Some(1), 30 * day + 1));
        let next = recovery.next_wake().unwrap();
        assert_eq!(next, day * 1_000_000);
        let soon = at(31 * day, next - 1);
        assert!(!recovery.is_time(soon));
        assert_eq!(recovery.take_reminder(soon, Some(1)), None);
        let due = at(31 * day, next);
        assert_eq!(recovery.take_reminder(due, Some(1)), Some(1));
        assert_eq!(recovery.next_wake(), Some(2 * next), "once a day");
        recovery.note(key, 31 * day);
        assert_eq!(recovery.take_reminder(due, Some(31 * day)), None);
    }
}
