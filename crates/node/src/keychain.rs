//! The keychain of the system: Secret Service, macOS Keychain, Windows Credential Manager
//! (`docs/protocol/at-rest.md#2`).

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use keyring::{Entry, Error};
use p2panda_core::limits::{KEYCHAIN_ANSWER_WAIT, KEYCHAIN_UNLOCK_WAIT};
use p2panda_engine::{Keychain, KeychainError};
use zeroize::Zeroizing;

/// Service name of our entries.
const SERVICE: &str = "p2panda";

/// Entry that is made and deleted to check that there is a keychain.
const TRIAL: &str = "p2panda trial";

/// The keychain of the system. Calls have a time limit, because a keychain may wait for an absent
/// person.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemKeychain;

impl SystemKeychain {
    /// The first call shows whether there is one.
    pub fn new() -> SystemKeychain {
        SystemKeychain
    }
}

impl Keychain for SystemKeychain {
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeychainError> {
        let name = name.to_owned();
        within(KEYCHAIN_UNLOCK_WAIT, move || {
            match entry(&name)?.get_secret() {
                Ok(secret) => Ok(Some(Zeroizing::new(secret))),
                Err(Error::NoEntry) => Ok(None),
                Err(error) => Err(said(&error)),
            }
        })
    }

    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeychainError> {
        let (name, secret) = (name.to_owned(), Zeroizing::new(secret.to_vec()));
        within(KEYCHAIN_UNLOCK_WAIT, move || {
            let kept = entry(&name)?.set_secret(&secret);
            kept.map_err(|error| said(&error))
        })
    }

    fn answers(&self) -> Result<(), KeychainError> {
        within(KEYCHAIN_ANSWER_WAIT, || {
            let trial = entry(TRIAL)?;
            let tried = trial
                .set_secret(b"trial")
                .and_then(|()| trial.delete_credential());
            tried.map_err(|error| said(&error))
        })
    }
}

fn entry(name: &str) -> Result<Entry, KeychainError> {
    if !session::has_bus() {
        return Err(KeychainError::new(
            "no session bus runs that a keychain could answer on",
        ));
    }
    match Entry::store_status() {
        Ok(()) => Entry::new(SERVICE, name).map_err(|error| said(&error)),
        Err(error) => Err(said(error)),
    }
}

/// Check whether a keychain can be asked. Where none can, no thread is started for it.
#[cfg(not(all(unix, not(any(target_os = "macos", target_os = "ios")))))]
mod session {
    pub(super) fn has_bus() -> bool {
        true
    }
}

/// Check for a bus of D-Bus on which a Secret Service could answer. Where there is none, no thread
/// is started for it.
#[cfg(all(unix, not(any(target_os = "macos", target_os = "ios"))))]
mod session {
    use std::ffi::OsStr;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    pub(super) fn has_bus() -> bool {
        let named = std::env::var_os("DBUS_SESSION_BUS_ADDRESS");
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let own = || std::fs::metadata("/proc/self").map(|own| own.uid());
        let runtime =
            runtime.or_else(|| Some(Path::new("/run/user").join(own().ok()?.to_string())));
        is_bus(named.as_deref(), runtime.as_deref())
    }

    /// As D-Bus finds it: by the variable, else as a socket in the runtime directory.
    pub(super) fn is_bus(named: Option<&OsStr>, runtime: Option<&Path>) -> bool {
        named.is_some_and(|named| !named.is_empty())
            || runtime.is_some_and(|runtime| runtime.join("bus").exists())
    }
}

/// Text of an error. Errors of this crate may hold secrets, but do not show them.
fn said(error: &Error) -> KeychainError {
    match error {
        Error::PlatformFailure(why) | Error::NoStorageAccess(why) => KeychainError::new(why),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            KeychainError::new("the secret cannot be read")
        }
        error => KeychainError::new(error),
    }
}

/// Runs a call on a separate thread, and waits for it up to a limit.
fn within<T: Send + 'static>(
    wait: Duration,
    ask: impl FnOnce() -> Result<T, KeychainError> + Send + 'static,
) -> Result<T, KeychainError> {
    let (sender, receiver) = mpsc::channel();
    let asking = thread::Builder::new().name("keychain".into());
    // The thread ends with its call; nothing waits for a thread that waits for a person.
    let asking = asking.spawn(move || sender.send(ask()).ok());
    asking.map_err(KeychainError::new)?;
    match receiver.recv_timeout(wait) {
        Ok(answer) => answer,
        Err(_) => {
            let seconds = wait.as_secs();
            let why = format!("it did not answer within {seconds} s; it may be locked");
            Err(KeychainError::new(why))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_keychain_that_does_not_answer_is_not_waited_for() {
        let (stay, until) = mpsc::channel::<()>();
        let asked = within(Duration::from_millis(1), move || {
            until.recv().ok();
            Ok(())
        });
        let said = asked.unwrap_err().to_string();
        assert!(said.contains("it may be locked"), "{said}");
        drop(stay);
        assert_eq!(within(KEYCHAIN_ANSWER_WAIT, || Ok(7)), Ok(7));
    }

    #[cfg(all(unix, not(any(target_os = "macos", target_os = "ios"))))]
    #[test]
    fn a_bus_is_named_or_in_the_runtime_directory() {
        use std::ffi::OsStr;
        let dir = tempfile::tempdir().unwrap();
        assert!(!session::is_bus(None, None));
        assert!(!session::is_bus(Some(OsStr::new("")), Some(dir.path())));
        assert!(session::is_bus(Some(OsStr::new("unix:path=/bus")), None));
        std::fs::write(dir.path().join("bus"), "").unwrap();
        assert!(session::is_bus(None, Some(dir.path())));
    }

    #[test]
    fn an_error_does_not_show_a_secret() {
        let error = Error::BadEncoding(b"secret".to_vec());
        assert_eq!(said(&error).to_string(), "the secret cannot be read");
    }
}
