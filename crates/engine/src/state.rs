//! What the engine keeps in memory. All of it can be lost: it is read from the store again, or
//! peers send it again.

use std::collections::BTreeMap;

use p2panda_core::budget::Budget;
use p2panda_core::{LogId, SigningKey, Topic, VerifyingKey};
use p2panda_store::{Restored, Slice, StoreError, TopicKey, Tx};

use crate::early::Early;
use crate::idle::Idle;
use crate::logs::Logs;
use crate::now::Now;
use crate::own::{OwnLog, Patience};
use crate::waiting::{Places, Times, Waiting};

pub(crate) struct State {
    pub key: SigningKey,
    pub author: VerifyingKey,
    pub limits: Limits,
    pub restored: Option<Restored>,
    /// Sorted, so that the same input gives the same output.
    pub topics: BTreeMap<Topic, TopicState>,
    pub logs: Logs,
    /// Long work beside the batches.
    pub idle: Idle,
    pub early: Early,
    /// Room for logs that wait for their order, in all topics.
    pub places: Places,
    pub patience: Patience,
}

pub(crate) struct Limits {
    pub causal_wait_us: u64,
    pub causal_wait_max_us: u64,
    pub own_log_wait_us: u64,
    pub operation_bytes_max: usize,
    /// What a batch deletes at once, and a step afterwards.
    pub prune_slice: Slice,
}

impl Limits {
    /// How long an operation that arrives now waits for its order.
    pub fn times(&self, now: Now) -> Times {
        Times {
            now_us: now.elapsed_us,
            wait_us: self.causal_wait_us,
            wait_max_us: self.causal_wait_max_us,
        }
    }
}

/// One topic.
pub(crate) struct TopicState {
    pub key: TopicKey,
    pub log_id: LogId,
    pub waiting: Waiting,
    pub own: OwnLog,
    /// Whether an operation of somebody else may have passed the order stage since our last one.
    pub heard: bool,
}

impl State {
    pub fn new(key: SigningKey, limits: Limits, budget: Option<Budget>) -> State {
        State {
            author: key.verifying_key(),
            key,
            patience: Patience::new(limits.own_log_wait_us),
            limits,
            restored: None,
            topics: BTreeMap::new(),
            logs: Logs::default(),
            idle: Idle::default(),
            early: Early::new(budget),
            places: Places::default(),
        }
    }

    /// Loads the topics in which operations wait for their order.
    pub fn load_waiting(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for topic in tx.waiting_topics()? {
            let authors = {
                let key = self.topic(tx, &topic)?.key;
                tx.waiting_logs(key)?
            };
            self.topic(tx, &topic)?.waiting.recheck = authors;
        }
        Ok(())
    }

    /// The state of a topic, made if there is none.
    pub fn topic(&mut self, tx: &mut Tx<'_>, topic: &Topic) -> Result<&mut TopicState, StoreError> {
        topic_of(&mut self.topics, tx, topic)
    }

    /// When something is due by time.
    pub fn next_wake(&self) -> Option<u64> {
        let topics = self.topics.values();
        topics
            .flat_map(|topic| [topic.waiting.next_deadline(), topic.own.deadline()])
            .flatten()
            .chain(self.idle.next_wake())
            .min()
    }

    /// Whether publishes are held that the next batch may let go.
    pub fn holds_publishes(&self) -> bool {
        self.topics
            .values()
            .any(|topic| topic.own.holds_publishes())
    }
}

/// As [`State::topic`], for callers that use other parts of the state beside it.
pub(crate) fn topic_of<'a>(
    topics: &'a mut BTreeMap<Topic, TopicState>,
    tx: &mut Tx<'_>,
    topic: &Topic,
) -> Result<&'a mut TopicState, StoreError> {
    if !topics.contains_key(topic) {
        let state = TopicState {
            key: tx.topic(topic)?,
            log_id: topic.log_id(),
            waiting: Waiting::default(),
            own: OwnLog::default(),
            heard: true,
        };
        topics.insert(*topic, state);
    }
    Ok(topics
        .get_mut(topic)
        .expect("it was inserted if it was missing"))
}
