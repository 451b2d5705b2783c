//! The message scheme: one ratchet per sender, keys die after use, late joiners read nothing old
//! (`docs/protocol/encryption.md#11`).

mod agreement;
mod control;
mod event;
mod following;
mod group;
mod payload;
mod ratchet;
mod restored;
mod scratch;
mod views;

pub use agreement::{Agreement, Answer, Draft, Prepared, ProcessError, Processed};
pub use control::Control;
pub use event::{Event, Failure};
pub use group::{CommitError, Config, Group};
pub use payload::{Encrypted, Outgoing, Payload, Sent};
pub use ratchet::{DecryptionRatchet, MessageKey, Ratchet, RatchetError};
pub use views::{Membership, MembershipError, Views};

pub use crate::operation::OperationError;
