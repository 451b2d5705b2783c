//! A growing list that can be waited on: what a node said so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::Error;

/// What one side has reported so far, in order. Clones share the list.
///
/// Waiting is driven by arrivals, never by polling: anyone who waits looks at the list again after
/// each new entry.
#[derive(Debug)]
pub struct Log<T> {
    entries: Arc<Mutex<Vec<T>>>,
    arrivals: watch::Sender<()>,
}

impl<T> Clone for Log<T> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            arrivals: self.arrivals.clone(),
        }
    }
}

impl<T> Default for Log<T> {
    fn default() -> Self {
        Self {
            entries: Arc::default(),
            arrivals: watch::Sender::new(()),
        }
    }
}

impl<T> Log<T> {
    /// Appends an entry and wakes everyone who waits.
    pub fn push(&self, entry: T) {
        self.lock().push(entry);
        self.arrivals.send_replace(());
    }

    /// What `look` makes of the list in its current form.
    pub fn read<R>(&self, look: impl FnOnce(&[T]) -> R) -> R {
        look(&self.lock())
    }

    /// Waits until `look` finds something in the list.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] naming `what`, after `patience`.
    pub async fn wait<R>(
        &self,
        what: &'static str,
        patience: Duration,
        mut look: impl FnMut(&[T]) -> Option<R>,
    ) -> Result<R, Error> {
        let mut arrivals = self.arrivals.subscribe();
        let search = async {
            loop {
                arrivals.mark_unchanged();
                if let Some(found) = look(&self.lock()) {
                    return found;
                }
                // The sender lives as long as `self`, so this only returns on a change.
                let _ = arrivals.changed().await;
            }
        };
        tokio::time::timeout(patience, search)
            .await
            .map_err(|_| Error::Timeout(what))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_wait_sees_entries_from_before_and_after_it_began() {
        let log = Log::default();
        log.push(1);
        let later = log.clone();
        let wait = tokio::spawn(async move {
            let all = |entries: &[u32]| (entries.len() == 2).then(|| entries.to_vec());
            later.wait("two", Duration::from_secs(5), all).await
        });
        tokio::task::yield_now().await;
        log.push(2);
        assert_eq!(wait.await.unwrap().unwrap(), [1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_nothing_ends_and_says_for_what() {
        let log = Log::<u32>::default();
        let waited = log.wait("rain", Duration::from_secs(5), |_| None::<()>);
        assert!(matches!(waited.await, Err(Error::Timeout("rain"))));
    }
}
