//! A message to be published, with what is said about it.

use serde::Serialize;

use crate::body::{Body, EncodeError};

/// A message to be published, with what is said about it. Whatever makes a [`Body`] makes one that
/// nothing else is said about.
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

    /// One without content, to say something by [`NewMessage::prune`].
    pub fn empty() -> Self {
        Self(p2panda_engine::NewMessage::default())
    }

    /// Everything before it in this node's log of the topic may be deleted by everyone.
    pub fn prune(mut self) -> Self {
        self.0.prune = true;
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
