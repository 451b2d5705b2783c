//! Directories that are discarded, also when the process that made them was killed.
//!
//! A directory is marked once its lock is held. One that is marked and whose lock is free was left
//! behind: its process is gone.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use crate::directory::names::{LOCK, TEMPORARY};
use crate::directory::private;

/// Marks an open data directory: it goes as soon as nobody has it open any more.
///
/// # Errors
///
/// The error of the file system.
pub fn mark_temporary(dir: &Path) -> io::Result<()> {
    private::create_new(&dir.join(TEMPORARY)).map(drop)
}

/// Removes the marked directories in `parent` whose names begin like this, which belong to the owner
/// of `ours` and which no process has open. What cannot be removed stays for the next time.
pub fn sweep_temporary(parent: &Path, prefix: &str, ours: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_named = entry.file_name().to_string_lossy().starts_with(prefix);
        let path = entry.path();
        if is_named
            && path != ours
            && is_like(&path, ours)
            && let Err(error) = remove_left(&path)
        {
            tracing::warn!(path = %path.display(), %error, "a temporary directory was left behind");
        }
    }
}

/// Returns `true` if it is a directory, not a link to one, with the owner of ours.
fn is_like(path: &Path, ours: &Path) -> bool {
    match (fs::symlink_metadata(path), fs::symlink_metadata(ours)) {
        #[cfg(unix)]
        (Ok(found), Ok(ours)) => {
            use std::os::unix::fs::MetadataExt;
            found.is_dir() && found.uid() == ours.uid()
        }
        #[cfg(not(unix))]
        (Ok(found), Ok(_)) => found.is_dir(),
        _ => false,
    }
}

/// Removes a directory that is marked, with its lock in hand.
fn remove_left(dir: &Path) -> io::Result<()> {
    let is_marked = fs::symlink_metadata(dir.join(TEMPORARY)).is_ok_and(|mark| mark.is_file());
    if !is_marked {
        return Ok(());
    }
    let lock = OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.join(LOCK));
    match lock {
        Ok(lock) if lock.try_lock().is_ok() => fs::remove_dir_all(dir),
        // In use.
        Ok(_) => Ok(()),
        // Half removed by somebody who was killed, too.
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(dir),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Options, Store};

    #[test]
    fn only_marked_directories_that_nobody_has_open_are_swept() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let open = |name: &str| Store::open(&at(name), Options::default()).unwrap();
        let (ours, running, left) = (open("x-ours"), open("x-running"), open("x-left"));
        for name in ["x-ours", "x-running", "x-left"] {
            mark_temporary(&at(name)).unwrap();
        }
        let (unmarked, other) = (open("x-unmarked"), open("y-other"));
        mark_temporary(&at("y-other")).unwrap();
        drop((left, unmarked, other));
        fs::write(at("x-file"), "").unwrap();

        sweep_temporary(parent.path(), "x-", &at("x-ours"));
        let names = [
            "x-ours",
            "x-running",
            "x-left",
            "x-unmarked",
            "y-other",
            "x-file",
        ];
        let stays = names.map(|name| at(name).exists());
        assert_eq!(stays, [true, true, false, true, true, true]);
        drop((ours, running));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_is_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let (ours, aside) = (parent.path().join("x-ours"), parent.path().join("aside"));
        fs::create_dir(&ours).unwrap();
        drop(Store::open(&aside, Options::default()).unwrap());
        mark_temporary(&aside).unwrap();
        std::os::unix::fs::symlink(&aside, parent.path().join("x-link")).unwrap();
        sweep_temporary(parent.path(), "x-", &ours);
        assert!(aside.join(TEMPORARY).exists());
    }
}
