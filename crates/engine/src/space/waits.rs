//! Logs of a space that wait, and what each waits for (`docs/protocol/streams.md#7`).
//!
//! Only the first operation of a log that has not passed waits, for one item at a time. When the
//! item arrives, the operation is checked again. So an author costs two entries here, regardless of
//! what it publishes.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{Hash, VerifyingKey};

/// The item that an operation of a space waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Awaited {
    /// A control operation of the topic.
    Control(Hash),
    /// A structure key.
    Key([u8; 16]),
    /// Its own body.
    Body,
    /// Any change of the space.
    Change,
}

/// Logs that wait, by their labels.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    logs: BTreeMap<VerifyingKey, Awaited>,
    by: BTreeSet<(Awaited, VerifyingKey)>,
}

impl Waits {
    pub fn wait(&mut self, label: VerifyingKey, awaited: Awaited) {
        self.end(&label);
        self.logs.insert(label, awaited);
        self.by.insert((awaited, label));
    }

    /// Ends the wait of a log, and returns what it waited for.
    pub fn end(&mut self, label: &VerifyingKey) -> Option<Awaited> {
        let awaited = self.logs.remove(label)?;
        self.by.remove(&(awaited, *label));
        Some(awaited)
    }

    pub fn of(&self, label: &VerifyingKey) -> Option<Awaited> {
        self.logs.get(label).copied()
    }

    /// Returns logs that wait for structure keys.
    pub fn for_keys(&self) -> Vec<VerifyingKey> {
        let (first, last) = (Awaited::Key([0; 16]), Awaited::Key([0xff; 16]));
        let first = (first, VerifyingKey::from_bytes_unchecked([0; 32]));
        let of_keys = self.by.range(first..);
        let of_keys = of_keys.take_while(|(awaited, _)| *awaited <= last);
        of_keys.map(|(_, label)| *label).collect()
    }

    /// Ends the waits for an item that arrived, and returns their logs.
    pub fn came(&mut self, awaited: Awaited) -> Vec<VerifyingKey> {
        let first = (awaited, VerifyingKey::from_bytes_unchecked([0; 32]));
        let of_it = self.by.range(first..);
        let of_it = of_it.take_while(|(known, _)| *known == awaited);
        let free: Vec<VerifyingKey> = of_it.map(|(_, label)| *label).collect();
        for label in &free {
            self.end(label);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_waits_for_one_thing_and_is_free_once_that_comes() {
        let [a, b] = [1, 2].map(|n| VerifyingKey::from_bytes_unchecked([n; 32]));
        let (one, two) = (Awaited::Key([1; 16]), Awaited::Key([2; 16]));
        let mut waits = Waits::default();
        waits.wait(a, one);
        waits.wait(b, one);
        waits.wait(b, two);
        assert_eq!(waits.for_keys(), [a, b]);
        assert_eq!(waits.came(one), [a]);
        assert_eq!(waits.came(one), []);
        assert_eq!((waits.of(&a), waits.of(&b)), (None, Some(two)));
        assert_eq!(waits.came(two), [b]);
        waits.wait(a, Awaited::Body);
        assert_eq!(waits.for_keys(), []);
        assert_eq!(waits.end(&a), Some(Awaited::Body));
        assert_eq!(waits.came(Awaited::Body), []);
    }
}
