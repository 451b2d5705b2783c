//! The topics in use.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{LogId, LogName, NodeExtensions, Topic, VerifyingKey};
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

impl TopicRef {
    /// Our log with this name.
    pub fn own_log(&self, author: &VerifyingKey, name: Option<LogName>) -> OwnLogRef {
        let Some(hash) = name else {
            return OwnLogRef {
                label: *author,
                id: self.log_id,
                name: None,
            };
        };
        let id = self.topic.named_log_id(&hash);
        OwnLogRef {
            label: id.label(author).in_place_of_author(),
            id,
            name,
        }
    }

    /// Returns `true` if it has the log that these extensions name.
    pub fn has_log(&self, extensions: &NodeExtensions) -> bool {
        match &extensions.name {
            None => extensions.log_id == self.log_id,
            Some(_) => {
                let topic = &self.topic;
                topic.has_log(&extensions.log_id, extensions.name.as_ref())
            }
        }
    }
}

/// One of our own logs in a topic.
#[derive(Clone, Copy)]
pub(crate) struct OwnLogRef {
    /// The label that represents its author where logs of a topic are distinguished.
    pub label: VerifyingKey,
    pub id: LogId,
    pub name: Option<LogName>,
}

/// State of one topic in memory.
pub(crate) struct TopicState {
    pub topic: TopicRef,
    pub waiting: Waiting,
    pub own: OwnLog,
    /// `true` if an operation of somebody else may have passed the order stage since the last one
    /// of our first log.
    pub heard: bool,
    /// It is among those that the transaction that runs has used.
    touched: bool,
}

impl TopicState {
    /// Returns `true` if nothing of it is due, now or later, before it is changed again.
    fn is_at_rest(&self) -> bool {
        let has_deadline = self.own.deadline().is_some() || self.own.holds_publishes();
        self.waiting.is_at_rest() && !has_deadline
    }
}

#[derive(Default)]
pub(crate) struct Topics {
    /// Sorted, so that the same input gives the same output. Nothing is taken out.
    known: BTreeMap<Topic, Box<TopicState>>,
    /// Those that may not be at rest: what each batch looks at, however many are known.
    awake: BTreeSet<Topic>,
    /// Those that the transaction that runs has used.
    touched: Vec<Topic>,
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
                entry.insert(Box::new(TopicState {
                    topic,
                    waiting: Waiting::default(),
                    own: OwnLog::default(),
                    heard: true,
                    touched: false,
                }))
            }
        };
        Ok(state.topic)
    }

    /// It is awake from now on.
    pub fn get_mut(&mut self, topic: &TopicRef) -> &mut TopicState {
        self.awake.insert(topic.topic);
        let state = self.known.get_mut(&topic.topic);
        let state = state.expect("it was made when the topic was resolved");
        if !state.touched {
            state.touched = true;
            state.own.save();
            self.touched.push(topic.topic);
        }
        state
    }

    /// Ends the transaction: its changes are committed.
    pub fn settle(&mut self) {
        for topic in self.touched.drain(..) {
            if let Some(state) = self.known.get_mut(&topic) {
                state.touched = false;
                state.own.settle_saved();
            }
        }
    }

    /// It was rolled back.
    pub fn take_back(&mut self) {
        for topic in self.touched.drain(..) {
            if let Some(state) = self.known.get_mut(&topic) {
                state.touched = false;
                state.own.take_back();
                // After the rollback the topic may hold publishes again.
                self.awake.insert(topic);
            }
        }
    }

    /// Makes memory what the database is, for all topics: their rows, and which logs wait. Which of
    /// them wait is found out as after a restart.
    pub fn reload(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for state in self.known.values_mut() {
            state.topic.key = tx.topic(&state.topic.topic)?;
            state.waiting.look_again(tx.waiting_logs(state.topic.key)?);
            state.heard = true;
            self.awake.insert(state.topic.topic);
        }
        Ok(())
    }

    /// All in which something is due, now or later.
    pub fn awake(&self) -> impl Iterator<Item = &TopicState> {
        let awake = self.awake.iter();
        awake.filter_map(|topic| self.known.get(topic).map(Box::as_ref))
    }

    /// Changes all in which something may be due, and lets those be that are at rest afterwards.
    pub fn visit_awake(&mut self, mut visit: impl FnMut(&mut TopicState)) {
        let known = &mut self.known;
        self.awake.retain(|topic| {
            known.get_mut(topic).is_some_and(|state| {
                visit(state);
                !state.is_at_rest()
            })
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2panda_store::{Database, Durability};

    use super::*;
    use crate::waiting::Times;

    const TIMES: Times = Times {
        now_us: 0,
        wait_us: 1,
        wait_max_us: 1,
    };

    #[test]
    fn a_batch_looks_only_at_topics_that_are_due() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = Database::open(&dir.path().join("database")).unwrap();
        let mut tx = database.begin(Durability::Normal).unwrap();
        let mut topics = Topics::default();
        let mut busy = None;
        for number in 0..100 {
            let topic = Topic::from_bytes([number; 32]);
            let topic = topics.resolve(&mut tx, &topic).unwrap();
            topics.get_mut(&topic).heard = false;
            busy = Some(topic);
        }
        topics.visit_awake(|_| ());
        assert_eq!(topics.awake().count(), 0);
        let busy = busy.unwrap();
        topics.get_mut(&busy).waiting.catch_up_started(1, TIMES);
        for _ in 0..2 {
            let mut visited = Vec::new();
            topics.visit_awake(|state| visited.push(state.topic.topic));
            assert_eq!(visited, [busy.topic]);
        }
        topics.get_mut(&busy).waiting.catch_up_ended(1, TIMES);
        topics.visit_awake(|_| ());
        assert_eq!(topics.awake().count(), 0);
    }
}
