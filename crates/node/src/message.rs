//! A message as the application gets it.

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{Dependency, Hash, Operation, Timestamp, VerifyingKey};

use crate::acks::Acks;
use crate::body::{self, DecodeError};
use crate::{Error, Raw};

/// One message of a topic, in the order of this node's feed.
///
/// A message that cannot be decoded as the stream's type is delivered all the same; its
/// [`Message::value`] is the error.
#[derive(Debug)]
pub struct Message<M = Raw> {
    offset: u64,
    operation: Operation,
    missing: Vec<Dependency>,
    value: Option<Result<M, DecodeError>>,
    acks: Arc<Acks>,
}

impl<M> Message<M> {
    pub(crate) fn new(
        entry: p2panda_store::FeedEntry,
        value: Option<Result<M, DecodeError>>,
        acks: Arc<Acks>,
    ) -> Self {
        Self {
            offset: entry.offset,
            operation: entry.operation,
            missing: entry.missing_dependencies,
            value,
            acks,
        }
    }

    /// Who signed it.
    pub fn author(&self) -> VerifyingKey {
        self.operation.header.author()
    }

    /// The operation id: BLAKE3 of the header.
    pub fn id(&self) -> Hash {
        self.operation.header.id()
    }

    /// Its place in the author's log.
    pub fn seq(&self) -> u32 {
        self.operation.header.seq()
    }

    /// Its place in this node's feed; other nodes number differently.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// When the author says it was published. Nothing checks it.
    pub fn timestamp(&self) -> Timestamp {
        let extensions = self.operation.header.node_extensions();
        extensions.map_or(Timestamp::from_micros(0), |found| found.timestamp)
    }

    /// The signed header bytes.
    pub fn header(&self) -> &Bytes {
        self.operation.header.as_bytes()
    }

    /// The stored body: one CBOR item.
    pub fn raw(&self) -> &[u8] {
        self.operation.body.as_deref().unwrap_or_default()
    }

    /// Messages that this one was written after and that had not come when waiting for them ended
    /// (`docs/protocol/streams.md#6`). Usually empty.
    pub fn missing_dependencies(&self) -> &[Dependency] {
        &self.missing
    }

    /// The content of a text message.
    ///
    /// # Errors
    /// When the body is anything but a CBOR text string.
    pub fn text(&self) -> Result<&str, DecodeError> {
        body::text(self.raw())
    }

    /// The content of a byte message.
    ///
    /// # Errors
    /// When the body is anything but a CBOR byte string.
    pub fn bytes(&self) -> Result<&[u8], DecodeError> {
        body::bytes(self.raw())
    }

    /// Acknowledges this message and no other. Returns once that is on disk: the message does not
    /// come again, also after a crash.
    ///
    /// # Errors
    /// [`Error::Closed`] when the node is shut down; the message comes again then.
    pub async fn ack(&self) -> Result<(), Error> {
        self.acks.ack_now(self.offset).await
    }

    /// The typed content of a stream opened with `typed`.
    ///
    /// # Errors
    /// When the body does not fit the type; [`Message::raw`] gives what it is. Always in a stream
    /// without a type.
    pub fn value(&self) -> Result<&M, &DecodeError> {
        match &self.value {
            Some(value) => value.as_ref(),
            None => Err(&DecodeError::Untyped),
        }
    }
}
