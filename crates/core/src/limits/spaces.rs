//! Encrypted spaces.

use core::time::Duration;

/// Maximum of the random time that a node waits before it heals a space for others
/// (`docs/protocol/spaces.md#8`).
pub const SPACE_HEAL_WAIT: Duration = Duration::from_secs(2);
/// Time for which a control message of a member may wait for a key before we say that we lack it;
/// a random time of up to as much comes on top (`docs/protocol/streams.md#7`).
pub const SPACE_ASK_WAIT: Duration = Duration::from_secs(30);
/// From one time that we say so to the next (`docs/protocol/streams.md#7`).
pub const SPACE_ASK_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Maximum number of times that a node heals one space for others within an hour
/// (`docs/protocol/streams.md#7`).
pub const SPACE_HEALS_PER_HOUR_MAX: u32 = 60;
/// Bytes of control messages that a node makes in one space for others within an hour, before it
/// stops (`docs/protocol/streams.md#7`).
pub const SPACE_UPKEEP_BYTES_PER_HOUR_MAX: u64 = 8 * 1024 * 1024;
/// Direct messages of one operation that are computed on the thread which writes
/// (`docs/protocol/streams.md#7`).
pub const SPACE_SEALED_AT_ONCE_MAX: usize = 16;
/// Drafts of one change that are computed elsewhere; the next one is computed on the thread which
/// writes (`docs/protocol/streams.md#7`).
pub const SPACE_DRAFTS_MAX: usize = 2;
/// From one look at our own keys to the next (`docs/protocol/streams.md#7`).
pub const SPACE_KEYS_LOOK_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Spaces in which renewed keys are published in one transaction (`docs/protocol/streams.md#7`).
pub const SPACE_BUNDLES_STEP_MAX: usize = 64;
/// Our keys are renewed when they are good for no longer than this, in seconds
/// (`docs/protocol/streams.md#7`).
pub const PRE_KEY_RENEWED_S: u64 = 6 * 7 * 24 * 60 * 60;

/// Age at which a pre-key that opened a first message is replaced, and time after which the replaced one
/// is erased, in seconds, for a node in a space of the message scheme
/// (`docs/protocol/spaces-message.md#8`).
pub const PRE_KEY_USED_KEPT_S: u64 = 7 * 24 * 60 * 60;

/// Dependencies of one message in a space (`docs/protocol/spaces.md#12`).
pub const SPACE_DEPENDENCIES_MAX: usize = 512;

/// Control messages that the body of one names (`docs/protocol/spaces.md#9`).
pub const SPACE_NAMED_MAX: usize = 64;

/// Boxes of a control message: members that one message can welcome
/// (`docs/protocol/spaces.md#10`).
pub const SPACE_BOXES_MAX: usize = 1_024;

/// Messages of one author in one epoch of a space of the message scheme
/// (`docs/protocol/spaces-message.md#3`).
pub const SPACE_CHAIN_MESSAGES_MAX: u32 = 16_384;

/// Keys of skipped messages that are kept for one author in one space of the message scheme
/// (`docs/protocol/spaces-message.md#4`).
pub const SPACE_SKIPPED_MAX: usize = 1_024;

/// Epochs of one space of the message scheme whose chains are kept
/// (`docs/protocol/spaces-message.md#5`).
pub const SPACE_EPOCHS_MAX: usize = 256;

/// Time for which the chains of an epoch are kept after the next one began, in seconds
/// (`docs/protocol/spaces-message.md#5`).
pub const SPACE_EPOCH_KEPT_S: u64 = 30 * 24 * 60 * 60;

/// Default time for which plaintext of the message scheme is kept
/// (`docs/protocol/spaces-message.md#7`).
pub const SPACE_PLAINTEXT_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Time between two searches for expired keys and plaintext
/// (`docs/protocol/spaces-message.md#7`).
pub const SPACE_EXPIRY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Feed entries searched in one transaction for expired plaintext
/// (`docs/protocol/spaces-message.md#7`).
pub const SPACE_EXPIRY_STEP_ROWS_MAX: usize = 512;

/// Secrets of a space that only removals and healing may use: the last ones
/// (`docs/protocol/spaces.md#8`).
pub const SPACE_SECRETS_RESERVED_MAX: usize = 100;

/// Numbers of secrets left at which the members of a space are told
/// (`docs/protocol/spaces.md#8`).
pub const SPACE_SECRETS_LEFT_TOLD: [usize; 4] = [1_000, 100, 10, 0];

/// Days after which owners can ask that a secret is replaced (`docs/protocol/spaces.md#8`).
pub const SPACE_ROTATION_DAYS_MAX: u32 = 3_650;
/// Time between two looks at the age of secrets (`docs/protocol/streams.md#7`).
pub const SPACE_ROTATION_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Maximum random time that an owner waits before it replaces a secret that is too old
/// (`docs/protocol/spaces.md#8`).
pub const SPACE_ROTATION_WAIT: Duration = Duration::from_secs(60 * 60);

/// Operations on groups that one control message carries (`docs/protocol/spaces.md#9`).
pub const SPACE_OPERATIONS_MAX: usize = 10_000;

/// Maximum number of notes about invites in one control message (`docs/protocol/spaces.md#16`).
pub const SPACE_NOTES_MAX: usize = 64;

/// Owners to whom a request to join is sealed (`docs/protocol/spaces.md#16`).
pub const SPACE_REQUEST_BOXES_MAX: usize = 16;

/// Owners that an invite names (`docs/protocol/spaces.md#16`).
pub const SPACE_INVITE_OWNERS_MAX: usize = 2;

/// Bytes of the name of a space (`docs/protocol/spaces.md#15`).
pub const SPACE_NAME_BYTES_MAX: usize = 256;

/// Requests to join that a node keeps for one space while it cannot decide on them
/// (`docs/protocol/streams.md#7`).
pub const SPACE_REQUESTS_MAX: usize = 1_024;

/// Requests to join that a node decides on in one transaction
/// (`docs/protocol/streams.md#7`).
pub const SPACE_ADMIT_STEP_MAX: usize = 16;

/// Devices of a person that its devices link, and that owners take in
/// (`docs/protocol/spaces.md#18`).
pub const PERSON_DEVICES_MAX: usize = 32;

/// Operations on the group of a person in one message, and in what a new device is given
/// (`docs/protocol/spaces.md#18`).
pub const PERSON_OPERATIONS_MAX: usize = 1_024;

/// Spaces that what a new device is given names (`docs/protocol/spaces.md#18`).
pub const PERSON_SPACES_MAX: usize = 10_000;

/// Spaces in which one transaction follows a person whose devices have changed
/// (`docs/protocol/spaces.md#18`).
pub const PERSON_STEP_MAX: usize = 16;

/// Wait of a node before it tries again what it could not publish in a space about its person;
/// twice as long after each time (`docs/protocol/spaces.md#18`).
pub const PERSON_RETRY_WAIT: Duration = Duration::from_secs(1);

/// The longest such wait (`docs/protocol/spaces.md#18`).
pub const PERSON_RETRY_WAIT_MAX: Duration = Duration::from_secs(3_600);

/// Direct members of a team, that those who manage it add (`docs/protocol/spaces.md#19`).
pub const TEAM_MEMBERS_MAX: usize = 1_000;

/// Teams on a path from a team to one within it, both included (`docs/protocol/spaces.md#19`).
pub const TEAM_LEVELS_MAX: usize = 4;

/// Operations on a team; nobody is added beyond half of that (`docs/protocol/spaces.md#19`).
pub const TEAM_OPERATIONS_MAX: usize = 4_096;

/// Teams that owners make direct members of a space (`docs/protocol/spaces.md#19`).
pub const SPACE_TEAMS_MAX: usize = 64;
