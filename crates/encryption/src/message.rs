//! The message scheme: one ratchet per sender, keys die after use, late joiners read nothing old
//! (`docs/protocol/encryption.md#11`).

mod agreement;
mod control;
mod group;
mod ratchet;
mod scratch;
mod views;

pub use agreement::{Agreement, Answer, Draft, Prepared, ProcessError, Processed};
pub use control::Control;
pub use group::{
    CommitError, Config, Event, Failure, Group, OperationError, Outgoing, Payload, Sent,
};
pub use ratchet::{DecryptionRatchet, MessageKey, Ratchet, RatchetError};
pub use views::{Membership, MembershipError, Views};
