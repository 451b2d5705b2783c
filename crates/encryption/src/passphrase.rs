//! Keys from a passphrase, and files that one opens (`docs/protocol/recovery.md`).

mod file;

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use p2panda_core::limits::{
    ARGON2_KIB, ARGON2_KIB_MAX, ARGON2_PASSES, ARGON2_PASSES_MAX, PASSPHRASE_BYTES_MAX,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::secret::Secret;

pub use file::{FileError, lock, unlock};

/// Passphrase that a person remembers. Erased when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

/// A passphrase that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")]
pub struct PassphraseError;

/// Cost of one try of a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    kib: u32,
    passes: u32,
}

/// More memory or more passes than anybody takes, or less than Argon2 can be run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the cost of the passphrase is out of bounds")]
pub struct CostError;

impl Passphrase {
    /// Takes what was typed, as it is.
    ///
    /// # Errors
    /// It is empty, or has more bytes than [`PASSPHRASE_BYTES_MAX`].
    pub fn new(text: &str) -> Result<Passphrase, PassphraseError> {
        match text.len() {
            1..=PASSPHRASE_BYTES_MAX => Ok(Passphrase(Zeroizing::new(text.to_owned()))),
            _ => Err(PassphraseError),
        }
    }

    /// Returns the typed text, for a channel that nobody else reads.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The key that follows from it (Argon2id, version 1.3, one lane). Takes as much memory and time as
    /// the cost says.
    ///
    /// # Errors
    /// There is no such memory.
    pub fn key(&self, salt: &[u8; 32], cost: Cost) -> Result<Secret, CostError> {
        let params = Params::new(cost.kib, cost.passes, 1, Some(32)).map_err(|_| CostError)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Secret::zeros();
        let passphrase = self.0.as_bytes();
        let done = argon2.hash_password_into(passphrase, salt, key.as_mut());
        done.map_err(|_| CostError)?;
        Ok(key)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

impl Cost {
    /// That of passphrases of ours.
    pub const OURS: Cost = Cost {
        kib: ARGON2_KIB,
        passes: ARGON2_PASSES,
    };

    /// Checks bounds before any memory is taken.
    ///
    /// # Errors
    /// Fewer than 8 KiB or more than [`ARGON2_KIB_MAX`], no pass or more than [`ARGON2_PASSES_MAX`].
    pub fn new(kib: u32, passes: u32) -> Result<Cost, CostError> {
        let fits = (8..=ARGON2_KIB_MAX).contains(&kib) && (1..=ARGON2_PASSES_MAX).contains(&passes);
        fits.then_some(Cost { kib, passes }).ok_or(CostError)
    }
}

#[cfg(test)]
#[path = "passphrase/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "passphrase/vector_tests.rs"]
mod vector_tests;
