//! Bound that was reached (`docs/protocol/encryption.md#16`, H11).

use thiserror::Error;

/// A bound that was reached; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Limit {
    /// A two-party session has used up its indices.
    #[error("no index is left in a two-party session")]
    OwnKeys,
    /// [`FIRST_MESSAGES_MAX`](p2panda_core::limits::FIRST_MESSAGES_MAX).
    #[error("too many first messages of one peer")]
    FirstMessages,
    /// [`GROUP_MEMBERS_MAX`](p2panda_core::limits::GROUP_MEMBERS_MAX).
    #[error("too many members")]
    Members,
    /// [`GROUP_SECRETS_MAX`](p2panda_core::limits::GROUP_SECRETS_MAX).
    #[error("too many group secrets")]
    Secrets,
    /// The bound on elements that the caller gave, for instance
    /// [`HEADER_ELEMENTS_0_7_1`](crate::HEADER_ELEMENTS_0_7_1).
    #[error("an array or string would be too long for the header")]
    HeaderString,
    /// [`DIRECT_MESSAGE_BYTES_MAX`](p2panda_core::limits::DIRECT_MESSAGE_BYTES_MAX).
    #[error("a direct message is too large")]
    DirectMessage,
    /// [`SECRET_DRAWS_MAX`](p2panda_core::limits::SECRET_DRAWS_MAX):
    /// a secret at 2^64-1 has an id that no draw exceeded.
    #[error("no secret outranks one with the maximal timestamp")]
    Timestamp,
    /// [`MEMBER_SECRETS_MAX`](p2panda_core::limits::MEMBER_SECRETS_MAX).
    #[error("too many unacknowledged member secrets")]
    MemberSecrets,
}
