//! A message to be published, with its options.

use p2panda_core::{Dependency, Hash, LogName, LogNameError};
use serde::Serialize;

use crate::body::{Body, EncodeError};

/// A message to be published, with its options. Anything that converts to a [`Body`] converts to
/// one without options.
///
/// ```no_run
/// # async fn example(tx: p2panda::Publisher) -> Result<(), p2panda::Error> {
/// use p2panda::NewMessage;
/// let snapshot = NewMessage::new("everything so far").prune();
/// tx.publish_messages([snapshot, NewMessage::new("and on")]).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage(p2panda_engine::NewMessage);

impl NewMessage {
    /// A text (`&str`, `String`), bytes (`&[u8]`, `Vec<u8>`) or any [`Body`].
    pub fn new(message: impl Into<Body>) -> Self {
        let body = message.into().into_bytes();
        Self(p2panda_engine::NewMessage::new(body))
    }

    /// A value, as deterministic CBOR.
    ///
    /// # Errors
    /// [`EncodeError::Value`] where its `Serialize` implementation fails.
    pub fn value<M: Serialize>(value: &M) -> Result<Self, EncodeError> {
        Ok(Self::new(Body::value(value)?))
    }

    /// A message without content, for [`NewMessage::prune`].
    pub fn empty() -> Self {
        Self(p2panda_engine::NewMessage::default())
    }

    /// Everyone may delete what is before it in this node's log of the topic.
    pub fn prune(mut self) -> Self {
        self.0.prune = true;
        self
    }

    /// The message is stored once, even if it is published with this key several times. The
    /// application chooses the key, a text or bytes. Publishing it again returns the receipt of
    /// the first time, also after a crash. The key counts in this node's log of the topic for an
    /// hour, see [`Builder::idempotency_window`](crate::Builder::idempotency_window).
    ///
    /// Another message with the same key is
    /// [`PublishError::KeyTaken`](crate::PublishError::KeyTaken).
    pub fn idempotency_key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.0.key = Some(Hash::digest(key.as_ref()));
        self
    }

    /// These messages, at most 16 of this topic, are shown before this one on every node that has
    /// both. What this node has shown its application so far comes before it anyway, as far as
    /// there is room for it (`docs/protocol/streams.md#6`).
    ///
    /// One that is not stored here is
    /// [`PublishError::UnknownParent`](crate::PublishError::UnknownParent).
    pub fn after<T: Into<Dependency>>(mut self, messages: impl IntoIterator<Item = T>) -> Self {
        self.0.after.extend(messages.into_iter().map(Into::into));
        self
    }

    /// Publishes it to this node's log with this name, of 1 to 128 bytes, instead of the first one
    /// of the topic. The messages of
    /// [`Publisher::publish_messages`](crate::Publisher::publish_messages) may go to several logs.
    /// See [`Publisher::to_log`](crate::Publisher::to_log).
    ///
    /// # Errors
    /// [`LogNameError`] where the name is empty or too long.
    pub fn to_log(mut self, name: &str) -> Result<Self, LogNameError> {
        self.0.log = Some(LogName::of(name)?);
        Ok(self)
    }

    /// The default log, for messages that name none.
    pub(crate) fn or_to_log(mut self, log: Option<LogName>) -> Self {
        self.0.log = self.0.log.or(log);
        self
    }

    pub(crate) fn into_inner(self) -> p2panda_engine::NewMessage {
        self.0
    }
}

impl<T: Into<Body>> From<T> for NewMessage {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}
