//! The messages between a consumer and its readers.

use super::rows::TopicNumber;

/// A reader, by a number that the driver chose for it.
pub type ReaderNumber = u64;

/// A delivery to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The token for acknowledging it.
    pub token: Token,
    /// The number of deliveries, including this one.
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
    /// The acknowledgement counts.
    Done,
    /// The entry was settled before, or the delivery is not the latest: nothing changed.
    AlreadySettled,
}

/// A token that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A seek, a removed topic or another reader has intervened.
    #[error("the consumer was moved after this message was delivered; it is delivered again")]
    Stale,
    /// Nothing with this offset was delivered.
    #[error("no message with this offset was delivered by this consumer")]
    NotDelivered,
}

/// An entry of the feed, as far as a consumer needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Its offset in the feed of its topic.
    pub offset: u64,
    /// The key that keeps entries in order, in the ordered mode.
    pub key: u64,
    /// `true` if the filter admits it.
    pub passes: bool,
}
