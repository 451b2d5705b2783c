//! What was deleted is given back to the file system and cannot be read in the files any more
//! (`docs/protocol/streams.md#5`).
//!
//! SQLite overwrites a deleted row in its page, but neither the pages that become free nor what the
//! write-ahead log holds of both. Free pages are taken out of the file in steps, then the
//! write-ahead log is emptied.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2panda_core::limits::WRITER_BUSY_WAIT;
use rusqlite::Connection;

use crate::database::sql::unsigned;
use crate::database::tx::Tx;
use crate::directory::store::Store;
use crate::error::StoreError;

/// `PRAGMA auto_vacuum` of a file that gives pages back when it is told to.
const INCREMENTAL: u32 = 2;

/// Prepares a connection that deletes. `auto_vacuum` has an effect on a new file only, and only
/// before anything else is written to it.
pub(crate) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", INCREMENTAL)?;
    Ok(())
}

/// Sets how pages are overwritten; whether the file gives free pages back.
///
/// A file that does keeps none for long, so that those of deleted rows need not be overwritten.
/// In one that does not (written by an earlier version) they are.
pub(crate) fn overwrite_deleted(connection: &Connection) -> rusqlite::Result<bool> {
    let mode: u32 = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get(0))?;
    let gives_back = mode == INCREMENTAL;
    let secure = if gives_back { "FAST" } else { "ON" };
    connection.query_row(&format!("PRAGMA secure_delete = {secure}"), [], |_| Ok(()))?;
    Ok(gives_back)
}

/// The write-ahead log of a database.
pub(crate) fn journal(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

/// Whether a write-ahead log was left behind, by a crash.
pub(crate) fn has_journal(path: &Path) -> bool {
    fs::metadata(journal(path)).is_ok_and(|file| file.len() > 0)
}

impl Store {
    /// Whether the files may hold what was deleted before they were opened.
    pub fn has_remains(&self) -> Result<bool, StoreError> {
        Ok(self.found_journal || (self.gives_back && free_pages(&self.connection)? > 0))
    }

    /// Empties the write-ahead log if no reader is in the way; whether it did.
    pub fn try_checkpoint(&mut self) -> Result<bool, StoreError> {
        self.connection.busy_timeout(Duration::ZERO)?;
        let blocked = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(WRITER_BUSY_WAIT)?;
        let blocked: bool = blocked?;
        Ok(!blocked)
    }
}

impl Tx<'_> {
    /// Gives at most so many free pages back to the file system; whether there are more.
    pub fn give_back(&mut self, pages_max: u32) -> Result<bool, StoreError> {
        if !self.store().gives_back || free_pages(&self.store().connection)? == 0 {
            return Ok(false);
        }
        // It returns a row for each page, and stops where nobody asks for the next.
        let sql = format!("PRAGMA incremental_vacuum({pages_max})");
        let mut statement = self.cached(&sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(free_pages(&self.store().connection)? > 0)
    }
}

fn free_pages(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("PRAGMA freelist_count")?
        .query_row([], |row| unsigned(row, 0))
}
