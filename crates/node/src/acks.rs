//! Acknowledgements on their way to the engine.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::ACKS_GATHER_DELAY;
use parking_lot::{Mutex, MutexGuard};

use crate::Error;
use crate::queue::Queue;

/// Gathers the automatic acknowledgements of one consumer in one topic: one batch is under way at a time, the
/// rest waits for it, so that a fast reader neither waits for commits nor floods the engine, and
/// a slow one does not double the commits.
#[derive(Debug)]
pub(crate) struct Acks {
    consumer: String,
    topic: Topic,
    queue: Queue,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u64>,
    under_way: bool,
}

impl Acks {
    pub(crate) fn new(consumer: String, topic: Topic, queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            consumer,
            topic,
            queue,
            state: Mutex::default(),
        })
    }

    /// Acknowledges without waiting.
    pub(crate) fn ack_soon(self: &Arc<Self>, offset: u64) {
        let mut state = self.state();
        state.waiting.push(offset);
        if !state.under_way {
            state.under_way = true;
            drop(state);
            let acks = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(ACKS_GATHER_DELAY).await;
                acks.send();
            });
        }
    }

    /// Acknowledges and waits until it is on disk.
    pub(crate) async fn ack_now(&self, offset: u64) -> Result<(), Error> {
        let consumer = self.consumer.clone();
        self.queue.ack(consumer, self.topic, vec![offset]).await
    }

    /// Hands everything that waits to the engine.
    pub(crate) fn flush(self: &Arc<Self>) {
        self.send();
    }

    fn send(self: &Arc<Self>) {
        let offsets = std::mem::take(&mut self.state().waiting);
        if offsets.is_empty() {
            self.state().under_way = false;
            return;
        }
        let (acks, consumer) = (Arc::clone(self), self.consumer.clone());
        self.queue
            .ack_in_background(consumer, self.topic, offsets, move || acks.send());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
