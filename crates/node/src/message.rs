//! A message as the application receives it.

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{Dependency, Hash, LogId, LogName, Timestamp, VerifyingKey};
use p2panda_store::{Change, Content, FeedEntry};

use crate::body::{self, DecodeError};
use crate::inner::acks::Acks;
use crate::{Error, Raw};

/// One message of a topic, in the order of this node's feed.
///
/// A message that cannot be decoded as the stream's type is still delivered; its
/// [`Message::value`] is the error. The same holds for a message that reports a change
/// ([`Message::change`]), which has no content.
#[derive(Debug)]
pub struct Message<M = Raw> {
    entry: FeedEntry,
    value: Option<Result<M, DecodeError>>,
    /// None where nothing can be acknowledged.
    acks: Option<Arc<Acks>>,
}

impl<M> Message<M> {
    /// `decode` turns the content into a value, if there is content.
    pub(crate) fn new(
        entry: FeedEntry,
        decode: impl FnOnce(&[u8]) -> Option<Result<M, DecodeError>>,
        acks: Option<Arc<Acks>>,
    ) -> Self {
        let value = match entry.content.bytes() {
            Some(content) => decode(content),
            None => Some(Err(DecodeError::Change)),
        };
        Self { entry, value, acks }
    }

    /// Returns the author, who signed it.
    pub fn author(&self) -> VerifyingKey {
        self.entry.header.author()
    }

    /// The operation id: BLAKE3 of the header.
    pub fn id(&self) -> Hash {
        self.entry.header.id()
    }

    /// Its place in the log ([`Message::log`]) of its author.
    pub fn seq(&self) -> u32 {
        self.entry.header.seq()
    }

    /// Its place in this node's feed; other nodes number differently.
    pub fn offset(&self) -> u64 {
        self.entry.offset
    }

    /// The first place that the operation had in this node's feed, if it had one before
    /// [`Message::offset`]: what a change withdraws, or what counts again
    /// (`docs/protocol/streams.md#9.1`).
    pub fn first_offset(&self) -> Option<u64> {
        self.entry.first
    }

    /// The time of publishing by the author's clock. Nothing checks it.
    pub fn timestamp(&self) -> Timestamp {
        let extensions = self.entry.header.node_extensions();
        extensions.map_or(Timestamp::from_micros(0), |found| found.timestamp)
    }

    /// The signed header bytes.
    pub fn header(&self) -> &Bytes {
        self.entry.header.as_bytes()
    }

    /// Returns what the author published, one CBOR item: the stored body, or its plaintext. Empty
    /// when the message reports a change.
    pub fn raw(&self) -> &[u8] {
        self.content().unwrap_or_default()
    }

    /// Returns the change that the message reports about its operation in place of content; `None`
    /// for a message with content (`docs/protocol/streams.md#9.1`).
    pub fn change(&self) -> Option<Change> {
        match self.entry.content {
            Content::Change(change) => Some(change),
            _ => None,
        }
    }

    /// Messages that this one was written after and that had not arrived when waiting for them
    /// ended (`docs/protocol/streams.md#6`). Usually empty.
    pub fn missing_dependencies(&self) -> &[Dependency] {
        &self.entry.missing
    }

    /// The content of a text message.
    ///
    /// # Errors
    /// When the content is anything but a CBOR text string, or there is none.
    pub fn text(&self) -> Result<&str, DecodeError> {
        body::text(self.content()?)
    }

    /// The content of a byte message.
    ///
    /// # Errors
    /// When the content is anything but a CBOR byte string, or there is none.
    pub fn bytes(&self) -> Result<&[u8], DecodeError> {
        body::bytes(self.content()?)
    }

    /// Acknowledges only this message. Once this returns, that is on disk, and the message is not
    /// redelivered, even after a crash.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is shut down, and for a message that was read without a node
    /// ([`crate::inspect`]); the message is then redelivered.
    pub async fn ack(&self) -> Result<(), Error> {
        match &self.acks {
            Some(acks) => acks.ack_now(self.entry.offset).await,
            None => Err(Error::Closed),
        }
    }

    /// The typed content of a stream opened with `typed`.
    ///
    /// # Errors
    /// When the content does not fit the type, which [`Message::raw`] gives as it is, or when there is
    /// none. Always in a stream without a type.
    pub fn value(&self) -> Result<&M, &DecodeError> {
        match &self.value {
            Some(value) => value.as_ref(),
            None => Err(&DecodeError::Untyped),
        }
    }

    /// Hash of the name of the log that it is in; none: it is in the first log of its author.
    pub fn log(&self) -> Option<LogName> {
        let extensions = self.entry.header.node_extensions();
        extensions.ok().and_then(|extensions| extensions.name)
    }

    fn log_id(&self) -> Option<LogId> {
        let extensions = self.entry.header.node_extensions().ok()?;
        extensions.name.map(|_| extensions.log_id)
    }

    /// Header and content bytes.
    pub(crate) fn size(&self) -> usize {
        self.entry.bytes()
    }

    fn content(&self) -> Result<&[u8], DecodeError> {
        let content = self.entry.content.bytes();
        content.map(|bytes| &bytes[..]).ok_or(DecodeError::Change)
    }
}

/// The message as one that another comes after ([`NewMessage::after`](crate::NewMessage::after)).
impl<M> From<&Message<M>> for Dependency {
    fn from(message: &Message<M>) -> Self {
        Self {
            author: message.author(),
            log: message.log_id(),
            seq: message.seq(),
            id: message.id(),
        }
    }
}
