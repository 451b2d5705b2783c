//! Ephemeral messages: sent to connected nodes, never stored.

use std::borrow::Borrow;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{EphemeralMessage as Signed, HybridTimestamp, Topic, VerifyingKey};
use p2panda_engine::SpaceCommand;
use p2panda_net::{EphemeralReceiver, EphemeralSender};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::body::{self, Body, DecodeError, Raw};
use crate::node::Node;
use crate::subscription::{typed, untyped};

/// Opens the ephemeral side of a topic when awaited. Made by [`Node::ephemeral`].
#[must_use = "does nothing until awaited"]
#[derive(Debug)]
pub struct EphemeralRequest<M = Raw> {
    node: Node,
    topic: Topic,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
}

impl EphemeralRequest<Raw> {
    pub(crate) fn new(node: Node, topic: Topic) -> Self {
        Self {
            node,
            topic,
            decode: untyped,
        }
    }

    /// Messages are values of `T`, written as deterministic CBOR.
    pub fn typed<T: Serialize + DeserializeOwned>(self) -> EphemeralRequest<T> {
        EphemeralRequest {
            node: self.node,
            topic: self.topic,
            decode: typed::<T>,
        }
    }
}

impl<M: Send + 'static> IntoFuture for EphemeralRequest<M> {
    type Output = Result<(EphemeralPublisher<M>, EphemeralSubscription<M>), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if self.node.is_closed() {
                return Err(Error::Closed);
            }
            let topic = self.topic;
            let (sender, receiver) = self.node.net_handle().ephemeral(topic);
            let publisher = EphemeralPublisher {
                sender,
                node: self.node.clone(),
                topic,
                kind: PhantomData,
            };
            let subscription = EphemeralSubscription {
                receiver,
                received: None,
                node: self.node,
                topic,
                decode: self.decode,
            };
            Ok((publisher, subscription))
        })
    }
}

/// Sends ephemeral messages. Each is sealed for the members if the topic carries a space when it is sent,
/// also if it carried none when this was opened. Cheap to clone.
pub struct EphemeralPublisher<M = Raw> {
    sender: EphemeralSender,
    node: Node,
    topic: Topic,
    kind: PhantomData<fn(M)>,
}

impl<M> std::fmt::Debug for EphemeralPublisher<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EphemeralPublisher").finish_non_exhaustive()
    }
}

impl<M> Clone for EphemeralPublisher<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            node: self.node.clone(),
            topic: self.topic,
            kind: PhantomData,
        }
    }
}

impl<M> EphemeralPublisher<M> {
    async fn send(&self, body: Bytes) -> Result<(), Error> {
        let (queue, topic) = (self.node.queue(), self.topic);
        if !queue.spaces.has(queue, &topic).await? {
            let spaces = Arc::clone(&queue.spaces);
            let is_plain = Arc::new(move || !spaces.has_begun(&topic));
            return Ok(self.sender.publish_while(body, is_plain).await?);
        }
        let sealed = queue.space(|reply| SpaceCommand::SealEphemeral {
            topic,
            data: body,
            reply,
        });
        let sealed = sealed.await??;
        Ok(self.sender_in_space().await?.publish(sealed).await?)
    }

    /// The sender that signs as the author of this node in the space.
    async fn sender_in_space(&self) -> Result<EphemeralSender, Error> {
        let (sender, topic) = (self.sender.clone(), self.topic);
        if self.node.author_in(&topic) == self.node.id() {
            return Ok(sender);
        }
        let asked = self
            .node
            .queue()
            .space(|reply| SpaceCommand::OwnKey { topic, reply });
        Ok(match asked.await? {
            Some(key) => sender.signed_by(key),
            None => sender,
        })
    }
}

impl EphemeralPublisher<Raw> {
    /// Sends a text, bytes or any [`Body`] to all connected nodes of the topic.
    ///
    /// # Errors
    /// [`Error::Ephemeral`] when the message is larger than a gossip message may be (3 945 bytes
    /// of body), [`Error::Space`] when the topic carries a space, or is about to, and this node cannot
    /// seal for its members, [`Error::Closed`] after shutdown. `Ok` does not mean that anybody received it.
    pub async fn publish(&self, message: impl Into<Body>) -> Result<(), Error> {
        self.send(message.into().into_bytes()).await
    }
}

impl<M: Serialize> EphemeralPublisher<M> {
    /// Sends a value to all connected nodes of the topic.
    ///
    /// # Errors
    /// [`Error::Encode`] when it cannot be written as CBOR, [`Error::Ephemeral`] when it is larger
    /// than a gossip message may be, [`Error::Space`] when the topic carries a space, or is about to,
    /// and this node cannot seal for its members, [`Error::Closed`] after shutdown.
    pub async fn publish(&self, message: impl Borrow<M>) -> Result<(), Error> {
        let body = Body::value(message.borrow())?;
        self.send(body.into_bytes()).await
    }
}

/// Receives ephemeral messages. Invalid ones are skipped, and so is everything that no member has sealed if
/// the topic carries a space when it is read. A listener that falls 1 024 messages behind misses the oldest.
pub struct EphemeralSubscription<M = Raw> {
    receiver: EphemeralReceiver,
    /// The message that is being opened.
    received: Option<Signed>,
    node: Node,
    topic: Topic,
    decode: fn(&[u8]) -> Option<Result<M, DecodeError>>,
}

impl<M> std::fmt::Debug for EphemeralSubscription<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EphemeralSubscription")
            .finish_non_exhaustive()
    }
}

impl<M> EphemeralSubscription<M> {
    /// The next message, waiting until there is one. `None` after shutdown.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<EphemeralMessage<M>> {
        loop {
            if self.received.is_none() {
                self.received = Some(self.receiver.recv().await?);
            }
            let received = self.received.as_ref()?;
            let (author, timestamp) = (received.author, received.timestamp);
            let opened = self.open(author, received.body.clone()).await;
            self.received = None;
            let Some(body) = opened else {
                tracing::debug!(%author, "an ephemeral message was not for the space of its topic");
                continue;
            };
            return Some(EphemeralMessage {
                author,
                timestamp,
                value: (self.decode)(&body),
                body,
            });
        }
    }

    /// Opens a message if the topic carries a space now. `None` if it does not open, or its author may
    /// not write.
    async fn open(&self, author: VerifyingKey, body: Bytes) -> Option<Bytes> {
        let (queue, topic) = (self.node.queue(), self.topic);
        if !queue.spaces.has(queue, &topic).await.ok()? {
            return Some(body);
        }
        if author == self.node.author_in(&topic) {
            // With a key of its own the network does not know it as this node's.
            return None;
        }
        let opened = queue.space(|reply| SpaceCommand::OpenEphemeral {
            topic,
            author,
            body,
            reply,
        });
        let opened = opened.await.ok()?;
        if opened.is_none() {
            self.receiver.count_invalid();
        }
        opened
    }
}

/// A signed message that was broadcast and is not stored.
#[derive(Debug)]
pub struct EphemeralMessage<M = Raw> {
    author: VerifyingKey,
    timestamp: HybridTimestamp,
    body: Bytes,
    value: Option<Result<M, DecodeError>>,
}

impl<M> EphemeralMessage<M> {
    /// Returns the author, who signed it.
    pub fn author(&self) -> VerifyingKey {
        self.author
    }

    /// Returns the time at which the author says it was sent. Nothing checks it.
    pub fn timestamp(&self) -> HybridTimestamp {
        self.timestamp
    }

    /// The body: one CBOR item.
    pub fn raw(&self) -> &[u8] {
        &self.body
    }

    /// The content of a text message.
    ///
    /// # Errors
    /// When the body is anything but a CBOR text string.
    pub fn text(&self) -> Result<&str, DecodeError> {
        body::text(&self.body)
    }

    /// The content of a byte message.
    ///
    /// # Errors
    /// When the body is anything but a CBOR byte string.
    pub fn bytes(&self) -> Result<&[u8], DecodeError> {
        body::bytes(&self.body)
    }

    /// The typed content.
    ///
    /// # Errors
    /// When the body does not fit the type. Always without a type.
    pub fn value(&self) -> Result<&M, &DecodeError> {
        match &self.value {
            Some(value) => value.as_ref(),
            None => Err(&DecodeError::Untyped),
        }
    }
}
