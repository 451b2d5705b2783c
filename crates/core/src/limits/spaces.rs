//! Encrypted spaces.

/// Dependencies of one message in a space (`docs/protocol/spaces.md#12`).
pub const SPACE_DEPENDENCIES_MAX: usize = 512;

/// Control messages that the body of one names (`docs/protocol/spaces.md#9`).
pub const SPACE_NAMED_MAX: usize = 64;

/// Boxes of a control message: members that one message can welcome
/// (`docs/protocol/spaces.md#10`).
pub const SPACE_BOXES_MAX: usize = 1_024;

/// Operations on groups that one control message carries (`docs/protocol/spaces.md#9`).
pub const SPACE_OPERATIONS_MAX: usize = 10_000;

/// What one control message says of invites (`docs/protocol/spaces.md#16`).
pub const SPACE_NOTES_MAX: usize = 64;

/// Owners to whom a request to be let in is sealed (`docs/protocol/spaces.md#16`).
pub const SPACE_REQUEST_BOXES_MAX: usize = 16;
