//! Errors of a database.

use std::io;

use rusqlite::ErrorCode;

use crate::error::ErrorOf;

/// An error of the database. What was not committed is not stored.
pub type StoreError = ErrorOf<StoreErrorKind>;

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Another connection held the database for longer than this one waits.
    #[error("the database is in use")]
    Busy,
    /// There is no room on the disk.
    #[error("there is no room for the database")]
    Full,
    /// The operating system refused to read or write it.
    #[error("the database cannot be read or written")]
    Io,
    /// A file of the database is no longer where it was opened: what is written now would be lost.
    #[error("the database was removed while it was open")]
    Gone,
    /// The file system cannot be written.
    #[error("the file system is read-only")]
    ReadOnly,
    /// The permissions of a file or directory do not allow it.
    #[error("permission is denied")]
    Denied,
    /// The process, or the system, has too many files open.
    #[error("too many files are open")]
    TooManyFiles,
    /// The path of the directory is longer than the database can use.
    #[error("the path is too long")]
    PathTooLong,
    /// The file is not a database, or rows in it cannot be read.
    #[error("the database is damaged")]
    Damaged,
    /// A newer version of this software wrote it.
    #[error("the database was written by a newer version (schema {found}, this one knows {known})")]
    Newer {
        /// Schema version found.
        found: u32,
        /// Highest schema version known here.
        known: u32,
    },
    /// Any other error.
    #[error("the database failed")]
    Failed,
}

impl StoreErrorKind {
    /// Converts an error of the operating system. [`StoreErrorKind::Io`] where nothing more is
    /// known.
    pub fn of_io(error: &io::Error) -> StoreErrorKind {
        // EMFILE and ENFILE, which the standard library has no kind for.
        if cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24)) {
            return StoreErrorKind::TooManyFiles;
        }
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
            io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::ReadOnly,
            io::ErrorKind::PermissionDenied => StoreErrorKind::Denied,
            io::ErrorKind::InvalidFilename => StoreErrorKind::PathTooLong,
            _ => StoreErrorKind::Io,
        }
    }
}

impl ErrorOf<StoreErrorKind> {
    /// Returns `true` if the same call may succeed later: another writer ends, or somebody makes
    /// room.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind(), StoreErrorKind::Busy | StoreErrorKind::Full)
    }
}

/// Not part of the API: within this crate `?` needs it.
#[doc(hidden)]
impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        ErrorOf::caused_by(kind_of(&error), error)
    }
}

fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    // The index of the write-ahead log needs room, too.
    if let rusqlite::Error::SqliteFailure(code, _) = error
        && code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
    {
        return StoreErrorKind::Full;
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreErrorKind::Busy,
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => StoreErrorKind::Io,
        Some(ErrorCode::PermissionDenied) => StoreErrorKind::Denied,
        Some(ErrorCode::ReadOnly) => StoreErrorKind::ReadOnly,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Damaged,
        Some(_) => StoreErrorKind::Failed,
        None => match error {
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..) => StoreErrorKind::Damaged,
            _ => StoreErrorKind::Failed,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_has_a_kind_a_line_and_its_cause_behind_it() {
        for (code, kind) in [
            (rusqlite::ffi::SQLITE_BUSY, StoreErrorKind::Busy),
            (rusqlite::ffi::SQLITE_FULL, StoreErrorKind::Full),
            (rusqlite::ffi::SQLITE_IOERR_SHMSIZE, StoreErrorKind::Full),
            (rusqlite::ffi::SQLITE_IOERR, StoreErrorKind::Io),
            (rusqlite::ffi::SQLITE_CORRUPT, StoreErrorKind::Damaged),
            (rusqlite::ffi::SQLITE_MISUSE, StoreErrorKind::Failed),
        ] {
            let code = rusqlite::ffi::Error::new(code);
            let error = StoreError::from(rusqlite::Error::SqliteFailure(code, None));
            assert_eq!(*error.kind(), kind);
            let passes = [StoreErrorKind::Busy, StoreErrorKind::Full].contains(&kind);
            assert_eq!(error.is_retryable(), passes);
            assert_eq!(error.to_string().lines().count(), 1);
            let cause = error.source().map(ToString::to_string);
            let line = cause.map(|cause| format!("{kind}: {cause}"));
            assert_eq!(line, Some(error.to_string()));
        }
    }
}
