//! Errors, by kind.

use std::sync::Arc;

use p2panda_core::LogNameError;
use p2panda_engine::{ConfirmError, Corrupt, FileError, PublishError, SpaceError, StorageWait};
use p2panda_net::{EphemeralError, SpawnError};
use p2panda_store::{OpenError, OpenErrorKind, StoreError, StoreErrorKind, ViewError};

use crate::body::EncodeError;
use crate::consumer_error::ConsumerError;
use crate::not_kept::Refusers;
use crate::recovery::RecoveryError;

/// Reason why a call failed. [`Error::kind`] is stable, also across releases and in the exit codes
/// of the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A message was not published; nothing of it is stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A message cannot be written as CBOR.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The store cannot be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The network cannot be started.
    #[error(transparent)]
    Network(#[from] SpawnError),
    /// An ephemeral message was not sent.
    #[error(transparent)]
    Ephemeral(#[from] EphemeralError),
    /// Something about a named consumer was refused.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// Something about a space was refused.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// A link with another device ended, or could not be confirmed.
    #[error(transparent)]
    DeviceLink(#[from] ConfirmError),
    /// A recovery file was not written, or cannot be used.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The ticket is into a topic, or its invite cannot be read.
    #[error("the ticket contains no invite to a space")]
    NoInvite,
    /// The ticket is of another network than this node.
    #[error("the ticket is for another network than that of this node")]
    OtherNetwork,
    /// Something is no name of a log.
    #[error(transparent)]
    LogName(#[from] LogNameError),
    /// Peers are asked for receipts of
    /// [`LINK_RECEIPT_LOGS_MAX`](p2panda_core::limits::LINK_RECEIPT_LOGS_MAX) logs with a name in a topic, as
    /// long as it is open.
    #[error("receipts are requested in too many logs of the topic")]
    ReceiptLogs,
    /// In a space with a key of its own no peer is asked whether it has stored a message: it would learn whose key
    /// that is.
    #[error("peers are asked for no receipts in a space with a key of its own")]
    OwnKey,
    /// Too few peers are left that could store a message: the quotas of these peers exclude it. They take it by
    /// themselves when they have room.
    #[error("{0}")]
    NotKept(Refusers),
    /// A temporary directory cannot be made.
    #[error("no temporary directory can be created: {0}")]
    Temporary(#[source] std::io::Error),
    /// The operating system gives no randomness.
    #[error("the operating system provides no random bytes")]
    Random,
    /// A builder that was told neither a directory nor to be temporary.
    #[error("no data directory: call data_dir(..) or temporary()")]
    NoDirectory,
    /// The node's storage failed for good, or its own state broke; it stopped so as not to make it
    /// worse.
    #[error("the node stopped: {0}")]
    Corrupt(#[source] Arc<Corrupt>),
    /// A view was asked for what it cannot do; nothing was changed.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The topic was left; open it again to go on.
    #[error("the topic was left")]
    Left,
    /// The node is shut down.
    #[error("the node is shut down")]
    Closed,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another process has the directory open.
    Locked,
    /// The directory is an older copy, or a copy of it is in use as well; one of the two ways on must be
    /// chosen.
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
    /// Another process keeps the database locked.
    Busy,
    /// There is no room on the disk.
    Full,
    /// The files were removed under the running node.
    Gone,
    /// The file system cannot be written.
    ReadOnly,
    /// The permissions of a file or directory are in the way.
    Denied,
    /// The process, or the system, has too many files open.
    TooManyFiles,
    /// The path of the directory is too long.
    PathTooLong,
    /// There is a database, and its key file is lost.
    KeyMissing,
    /// Something else opens what is sealed in the directory: [`AtRest`](crate::AtRest).
    Sealed,
    /// A newer version of this software wrote the directory.
    Newer,
    /// The directory of the fork guard's files cannot be used.
    StateDir,
    /// Not possible yet; try again later, without changes on this node.
    NotYet,
    /// Something that should not happen, and is no damage: to be reported.
    Unexpected,
}

impl Error {
    /// The kind of this error; stable.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Open(error) => of_directory(error.kind()),
            Error::Publish(
                PublishError::Restored | PublishError::PullingOwnLog | PublishError::OwnFork { .. },
            ) => ErrorKind::Restored,
            Error::Publish(PublishError::Storage(wait)) => of_wait(*wait),
            Error::Publish(
                PublishError::EmptyBody
                | PublishError::KeyTaken { .. }
                | PublishError::UnknownParent { .. },
            ) => ErrorKind::Invalid,
            Error::Publish(PublishError::Unhealed | PublishError::Held) => ErrorKind::NotYet,
            Error::Publish(PublishError::Sealed) | Error::Space(_) => ErrorKind::Invalid,
            Error::Publish(_) | Error::Ephemeral(_) => ErrorKind::Limit,
            Error::Consumer(ConsumerError::Limit(_)) => ErrorKind::Limit,
            Error::Consumer(ConsumerError::Damaged) => ErrorKind::Corrupt,
            Error::Consumer(ConsumerError::Deleted | ConsumerError::TakenOver) => ErrorKind::Closed,
            Error::Consumer(_) => ErrorKind::Invalid,
            Error::Encode(_) | Error::NoDirectory => ErrorKind::Invalid,
            Error::ReceiptLogs => ErrorKind::Limit,
            Error::NotKept(_) => ErrorKind::NotYet,
            Error::NoInvite | Error::OtherNetwork | Error::DeviceLink(_) | Error::OwnKey => {
                ErrorKind::Invalid
            }
            Error::LogName(LogNameError::TooLong { .. }) => ErrorKind::Limit,
            Error::LogName(_) => ErrorKind::Invalid,
            Error::Store(error) => of_database(*error.kind()),
            Error::Corrupt(error) => match &**error {
                Corrupt::Store(error) => of_database(*error.kind()),
                Corrupt::GivenUp(wait) => of_wait(*wait),
                _ => ErrorKind::Unexpected,
            },
            Error::View(ViewError::Limit | ViewError::TooLong) => ErrorKind::Limit,
            Error::View(_) => ErrorKind::Invalid,
            Error::Network(_) => ErrorKind::Network,
            Error::Recovery(error) => of_recovery(error),
            Error::Temporary(error) => Error::kind_of_io(error),
            Error::Random => ErrorKind::Io,
            Error::Closed | Error::Left => ErrorKind::Closed,
        }
    }

    /// The kind that an error of the operating system has.
    pub fn kind_of_io(error: &std::io::Error) -> ErrorKind {
        of_database(StoreErrorKind::of_io(error))
    }

    /// Returns `true` if the same call may succeed later: another process ends, or somebody makes
    /// room.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Publish(error) => error.is_retryable(),
            Error::Space(error) => error.is_retryable(),
            Error::Open(error) => error.is_retryable(),
            Error::Store(error) => error.is_retryable(),
            // Only another start brings it back.
            Error::Corrupt(_) => false,
            Error::NotKept(_) => true,
            error => matches!(error.kind(), ErrorKind::Locked | ErrorKind::Network),
        }
    }
}

fn of_directory(kind: &OpenErrorKind) -> ErrorKind {
    match kind {
        OpenErrorKind::Locked { .. } => ErrorKind::Locked,
        OpenErrorKind::Random => ErrorKind::Io,
        OpenErrorKind::NoSpace { .. } => ErrorKind::Full,
        OpenErrorKind::KeyDamaged { .. } | OpenErrorKind::SealedDamaged { .. } => {
            ErrorKind::Corrupt
        }
        OpenErrorKind::KeyMissing { .. } => ErrorKind::KeyMissing,
        OpenErrorKind::SecretMissing { .. }
        | OpenErrorKind::SealedElsewhere { .. }
        | OpenErrorKind::WrongPassphrase { .. }
        | OpenErrorKind::Keychain { .. } => ErrorKind::Sealed,
        OpenErrorKind::Newer { .. } => ErrorKind::Newer,
        OpenErrorKind::Older { .. } | OpenErrorKind::NotClosed { .. } => ErrorKind::ReadOnly,
        OpenErrorKind::StateDir { .. } => ErrorKind::StateDir,
        OpenErrorKind::Io { kind, .. } | OpenErrorKind::Database(kind) => of_database(*kind),
        _ => ErrorKind::Invalid,
    }
}

fn of_recovery(error: &RecoveryError) -> ErrorKind {
    match error {
        RecoveryError::File(FileError::Newer { .. })
        | RecoveryError::Content(p2panda_engine::RecoveryError::Newer) => ErrorKind::Newer,
        RecoveryError::File(FileError::TooLong | FileError::TooCostly) => ErrorKind::Limit,
        RecoveryError::Io { source, .. } => Error::kind_of_io(source),
        _ => ErrorKind::Invalid,
    }
}

/// Only damage is called damage.
fn of_database(kind: StoreErrorKind) -> ErrorKind {
    match kind {
        StoreErrorKind::Busy => ErrorKind::Busy,
        StoreErrorKind::Full => ErrorKind::Full,
        StoreErrorKind::Io => ErrorKind::Io,
        StoreErrorKind::Gone => ErrorKind::Gone,
        StoreErrorKind::ReadOnly => ErrorKind::ReadOnly,
        StoreErrorKind::Denied => ErrorKind::Denied,
        StoreErrorKind::TooManyFiles => ErrorKind::TooManyFiles,
        StoreErrorKind::PathTooLong => ErrorKind::PathTooLong,
        StoreErrorKind::Newer { .. } => ErrorKind::Newer,
        StoreErrorKind::Damaged => ErrorKind::Corrupt,
        _ => ErrorKind::Unexpected,
    }
}

fn of_wait(wait: StorageWait) -> ErrorKind {
    match wait {
        StorageWait::Full => ErrorKind::Full,
        _ => ErrorKind::Busy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_is_called_damage() {
        let kinds = [
            (StoreErrorKind::Busy, ErrorKind::Busy),
            (StoreErrorKind::Full, ErrorKind::Full),
            (StoreErrorKind::Gone, ErrorKind::Gone),
            (StoreErrorKind::Io, ErrorKind::Io),
            (StoreErrorKind::Damaged, ErrorKind::Corrupt),
            (StoreErrorKind::ReadOnly, ErrorKind::ReadOnly),
            (StoreErrorKind::Denied, ErrorKind::Denied),
            (StoreErrorKind::TooManyFiles, ErrorKind::TooManyFiles),
            (StoreErrorKind::PathTooLong, ErrorKind::PathTooLong),
            (StoreErrorKind::Failed, ErrorKind::Unexpected),
        ];
        for (of, kind) in kinds {
            assert_eq!(of_database(of), kind);
            assert_eq!(of_directory(&OpenErrorKind::Database(of)), kind);
        }
    }
}
