//! Topics that nobody holds any more, and whose sessions are still ending.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::flag::Flag;

/// Fewer entries than this are not swept.
const SWEEP_MIN: usize = 16;

/// Flags of topics that were dropped, each raised once its sessions have ended.
#[derive(Debug, Default)]
pub(crate) struct Leaving(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ending: Vec<Arc<Flag>>,
    /// With this many entries those that have ended are dropped.
    sweep_at: usize,
}

impl Leaving {
    pub(crate) fn add(&self, ended: Arc<Flag>) {
        if ended.is_raised() {
            return;
        }
        let mut inner = self.0.lock();
        if inner.ending.len() >= inner.sweep_at.max(SWEEP_MIN) {
            inner.ending.retain(|ended| !ended.is_raised());
            inner.sweep_at = 2 * inner.ending.len();
        }
        inner.ending.push(ended);
    }

    /// Resolves when the sessions of all of them have ended.
    pub(crate) async fn ended(&self) {
        loop {
            let next = self.0.lock().ending.pop();
            match next {
                Some(ended) => ended.raised().await,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::poll_once;

    use super::*;

    #[tokio::test]
    async fn a_topic_that_ends_is_waited_for() {
        let leaving = Leaving::default();
        let (one, other) = (Arc::new(Flag::default()), Arc::new(Flag::default()));
        other.raise();
        leaving.add(one.clone());
        leaving.add(other);
        let mut ended = Box::pin(leaving.ended());
        assert!(poll_once(&mut ended).await.is_none());
        one.raise();
        assert!(poll_once(&mut ended).await.is_some());
    }

    #[test]
    fn topics_that_have_ended_are_forgotten() {
        let leaving = Leaving::default();
        for _ in 0..10 * SWEEP_MIN {
            let ended = Arc::new(Flag::default());
            leaving.add(ended.clone());
            ended.raise();
        }
        assert!(leaving.0.lock().ending.len() <= SWEEP_MIN);
    }
}
