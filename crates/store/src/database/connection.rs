//! The writer's connection, and the files that SQLite keeps next to a database.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use p2panda_core::limits::{CHECKPOINT_WAIT, JOURNAL_BYTES_MAX, OPEN_BUSY_WAIT, WRITER_BUSY_WAIT};
use rusqlite::{Connection, OpenFlags};

use crate::database::sql::{int, keep_plans};

/// Pages in the write-ahead log after which a commit moves them into the database.
pub(crate) const AUTOCHECKPOINT_PAGES: u32 = 2_000;

/// [`AUTOCHECKPOINT_PAGES`] for a step of long work, of which each writes about 50.
pub(crate) const STEP_CHECKPOINT_PAGES: u32 = 400;

/// `PRAGMA auto_vacuum` of a file that gives pages back when it is told to.
const INCREMENTAL: u32 = 2;

/// Prepares a connection that deletes. `auto_vacuum` has an effect on a new file only, and only
/// before anything else is written to it.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
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

/// Opens the database in a file for writing, creates it if it is not there.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(OPEN_BUSY_WAIT)?;
    prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", AUTOCHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", int(JOURNAL_BYTES_MAX))?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Prepares the connection of the views, of which each transaction is a step of long work. Foreign keys
/// are what the application declares, and are not enforced.
pub(crate) fn prepare_for_views(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WRITER_BUSY_WAIT)?;
    overwrite_deleted(connection)?;
    connection.pragma_update(None, "wal_autocheckpoint", STEP_CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", int(JOURNAL_BYTES_MAX))?;
    connection.pragma_update(None, "cache_size", -4_096)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    keep_plans(connection)
}

/// From now on anyone who waits for another writer tries again by itself.
pub(crate) fn opened(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(WRITER_BUSY_WAIT)
}

/// Moves what is in the write-ahead log into the database and empties the log. A reader that stays
/// in the way is not a failure: the next look tries again.
pub(crate) fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(CHECKPOINT_WAIT)?;
    let done = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(WRITER_BUSY_WAIT)?;
    done
}

/// The files that SQLite may keep next to a database.
pub(crate) fn companions(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|ending| beside(path, ending))
}

/// The write-ahead log of a database.
pub(crate) fn journal(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Bytes of the write-ahead log; 0 if there is none.
pub(crate) fn journal_bytes(path: &Path) -> u64 {
    fs::metadata(journal(path)).map_or(0, |file| file.len())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
