//! The messages between a consumer and its readers.

use super::rows::TopicNumber;

/// A reader, by a number that the driver chose for it.
pub type ReaderNumber = u64;

/// What is given to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// How it is acknowledged.
    pub token: Token,
    /// How often it was delivered, this time included.
    pub count: u32,
}

/// Names a delivery (`docs/protocol/consumers.md#2`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Of the consumer; a seek begins another one.
    pub generation: u32,
    /// The topic whose feed has the entry.
    pub topic: TopicNumber,
    /// The offset of the entry.
    pub offset: u64,
    /// Number of the delivery, in the life of the consumer in this process.
    pub delivery: u64,
}

/// Outcome of an acknowledgement of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It counts.
    Done,
    /// The entry was settled before, or the delivery is not the latest: nothing changed.
    AlreadySettled,
}

/// A token that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A seek, a removed topic or another reader came between.
    #[error("the consumer was moved after this message was delivered; it is delivered again")]
    Stale,
    /// Nothing with this offset was given out.
    #[error("no message with this offset was delivered by this consumer")]
    NotDelivered,
}

/// An entry of the feed, as far as a consumer needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Where it is in the feed of its topic.
    pub offset: u64,
    /// What holds entries in order, in a mode that does.
    pub key: u64,
    /// Whether the filter admits it.
    pub passes: bool,
}
