//! `node.key`: the node's signing key next to the epoch of the last open.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use p2panda_core::limits::KEY_FILE_BYTES_MAX;
use p2panda_core::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::directory::epoch::Epoch;
use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::private;
use crate::error::ErrorOf;

/// Content of the key file.
pub(crate) struct KeyFile {
    pub key: SigningKey,
    pub epoch: Epoch,
}

/// Its name in the data directory.
pub(crate) const FILE: &str = "node.key";

/// File in its place if the key is kept elsewhere: node id and epoch.
const EPOCH_FILE: &str = "node.epoch";

/// Identity of a directory.
pub(crate) struct Kept {
    /// Node id of the directory.
    pub node: VerifyingKey,
    pub epoch: Epoch,
    /// The key, if it is in the directory.
    pub key: Option<SigningKey>,
}

/// Reads the identity of a directory; `None` if it has none.
///
/// # Errors
/// As [`read`]; [`OpenErrorKind::KeyTwice`] if the key is kept elsewhere but the directory has one
/// too.
pub(crate) fn kept(dir: &Path, elsewhere: bool) -> Result<Option<Kept>, OpenError> {
    let (key, noted) = (read(&dir.join(FILE))?, read_epoch(&dir.join(EPOCH_FILE))?);
    Ok(match (key, noted) {
        (Some(_), _) if elsewhere => {
            let dir = dir.to_path_buf();
            return Err(ErrorOf::new(OpenErrorKind::KeyTwice { dir }));
        }
        (Some(file), noted) => {
            let node = file.key.verifying_key();
            // The key was kept elsewhere until now.
            let later = noted.filter(|(of, _)| *of == node);
            Some(Kept {
                node,
                epoch: later.map_or(file.epoch, |(_, epoch)| epoch),
                key: Some(file.key),
            })
        }
        (None, Some((node, epoch))) if elsewhere => Some(Kept {
            node,
            epoch,
            key: None,
        }),
        (None, _) => None,
    })
}

/// Stores the epoch of an open: with the key, or alone if the key is kept elsewhere.
pub(crate) fn note(
    dir: &Path,
    key: &SigningKey,
    epoch: Epoch,
    elsewhere: bool,
) -> Result<(), OpenError> {
    let noted = dir.join(EPOCH_FILE);
    if elsewhere {
        let text = format!("node {}\nepoch {epoch}\n", key.verifying_key());
        return private::replace(&noted, text.as_bytes()).map_err(OpenError::io(&noted));
    }
    let key = key.clone();
    write(&dir.join(FILE), &KeyFile { key, epoch })?;
    match std::fs::remove_file(&noted) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(OpenError::io(&noted)(error)),
        _ => Ok(()),
    }
}

fn read_epoch(path: &Path) -> Result<Option<(VerifyingKey, Epoch)>, OpenError> {
    let text = match File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            let read = file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
            read.map(|_| text).unwrap_or_default()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::io(path)(source)),
    };
    let parse = || {
        let mut lines = text.lines();
        let node = lines.next()?.strip_prefix("node ")?.parse().ok()?;
        Some((
            node,
            Epoch::from_hex(lines.next()?.strip_prefix("epoch ")?)?,
        ))
    };
    let path = path.to_path_buf();
    let damaged = || ErrorOf::new(OpenErrorKind::KeyDamaged { path });
    parse().map(Some).ok_or_else(damaged)
}

/// Reads the key file, `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<KeyFile>, OpenError> {
    private::narrow(path);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(OpenError::io(path)(source));
        }
    };
    let mut text = Zeroizing::new(String::new());
    let damaged = || {
        ErrorOf::new(OpenErrorKind::KeyDamaged {
            path: path.to_path_buf(),
        })
    };
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|_| damaged())?;
    parse(&text).map(Some).ok_or_else(damaged)
}

/// Writes the key file so that a crash leaves the old or the new one, synced.
pub(crate) fn write(path: &Path, file: &KeyFile) -> Result<(), OpenError> {
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str("key ");
    push_hex(&mut text, file.key.to_bytes().as_slice());
    text.push_str("\nepoch ");
    text.push_str(&file.epoch.to_string());
    text.push('\n');
    private::replace(path, text.as_bytes()).map_err(OpenError::io(path))
}

/// Keeps a key that is no longer used, in a file that is named after its node.
pub(crate) fn put_aside(dir: &Path, key: SigningKey, epoch: Epoch) -> Result<(), OpenError> {
    let path = dir.join(format!("{FILE}.{}", key.verifying_key()));
    write(&path, &KeyFile { key, epoch })
}

/// Draws a new signing key.
pub(crate) fn draw() -> Result<SigningKey, OpenError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|_| ErrorOf::new(OpenErrorKind::Random))?;
    Ok(SigningKey::from_bytes(&seed))
}

fn parse(text: &str) -> Option<KeyFile> {
    let mut lines = text.lines();
    let seed = Zeroizing::new(from_hex32(lines.next()?.strip_prefix("key ")?)?);
    let epoch = Epoch::from_hex(lines.next()?.strip_prefix("epoch ")?)?;
    Some(KeyFile {
        key: SigningKey::from_bytes(&seed),
        epoch,
    })
}

pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("a digit is below 16"));
        }
    }
}

pub(crate) fn from_hex32(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        for digit in pair {
            let digit = char::from(*digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(digit).ok()?;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use std::fs;

    use super::*;

    #[test]
    fn a_key_file_is_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        assert!(read(&path).unwrap().is_none());
        let file = KeyFile {
            key: draw().unwrap(),
            epoch: Epoch::draw().unwrap(),
        };
        write(&path, &file).unwrap();
        let again = read(&path).unwrap().unwrap();
        assert_eq!(again.key.verifying_key(), file.key.verifying_key());
        assert_eq!(again.epoch, file.epoch);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_of_the_epoch_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let (key, epoch) = (draw().unwrap(), Epoch::draw().unwrap());
        note(dir.path(), &key, epoch, true).unwrap();
        let found = kept(dir.path(), true).unwrap().unwrap();
        assert_eq!((found.node, found.epoch), (key.verifying_key(), epoch));
        assert!(found.key.is_none() && !dir.path().join(FILE).exists());
        for content in ["", "node 00\nepoch 00\n", "node\n"] {
            fs::write(dir.path().join(EPOCH_FILE), content).unwrap();
            let error = kept(dir.path(), true).err().unwrap();
            assert!(matches!(error.kind(), OpenErrorKind::KeyDamaged { .. }));
        }
    }

    #[test]
    fn a_damaged_key_file_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        for content in ["", "key 00\nepoch 00\n", "key\n", "\u{fffd}"] {
            fs::write(&path, content).unwrap();
            let error = read(&path).err().unwrap();
            assert!(matches!(error.kind(), OpenErrorKind::KeyDamaged { .. }));
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
    }
}
