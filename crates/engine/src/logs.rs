//! The rows of logs in use, written back once per batch.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use p2panda_core::limits::KNOWN_LOGS_MAX;
use p2panda_core::log::Head;
use p2panda_core::{Dependency, VerifyingKey};
use p2panda_store::{Log, StoreError, TopicKey, Tx};

#[derive(Default)]
pub(crate) struct Logs {
    known: HashMap<(TopicKey, VerifyingKey), Log>,
    changed: BTreeSet<(TopicKey, VerifyingKey)>,
}

impl Logs {
    pub fn get(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        author: &VerifyingKey,
    ) -> Result<Option<&Log>, StoreError> {
        Ok(self.load(tx, topic, author)?.map(|log| &*log))
    }

    /// A log that the caller is about to change.
    pub fn get_mut(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        author: &VerifyingKey,
    ) -> Result<Option<&mut Log>, StoreError> {
        if self.load(tx, topic, author)?.is_some() {
            self.changed.insert((topic, *author));
        }
        Ok(self.known.get_mut(&(topic, *author)))
    }

    /// The log of an author's first operation in a topic.
    pub fn create(
        &mut self,
        tx: &mut Tx<'_>,
        topic: TopicKey,
        author: &VerifyingKey,
        first: Head,
    ) -> Result<&mut Log, StoreError> {
        let log = tx.create_log(topic, author, first)?;
        self.changed.insert((topic, *author));
        Ok(self.known.entry((topic, *author)).or_insert(log))
    }

    /// Whether a dependency has passed the order stage or was pruned.
    pub fn has_met(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        dependency: &Dependency,
    ) -> Result<bool, StoreError> {
        // Pruning raises `ordered_seq` as well.
        let log = self.get(tx, topic, &dependency.author)?;
        Ok(log
            .and_then(|log| log.ordered_seq)
            .is_some_and(|seq| seq >= dependency.seq))
    }

    /// Writes back what the batch changed.
    pub fn write(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.changed) {
            if let Some(log) = self.known.get(&key) {
                tx.save_log(log)?;
            }
        }
        if self.known.len() > KNOWN_LOGS_MAX {
            self.known.clear();
        }
        Ok(())
    }

    fn load(
        &mut self,
        tx: &Tx<'_>,
        topic: TopicKey,
        author: &VerifyingKey,
    ) -> Result<Option<&mut Log>, StoreError> {
        match self.known.entry((topic, *author)) {
            Entry::Occupied(entry) => Ok(Some(entry.into_mut())),
            Entry::Vacant(entry) => Ok(tx.log(topic, author)?.map(|log| entry.insert(log))),
        }
    }
}
