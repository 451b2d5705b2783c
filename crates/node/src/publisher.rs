//! Publishing to a topic.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::sync::Arc;

use p2panda_core::{Hash, Topic};
use serde::Serialize;

use crate::Error;
use crate::body::{Body, Raw};
use crate::inner::queue::Published;
use crate::inner::topic::TopicState;
use crate::node::Node;

/// The writing half of a topic stream. Cheap to clone; all clones write to this node's one log of
/// the topic.
pub struct Publisher<M = Raw> {
    node: Node,
    topic: Topic,
    state: Arc<TopicState>,
    kind: PhantomData<fn(M)>,
}

impl<M> Clone for Publisher<M> {
    fn clone(&self) -> Self {
        Self::new(self.node.clone(), self.topic, Arc::clone(&self.state))
    }
}

impl<M> std::fmt::Debug for Publisher<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl<M> Publisher<M> {
    pub(crate) fn new(node: Node, topic: Topic, state: Arc<TopicState>) -> Self {
        Self {
            node,
            topic,
            state,
            kind: PhantomData,
        }
    }

    /// The topic.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    async fn send(&self, body: Option<Body>, prune: bool) -> Result<Receipt, Error> {
        self.state.check_open()?;
        let body = body.map(Body::into_bytes);
        let published = self.node.queue().publish(self.topic, body, prune).await?;
        Ok(Receipt {
            published,
            state: Arc::clone(&self.state),
        })
    }
}

impl Publisher<Raw> {
    /// Publishes a text (`&str`, `String`), bytes (`&[u8]`, `Vec<u8>`) or any [`Body`].
    ///
    /// `Ok` means that it is on the disk of this node; it reaches other nodes whenever they meet.
    /// The order of the first polls is the order in the log.
    ///
    /// # Errors
    /// Nothing is stored then. [`Error::Publish`] names why: too large, an older copy of the
    /// directory, a log that was forked, a storage that takes nothing for 5 s; [`Error::Left`] after
    /// [`crate::TopicHandle::leave`], [`Error::Closed`] after shutdown, [`Error::Corrupt`] when the node
    /// has stopped by itself.
    pub async fn publish(&self, message: impl Into<Body>) -> Result<Receipt, Error> {
        self.send(Some(message.into()), false).await
    }

    /// Publishes that everything before it in this node's log of the topic may be deleted by
    /// everyone, with a message to stand in its place or without.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn prune(&self, message: Option<Body>) -> Result<Receipt, Error> {
        self.send(message, true).await
    }
}

impl<M: Serialize> Publisher<M> {
    /// Publishes a value, by value or by reference, as deterministic CBOR.
    ///
    /// `Ok` means that it is on the disk of this node; it reaches other nodes whenever they meet.
    /// The order of the first polls is the order in the log.
    ///
    /// # Errors
    /// Nothing is stored then. [`Error::Encode`] when the value cannot be written as CBOR,
    /// [`Error::Publish`] names why it was refused, [`Error::Left`] after
    /// [`crate::TopicHandle::leave`], [`Error::Closed`] after shutdown, [`Error::Corrupt`] when the node
    /// has stopped by itself.
    pub async fn publish(&self, message: impl Borrow<M>) -> Result<Receipt, Error> {
        let body = Body::value(message.borrow())?;
        self.send(Some(body), false).await
    }

    /// Publishes that everything before it in this node's log of the topic may be deleted by
    /// everyone, with a message to stand in its place or without.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn prune(&self, message: Option<M>) -> Result<Receipt, Error> {
        let body = message.as_ref().map(Body::value).transpose()?;
        self.send(body, true).await
    }
}

/// Proof that a message is stored durably on this node.
#[derive(Clone)]
pub struct Receipt {
    published: Published,
    state: Arc<TopicState>,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Receipt").field(&self.published).finish()
    }
}

impl Receipt {
    /// The operation id.
    pub fn id(&self) -> Hash {
        self.published.id
    }

    /// Place in this node's log of the topic.
    pub fn seq(&self) -> u32 {
        self.published.seq
    }

    /// Number of connected peers that hold or were sent everything up to this message.
    pub fn sent(&self) -> usize {
        self.state.sent_to(self.published.arrival)
    }

    /// Waits until that many connected peers hold or were sent everything up to this message.
    /// That they stored it the protocol of 0.7.1 cannot tell.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is shut down meanwhile, [`Error::Left`] when it leaves the topic,
    /// [`Error::Corrupt`] when it stops by itself.
    pub async fn sent_to(&self, peers: usize) -> Result<(), Error> {
        self.state.wait_sent(self.published.arrival, peers).await
    }
}
