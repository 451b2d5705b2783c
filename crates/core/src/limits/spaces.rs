//! Encrypted spaces.

/// Dependencies of one message in a space (`docs/protocol/spaces.md#12`).
pub const SPACE_DEPENDENCIES_MAX: usize = 512;
