//! Files that only their owner may read (`docs/protocol/streams.md#1`).
//!
//! They are made with that mode, no matter what the umask says, and never opened here once they
//! exist: to close a file that SQLite has open in this process would drop SQLite's locks on it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Returns `true` if other users of this machine may look into a directory, or change what is in
/// it.
///
/// `false` where files have no mode bits, and for what is not there.
pub fn others_may_enter(dir: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(dir).is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = dir;
        false
    }
}

/// Makes a directory, and those above it, unless it is there.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes an empty file for writing. Fails if there is one.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    // The umask may have taken bits away that the owner needs.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(file)
}

/// Makes an empty file unless there is one; either way only its owner may read it afterwards.
pub(crate) fn ensure(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            narrow(path);
            Ok(())
        }
        made => made.map(drop),
    }
}

/// Takes from others what an existing file allows them. That it cannot be done, because the file
/// belongs to another user, is no reason to stop.
pub(crate) fn narrow(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let Ok(found) = fs::metadata(path) else {
            return;
        };
        let mode = found.permissions().mode();
        let narrowed = PermissionsExt::from_mode(mode & 0o600);
        if mode & 0o077 != 0
            && let Err(error) = fs::set_permissions(path, narrowed)
        {
            let path = path.display();
            tracing::warn!(%path, %error, "others may read this file, and it cannot be changed");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Replaces a file in one step, readable by its owner only and synced.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        // What a crash left may have any mode.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    // The rename is durable once the directory is.
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}
