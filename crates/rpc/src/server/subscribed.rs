//! A topic that is subscribed to.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_lite::future::poll_once;
use p2panda::{Body, Message, Publisher, Raw, Receipt, Subscription, Topic};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::ServeError;
use crate::mapping;
use crate::wire::{AckMode, Deliver, Event, Output};

/// Publishes of one request that are in progress at the same time.
const IN_FLIGHT: usize = 1_000;

/// Writes, and reads in a separate task until dropped.
pub struct Subscribed {
    publisher: Publisher<Raw>,
    received: watch::Sender<u64>,
    unacked: Unacked,
    reading: JoinHandle<()>,
}

/// Messages of an explicit subscription by offset.
type Unacked = Arc<Mutex<BTreeMap<u64, Message<Raw>>>>;

/// First and last operation of a publish request.
pub struct PublishedRange {
    pub first: Receipt,
    pub last: Receipt,
}

impl Subscribed {
    /// Starts to read.
    pub fn new(
        publisher: Publisher<Raw>,
        subscription: Subscription<Raw>,
        reader: Reader,
    ) -> Subscribed {
        Subscribed {
            publisher,
            received: reader.received.clone(),
            unacked: Arc::clone(&reader.unacked),
            // Boxed: a future holds what it is called with more than once.
            reading: tokio::spawn(Box::new(reader).read(Box::new(subscription))),
        }
    }

    /// Messages received so far.
    pub fn received(&self) -> watch::Receiver<u64> {
        self.received.subscribe()
    }

    /// Takes a message that waits for its ack.
    pub fn take_unacked(&self, offset: u64) -> Option<Message<Raw>> {
        let mut unacked = self.unacked.lock().unwrap_or_else(PoisonError::into_inner);
        unacked.remove(&offset)
    }

    /// The writing half.
    pub fn publisher(&self) -> Publisher<Raw> {
        self.publisher.clone()
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Publishes the same `count` times, many concurrently, in one order.
pub async fn publish(
    publisher: Publisher<Raw>,
    body: Body,
    count: u32,
) -> Result<PublishedRange, ServeError> {
    if count <= 1 {
        // A large one is not held any longer than it is needed.
        let only = publisher.publish(body).await?;
        let (first, last) = (only.clone(), only);
        return Ok(PublishedRange { first, last });
    }
    let mut first = None;
    let mut last = None;
    let mut under_way: VecDeque<Pin<Box<dyn Future<Output = _> + Send + '_>>> = VecDeque::new();
    let mut done = |receipt: Receipt| {
        first.get_or_insert_with(|| receipt.clone());
        last = Some(receipt);
    };
    for _ in 0..count {
        if under_way.len() == IN_FLIGHT
            && let Some(oldest) = under_way.pop_front()
        {
            done(oldest.await?);
        }
        let mut publish = Box::pin(publisher.publish(body.clone()));
        // The first poll decides the place in the log.
        match poll_once(&mut publish).await {
            Some(receipt) => done(receipt?),
            None => under_way.push_back(publish),
        }
    }
    for publish in under_way {
        done(publish.await?);
    }
    let (first, last) = first.zip(last).expect("at least one was published");
    Ok(PublishedRange { first, last })
}

type Showing<'a> = Pin<Box<dyn Future<Output = Result<(), SendError<Output>>> + Send + 'a>>;

/// The task that reads a subscription.
pub struct Reader {
    outputs: mpsc::Sender<Output>,
    deliver: Deliver,
    ack: AckMode,
    received: watch::Sender<u64>,
    unacked: Unacked,
}

impl Reader {
    /// Shows the messages as events through `outputs`.
    pub fn new(outputs: mpsc::Sender<Output>, deliver: Deliver, ack: AckMode) -> Reader {
        Reader {
            outputs,
            deliver,
            ack,
            received: watch::Sender::new(0),
            unacked: Unacked::default(),
        }
    }

    async fn read(self: Box<Self>, mut subscription: Box<Subscription<Raw>>) {
        let topic = subscription.topic();
        while let Some(message) = subscription.next().await {
            if let Some(showing) = self.take(topic, message)
                && showing.await.is_err()
            {
                break;
            }
            self.received.send_modify(|received| *received += 1);
        }
    }

    /// Boxed: while it waits for a message, the task would hold room for the event.
    fn take(&self, topic: Topic, message: Message<Raw>) -> Option<Showing<'_>> {
        let event = mapping::message(topic, &message, self.deliver);
        if self.ack == AckMode::Explicit {
            let mut unacked = self.unacked.lock().unwrap_or_else(PoisonError::into_inner);
            unacked.insert(message.offset(), message);
        }
        let event = Output::Event(Event::Message(event?));
        Some(Box::pin(self.outputs.send(event)))
    }
}
