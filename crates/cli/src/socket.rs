//! Place of the Unix socket of a home: commands find it no matter what their environment says, by
//! files in the home (`docs/guide/run-a-node.md`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use p2panda::Hash;

/// File in the home that names the socket of the node that runs.
const NAMED_BY: &str = "rpc.path";

/// File in the home that names the directory whose node that is: a copy of the home has both files.
const HOME: &str = "rpc.home";

/// File in the home while `panda node run` starts or ends there: it holds the home, or will in a moment,
/// and answers nobody.
const CHANGES: &str = "rpc.changes";

/// Age from which that file is what a killed node left.
const CHANGE_MAX: Duration = Duration::from_secs(60);

/// Longest path of a socket, in bytes, on every system.
const PATH_BYTES_MAX: usize = 103;

/// Digits of the hash of a home in the path.
const HASH_DIGITS: usize = 16;

/// The usual path: in the runtime directory of the user under a hash of the home, or in the home where
/// there is none. Makes its directory.
pub fn usual(home: &Path) -> io::Result<PathBuf> {
    let home = home.canonicalize()?;
    let runtime = etcetera::choose_base_strategy()
        .ok()
        .and_then(|base| base.runtime_dir())
        .filter(|dir| dir.is_dir());
    let Some(dir) = runtime.map(|dir| dir.join("panda")) else {
        return fitting(home.join("rpc.sock"));
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&dir)?;
    let hash = Hash::digest(home.as_os_str().as_encoded_bytes()).to_string();
    let digits = hash.get(..HASH_DIGITS).unwrap_or_default();
    fitting(dir.join(format!("{digits}.sock")))
}

fn fitting(path: PathBuf) -> io::Result<PathBuf> {
    match path.as_os_str().len() > PATH_BYTES_MAX {
        false => Ok(path),
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} is longer than a socket may be", path.display()),
        )),
    }
}

/// The socket that a home names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// It names none.
    Nothing,
    /// Whether or not anybody answers there.
    Socket(PathBuf),
    /// The files are those of another directory, of which this one is a copy.
    OfAnother { home: String },
}

/// Says in the home where the socket is.
pub fn name(home: &Path, socket: &Path) -> io::Result<()> {
    let path = home.canonicalize()?;
    let mark = format!("{}\n{}", directory(&path)?, path.display());
    write(home, HOME, mark.as_bytes())?;
    write(home, NAMED_BY, socket.as_os_str().as_encoded_bytes())
}

fn write(home: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".rpc").tempfile_in(home)?;
    io::Write::write_all(&mut file, bytes)?;
    file.persist(home.join(name))?;
    Ok(())
}

/// Device and inode of a directory: they stay when it is renamed, and a copy has others. Empty where
/// the system has none.
fn directory(home: &Path) -> io::Result<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(home)?;
        Ok(format!("{} {}", found.dev(), found.ino()))
    }
    #[cfg(not(unix))]
    {
        std::fs::metadata(home).map(|_| String::new())
    }
}

/// The node ends. What a killed one leaves names a socket that does not answer.
pub fn forget(home: &Path) {
    for name in [NAMED_BY, HOME] {
        // It may be gone with the home.
        let _ = std::fs::remove_file(home.join(name));
    }
}

/// A node starts on the home, unless somebody holds it already.
pub fn starts(home: &Path) {
    if matches!(p2panda::holder(home), Ok(None)) {
        ends(home);
    }
}

/// The node of this process ends.
pub fn ends(home: &Path) {
    // Without the file commands do not wait.
    let _ = write(home, CHANGES, b"");
}

/// The node of this process answers from now on, or is gone.
pub fn settled(home: &Path) {
    let _ = std::fs::remove_file(home.join(CHANGES));
}

/// Returns `true` if a node starts or ends on the home.
pub fn changes(home: &Path) -> bool {
    let modified = std::fs::metadata(home.join(CHANGES)).and_then(|file| file.modified());
    // A clock that was set back says nothing about its age.
    modified.is_ok_and(|since| since.elapsed().is_ok_and(|age| age < CHANGE_MAX))
}

/// The socket that the home names.
pub fn named(home: &Path) -> Named {
    let Ok(path) = std::fs::read_to_string(home.join(NAMED_BY)) else {
        return Named::Nothing;
    };
    let path = PathBuf::from(path);
    let mark = std::fs::read_to_string(home.join(HOME)).unwrap_or_default();
    let (found, of) = mark.split_once('\n').unwrap_or_default();
    match (path.is_absolute(), is_of(home, found, of)) {
        (false, _) => Named::Nothing,
        (true, true) => Named::Socket(path),
        // What is left of a node that was killed concerns nobody.
        (true, false) if !path.exists() => Named::Nothing,
        (true, false) if of.is_empty() => Named::OfAnother {
            home: "another directory".to_owned(),
        },
        (true, false) => Named::OfAnother {
            home: of.to_owned(),
        },
    }
}

/// Returns `true` if a home is the directory that [`name`] noted.
fn is_of(home: &Path, found: &str, of: &str) -> bool {
    match directory(home) {
        Ok(own) if own.is_empty() => home
            .canonicalize()
            .is_ok_and(|path| path.display().to_string() == of),
        Ok(own) => own == found,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_node_that_was_killed_while_it_started_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!changes(dir.path()));
        starts(dir.path());
        assert!(changes(dir.path()));
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).open(dir.path().join(CHANGES)).unwrap();
        let before = std::time::SystemTime::now() - CHANGE_MAX;
        file.set_modified(before).unwrap();
        assert!(!changes(dir.path()));
        ends(dir.path());
        assert!(changes(dir.path()));
        settled(dir.path());
        assert!(!changes(dir.path()));
    }

    #[test]
    fn a_path_that_is_too_long_leaves_the_advice_to_its_reader() {
        let path = PathBuf::from("x".repeat(PATH_BYTES_MAX + 1));
        let said = fitting(path).unwrap_err().to_string();
        assert!(said.ends_with(" is longer than a socket may be"), "{said}");
    }

    #[test]
    fn a_copy_of_a_home_does_not_name_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let [home, copy, socket] = ["home", "copy", "socket"].map(|name| dir.path().join(name));
        std::fs::create_dir(&home).unwrap();
        std::fs::write(&socket, "").unwrap();
        assert_eq!(named(&home), Named::Nothing);
        name(&home, &socket).unwrap();
        assert_eq!(named(&home), Named::Socket(socket.clone()));
        std::fs::create_dir(&copy).unwrap();
        for file in [NAMED_BY, HOME] {
            std::fs::copy(home.join(file), copy.join(file)).unwrap();
        }
        let of = home.canonicalize().unwrap().display().to_string();
        assert_eq!(named(&copy), Named::OfAnother { home: of });
        std::fs::remove_file(copy.join(HOME)).unwrap();
        assert!(matches!(named(&copy), Named::OfAnother { .. }));
        std::fs::remove_file(&socket).unwrap();
        assert_eq!(named(&copy), Named::Nothing);
        forget(&home);
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    }
}
