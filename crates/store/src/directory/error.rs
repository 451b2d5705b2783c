//! Reasons why a data directory cannot be opened.

use std::path::{Path, PathBuf};

use crate::database::error::{StoreError, StoreErrorKind};
use crate::directory::holder::Holder;
use crate::error::ErrorOf;

/// A directory could not be opened, compacted or followed.
pub type OpenError = ErrorOf<OpenErrorKind>;

/// The kinds of [`OpenError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// Another process has it open.
    #[error("{} is in use by {holder}", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Process id and command name of the other process.
        holder: Holder,
    },
    /// A newer version of this software wrote it.
    #[error("{} was written by a newer version (schema {found}, this one knows {known})",
        dir.display())]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Schema version found.
        found: u32,
        /// Highest schema version known here.
        known: u32,
    },
    /// An older version wrote it, and it is to be read only: anyone who opens it brings it up to
    /// date.
    #[error("{} was written by an older version: open it once with write access",
        dir.display())]
    Older {
        /// The directory.
        dir: PathBuf,
    },
    /// It lies on read-only media, and the process that had it open was killed.
    #[error(
        "{} was not closed cleanly, and cannot be repaired on a read-only file system",
        dir.display()
    )]
    NotClosed {
        /// The directory.
        dir: PathBuf,
    },
    /// Key file and database do not come from the same copy of the directory
    /// (`docs/protocol/streams.md#16`).
    #[error("node.key and p2panda.sqlite in {} are not from the same copy: restore both together",
        dir.display())]
    Mixed {
        /// The directory.
        dir: PathBuf,
    },
    /// The database belongs to a node, yet the key file is gone.
    #[error("{} has a database but no node.key", dir.display())]
    KeyMissing {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to another signing key than the given one.
    #[error("{} belongs to another signing key", dir.display())]
    OtherKey {
        /// The directory.
        dir: PathBuf,
    },
    /// The caller keeps the key, but the directory has a key file.
    #[error("{} contains a node.key, although its key is kept elsewhere", dir.display())]
    KeyTwice {
        /// The directory.
        dir: PathBuf,
    },
    /// The caller keeps the key, so the directory cannot get a new one.
    #[error(
        "the key of {} is kept elsewhere, so a new identity needs a new key there",
        dir.display()
    )]
    KeyElsewhere {
        /// The directory.
        dir: PathBuf,
    },
    /// The key file cannot be understood.
    #[error("{} is damaged", path.display())]
    KeyDamaged {
        /// The key file.
        path: PathBuf,
    },
    /// The file with the secret that opens the sealed rows is gone (`docs/protocol/at-rest.md#2`).
    #[error("{} opens the sealed rows of the database, but does not exist", path.display())]
    SecretMissing {
        /// The file.
        path: PathBuf,
    },
    /// The sealed rows need another secret than the given one.
    #[error("the sealed rows in {} are opened by {by}", dir.display())]
    SealedElsewhere {
        /// The directory.
        dir: PathBuf,
        /// Source of that secret.
        by: &'static str,
    },
    /// The sealed rows do not open: they are damaged, or the secret is wrong.
    #[error("the sealed rows in {} do not open", dir.display())]
    SealedDamaged {
        /// The directory.
        dir: PathBuf,
    },
    /// The sealed rows need another passphrase (`docs/protocol/at-rest.md#2`).
    #[error("the passphrase does not open what is sealed in {}", dir.display())]
    WrongPassphrase {
        /// The directory.
        dir: PathBuf,
    },
    /// The keychain does not give the secret that opens what is sealed in the database.
    #[error("the keychain does not give the secret of the sealed rows: {why}")]
    Keychain {
        /// Error in the words of the keychain.
        why: String,
    },
    /// There is not enough memory to try a passphrase.
    #[error("not enough memory: trying a passphrase takes 64 MiB")]
    NoMemory,
    /// A file or directory could not be read or written; the cause is a [`std::io::Error`].
    #[error("{}", path.display())]
    Io {
        /// The accessed path.
        path: PathBuf,
        /// The cause.
        kind: StoreErrorKind,
    },
    /// The guard file cannot be read or written; the cause is a [`std::io::Error`].
    #[error("the state directory {} cannot be used", dir.display())]
    StateDir {
        /// The directory of guard files, outside of the data directory.
        dir: PathBuf,
        /// The cause.
        kind: StoreErrorKind,
    },
    /// The database could not be opened.
    #[error("the database cannot be opened")]
    Database(StoreErrorKind),
    /// There is no room for a compacted database next to the present one.
    #[error("compacting needs about {} MiB of free space in {}", bytes.div_ceil(1024 * 1024),
        dir.display())]
    NoSpace {
        /// The directory.
        dir: PathBuf,
        /// Bytes that are needed, at most.
        bytes: u64,
    },
    /// The system's random generator failed.
    #[error("the operating system provides no random bytes")]
    Random,
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> OpenError {
        error.map(OpenErrorKind::Database)
    }
}

impl ErrorOf<OpenErrorKind> {
    /// Returns `true` if the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            OpenErrorKind::Locked { .. } | OpenErrorKind::NoSpace { .. } => true,
            OpenErrorKind::Database(kind)
            | OpenErrorKind::Io { kind, .. }
            | OpenErrorKind::StateDir { kind, .. } => {
                matches!(kind, StoreErrorKind::Busy | StoreErrorKind::Full)
            }
            _ => false,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
        let path = path.to_path_buf();
        move |source| {
            let kind = StoreErrorKind::of_io(&source);
            ErrorOf::caused_by(OpenErrorKind::Io { path, kind }, source)
        }
    }

    /// The same for a guard file.
    pub(crate) fn state(guard_file: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
        let dir = guard_file.parent().unwrap_or(guard_file).to_path_buf();
        move |source| {
            let kind = StoreErrorKind::of_io(&source);
            ErrorOf::caused_by(OpenErrorKind::StateDir { dir, kind }, source)
        }
    }

    /// Converts an error of the database on opening.
    pub(crate) fn of_database(dir: &Path) -> impl FnOnce(StoreError) -> OpenError {
        let dir = dir.to_path_buf();
        move |error| {
            error.map(|kind| match kind {
                StoreErrorKind::Newer { found, known } => {
                    OpenErrorKind::Newer { dir, found, known }
                }
                kind => OpenErrorKind::Database(kind),
            })
        }
    }
}
