//! A place outside of the directory that keeps secrets (`docs/protocol/at-rest.md#2`).

use std::fmt;

use p2panda_core::VerifyingKey;
use p2panda_store::{OpenError, OpenErrorKind, draw_secret};
use zeroize::Zeroizing;

/// Keeps secrets by name: the keychain of the system, or what the application has in its place. Calls may
/// block, while a person unlocks it for instance.
pub trait Keychain: fmt::Debug + Send + Sync {
    /// The secret of a name, if there is one.
    ///
    /// # Errors
    /// The keychain cannot be asked.
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeychainError>;

    /// Keeps a secret under a name. Once this returns, it survives the process.
    ///
    /// # Errors
    /// The keychain does not keep it.
    fn set(&self, name: &str, secret: &[u8]) -> Result<(), KeychainError>;

    /// Checks that the keychain keeps secrets now, without a person to unlock it. Called before
    /// [`AtRest::FirstOf`](crate::AtRest::FirstOf) chooses it.
    ///
    /// # Errors
    /// The keychain does not keep secrets.
    fn answers(&self) -> Result<(), KeychainError> {
        Ok(())
    }
}

/// Error of a keychain, in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeychainError(String);

impl KeychainError {
    /// In the words of the keychain, which must not hold a secret.
    pub fn new(why: impl fmt::Display) -> KeychainError {
        KeychainError(why.to_string())
    }
}

/// The secret of a node. Where there is none, one is drawn and kept if `may_make` says so.
pub(super) fn secret(
    keychain: &dyn Keychain,
    node: &VerifyingKey,
    may_make: bool,
) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let name = format!("p2panda at rest {node}");
    let failed = |why: String| OpenError::new(OpenErrorKind::Keychain { why });
    let found = keychain.get(&name);
    match found.map_err(|error| failed(error.to_string()))? {
        Some(secret) => {
            let secret = <[u8; 32]>::try_from(&secret[..]);
            let secret = secret.map_err(|_| failed("the secret has a wrong length".into()))?;
            Ok(Zeroizing::new(secret))
        }
        None if may_make => {
            let secret = draw_secret()?;
            let kept = keychain.set(&name, secret.as_slice());
            kept.map_err(|error| failed(error.to_string()))?;
            // Seal nothing under a secret that the keychain does not return.
            match keychain.get(&name) {
                Ok(Some(given)) if given[..] == secret[..] => Ok(secret),
                Ok(_) => Err(failed("it does not give back what it was given".into())),
                Err(error) => Err(failed(error.to_string())),
            }
        }
        None => Err(failed("the secret is not there".into())),
    }
}
