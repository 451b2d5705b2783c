//! A topic that the process has subscribed to.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_lite::future::poll_once;
use p2panda::{Ack, Body, Message, Publisher, Raw, Receipt, StartAt, Subscription, Topic};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::event::{self, DriverError};
use crate::request::{AckMode, Deliver, From};

/// Publishes of one request that are under way at the same time.
const IN_FLIGHT: usize = 1_000;

/// Writes, and reads in a task of its own until dropped.
pub struct OpenTopic {
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

impl OpenTopic {
    /// Opens the stream and starts to read.
    pub async fn open(
        node: &p2panda::Node,
        topic: Topic,
        (from, ack, deliver): (From, AckMode, Deliver),
        lines: mpsc::Sender<String>,
    ) -> Result<OpenTopic, DriverError> {
        let start = match from {
            From::Start => StartAt::Beginning,
            From::Resume => StartAt::Resume,
            From::Now => StartAt::Now,
        };
        let policy = match ack {
            AckMode::Auto => Ack::Automatic,
            AckMode::Explicit => Ack::Explicit,
        };
        let (publisher, subscription) = node.stream(topic).start(start).ack(policy).await?;
        let received = watch::Sender::new(0);
        let unacked = Unacked::default();
        let reader = Reader {
            lines,
            deliver,
            received: received.clone(),
            unacked: (ack == AckMode::Explicit).then(|| Arc::clone(&unacked)),
        };
        Ok(OpenTopic {
            publisher,
            received,
            unacked,
            reading: tokio::spawn(reader.read(subscription)),
        })
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

impl Drop for OpenTopic {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Publishes `count` times the same, many at once, in one order.
pub async fn publish(
    publisher: Publisher<Raw>,
    body: Body,
    count: u32,
) -> Result<PublishedRange, DriverError> {
    let mut first = None;
    let mut last = None;
    let mut under_way: VecDeque<Pin<Box<dyn Future<Output = _> + Send + '_>>> = VecDeque::new();
    let mut done = |receipt: Receipt| {
        first.get_or_insert_with(|| receipt.clone());
        last = Some(receipt);
    };
    for _ in 0..count.max(1) {
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

/// The task that reads a subscription.
struct Reader {
    lines: mpsc::Sender<String>,
    deliver: Deliver,
    received: watch::Sender<u64>,
    unacked: Option<Unacked>,
}

impl Reader {
    async fn read(self, mut subscription: Subscription<Raw>) {
        let topic = subscription.topic();
        while let Some(message) = subscription.next().await {
            let line = event::message(topic, &message, self.deliver);
            if let Some(unacked) = &self.unacked {
                let mut unacked = unacked.lock().unwrap_or_else(PoisonError::into_inner);
                unacked.insert(message.offset(), message);
            }
            if let Some(line) = line
                && self.lines.send(line).await.is_err()
            {
                break;
            }
            self.received.send_modify(|received| *received += 1);
        }
    }
}
