//! Named durable consumers: opening one, and reading with it (`docs/protocol/consumers.md`).

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::Stream;
use p2panda_core::Topic;
use p2panda_core::limits::{CONSUMER_BATCH_BYTES_MAX, CONSUMER_BATCH_MAX};
use p2panda_engine::consumer::{ReaderNumber, Token};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::Error;
use crate::body::{DecodeError, Raw};
use crate::consumer_error::ConsumerError;
use crate::consumer_handle::ConsumerHandle;
use crate::consumer_settings::{Acking, ConsumerFilter, ConsumerMode, ConsumerStart};
use crate::delivery::{Delivery, Pruned};
use crate::inner::named::{Asked, Given, Named, Opening};
use crate::message::Message;
use crate::node::Node;
use crate::subscription::{typed, untyped};

/// Settings with which to open a named consumer. Made by [`Node::consumer`]. A setting that is not
/// given keeps its stored value, or has the default for a new consumer.
#[must_use = "does nothing until it is opened"]
pub struct ConsumerRequest<M = Raw> {
    node: Node,
    asked: Asked,
    joins: bool,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
    kind: PhantomData<M>,
}

impl<M> std::fmt::Debug for ConsumerRequest<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsumerRequest")
            .field("name", &self.asked.name)
            .finish_non_exhaustive()
    }
}

impl ConsumerRequest<Raw> {
    pub(crate) fn new(node: Node, name: String) -> Self {
        Self {
            node,
            asked: Asked {
                name,
                ..Asked::default()
            },
            joins: true,
            decode: untyped,
            kind: PhantomData,
        }
    }

    /// Messages are values of `T`, written as deterministic CBOR.
    pub fn typed<T: DeserializeOwned>(self) -> ConsumerRequest<T> {
        ConsumerRequest {
            node: self.node,
            asked: self.asked,
            joins: self.joins,
            decode: typed::<T>,
            kind: PhantomData,
        }
    }

    /// The stored consumer, to inspect, move or delete it without reading.
    ///
    /// # Errors
    /// [`ConsumerError::Unknown`] when there is none, [`Error::Closed`] after shutdown.
    pub async fn handle(self) -> Result<ConsumerHandle, Error> {
        let (named, _) = attach(&self.node, self.asked, Opening::Handle).await?;
        Ok(ConsumerHandle::new(self.node, named))
    }
}

impl<M> ConsumerRequest<M> {
    /// The topics that it reads, 1 to 10 000. For an existing consumer, other topics are removed,
    /// with their open messages, and new ones are added.
    pub fn topics(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.asked.topics = Some(topics.into_iter().collect());
        self
    }

    /// Sets where it begins to read; an existing consumer is moved there. [`ConsumerStart::Resume`]
    /// by default.
    pub fn start(mut self, start: ConsumerStart) -> Self {
        self.asked.start = Some(start);
        self
    }

    /// Sets where a new consumer, or an added topic, begins; an existing consumer is not moved.
    pub fn start_if_new(mut self, start: ConsumerStart) -> Self {
        self.asked.start_if_new = Some(start);
        self
    }

    /// Sets how messages are acknowledged; [`Acking::Explicit`] by default.
    pub fn acking(mut self, acking: Acking) -> Self {
        self.asked.acking = Some(acking);
        self
    }

    /// Sets how messages are distributed to readers; [`ConsumerMode::Exclusive`] by default.
    pub fn mode(mut self, mode: ConsumerMode) -> Self {
        self.asked.mode = Some(mode);
        self
    }

    /// [`ConsumerMode::Ordered`] by this key instead of the author. The function must return the
    /// same key for the same message, also after a restart, and must not block.
    pub fn ordered_by(mut self, key: impl Fn(&Message) -> u64 + Send + Sync + 'static) -> Self {
        self.asked.mode = Some(ConsumerMode::Ordered);
        self.asked.key_of = Some(Arc::new(key));
        self
    }

    /// The time after which an unsettled message is redelivered, 100 ms to 7 days; 30 s by
    /// default.
    pub fn ack_wait(mut self, wait: Duration) -> Self {
        self.asked.ack_wait = Some(wait);
        self
    }

    /// The delays after which a returned message is redelivered, by the number of its deliveries;
    /// the last one applies to all later deliveries. By default 1 s, doubled up to 5 min.
    pub fn backoff(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.asked.backoff = Some(delays.into_iter().collect());
        self
    }

    /// Deliveries after which a message becomes a dead letter, 1 to 1 000; unlimited by default.
    pub fn deliveries_max(mut self, deliveries: u32) -> Self {
        self.asked.deliveries_max = Some(Some(deliveries));
        self
    }

    /// Unsettled messages of all readers together, 1 to 10 000; 1 000 by default.
    pub fn in_flight_max(mut self, messages: usize) -> Self {
        self.asked.in_flight_max = Some(messages);
        self
    }

    /// The consumer is deleted, which is reported as [`crate::Event::ConsumerInactive`], when
    /// nobody has had it open for that long while the node was open; 1 s to 10 years. `None`, the
    /// default: never.
    pub fn inactive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.asked.inactive = Some(after.into());
        self
    }

    /// The messages that it gets. For an existing consumer this can be changed only together with a
    /// start.
    pub fn filter(mut self, filter: ConsumerFilter) -> Self {
        self.asked.filter = Some(filter);
        self
    }

    /// Ends another reader that has it open.
    pub fn take_over(mut self) -> Self {
        self.asked.take_over = true;
        self
    }

    /// Reads stored messages without making the node interested in the topics.
    pub fn without_joining(mut self) -> Self {
        self.joins = false;
        self
    }

    /// Opens it for reading, and creates it if it does not exist. The node is interested in its
    /// topics from then on, as with [`Node::stream`].
    ///
    /// # Errors
    /// [`Error::Consumer`] names the invalid part of the request; nothing is changed then.
    /// [`Error::Closed`] after shutdown.
    pub async fn open(self) -> Result<Consumer<M>, Error> {
        let (named, reader) = attach(&self.node, self.asked, Opening::Reader).await?;
        let consumer = Consumer {
            handle: ConsumerHandle::new(self.node, Arc::clone(&named)),
            named,
            reader,
            acks_on_next: Vec::new(),
            told_on_next: Vec::new(),
            ended: None,
            decode: self.decode,
        };
        if self.joins {
            for topic in consumer.named.topics() {
                consumer.handle.node().join(topic).await?;
            }
        }
        Ok(consumer)
    }
}

async fn attach(
    node: &Node,
    asked: Asked,
    opening: Opening,
) -> Result<(Arc<Named>, ReaderNumber), Error> {
    if node.is_closed() {
        return Err(node.queue().ended());
    }
    let registry = node.consumers_in_use();
    registry
        .open(node.queue(), node.storage(), asked, opening)
        .await
}

impl<M: Send + 'static> IntoFuture for ConsumerRequest<M> {
    type Output = Result<Consumer<M>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// A reader of a named consumer. When it is dropped, its messages can go to other readers at once;
/// the consumer stays.
#[derive(Debug)]
pub struct Consumer<M = Raw> {
    handle: ConsumerHandle,
    named: Arc<Named>,
    reader: ReaderNumber,
    /// The delivery that asking for the next one acknowledges.
    acks_on_next: Vec<Token>,
    told_on_next: Vec<Pruned>,
    ended: Option<Arc<Error>>,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
}

impl<M> Consumer<M> {
    /// The next message, waiting until there is one. `None` when another reader took over, the
    /// consumer was deleted, the node was shut down, or the feed cannot be read:
    /// [`Consumer::ended`] says which. In the last case nothing was skipped, and calling again
    /// tries again.
    ///
    /// Cancel safe: a message is only taken when the future completes.
    pub async fn next(&mut self) -> Option<Delivery<M>> {
        match self.try_next(None).await {
            Ok(delivery) => delivery,
            Err(error) => {
                self.ended = Some(Arc::new(error));
                None
            }
        }
    }

    /// Up to that many messages at once, see [`Batch`].
    pub fn fetch(&mut self, messages: usize) -> Batch<'_, M> {
        Batch {
            consumer: self,
            messages,
            bytes_max: CONSUMER_BATCH_BYTES_MAX,
            wait: None,
        }
    }

    /// The messages as a stream, which ends as [`Consumer::next`] does.
    pub fn into_stream(self) -> impl Stream<Item = Delivery<M>> {
        futures_lite::stream::unfold(self, |mut consumer| async move {
            let delivery = consumer.next().await?;
            Some((delivery, consumer))
        })
    }

    /// Returns why [`Consumer::next`] returned `None`; `None` before that.
    pub fn ended(&self) -> Option<Arc<Error>> {
        self.ended.clone()
    }

    /// The consumer, to inspect and move it. It can be cloned and used elsewhere.
    pub fn handle(&self) -> &ConsumerHandle {
        &self.handle
    }

    async fn try_next(&mut self, until: Option<Instant>) -> Result<Option<Delivery<M>>, Error> {
        self.ended = None;
        self.settle_last();
        let given = self.named.next(self.reader, until).await?;
        Ok(given.map(|given| self.deliver(given)))
    }

    /// Under [`Acking::OnNext`]: acknowledges what was delivered before.
    fn settle_last(&mut self) {
        if !self.acks_on_next.is_empty() {
            self.named.ack_soon(&self.acks_on_next);
            self.acks_on_next.clear();
        }
        for pruned in self.told_on_next.drain(..) {
            self.named.told(pruned.topic, pruned.author);
        }
    }

    fn deliver(&mut self, given: Given) -> Delivery<M> {
        let by_itself = matches!(self.named.acking(), Acking::OnNext | Acking::None);
        let from = (Arc::clone(&self.named), self.reader);
        match given {
            Given::Entry {
                topic,
                entry,
                delivery,
            } => {
                if by_itself {
                    self.acks_on_next.push(delivery.token);
                }
                let message = Message::new(*entry, self.decode, None);
                let place = (delivery.token, delivery.count);
                Delivery::message_of(from, topic, message, place)
            }
            Given::Pruned(row) => {
                let pruned = Pruned {
                    topic: row.topic,
                    author: row.author,
                    below: row.below,
                    unsettled: row.unsettled,
                };
                if by_itself {
                    self.told_on_next.push(pruned.clone());
                }
                Delivery::pruned_of(from.0, from.1, pruned)
            }
        }
    }

    async fn fetch_batch(
        &mut self,
        messages: usize,
        bytes_max: usize,
        wait: Option<Duration>,
    ) -> Result<Vec<Delivery<M>>, Error> {
        let until = wait.and_then(|wait| Instant::now().checked_add(wait));
        let mut batch = Collected {
            named: Arc::clone(&self.named),
            deliveries: Vec::new(),
        };
        let mut bytes = 0;
        self.settle_last();
        while batch.deliveries.len() < messages && bytes < bytes_max {
            let is_first = batch.deliveries.is_empty();
            let given = match (is_first, until) {
                (true, None) => self.named.next(self.reader, None).await,
                (false, None) => self.named.next_ready(self.reader).await,
                (_, until) => self.named.next(self.reader, until).await,
            };
            let given = match given {
                // The next call tells.
                Err(_) if !is_first => break,
                given => given?,
            };
            let Some(given) = given else { break };
            let delivery = self.deliver(given);
            bytes += delivery.bytes();
            batch.deliveries.push(delivery);
        }
        Ok(std::mem::take(&mut batch.deliveries))
    }
}

impl<M> Drop for Consumer<M> {
    fn drop(&mut self) {
        self.named.reader_gone(self.reader);
    }
}

/// Deliveries collected for a batch, which are returned if the batch is dropped.
struct Collected<M> {
    named: Arc<Named>,
    deliveries: Vec<Delivery<M>>,
}

impl<M> Drop for Collected<M> {
    fn drop(&mut self) {
        for delivery in &self.deliveries {
            match (delivery.engine_token(), delivery.pruned()) {
                (Some(token), _) => self.named.give_back(token),
                (None, Some(pruned)) => self.named.untold(pruned.topic, pruned.author),
                (None, None) => {}
            }
        }
    }
}

/// Up to that many messages at once. Awaited, it waits for the first one and returns what is there
/// by then; with [`Batch::wait`], it waits until it is full or the time is over, and may be empty.
#[must_use = "does nothing until awaited"]
#[derive(Debug)]
pub struct Batch<'c, M> {
    consumer: &'c mut Consumer<M>,
    messages: usize,
    bytes_max: usize,
    wait: Option<Duration>,
}

impl<M> Batch<'_, M> {
    /// Ends with the message that reaches that many bytes of headers and content; at most 64 MiB,
    /// which is the default.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Sets how long to wait for messages.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

impl<'c, M: Send + 'static> IntoFuture for Batch<'c, M> {
    type Output = Result<Vec<Delivery<M>>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'c>>;

    /// If the future is dropped, what it had taken can be delivered again at once.
    fn into_future(self) -> Self::IntoFuture {
        let messages = 1..=CONSUMER_BATCH_MAX;
        let bytes = 1..=CONSUMER_BATCH_BYTES_MAX;
        Box::pin(async move {
            if !messages.contains(&self.messages) || !bytes.contains(&self.bytes_max) {
                return Err(ConsumerError::Limit("messages or bytes of a batch").into());
            }
            let consumer = self.consumer;
            let batch = consumer.fetch_batch(self.messages, self.bytes_max, self.wait);
            batch.await
        })
    }
}
