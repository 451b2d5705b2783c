//! The rows of logs in use, written back once per batch.

use std::collections::{BTreeSet, HashMap};

use p2panda_core::limits::KNOWN_LOGS_MAX;
use p2panda_core::log::Head;
use p2panda_core::{Dependency, VerifyingKey};
use p2panda_store::{Log, NamedLog, StoreError, TopicKey, Tx};

#[derive(Default)]
pub(crate) struct Logs {
    known: Vec<Log>,
    places: HashMap<Key, usize>,
    /// The one that was used last: a batch is mostly about few logs, several times for each operation.
    last: Option<Last>,
    changed: BTreeSet<Key>,
}

/// The topic, and the label of the log.
type Key = (TopicKey, VerifyingKey);

#[derive(Clone, Copy)]
struct Last {
    key: Key,
    place: usize,
    is_changed: bool,
}

impl Logs {
    pub fn get(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        label: &VerifyingKey,
    ) -> Result<Option<&Log>, StoreError> {
        let place = self.place(tx, topic, label)?;
        Ok(place.and_then(|place| self.known.get(place)))
    }

    /// A log that the caller is about to change.
    pub fn get_mut(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        label: &VerifyingKey,
    ) -> Result<Option<&mut Log>, StoreError> {
        let Some(place) = self.place(tx, topic, label)? else {
            return Ok(None);
        };
        if let Some(last) = self.last.as_mut().filter(|last| !last.is_changed) {
            last.is_changed = true;
            self.changed.insert(last.key);
        }
        Ok(self.known.get_mut(place))
    }

    /// The log of its first operation in a topic.
    pub fn create(
        &mut self,
        tx: &mut Tx<'_>,
        topic: TopicKey,
        label: &VerifyingKey,
        first: Head,
        named: Option<NamedLog>,
    ) -> Result<(), StoreError> {
        let log = tx.create_log(topic, label, first)?;
        if let Some(named) = named {
            tx.name_log(label, &named)?;
        }
        self.changed.insert((topic, *label));
        self.add((topic, *label), log);
        Ok(())
    }

    /// Returns `true` if a dependency has passed the order stage or was pruned.
    pub fn has_met(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        dependency: &Dependency,
    ) -> Result<bool, StoreError> {
        // Pruning raises `ordered_seq` as well.
        let log = self.get(tx, topic, &dependency.label())?;
        Ok(log
            .and_then(|log| log.ordered_seq)
            .is_some_and(|seq| seq >= dependency.seq))
    }

    /// Writes back what the batch changed.
    pub fn write(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.changed) {
            let place = self.places.get(&key);
            if let Some(log) = place.and_then(|place| self.known.get(*place)) {
                tx.save_log(log)?;
            }
        }
        self.last = None;
        if self.known.len() > KNOWN_LOGS_MAX {
            self.known.clear();
            self.places.clear();
        }
        Ok(())
    }

    /// Returns the index of a log, once it is known.
    fn place(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        label: &VerifyingKey,
    ) -> Result<Option<usize>, StoreError> {
        let key = (topic, *label);
        if let Some(last) = self.last.filter(|last| last.key == key) {
            return Ok(Some(last.place));
        }
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => match tx.log(topic, label)? {
                Some(log) => self.add(key, log),
                None => return Ok(None),
            },
        };
        let is_changed = false;
        self.last = Some(Last {
            key,
            place,
            is_changed,
        });
        Ok(Some(place))
    }

    fn add(&mut self, key: Key, log: Log) -> usize {
        let place = self.known.len();
        self.known.push(log);
        self.places.insert(key, place);
        place
    }
}
