//! Errors of the network.

use thiserror::Error;

/// Reason why a network did not start.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// A socket could not be bound: the address is not ours, or the port is taken.
    #[error("the address to listen on cannot be used")]
    Bind,
    /// A relay is not a URL.
    #[error("the address of a relay is not a URL")]
    RelayUrl,
    /// The system has no random numbers.
    #[error("the operating system provides no random numbers")]
    Random,
}

/// Reason why an ephemeral message was not published.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EphemeralError {
    /// It would not fit a gossip message, and every node would drop it.
    #[error("a body of {len} bytes does not fit a gossip message of {max} bytes")]
    TooLarge {
        /// Bytes of the body.
        len: usize,
        /// The most that arrives, author, time and signature included.
        max: usize,
    },
    /// The body is not exactly one item of canonical CBOR.
    #[error("the body is not one canonical CBOR item")]
    Body,
    /// The network was shut down.
    #[error("the network was shut down")]
    Closed,
}
