//! Writes a database again, so that its file is as small as its content
//! (`docs/protocol/streams.md#5`).

use std::fs::{self, File};
use std::path::Path;

use crate::database::connection::companions;
use crate::database::error::{StoreError, StoreErrorKind};
use crate::database::writer::Database;
use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::names::{DATABASE, UNFINISHED};
use crate::directory::{lock, private};
use crate::error::ErrorOf;

/// Result of [`compact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Bytes of the database before.
    pub before_bytes: u64,
    /// Bytes of the database now.
    pub after_bytes: u64,
}

/// Writes the database of a directory again: without free pages and without remains of what was
/// deleted. From then on its pages are given back when they become free, also if an earlier version
/// made it.
///
/// The new file is written next to the old one and then takes its place, so the file system needs
/// free space for it, and a crash leaves the old one. Blocks until it is done.
///
/// # Errors
///
/// The directory has no database ([`OpenErrorKind::Io`]), is in use
/// ([`OpenErrorKind::Locked`]), or there is not enough space ([`OpenErrorKind::NoSpace`]). In all
/// cases nothing is changed.
pub fn compact(dir: &Path) -> Result<Compacted, OpenError> {
    let path = dir.join(DATABASE);
    fs::metadata(&path).map_err(OpenError::io(&path))?;
    let _lock = lock::acquire(dir)?;
    let unfinished = dir.join(UNFINISHED);
    remove(&unfinished)?;
    let mut database = Database::load(&path).map_err(OpenError::of_database(dir))?;
    database.checkpoint()?;
    let before_bytes = bytes_of(&path)?;
    if let Err(error) = write_anew(&database, dir, &unfinished) {
        remove(&unfinished)?;
        return Err(error);
    }
    database.leave()?;
    // Nothing of the old file may be applied to the new one.
    for companion in companions(&path) {
        remove(&companion)?;
    }
    fs::rename(&unfinished, &path).map_err(OpenError::io(&path))?;
    sync_dir(dir)?;
    let after_bytes = bytes_of(&path)?;
    Ok(Compacted {
        before_bytes,
        after_bytes,
    })
}

/// Removes what a compaction left that was killed.
pub(crate) fn remove_unfinished(dir: &Path) -> Result<(), OpenError> {
    remove(&dir.join(UNFINISHED))
}

fn write_anew(database: &Database, dir: &Path, unfinished: &Path) -> Result<(), OpenError> {
    let file = private::create_new(unfinished).map_err(OpenError::io(unfinished))?;
    let bytes = database.content_bytes()?;
    let written = database.write_anew(unfinished);
    written.map_err(|error| no_space(error, dir, bytes))?;
    file.sync_all().map_err(OpenError::io(unfinished))
}

fn no_space(error: StoreError, dir: &Path, bytes: u64) -> OpenError {
    match error.kind() {
        StoreErrorKind::Full => ErrorOf::new(OpenErrorKind::NoSpace {
            dir: dir.to_path_buf(),
            bytes,
        }),
        _ => error.into(),
    }
}

fn bytes_of(path: &Path) -> Result<u64, OpenError> {
    let file = fs::metadata(path).map_err(OpenError::io(path))?;
    Ok(file.len())
}

fn remove(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(OpenError::io(path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes a rename durable where directories can be synced.
fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    if cfg!(unix) {
        let file = File::open(dir).map_err(OpenError::io(dir))?;
        file.sync_all().map_err(OpenError::io(dir))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_said_with_the_space_that_is_needed() {
        let full = ErrorOf::new(StoreErrorKind::Full);
        let text = no_space(full, Path::new("/home/panda"), 5 << 20).to_string();
        assert_eq!(
            text,
            "compacting needs about 5 MiB of free space in /home/panda"
        );
    }
}
