//! Passphrases, and files that one opens (`docs/protocol/recovery.md`).

/// Bytes of a passphrase (`docs/protocol/recovery.md#2`).
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;
/// Memory that Argon2id takes for a passphrase of ours, in KiB (`docs/protocol/recovery.md#2`).
pub const ARGON2_KIB: u32 = 65_536;
/// Passes of Argon2id for a passphrase of ours (`docs/protocol/recovery.md#2`).
pub const ARGON2_PASSES: u32 = 3;
/// Memory that a file may ask for, in KiB (`docs/protocol/recovery.md#3`).
pub const ARGON2_KIB_MAX: u32 = 1_048_576;
/// Passes that a file may ask for (`docs/protocol/recovery.md#3`).
pub const ARGON2_PASSES_MAX: u32 = 16;
/// Bytes of a recovery file (`docs/protocol/recovery.md#3`).
pub const RECOVERY_FILE_BYTES_MAX: usize = 64 * super::MIB;
