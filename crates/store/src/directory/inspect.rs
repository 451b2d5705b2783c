//! Reading a directory without opening it: nothing is locked, and nothing is written where that is not
//! possible.

use std::fs;
use std::path::Path;

use crate::database::connection::journal_bytes;
use crate::database::error::StoreErrorKind;
use crate::database::reader::Readers;
use crate::database::schema;
use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::names::DATABASE;
use crate::error::ErrorOf;

/// Opens the database of a directory for reading, whether or not somebody has it open.
///
/// The key and the lock are not touched. Where the directory can be written, SQLite may leave files
/// of its own next to the database, which the next open takes away. On read-only media nothing is
/// written.
///
/// # Errors
///
/// There is no database ([`OpenErrorKind::Io`]); it is of another version ([`OpenErrorKind::Newer`],
/// [`OpenErrorKind::Older`]); or it cannot be read, for instance since it lies on read-only media and was
/// not closed cleanly before ([`OpenErrorKind::NotClosed`]).
pub fn inspect(dir: &Path) -> Result<Readers, OpenError> {
    let path = dir.join(DATABASE);
    fs::metadata(&path).map_err(OpenError::io(&path))?;
    let readers = Readers::new(path.clone());
    let opened = readers.open().and_then(|reader| reader.schema());
    let (readers, found) = match opened {
        Ok(found) => (readers, found),
        // SQLite wants to write next to it, or at least to look whether somebody does.
        Err(error) if is_in_the_way(error.kind()) => {
            if journal_bytes(&path) > 0 {
                let dir = dir.to_path_buf();
                return Err(error.map(|_| OpenErrorKind::NotClosed { dir }));
            }
            let frozen = readers.frozen();
            let found = frozen.open().and_then(|reader| reader.schema());
            (frozen, found.map_err(OpenError::of_database(dir))?)
        }
        Err(error) => return Err(OpenError::of_database(dir)(error)),
    };
    let (dir, known) = (dir.to_path_buf(), schema::known());
    match found.cmp(&known) {
        std::cmp::Ordering::Equal => Ok(readers),
        std::cmp::Ordering::Greater => {
            Err(ErrorOf::new(OpenErrorKind::Newer { dir, found, known }))
        }
        std::cmp::Ordering::Less => Err(ErrorOf::new(OpenErrorKind::Older { dir })),
    }
}

fn is_in_the_way(kind: &StoreErrorKind) -> bool {
    matches!(
        kind,
        StoreErrorKind::ReadOnly | StoreErrorKind::Denied | StoreErrorKind::Io
    )
}
