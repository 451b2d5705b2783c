//! Publishing to a topic.

use std::borrow::Borrow;
use std::marker::PhantomData;
use std::sync::Arc;

use p2panda_core::{Label, LogName, LogNameError, Topic, VerifyingKey};
use p2panda_engine::content_log;
use serde::Serialize;

use crate::Error;
use crate::body::{Body, Raw};
use crate::inner::queue::Published;
use crate::inner::topic::TopicState;
use crate::new_message::NewMessage;
use crate::node::Node;
use crate::receipt::Receipt;

/// The writing half of a topic stream. Cheap to clone; all clones write to the same log of this node:
/// the first one of the topic, or one with a name ([`Publisher::to_log`]).
pub struct Publisher<M = Raw> {
    node: Node,
    topic: Topic,
    log: Option<LogName>,
    state: Arc<TopicState>,
    kind: PhantomData<fn(M)>,
}

impl<M> Clone for Publisher<M> {
    fn clone(&self) -> Self {
        Self {
            log: self.log,
            ..Self::new(self.node.clone(), self.topic, Arc::clone(&self.state))
        }
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
            log: None,
            state,
            kind: PhantomData,
        }
    }

    /// Publishes to this node's log of the topic with this name, of 1 to 128 bytes.
    ///
    /// A node may have any number of logs in a topic. Each has its own order, prune point and receipts,
    /// and none waits for another; with [`NewMessage::after`] a message comes after one of another
    /// log. Streams, consumers and views of the topic have the messages of all logs
    /// ([`Message::log`](crate::Message::log) tells which). Peers of release 0.7.1 get the first log
    /// only, the one without a name (`docs/protocol/streams.md#20`).
    ///
    /// # Errors
    /// [`LogNameError`] where the name is empty or too long.
    pub fn to_log(&self, name: &str) -> Result<Self, LogNameError> {
        Ok(Self {
            log: Some(LogName::of(name)?),
            ..self.clone()
        })
    }

    /// Hash of the name of the log that it publishes to; none: the first log of the topic.
    pub fn log(&self) -> Option<LogName> {
        self.log
    }

    /// The topic that this was opened for.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Publishes a message with its options.
    ///
    /// `Ok` means that it is on this node's disk; other nodes receive it when they meet this one.
    /// The order of the first polls is the order in the log.
    ///
    /// # Errors
    /// Nothing is stored then. [`Error::Publish`] names why: too large, an older copy of the
    /// directory, a log that was forked, a storage that takes nothing for 5 s; [`Error::Left`] after
    /// [`crate::TopicHandle::leave`], [`Error::Closed`] after shutdown, [`Error::Corrupt`] when the node
    /// has stopped by itself.
    pub async fn publish_message(&self, message: NewMessage) -> Result<Receipt, Error> {
        self.state.check_open()?;
        let queue = self.node.queue();
        let message = message.or_to_log(self.log).into_inner();
        let published = queue.publish(self.topic, message).await?;
        Ok(self.receipt(&published))
    }

    /// Publishes all of these messages or none, with one sync to disk, in this order, and with no
    /// other message of this node between them. Nobody sees a part of it, here or on a node that
    /// it was sent to in part: there the rest follows like any other message.
    ///
    /// At most 1 000 messages and 4 MiB (`docs/protocol/streams.md#3`).
    ///
    /// # Errors
    /// Nothing is stored then. [`PublishError::TooMany`](crate::PublishError) and as
    /// [`Publisher::publish_message`].
    pub async fn publish_messages(
        &self,
        messages: impl IntoIterator<Item = NewMessage>,
    ) -> Result<Vec<Receipt>, Error> {
        self.state.check_open()?;
        let messages = messages.into_iter();
        let messages: Vec<_> = messages
            .map(|message| message.or_to_log(self.log).into_inner())
            .collect();
        let published = self.node.queue().publish_all(self.topic, messages).await?;
        Ok(published.iter().map(|one| self.receipt(one)).collect())
    }

    fn receipt(&self, published: &Published) -> Receipt {
        Receipt::new(published, Arc::clone(&self.state))
    }

    /// The receipt of the newest message of the log, whenever it was published: a peer that has it
    /// has everything before. `None`: nothing was published yet.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn newest(&self) -> Result<Option<Receipt>, Error> {
        let topic = self.topic;
        let mut log = self.log;
        // What a member publishes into a space is in its content log.
        if log.is_none() && self.node.spaces().get(topic).await?.is_some() {
            log = Some(content_log());
        }
        let label = label_of(&topic, &self.node.author_in(&topic), log);
        let read = move |reader: &p2panda_store::Reader| reader.newest_entry(&topic, &label);
        let newest = self.node.storage().read(read).await?;
        Ok(newest.map(|newest| Receipt::of_entry(&newest, log, Arc::clone(&self.state))))
    }
}

/// The label of a log, which represents its author where logs of a topic are distinguished.
pub(crate) fn label_of(topic: &Topic, author: &VerifyingKey, log: Option<LogName>) -> Label {
    match log {
        None => (*author).into(),
        Some(name) => topic.named_log_id(&name).label(author),
    }
}

impl Publisher<Raw> {
    /// Publishes a text (`&str`, `String`), bytes (`&[u8]`, `Vec<u8>`) or any [`Body`].
    ///
    /// `Ok` means that it is on this node's disk; other nodes receive it when they meet this one.
    /// The order of the first polls is the order in the log.
    ///
    /// # Errors
    /// Nothing is stored then. [`Error::Publish`] names why: too large, an older copy of the
    /// directory, a log that was forked, a storage that takes nothing for 5 s; [`Error::Left`] after
    /// [`crate::TopicHandle::leave`], [`Error::Closed`] after shutdown, [`Error::Corrupt`] when the node
    /// has stopped by itself.
    pub async fn publish(&self, message: impl Into<Body>) -> Result<Receipt, Error> {
        self.publish_message(NewMessage::new(message)).await
    }

    /// Publishes all of these or none, as [`Publisher::publish_messages`].
    ///
    /// # Errors
    /// As there.
    pub async fn publish_all<T: Into<NewMessage>>(
        &self,
        messages: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Receipt>, Error> {
        let messages = messages.into_iter().map(Into::into);
        self.publish_messages(messages).await
    }

    /// Allows everyone to delete what is before this in this node's log of the topic. The optional
    /// message replaces what is deleted.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn prune(&self, message: Option<Body>) -> Result<Receipt, Error> {
        let message = message.map_or_else(NewMessage::empty, NewMessage::new);
        self.publish_message(message.prune()).await
    }
}

impl<M: Serialize> Publisher<M> {
    /// Publishes a value, by value or by reference, as deterministic CBOR.
    ///
    /// `Ok` means that it is on this node's disk; other nodes receive it when they meet this one.
    /// The order of the first polls is the order in the log.
    ///
    /// # Errors
    /// Nothing is stored then. [`Error::Encode`] when the value cannot be written as CBOR,
    /// [`Error::Publish`] names why it was refused, [`Error::Left`] after
    /// [`crate::TopicHandle::leave`], [`Error::Closed`] after shutdown, [`Error::Corrupt`] when the node
    /// has stopped by itself.
    pub async fn publish(&self, message: impl Borrow<M>) -> Result<Receipt, Error> {
        self.publish_message(NewMessage::value(message.borrow())?)
            .await
    }

    /// Publishes all of these values or none, as [`Publisher::publish_messages`].
    ///
    /// # Errors
    /// As there, and [`Error::Encode`].
    pub async fn publish_all<T: Borrow<M>>(
        &self,
        messages: impl IntoIterator<Item = T>,
    ) -> Result<Vec<Receipt>, Error> {
        let messages = messages.into_iter();
        let messages = messages.map(|message| NewMessage::value(message.borrow()));
        let messages: Vec<NewMessage> = messages.collect::<Result<_, _>>()?;
        self.publish_messages(messages).await
    }

    /// Allows everyone to delete what is before this in this node's log of the topic. The optional
    /// message replaces what is deleted.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub async fn prune(&self, message: Option<M>) -> Result<Receipt, Error> {
        let message = message.as_ref().map(NewMessage::value).transpose()?;
        let message = message.unwrap_or_else(NewMessage::empty);
        self.publish_message(message.prune()).await
    }
}
