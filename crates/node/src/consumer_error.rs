//! Errors of named consumers (`docs/protocol/consumers.md#13`).

use p2panda_engine::consumer::TokenError;

/// Reason why something about a named consumer was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// A name has 1 to 128 bytes without control characters, and does not begin with `topic `.
    #[error(
        "a consumer's name has 1 to 128 bytes, no control characters, and is not that of a topic"
    )]
    InvalidName,
    /// There is no consumer of this name.
    #[error("no consumer has this name")]
    Unknown,
    /// A consumer needs topics.
    #[error("a new consumer needs a topic")]
    NoTopics,
    /// This setting cannot be changed now.
    #[error("the {0} of a consumer cannot be changed now")]
    Conflict(&'static str),
    /// This setting has an impossible value.
    #[error("this {0} is invalid")]
    Invalid(&'static str),
    /// The filter admits nothing.
    #[error("no message can match this filter")]
    InvalidFilter,
    /// The consumer is open and allows one reader at a time.
    #[error("the consumer is open and allows only one reader at a time")]
    InUse,
    /// A seek, a removed topic or another reader came between; the message is delivered again.
    #[error("the consumer was moved after this message was delivered; it is delivered again")]
    StaleToken,
    /// The token belongs to another consumer.
    #[error("this message was delivered by another consumer")]
    ForeignToken,
    /// Nothing with this offset was delivered.
    #[error("no message with this offset was delivered by this consumer")]
    NotDelivered,
    /// The consumer does not read this topic.
    #[error("the consumer does not read this topic")]
    UnknownTopic,
    /// The feed does not have this offset.
    #[error("the feed does not have this offset")]
    UnknownOffset,
    /// The feed does not have this operation.
    #[error("the feed does not have this operation")]
    UnknownOperation,
    /// There is no such dead letter.
    #[error("no dead letter has this number")]
    UnknownDeadLetter,
    /// A limit is reached.
    #[error("the limit of {0} is reached")]
    Limit(&'static str),
    /// Another reader has taken over.
    #[error("another reader took over")]
    TakenOver,
    /// The consumer was deleted.
    #[error("the consumer was deleted")]
    Deleted,
    /// The stored state of the consumer cannot be read.
    #[error("the stored state of the consumer cannot be read")]
    Damaged,
}

impl From<TokenError> for ConsumerError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotDelivered => Self::NotDelivered,
            _ => Self::StaleToken,
        }
    }
}
