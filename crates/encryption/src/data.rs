//! The data scheme: group secrets of long life, late joiners read old data
//! (`docs/protocol/encryption.md#10`).

mod agreement;
mod event;
mod group;
mod holders;
mod indices;
mod members;
mod parked;
mod payload;
mod secret;

pub use agreement::{Agreement, Draft, Output, Prepared, ProcessError};
pub use event::{Event, Failure, Need};
pub use group::{CommitError, Group, Root, WelcomeReport, open_stored, secret_key};
pub use holders::{Reason, Rekey};
pub use members::{HistoryError, Members, Membership};
pub use payload::{Encrypted, Payload, Sent};
pub use secret::{GroupSecret, SecretBundle, SecretId, decrypt, encrypt};

pub use crate::operation::OperationError;

/// Change that everybody in the group is told.
pub type Control = crate::Change;
