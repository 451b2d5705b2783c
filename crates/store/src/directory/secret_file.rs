//! A secret in a separate file, outside of the data directory (`docs/protocol/at-rest.md#2`).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use p2panda_core::limits::KEY_FILE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::directory::error::{OpenError, OpenErrorKind};
use crate::directory::{key, private};
use crate::error::ErrorOf;

const BEGIN: &str = "at-rest ";

/// Reads the secret in a file. If the file is missing and `may_make` is set, draws a secret and
/// writes it.
///
/// # Errors
///
/// [`OpenErrorKind::SecretMissing`], [`OpenErrorKind::KeyDamaged`], [`OpenErrorKind::Io`].
pub fn secret_file(path: &Path, may_make: bool) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    private::narrow(path);
    match read(path)? {
        Some(secret) => Ok(secret),
        None if may_make => make(path),
        None => Err(ErrorOf::new(OpenErrorKind::SecretMissing {
            path: path.to_path_buf(),
        })),
    }
}

/// Checks the secret in a file without changing the file or its mode. A missing file passes: the first
/// open makes it.
///
/// # Errors
///
/// [`OpenErrorKind::KeyDamaged`], [`OpenErrorKind::Io`].
pub fn check_secret_file(path: &Path) -> Result<(), OpenError> {
    read(path).map(drop)
}

/// The secret, or nothing where there is no file.
fn read(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(path)(error)),
    };
    let damaged = || {
        ErrorOf::new(OpenErrorKind::KeyDamaged {
            path: path.to_path_buf(),
        })
    };
    let mut text = Zeroizing::new(String::with_capacity(128));
    let read = file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| damaged())?;
    let digits = text.trim_end().strip_prefix(BEGIN).ok_or_else(damaged)?;
    let secret = key::from_hex32(digits).ok_or_else(damaged)?;
    Ok(Some(Zeroizing::new(secret)))
}

fn make(path: &Path) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    if let Some(dir) = path.parent() {
        private::create_dir(dir).map_err(OpenError::io(dir))?;
    }
    let secret = draw_secret()?;
    let mut text = Zeroizing::new(String::with_capacity(128));
    text.push_str(BEGIN);
    key::push_hex(&mut text, secret.as_slice());
    text.push('\n');
    private::replace(path, text.as_bytes()).map_err(OpenError::io(path))?;
    Ok(secret)
}

/// 32 bytes from the system's random generator.
///
/// # Errors
///
/// [`OpenErrorKind::Random`].
pub fn draw_secret() -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut_slice()).map_err(|_| ErrorOf::new(OpenErrorKind::Random))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_secret_is_made_once_private_and_read_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("elsewhere/secret");
        assert!(check_secret_file(&path).is_ok() && !path.exists());
        let missing = secret_file(&path, false).unwrap_err();
        assert!(matches!(
            missing.kind(),
            OpenErrorKind::SecretMissing { .. }
        ));
        let made = secret_file(&path, true).unwrap();
        assert_eq!(secret_file(&path, true).unwrap(), made);
        assert_eq!(secret_file(&path, false).unwrap(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_secret_is_an_error_and_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("secret");
        for text in ["", "at-rest ", "at-rest 00", "key 00"] {
            std::fs::write(&path, text).unwrap();
            for error in [
                secret_file(&path, true).map(drop).unwrap_err(),
                check_secret_file(&path).unwrap_err(),
            ] {
                assert!(matches!(error.kind(), OpenErrorKind::KeyDamaged { .. }));
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
