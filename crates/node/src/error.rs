//! What can go wrong, by kind.

use std::sync::Arc;

use crate::body::EncodeError;

/// Why a call failed. [`Error::kind`] is stable, also across releases and in the exit codes of the
/// command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] p2panda_store::OpenError),
    /// A message was not published; nothing of it is stored.
    #[error(transparent)]
    Publish(#[from] p2panda_engine::PublishError),
    /// A message cannot be written as CBOR.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] p2panda_store::StoreError),
    /// The network cannot be started.
    #[error(transparent)]
    Network(#[from] p2panda_net::SpawnError),
    /// An ephemeral message was not sent.
    #[error(transparent)]
    Ephemeral(#[from] p2panda_net::EphemeralError),
    /// A temporary directory cannot be made.
    #[error("no temporary directory can be made: {0}")]
    Temporary(#[source] std::io::Error),
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes")]
    Random,
    /// A builder that was told neither a directory nor to be temporary.
    #[error("no data directory: call data_dir(..) or temporary()")]
    NoDirectory,
    /// The node's own state broke; it stopped so as not to make it worse.
    #[error("the node stopped: {0}")]
    Corrupt(#[source] Arc<p2panda_engine::Corrupt>),
    /// The node is shut down, or the topic was left.
    #[error("the node is shut down")]
    Closed,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process has the directory open.
    Locked,
    /// The directory is an older copy; one of the two ways on must be chosen.
    Restored,
    /// The input is wrong.
    Invalid,
    /// A bound was reached.
    Limit,
    /// Stored state is damaged.
    Corrupt,
    /// The node is shut down.
    Closed,
    /// The operating system refused: disk, permissions, randomness.
    Io,
    /// The network could not be used.
    Network,
}

impl Error {
    /// The kind of this error; stable.
    pub fn kind(&self) -> ErrorKind {
        use p2panda_engine::PublishError;
        use p2panda_store::OpenError;
        match self {
            Error::Open(OpenError::Locked { .. }) => ErrorKind::Locked,
            Error::Open(OpenError::Io { .. } | OpenError::NoSpace { .. } | OpenError::Random) => {
                ErrorKind::Io
            }
            Error::Open(OpenError::Database(_) | OpenError::KeyDamaged { .. }) => {
                ErrorKind::Corrupt
            }
            Error::Open(_) => ErrorKind::Invalid,
            Error::Publish(PublishError::Restored | PublishError::PullingOwnLog) => {
                ErrorKind::Restored
            }
            Error::Publish(PublishError::EmptyBody | PublishError::OwnFork) => ErrorKind::Invalid,
            Error::Publish(_) | Error::Ephemeral(_) => ErrorKind::Limit,
            Error::Encode(_) | Error::NoDirectory => ErrorKind::Invalid,
            Error::Store(_) | Error::Corrupt(_) => ErrorKind::Corrupt,
            Error::Network(_) => ErrorKind::Network,
            Error::Temporary(_) | Error::Random => ErrorKind::Io,
            Error::Closed => ErrorKind::Closed,
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Publish(error) => error.is_retryable(),
            error => matches!(error.kind(), ErrorKind::Locked | ErrorKind::Network),
        }
    }
}
