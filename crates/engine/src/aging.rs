//! Retention: the age at which content is deleted, and the schedule of the search for it
//! (`docs/protocol/streams.md#22`).

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::Topic;

/// The age at which content of other authors is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Age in every topic that `topics` does not name. `None`: never.
    pub age: Option<Duration>,
    /// Age in single topics.
    pub topics: BTreeMap<Topic, Option<Duration>>,
    /// `true` to delete also what consumers have not settled and views have not applied.
    pub unread: bool,
}

impl Retention {
    /// Returns `true` if any topic has an age.
    pub fn is_any(&self) -> bool {
        self.age.is_some() || self.topics.values().any(Option::is_some)
    }

    /// Returns the age in a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Option<Duration> {
        self.topics.get(topic).copied().unwrap_or(self.age)
    }
}

/// Schedule of the search through all topics.
#[derive(Default)]
pub(crate) struct Aging {
    pub due_us: u64,
    /// The last topic that the running round has searched.
    pub after: Option<Topic>,
}

impl Aging {
    pub fn next_wake(&self, retention: &Retention) -> Option<u64> {
        retention.is_any().then_some(self.due_us)
    }
}
