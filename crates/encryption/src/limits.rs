//! Bounds of this layer, each with its unit (`docs/protocol/encryption.md#16`, H11).

use thiserror::Error;

/// Bytes of one direct message.
pub const DIRECT_MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Members of one group.
pub const MEMBERS_MAX: usize = 10_000;
/// Group secrets of one bundle.
pub const SECRETS_MAX: usize = 10_000;
/// Elements per array, map or string in a header that published 0.7.1 peers must read.
pub const HEADER_ELEMENTS_0_7_1: usize = 512;
/// Own keys stored in one two-party session while the peer stays silent.
pub const OWN_KEYS_MAX: usize = 10_000;
/// First messages of one peer, under pre-keys we still hold, whose replay is refused.
pub const FIRST_MESSAGES_MAX: usize = 64;
/// One-time bundles kept per member; the oldest goes first.
pub const ONE_TIME_BUNDLES_MAX: usize = 100;
/// Long-term bundles kept per member; the oldest goes first.
pub const LONG_TERM_BUNDLES_MAX: usize = 8;
/// Generations a message may lie ahead of the last one opened, unless configured otherwise.
pub const FORWARD_DISTANCE_DEFAULT: u32 = 1_000;
/// Keys kept for messages that come late, unless configured otherwise.
pub const OUT_OF_ORDER_DEFAULT: u32 = 100;
/// Draws of a new secret until it outranks one that is dated at the end of time.
pub const SECRET_DRAWS_MAX: usize = 64;
/// Messages of one group that wait for others.
pub const WAITING_MAX: usize = 10_000;
/// Member secrets of the message scheme that wait for an acknowledgement.
pub const MEMBER_SECRETS_MAX: usize = 1_000_000;

/// A bound that was reached; nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Limit {
    /// [`OWN_KEYS_MAX`]: the peer has not answered for too long.
    #[error("too many unanswered messages in a two-party session")]
    OwnKeys,
    /// [`FIRST_MESSAGES_MAX`].
    #[error("too many first messages of one peer")]
    FirstMessages,
    /// [`MEMBERS_MAX`].
    #[error("too many members")]
    Members,
    /// [`SECRETS_MAX`].
    #[error("too many group secrets")]
    Secrets,
    /// The bound on elements that the caller gave, for instance [`HEADER_ELEMENTS_0_7_1`].
    #[error("an array or string would be too long for the header")]
    HeaderString,
    /// [`DIRECT_MESSAGE_BYTES_MAX`].
    #[error("a direct message is too large")]
    DirectMessage,
    /// [`SECRET_DRAWS_MAX`]: a secret at 2^64-1 has an id that no draw exceeded.
    #[error("no secret outranks one that is dated at the end of time")]
    Timestamp,
    /// [`WAITING_MAX`].
    #[error("too many messages wait for others")]
    Waiting,
    /// [`MEMBER_SECRETS_MAX`].
    #[error("too many unacknowledged member secrets")]
    MemberSecrets,
}
