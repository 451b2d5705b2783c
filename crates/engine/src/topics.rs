//! The topics in use.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use p2panda_core::{LogId, Topic};
use p2panda_store::{StoreError, TopicKey, Tx};

use crate::own::OwnLog;
use crate::waiting::Waiting;

/// A topic that has its row and its state: found once, where a command enters.
#[derive(Clone, Copy)]
pub(crate) struct TopicRef {
    pub topic: Topic,
    pub key: TopicKey,
    pub log_id: LogId,
}

/// What is kept in memory of one topic.
pub(crate) struct TopicState {
    pub topic: TopicRef,
    pub waiting: Waiting,
    pub own: OwnLog,
    /// Whether an operation of somebody else may have passed the order stage since our last one.
    pub heard: bool,
}

#[derive(Default)]
pub(crate) struct Topics {
    /// Sorted, so that the same input gives the same output. Nothing is taken out.
    known: BTreeMap<Topic, TopicState>,
}

impl Topics {
    /// Finds a topic, makes it if there is none.
    pub fn resolve(&mut self, tx: &mut Tx<'_>, topic: &Topic) -> Result<TopicRef, StoreError> {
        let state = match self.known.entry(*topic) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let topic = TopicRef {
                    topic: *topic,
                    key: tx.topic(topic)?,
                    log_id: topic.log_id(),
                };
                entry.insert(TopicState {
                    topic,
                    waiting: Waiting::default(),
                    own: OwnLog::default(),
                    heard: true,
                })
            }
        };
        Ok(state.topic)
    }

    pub fn get_mut(&mut self, topic: &TopicRef) -> &mut TopicState {
        let state = self.known.get_mut(&topic.topic);
        state.expect("it was made when the topic was resolved")
    }

    pub fn iter(&self) -> impl Iterator<Item = &TopicState> {
        self.known.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut TopicState> {
        self.known.values_mut()
    }
}
