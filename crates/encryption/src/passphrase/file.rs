//! A file that a passphrase opens (`docs/protocol/recovery.md#3`).

use p2panda_core::Hash;
use p2panda_core::limits::RECOVERY_FILE_BYTES_MAX;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use super::{Cost, CostError, Passphrase};
use crate::aead;

const MAGIC: &[u8; 16] = b"p2panda recovery";
const VERSION: u8 = 1;
const CHECKSUM: &str = "p2panda recovery checksum v1";
const CHECKSUM_BYTES: usize = 32;
/// Magic, version, memory, passes, salt, length of the sealed content.
const FRONT_BYTES: usize = 16 + 1 + 4 + 4 + 32 + 8;

/// The key is derived from the salt of the file and seals once, so the nonce is constant.
const NONCE: [u8; 24] = [0; 24];

/// Reason why a file does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It does not begin like a recovery file.
    #[error("this is not a recovery file")]
    NoRecoveryFile,
    /// A later version of the format.
    #[error("the recovery file has version {version}, of a newer p2panda; run a newer version")]
    Newer {
        /// Version of the format that the file has.
        version: u8,
    },
    /// It ends too early, or bytes follow its end.
    #[error("the recovery file is cut off, or something was added; copy it again")]
    Length,
    /// More bytes than [`RECOVERY_FILE_BYTES_MAX`].
    #[error("a recovery file has at most {RECOVERY_FILE_BYTES_MAX} bytes")]
    TooLong,
    /// A byte was changed.
    #[error("the recovery file is damaged; use another copy")]
    Damaged,
    /// Trying a passphrase would cost more than the limits allow.
    #[error("the recovery file asks for more memory or time than is allowed")]
    TooCostly,
    /// The passphrase is wrong.
    #[error("the passphrase is not that of the recovery file")]
    Passphrase,
}

impl From<CostError> for FileError {
    fn from(_: CostError) -> FileError {
        FileError::TooCostly
    }
}

/// Seals a content into a file that the passphrase opens.
///
/// # Errors
/// [`FileError::TooLong`]; [`FileError::TooCostly`] without the memory.
pub fn lock(
    content: &[u8],
    passphrase: &Passphrase,
    cost: Cost,
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, FileError> {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    let sealed_bytes = content.len() + 16;
    if sealed_bytes > RECOVERY_FILE_BYTES_MAX - FRONT_BYTES - CHECKSUM_BYTES {
        return Err(FileError::TooLong);
    }
    let mut file = Vec::with_capacity(FRONT_BYTES + sealed_bytes + CHECKSUM_BYTES);
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    file.extend_from_slice(&cost.kib.to_be_bytes());
    file.extend_from_slice(&cost.passes.to_be_bytes());
    file.extend_from_slice(&salt);
    file.extend_from_slice(&(sealed_bytes as u64).to_be_bytes());
    let key = passphrase.key(&salt, cost)?;
    let sealed = aead::seal_x(key.as_bytes(), &NONCE, &file, content);
    file.extend_from_slice(&sealed.map_err(|_| FileError::TooLong)?);
    let sum = Hash::derived_parts(CHECKSUM, &[&file]);
    file.extend_from_slice(sum.as_bytes());
    Ok(file)
}

/// Opens a file and returns its content.
///
/// # Errors
/// All of [`FileError`]; all but the last without trying the passphrase.
pub fn unlock(file: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let rest = file.strip_prefix(MAGIC).ok_or(FileError::NoRecoveryFile)?;
    let (version, rest) = rest.split_first().ok_or(FileError::Length)?;
    if *version != VERSION {
        return Err(FileError::Newer { version: *version });
    }
    if file.len() > RECOVERY_FILE_BYTES_MAX {
        return Err(FileError::TooLong);
    }
    let (kib, rest) = rest.split_first_chunk().ok_or(FileError::Length)?;
    let (passes, rest) = rest.split_first_chunk().ok_or(FileError::Length)?;
    let (salt, rest) = rest.split_first_chunk::<32>().ok_or(FileError::Length)?;
    let (length, rest) = rest.split_first_chunk().ok_or(FileError::Length)?;
    let (sealed, sum) = rest
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or(FileError::Length)?;
    if u64::from_be_bytes(*length) != sealed.len() as u64 {
        return Err(FileError::Length);
    }
    let (checked, _) = file.split_at(file.len() - CHECKSUM_BYTES);
    if Hash::derived_parts(CHECKSUM, &[checked]).as_bytes() != sum {
        return Err(FileError::Damaged);
    }
    let cost = Cost::new(u32::from_be_bytes(*kib), u32::from_be_bytes(*passes))?;
    let key = passphrase.key(salt, cost)?;
    let (front, _) = file.split_at(FRONT_BYTES);
    aead::open_x(key.as_bytes(), &NONCE, front, sealed).map_err(|_| FileError::Passphrase)
}
