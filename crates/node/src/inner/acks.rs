//! Acknowledgements on their way to the engine.

use std::sync::Arc;

use p2panda_core::Topic;
use p2panda_core::limits::ACKS_GATHER_DELAY;
use p2panda_engine::GatheredAcks;
use parking_lot::{Mutex, MutexGuard};

use crate::Error;
use crate::inner::queue::Queue;

/// Acknowledges for one consumer in one topic.
#[derive(Debug)]
pub(crate) struct Acks {
    consumer: String,
    topic: Topic,
    queue: Queue,
    gathered: Mutex<GatheredAcks>,
}

impl Acks {
    pub(crate) fn new(consumer: String, topic: Topic, queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            consumer,
            topic,
            queue,
            gathered: Mutex::default(),
        })
    }

    /// Acknowledges without waiting.
    pub(crate) fn ack_soon(self: &Arc<Self>, offset: u64) {
        if self.gathered().add(offset) {
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
        let Some(offsets) = self.gathered().take() else {
            return;
        };
        let (acks, consumer) = (Arc::clone(self), self.consumer.clone());
        self.queue
            .ack_in_background(consumer, self.topic, offsets, move || acks.send());
    }

    fn gathered(&self) -> MutexGuard<'_, GatheredAcks> {
        self.gathered.lock()
    }
}
