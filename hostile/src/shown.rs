//! Messages that were shown of a topic, and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use p2panda::Topic;
use tokio::sync::watch;
use tokio::time::timeout;

/// Texts with the first moment at which each was shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    texts: Arc<Mutex<HashMap<Topic, HashMap<String, SystemTime>>>>,
    changed: watch::Sender<u64>,
}

impl Shown {
    pub(crate) fn add(&self, topic: Topic, text: String) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = texts.entry(topic).or_default();
        topic.entry(text).or_insert_with(SystemTime::now);
        drop(texts);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Returns what was shown of a topic so far.
    pub(crate) fn of(&self, topic: Topic) -> HashMap<String, SystemTime> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.get(&topic).cloned().unwrap_or_default()
    }

    /// Returns the number of these that were shown.
    pub(crate) fn count(&self, topic: Topic, of: &[String]) -> usize {
        let shown = self.of(topic);
        of.iter().filter(|text| shown.contains_key(*text)).count()
    }

    /// Waits until all of these were shown, or the time is over. Returns how many were.
    pub(crate) async fn wait(&self, topic: Topic, of: &[String], within: Duration) -> usize {
        let mut changed = self.changed.subscribe();
        let all = async {
            while self.count(topic, of) < of.len() {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        // Anything that is missing then is missing.
        let _ = timeout(within, all).await;
        self.count(topic, of)
    }
}
