//! Return of deleted data to the file system, so that the files cannot show it any more
//! (`docs/protocol/streams.md#5`).
//!
//! SQLite overwrites a deleted row in its page, but neither the pages that become free nor what the
//! write-ahead log holds of both. Free pages are taken out of the file in steps, then the
//! write-ahead log is emptied.

use std::time::Duration;

use p2panda_core::limits::WRITER_BUSY_WAIT;
use rusqlite::Connection;

use crate::database::error::StoreError;
use crate::database::sql::unsigned;
use crate::database::tx::Tx;
use crate::database::writer::Database;

impl Database {
    /// Returns `true` if the files may hold what was deleted before they were opened.
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
    /// Gives at most that many free pages back to the file system; whether there are more.
    pub fn give_back(&mut self, pages_max: u32) -> Result<bool, StoreError> {
        if !self.database().gives_back || free_pages(&self.database().connection)? == 0 {
            return Ok(false);
        }
        // It returns a row for each page, and stops where nobody asks for the next.
        let sql = format!("PRAGMA incremental_vacuum({pages_max})");
        let mut statement = self.cached(&sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(free_pages(&self.database().connection)? > 0)
    }
}

fn free_pages(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("PRAGMA freelist_count")?
        .query_row([], |row| unsigned(row, 0))
}
