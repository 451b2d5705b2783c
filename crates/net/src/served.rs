//! The registry of what is served by topic: the synced topics, and the rooms of ephemeral messages.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use p2panda_core::Topic;
use parking_lot::Mutex;

/// What is served, one of a kind for each topic, as long as somebody else holds it.
#[derive(Debug)]
pub(crate) struct Served<T> {
    by_topic: Mutex<HashMap<Topic, Weak<T>>>,
}

impl<T> Served<T> {
    pub(crate) fn new() -> Self {
        Self {
            by_topic: Mutex::default(),
        }
    }

    /// What is served of a topic, unless it is over, or a new one that `open` makes.
    pub(crate) fn get_or_open(
        &self,
        topic: Topic,
        is_over: impl FnOnce(&T) -> bool,
        open: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        let mut by_topic = self.by_topic.lock();
        by_topic.retain(|_, served| served.strong_count() > 0);
        let running = by_topic.get(&topic).and_then(Weak::upgrade);
        if let Some(served) = running.filter(|served| !is_over(served)) {
            return served;
        }
        let served = open();
        by_topic.insert(topic, Arc::downgrade(&served));
        served
    }

    /// What is served of a topic, over or not.
    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<T>> {
        self.by_topic.lock().get(topic).and_then(Weak::upgrade)
    }

    /// All that is served.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let by_topic = self.by_topic.lock();
        by_topic.values().filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_opened_once_while_it_is_held_and_again_when_it_is_over() {
        let served = Served::new();
        let topic = Topic::from_bytes([1; 32]);
        let first = served.get_or_open(topic, |_| false, || Arc::new(1));
        assert_eq!(*served.get_or_open(topic, |_| false, || Arc::new(2)), 1);
        let third = served.get_or_open(topic, |_| true, || Arc::new(3));
        assert_eq!((*first, *third), (1, 3));
        assert_eq!(served.all(), std::slice::from_ref(&third));
        drop(third);
        assert_eq!(served.get(&topic), None);
        assert_eq!(*served.get_or_open(topic, |_| false, || Arc::new(4)), 4);
    }
}
