//! Syncs commits that were made without (`docs/protocol/link.md#10`).

use std::fs::OpenOptions;
use std::path::PathBuf;

use crate::database::connection;
use crate::database::error::{StoreError, StoreErrorKind};
use crate::database::writer::Database;
use crate::error::ErrorOf;

/// Syncs what is committed, next to the writer: on any thread, and without waiting for it.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// Afterwards everything that was committed before survives a power cut.
    ///
    /// Commits are in the write-ahead log. What a checkpoint has moved into the database before was
    /// synced by the checkpoint. The file is closed again, which SQLite does not mind: it has no locks
    /// on the write-ahead log, only on the others.
    ///
    /// # Errors
    ///
    /// That of the file system.
    pub fn sync(&self) -> Result<(), StoreError> {
        let file = OpenOptions::new().write(true).open(&self.path);
        let synced = file.and_then(|file| file.sync_data());
        synced.map_err(|error| ErrorOf::caused_by(StoreErrorKind::of_io(&error), error))
    }
}

impl Database {
    /// Returns what syncs commits that were made without.
    pub fn journal(&self) -> Journal {
        Journal {
            path: connection::journal(self.path()),
        }
    }
}
