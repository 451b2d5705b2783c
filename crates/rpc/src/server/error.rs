//! Errors of requests.

use thiserror::Error;

/// Error that becomes a failure on the wire.
#[derive(Debug, Error)]
pub enum ServeError {
    /// Content must be named by exactly one field.
    #[error("give exactly one of text, bytes, body and size")]
    Content,
    /// A signing key has 32 bytes.
    #[error("seed is not 32 bytes")]
    Seed,
    /// The body cannot be published.
    #[error("the body is not one deterministic CBOR item: {0}")]
    Encode(#[from] p2panda::EncodeError),
    /// Asked before `open`.
    #[error("the node is not open")]
    NotOpen,
    /// Asked to open twice.
    #[error("the node is open already")]
    Open,
    /// Asked before `subscribe`.
    #[error("not subscribed to this topic")]
    NotSubscribed,
    /// No message of this offset waits for its ack.
    #[error("no message with this offset waits for an ack")]
    NotWaiting,
    /// Asked before `space_create` or `space_follow`.
    #[error("this node follows no space in this topic")]
    NoSpace,
    /// There is no receipt for nothing.
    #[error("nothing was published to this topic")]
    NothingPublished,
    /// It took longer than asked for.
    #[error("not reached in time")]
    Timeout,
    /// The node refused.
    #[error(transparent)]
    Node(#[from] p2panda::Error),
}
