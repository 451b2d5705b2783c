//! Opening a topic for publishing and reading.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use p2panda_core::Topic;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::body::{DecodeError, Raw};
use crate::inner::consumer::{self, Consumer};
use crate::node::Node;
use crate::publisher::Publisher;
use crate::subscription::{Subscription, typed, untyped};

/// Position at which a subscription starts to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartAt {
    /// Everything that no handle of this topic has acknowledged.
    #[default]
    Resume,
    /// The oldest stored message, including acknowledged ones.
    Beginning,
    /// Messages from now on.
    Now,
    /// This feed offset, inclusive.
    Offset(u64),
}

/// Mode of acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ack {
    /// Asking for the next message acknowledges the one before.
    #[default]
    Automatic,
    /// The application acknowledges each message, with [`crate::Message::ack`].
    Explicit,
}

/// Opens a topic when awaited. Made by [`Node::stream`].
#[must_use = "does nothing until awaited"]
#[derive(Debug)]
pub struct StreamRequest<M = Raw> {
    node: Node,
    topic: Topic,
    start: StartAt,
    ack: Ack,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
    kind: PhantomData<M>,
}

impl StreamRequest<Raw> {
    pub(crate) fn new(node: Node, topic: Topic) -> Self {
        Self {
            node,
            topic,
            start: StartAt::default(),
            ack: Ack::default(),
            decode: untyped,
            kind: PhantomData,
        }
    }

    /// Messages are values of `T`, written as deterministic CBOR.
    pub fn typed<T: Serialize + DeserializeOwned>(self) -> StreamRequest<T> {
        StreamRequest {
            node: self.node,
            topic: self.topic,
            start: self.start,
            ack: self.ack,
            decode: typed::<T>,
            kind: PhantomData,
        }
    }
}

impl<M> StreamRequest<M> {
    /// Sets where to start; [`StartAt::Resume`] by default.
    pub fn start(mut self, start: StartAt) -> Self {
        self.start = start;
        self
    }

    /// Sets how messages are acknowledged; [`Ack::Automatic`] by default.
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    async fn open(self) -> Result<(Publisher<M>, Subscription<M>), Error> {
        let (topic, name) = (self.topic, consumer::of_topic(&self.topic));
        let state = self.node.join(topic).await?;
        let reading = [(topic, Arc::clone(&state))];
        let consumer = Consumer::open(&self.node, name, &reading, self.start, self.ack).await?;
        let subscription = Subscription {
            node: self.node.clone(),
            topic,
            consumer,
            ended: None,
            decode: self.decode,
        };
        Ok((Publisher::new(self.node, topic, state), subscription))
    }
}

impl<M: Send + 'static> IntoFuture for StreamRequest<M> {
    type Output = Result<(Publisher<M>, Subscription<M>), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

/// Opens a topic only for writing when awaited. Made by [`Node::publisher`].
#[must_use = "does nothing until awaited"]
#[derive(Debug)]
pub struct PublisherRequest<M = Raw> {
    node: Node,
    topic: Topic,
    kind: PhantomData<fn(M)>,
}

impl PublisherRequest<Raw> {
    pub(crate) fn new(node: Node, topic: Topic) -> Self {
        let kind = PhantomData;
        Self { node, topic, kind }
    }

    /// Messages are values of `T`, written as deterministic CBOR.
    pub fn typed<T: Serialize>(self) -> PublisherRequest<T> {
        PublisherRequest {
            node: self.node,
            topic: self.topic,
            kind: PhantomData,
        }
    }
}

impl<M> PublisherRequest<M> {
    async fn open(self) -> Result<Publisher<M>, Error> {
        let state = self.node.join(self.topic).await?;
        Ok(Publisher::new(self.node, self.topic, state))
    }
}

impl<M: 'static> IntoFuture for PublisherRequest<M> {
    type Output = Result<Publisher<M>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
