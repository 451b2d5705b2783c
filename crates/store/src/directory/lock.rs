//! The lock of a data directory: one process at a time, and the others learn which.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::holder::Holder;
use crate::directory::names::LOCK;
use crate::directory::private;
use crate::error::ErrorOf;

/// The lock of a directory. Dropping it frees the lock, and so does the end of the process.
///
/// To close the file is not enough: a process that another thread starts at that moment has a copy of
/// the handle until its program runs, and the lock stays taken as long as there is a copy.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file frees it as well, if later.
        let _ = self.0.unlock();
    }
}

/// Takes the lock of `dir`.
pub(crate) fn acquire(dir: &Path) -> Result<Lock, OpenError> {
    let path = dir.join(LOCK);
    // Also because anyone who may read a file may lock it.
    private::ensure(&path).map_err(OpenError::io(&path))?;
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .open(&path)
        .map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {
            let mut lock = Lock(file);
            sign(&mut lock.0).map_err(OpenError::io(&path))?;
            Ok(lock)
        }
        Err(TryLockError::WouldBlock) => Err(ErrorOf::new(OpenErrorKind::Locked {
            dir: dir.to_path_buf(),
            holder: read_holder(&mut file),
        })),
        Err(TryLockError::Error(source)) => Err(OpenError::io(&path)(source)),
    }
}

/// The process that has a directory open; none if nobody has. Writes nothing. A process that opens the
/// directory at this moment can be told that it is in use.
///
/// # Errors
/// The file of the lock cannot be read.
pub fn holder(dir: &Path) -> Result<Option<Holder>, OpenError> {
    let path = dir.join(LOCK);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => {
            drop(Lock(file));
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
        Err(TryLockError::Error(source)) => Err(OpenError::io(&path)(source)),
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    let command = std::env::args_os().next().unwrap_or_default();
    let command = Path::new(&command)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(
        file,
        "{}\n{}",
        std::process::id(),
        command.replace(char::is_control, " ")
    )
}

/// The holder writes its name just after it took the lock, so the file may be empty.
fn read_holder(file: &mut File) -> Holder {
    let mut bytes = Vec::new();
    // A file that somebody else filled is not read without end.
    let _ = file.take(1024).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines();
    let pid = lines.next().and_then(|line| line.parse().ok());
    let command = lines
        .next()
        .filter(|line| !line.is_empty())
        .map(str::to_owned);
    Holder { pid, command }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn a_second_holder_learns_who_the_first_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path()).unwrap();
        let error = acquire(dir.path()).unwrap_err();
        let OpenErrorKind::Locked { holder, .. } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.command.as_deref().unwrap().contains("p2panda_store"));
        assert_eq!(error.to_string().lines().count(), 1);
        assert_eq!(super::holder(dir.path()).unwrap(), Some(holder.clone()));
        drop(first);
        assert_eq!(super::holder(dir.path()).unwrap(), None);
        acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_copy_of_the_handle_does_not_keep_a_lock_that_was_freed() {
        let dir = tempfile::tempdir().unwrap();
        let first = acquire(dir.path()).unwrap();
        // As a process has it that was started meanwhile.
        let copy = first.0.try_clone().unwrap();
        acquire(dir.path()).unwrap_err();
        drop(first);
        assert_eq!(super::holder(dir.path()).unwrap(), None);
        acquire(dir.path()).unwrap();
        drop(copy);
    }
}
