//! Time for which nobody has had consumers open, and the end of those for which that is too long
//! (`docs/protocol/consumers.md#11`). Only those count that have a threshold.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2panda_core::limits::CONSUMER_IDLE_STORED_INTERVAL;
use p2panda_store::NamedKey;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Registry;
use crate::consumer_settings::micros;
use crate::inner::queue::Queue;
use crate::{Error, Event};

/// Times at which consumers with a threshold were given up. All of a node share one.
#[derive(Clone, Debug)]
pub(super) struct Idle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counted: Mutex<Counted>,
    /// One was given up, or the node ends.
    changed: Notify,
}

#[derive(Debug)]
struct Counted {
    /// The last time that it was stored.
    at: Instant,
    /// Time since which nobody has had them open; only what is later than that.
    since: HashMap<NamedKey, Instant>,
    closed: bool,
}

impl Default for Idle {
    fn default() -> Self {
        Self(Arc::new(Inner {
            counted: Mutex::new(Counted {
                at: Instant::now(),
                since: HashMap::new(),
                closed: false,
            }),
            changed: Notify::new(),
        }))
    }
}

impl Idle {
    /// Nobody has it open any more.
    pub(super) fn given_up(&self, consumer: NamedKey) {
        let mut counted = self.0.counted.lock();
        counted.since.insert(consumer, Instant::now());
        drop(counted);
        self.0.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.0.counted.lock().closed = true;
        self.0.changed.notify_one();
    }

    /// Takes what to count now: consumers that are or were open, with the microseconds since then,
    /// and the microseconds since the last call.
    fn take(&self, used: Vec<NamedKey>) -> (Vec<(NamedKey, u64)>, u64) {
        let mut counted = self.0.counted.lock();
        let now = Instant::now();
        let passed = |since: Instant| micros(now.saturating_duration_since(since));
        let elapsed_us = passed(std::mem::replace(&mut counted.at, now));
        let mut idle: HashMap<_, _> = counted
            .since
            .drain()
            .map(|(consumer, since)| (consumer, passed(since)))
            .collect();
        idle.extend(used.into_iter().map(|consumer| (consumer, 0)));
        (idle.into_iter().collect(), elapsed_us)
    }
}

impl Registry {
    /// Counts until the node ends.
    pub(crate) async fn end_idle(self, queue: Queue) {
        loop {
            let next = match self.age(&queue).await {
                Ok(next) => next,
                Err(_) => return,
            };
            let changed = self.idle().0.changed.notified();
            match next {
                Some(next) => {
                    let wait = next.min(CONSUMER_IDLE_STORED_INTERVAL);
                    let _ = tokio::time::timeout(wait, changed).await;
                }
                None => changed.await,
            }
            if self.idle().0.counted.lock().closed {
                return;
            }
        }
    }

    /// Counts once. Returns the time until the next threshold passes.
    async fn age(&self, queue: &Queue) -> Result<Option<Duration>, Error> {
        // Nobody opens one meanwhile.
        let _opening = self.opening().await;
        let (idle, elapsed_us) = self.idle().take(self.used_keys());
        let aged = queue.age_named(idle, elapsed_us).await?;
        for name in aged.deleted {
            self.events().tell(Event::ConsumerInactive { name });
        }
        Ok(aged.next_us.map(Duration::from_micros))
    }

    /// The last time that it is counted; nothing is deleted.
    pub(crate) fn count_idle(&self, queue: &Queue) {
        let (idle, elapsed_us) = self.idle().take(self.used_keys());
        queue.count_idle(idle, elapsed_us);
    }
}
