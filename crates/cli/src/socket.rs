//! Place of the Unix socket of a home: commands find it no matter what their environment says, by
//! a file in the home (`docs/guide/run-a-node.md`).

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use p2panda::Hash;

/// File in the home that names the socket of the node that runs.
const NAMED_BY: &str = "rpc.path";

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
            format!(
                "{} is longer than a socket may be; set rpc.socket",
                path.display()
            ),
        )),
    }
}

/// Says in the home where the socket is.
pub fn name(home: &Path, socket: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".rpc").tempfile_in(home)?;
    io::Write::write_all(&mut file, socket.as_os_str().as_encoded_bytes())?;
    file.persist(home.join(NAMED_BY))?;
    Ok(())
}

/// The node ends. What a killed one leaves names a socket that does not answer.
pub fn forget(home: &Path) {
    // It may be gone with the home.
    let _ = std::fs::remove_file(home.join(NAMED_BY));
}

/// The socket that the home names, whether or not anybody answers there.
pub fn named(home: &Path) -> Option<PathBuf> {
    let path = std::fs::read_to_string(home.join(NAMED_BY)).ok()?;
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}
