//! The entry of a key that may be delivered (`docs/protocol/consumers.md#7`).

use std::collections::{BTreeMap, BTreeSet};

use super::rows::TopicNumber;

/// An entry.
type Entry = (u64, TopicNumber);

/// Of each key, one entry is in turn and the others wait.
#[derive(Debug, Default)]
pub(super) struct Keys(BTreeMap<u64, Key>);

#[derive(Debug)]
struct Key {
    turn: Entry,
    waiting: BTreeSet<Entry>,
}

impl Keys {
    /// An entry comes in. Whether it is its turn.
    pub fn enter(&mut self, key: u64, entry: Entry) -> bool {
        if let Some(key) = self.0.get_mut(&key) {
            key.waiting.insert(entry);
            return false;
        }
        let waiting = BTreeSet::new();
        self.0.insert(
            key,
            Key {
                turn: entry,
                waiting,
            },
        );
        true
    }

    /// An entry goes. The one whose turn it is now, if that changed.
    pub fn leave(&mut self, key: u64, entry: Entry) -> Option<Entry> {
        let held = self.0.get_mut(&key)?;
        if held.turn != entry {
            held.waiting.remove(&entry);
            return None;
        }
        match held.waiting.pop_first() {
            Some(next) => {
                held.turn = next;
                Some(next)
            }
            None => {
                self.0.remove(&key);
                None
            }
        }
    }
}
