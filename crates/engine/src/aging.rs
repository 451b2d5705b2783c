//! For how long content is kept, and when it is looked through (`docs/protocol/streams.md#22`).

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::Topic;

/// For how long content of others is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// In every topic that is not named. `None`: for all time.
    pub age: Option<Duration>,
    /// In these topics.
    pub topics: BTreeMap<Topic, Option<Duration>>,
    /// Also what consumers have not settled yet, and views have not applied.
    pub unread: bool,
}

impl Retention {
    /// Whether something is deleted at all.
    pub fn is_any(&self) -> bool {
        self.age.is_some() || self.topics.values().any(Option::is_some)
    }

    /// Of a topic.
    pub(crate) fn of(&self, topic: &Topic) -> Option<Duration> {
        self.topics.get(topic).copied().unwrap_or(self.age)
    }
}

/// When topics are looked through.
#[derive(Default)]
pub(crate) struct Aging {
    pub due_us: u64,
    /// The last topic of the round that goes on.
    pub after: Option<Topic>,
}

impl Aging {
    pub fn next_wake(&self, retention: &Retention) -> Option<u64> {
        retention.is_any().then_some(self.due_us)
    }
}
