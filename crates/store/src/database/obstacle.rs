//! Reasons why SQLite could not open a database: it says only that it could not.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{self, Path};

use crate::database::error::{StoreError, StoreErrorKind};

/// The longest path that SQLite takes, in bytes, on the systems that we know.
const LONGEST_PATH_BYTES: usize = 512;

/// The longest ending of the files next to a database.
const ENDING_BYTES: usize = "-journal".len();

/// Files that a connection has open.
const FILES: usize = 4;

/// Finds out why a database could not be opened. The database itself is opened only while this
/// process has no connection to it: to close it would drop SQLite's locks.
pub(crate) fn named(error: StoreError, database: &Path, is_open: bool) -> StoreError {
    if *error.kind() != StoreErrorKind::Io {
        return error;
    }
    let found = of_path(database)
        .or_else(|| files(database).err())
        .or_else(|| (!is_open).then(|| writing(database).err()).flatten());
    error.map(|kind| found.unwrap_or(kind))
}

fn of_path(database: &Path) -> Option<StoreErrorKind> {
    let absolute = path::absolute(database).ok()?;
    let bytes = absolute.as_os_str().len() + ENDING_BYTES;
    (bytes >= LONGEST_PATH_BYTES).then_some(StoreErrorKind::PathTooLong)
}

/// Checks that as many files can be open as a connection needs.
fn files(database: &Path) -> Result<(), StoreErrorKind> {
    let dir = match database.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let open: io::Result<Vec<fs::File>> = (0..FILES).map(|_| fs::File::open(dir)).collect();
    known(open.map(drop))
}

fn writing(database: &Path) -> Result<(), StoreErrorKind> {
    let file = OpenOptions::new().read(true).write(true).open(database);
    known(file.map(drop))
}

fn known(done: io::Result<()>) -> Result<(), StoreErrorKind> {
    match done.map_err(|error| StoreErrorKind::of_io(&error)) {
        Err(StoreErrorKind::Io) => Ok(()),
        named => named,
    }
}
