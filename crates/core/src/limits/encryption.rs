//! Encryption of groups.

use super::MIB;

/// Bytes of one direct message (`docs/protocol/encryption.md#16`).
pub const DIRECT_MESSAGE_BYTES_MAX: usize = 16 * MIB;
/// Group secrets of one bundle (`docs/protocol/encryption.md#16`).
pub const GROUP_SECRETS_MAX: usize = 10_000;
/// Own keys stored in one two-party session while the peer stays silent; the oldest goes first
/// (`docs/protocol/encryption.md#9`).
pub const OWN_KEYS_MAX: usize = 256;
/// Seconds between two first messages by which a two-party session restarts by itself
/// (`docs/protocol/encryption.md#9.7`).
pub const RESTART_INTERVAL_S: u64 = 60 * 60;
/// First messages of one peer, under pre-keys we still hold, whose replay is refused
/// (`docs/protocol/encryption.md#9`).
pub const FIRST_MESSAGES_MAX: usize = 64;
/// One-time bundles kept per member; the oldest goes first (`docs/protocol/encryption.md#9`).
pub const ONE_TIME_BUNDLES_MAX: usize = 100;
/// Long-term bundles kept per member; the oldest goes first (`docs/protocol/encryption.md#9`).
pub const LONG_TERM_BUNDLES_MAX: usize = 8;
/// Seconds that a clock may be ahead of ours without refusing our new pre-keys
/// (`docs/protocol/encryption.md#5`).
pub const PRE_KEY_CLOCK_SKEW_S: u64 = 60 * 60;
/// Seconds of a pre-key's life unless chosen otherwise: twelve weeks
/// (`docs/protocol/encryption.md#5`).
pub const PRE_KEY_LIFETIME_DEFAULT_S: u64 = 12 * 7 * 24 * 60 * 60;
/// Seconds of a pre-key's life at most: 26 weeks (`docs/protocol/encryption.md#5`).
pub const PRE_KEY_LIFETIME_MAX_S: u64 = 26 * 7 * 24 * 60 * 60;
/// Generations a message may lie ahead of the last one opened, unless configured otherwise
/// (`docs/protocol/encryption.md#11`).
pub const FORWARD_DISTANCE_DEFAULT: u32 = 1_000;
/// Keys kept for messages that come late, unless configured otherwise
/// (`docs/protocol/encryption.md#11`).
pub const OUT_OF_ORDER_DEFAULT: u32 = 100;
/// Draws of a new secret until it outranks one that is dated at the end of time
/// (`docs/protocol/encryption.md#10`).
pub const SECRET_DRAWS_MAX: usize = 64;
/// Control messages of one group that wait for others, and as many application messages
/// (`docs/protocol/encryption.md#12`).
pub const ENCRYPTION_WAITING_MAX: usize = 10_000;
/// Messages of the data scheme that wait for their secret, per group
/// (`docs/protocol/encryption.md#10.3`).
pub const PARKED_MAX: usize = 1_000;
/// Bytes of them (`docs/protocol/encryption.md#10.3`).
pub const PARKED_BYTES_MAX: usize = 4 * MIB;
/// Application messages of one sender that are known by id, to tell repeats
/// (`docs/protocol/encryption.md#12`).
pub const APPLICATION_IDS_MAX: usize = 64;
/// Application messages of one sender that the data scheme knows by id, since others may name them
/// (`docs/protocol/encryption.md#12.2.1`).
pub const NAMED_APPLICATIONS_MAX: usize = 16;
/// Member secrets of the message scheme that wait for an acknowledgement
/// (`docs/protocol/encryption.md#11`).
pub const MEMBER_SECRETS_MAX: usize = 1_000_000;
/// Entries that joining two views of a group may write: who is known to one side only, for each
/// member (`docs/protocol/encryption.md#11`).
pub const VIEWS_MERGE_MAX: usize = 1_000_000;
/// Own messages of a channel for which it remembers the operation that carried them
/// (`docs/protocol/encryption.md#9`).
pub const SENT_WITH_MAX: usize = 4;
/// One in this many messages of a two-party channel is hybrid, unless configured otherwise
/// (`docs/protocol/encryption-hybrid.md#5.5`).
pub const HYBRID_EVERY_DEFAULT: u32 = 16;
/// Suites that a bundle may name (`docs/protocol/encryption-hybrid.md#4.1`).
pub const SUITES_MAX: usize = 16;
/// Hybrid bundles kept per member; the one that would be used last goes first
/// (`docs/protocol/encryption-hybrid.md#4.1`).
pub const HYBRID_BUNDLES_MAX: usize = 8;
