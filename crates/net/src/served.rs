//! The registry of what is served by topic: the synced topics, and the rooms of ephemeral messages.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use p2panda_core::Topic;
use parking_lot::Mutex;

/// Fewer entries than this are not swept.
const SWEEP_MIN: usize = 16;

/// Served items, one per topic, as long as another owner holds them.
#[derive(Debug)]
pub(crate) struct Served<T> {
    inner: Mutex<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    by_topic: HashMap<Topic, Weak<T>>,
    /// With this many entries the dead ones are dropped.
    sweep_at: usize,
}

impl<T> Inner<T> {
    /// Costs each new entry the same, however many there are.
    fn sweep(&mut self) {
        if self.by_topic.len() >= self.sweep_at {
            self.by_topic.retain(|_, served| served.strong_count() > 0);
            self.sweep_at = (2 * self.by_topic.len()).max(SWEEP_MIN);
        }
    }
}

impl<T> Served<T> {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                by_topic: HashMap::new(),
                sweep_at: SWEEP_MIN,
            }),
        }
    }

    /// Returns the item of a topic unless it has ended, otherwise a new one from `open`.
    pub(crate) fn get_or_open(
        &self,
        topic: Topic,
        is_over: impl FnOnce(&T) -> bool,
        open: impl FnOnce() -> Arc<T>,
    ) -> Arc<T> {
        let mut inner = self.inner.lock();
        let running = inner.by_topic.get(&topic).and_then(Weak::upgrade);
        if let Some(served) = running.filter(|served| !is_over(served)) {
            return served;
        }
        let served = open();
        inner.sweep();
        inner.by_topic.insert(topic, Arc::downgrade(&served));
        served
    }

    /// Returns the item of a topic, ended or not.
    pub(crate) fn get(&self, topic: &Topic) -> Option<Arc<T>> {
        self.inner
            .lock()
            .by_topic
            .get(topic)
            .and_then(Weak::upgrade)
    }

    /// All that is served.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let inner = self.inner.lock();
        let all = inner.by_topic.values();
        all.filter_map(Weak::upgrade).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_opened_once_while_it_is_held() {
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

    #[test]
    fn topics_that_nobody_holds_are_forgotten() {
        let served = Served::new();
        let topic = |number: u8| Topic::from_bytes([number; 32]);
        let held: Vec<_> = (0..8)
            .map(|number| served.get_or_open(topic(number), |_| false, || Arc::new(number)))
            .collect();
        for number in 8..=u8::MAX {
            served.get_or_open(topic(number), |_| false, || Arc::new(number));
        }
        assert_eq!(served.all().len(), held.len());
        assert!(served.inner.lock().by_topic.len() <= SWEEP_MIN);
    }
}
