//! Check that the files of a database are still where they were opened
//! (`docs/protocol/streams.md#18`).
//!
//! A file that was deleted while it is open takes writes for as long as it is open, and then they
//! are gone. A look costs one system call as long as nothing in the directory was made or removed.

use std::fs::{self, Metadata};
use std::io;
use std::path::{self, Path, PathBuf};
use std::time::{Instant, SystemTime};

use p2panda_core::limits::{DIRECTORY_SETTLED_AFTER, DIRECTORY_UNSETTLED_LOOK};

use crate::database::error::{StoreError, StoreErrorKind};
use crate::error::ErrorOf;

/// Files of one directory that must stay.
#[derive(Default)]
pub(crate) struct Presence {
    dir: PathBuf,
    files: Vec<(PathBuf, FileId)>,
    /// The directory as it was when all of them were found there.
    seen: Option<Seen>,
    /// The same, where it had changed shortly before, and when that was seen.
    unsettled: Option<(Seen, Instant)>,
}

/// Identity of a file, which tells it from any other that takes its name. `None` where files have
/// no numbers.
type FileId = Option<(u64, u64)>;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    dir: FileId,
    changed: SystemTime,
}

impl Presence {
    /// From now on this file must stay. All of them are in one directory. The process may change its
    /// own working directory.
    pub(crate) fn require(&mut self, path: &Path) -> io::Result<()> {
        let path = path::absolute(path)?;
        let id = id_of(&fs::metadata(&path)?);
        if let Some(dir) = path.parent() {
            self.dir = dir.to_path_buf();
        }
        self.files.push((path, id));
        (self.seen, self.unsettled) = (None, None);
        Ok(())
    }

    /// Fails if one of them is there no longer, or another file has its name.
    pub(crate) fn check(&mut self) -> Result<(), StoreError> {
        if self.files.is_empty() {
            return Ok(());
        }
        let dir = fs::metadata(&self.dir).map_err(|error| missing(&self.dir, error))?;
        let seen = dir.modified().ok().map(|changed| Seen {
            dir: id_of(&dir),
            changed,
        });
        if seen.is_some() && seen == self.seen {
            return Ok(());
        }
        // To look at a file that is written makes Linux write its times as well with every sync.
        let lately = |(_, at): &(Seen, Instant)| at.elapsed() < DIRECTORY_UNSETTLED_LOOK;
        let unsettled = self
            .unsettled
            .filter(lately)
            .map(|(unsettled, _)| unsettled);
        if seen.is_some() && seen == unsettled {
            return Ok(());
        }
        for (path, id) in &self.files {
            let found = fs::metadata(path).map_err(|error| missing(path, error))?;
            if id_of(&found) != *id {
                return Err(missing(path, io::ErrorKind::NotFound.into()));
            }
        }
        // A change at the same tick of the clock would look like the one before.
        self.unsettled = seen.map(|seen| (seen, Instant::now()));
        self.seen = seen.filter(|seen| {
            let age = SystemTime::now().duration_since(seen.changed);
            age.is_ok_and(|age| age > DIRECTORY_SETTLED_AFTER)
        });
        Ok(())
    }
}

#[cfg(unix)]
fn id_of(file: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    Some((file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn id_of(_file: &Metadata) -> FileId {
    None
}

fn missing(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            let path = path.display();
            ErrorOf::caused_by(StoreErrorKind::Gone, format!("{path} was removed"))
        }
        _ => ErrorOf::caused_by(StoreErrorKind::of_io(&error), error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn required(dir: &Path) -> Presence {
        let path = dir.join("file");
        fs::write(&path, "").unwrap();
        let mut presence = Presence::default();
        presence.require(&path).unwrap();
        presence
    }

    fn kind(presence: &mut Presence) -> Option<StoreErrorKind> {
        presence.check().err().map(|error| *error.kind())
    }

    #[test]
    fn a_removed_file_is_missed_even_if_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let mut presence = required(temp.path());
        assert_eq!(kind(&mut presence), None);
        fs::write(temp.path().join("other"), "").unwrap();
        assert_eq!(kind(&mut presence), None);
        fs::remove_file(temp.path().join("file")).unwrap();
        // On a file system with steps of time it may look the same for a moment.
        while kind(&mut presence).is_none() {
            std::thread::yield_now();
        }
        assert_eq!(kind(&mut presence), Some(StoreErrorKind::Gone));
        if cfg!(unix) {
            fs::rename(temp.path().join("other"), temp.path().join("file")).unwrap();
            assert_eq!(kind(&mut presence), Some(StoreErrorKind::Gone));
        }
    }

    #[test]
    fn a_relative_path_keeps_its_meaning() {
        let mut presence = Presence::default();
        presence.require(Path::new("Cargo.toml")).unwrap();
        assert!(presence.files.iter().all(|(path, _)| path.is_absolute()));
        assert_eq!(kind(&mut presence), None);
    }

    #[test]
    fn a_directory_that_was_removed_is_missed_once_it_had_settled() {
        let temp = tempfile::tempdir().unwrap();
        let mut presence = required(temp.path());
        let long_ago = SystemTime::now() - 2 * DIRECTORY_SETTLED_AFTER;
        let dir = fs::File::open(temp.path()).unwrap();
        dir.set_modified(long_ago).unwrap();
        assert_eq!(kind(&mut presence), None);
        assert!(presence.seen.is_some());
        assert_eq!(kind(&mut presence), None);
        temp.close().unwrap();
        assert_eq!(kind(&mut presence), Some(StoreErrorKind::Gone));
    }
}
