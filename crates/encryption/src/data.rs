//! The data scheme: group secrets of long life, late joiners read old data
//! (`docs/protocol/encryption.md#10`).

mod agreement;
mod control;
mod group;
mod holders;
mod members;
mod secret;

pub use agreement::{Agreement, Draft, Output, Prepared, ProcessError};
pub use control::Control;
pub use group::{CommitError, Event, Failure, Group, OperationError, Payload, Sent, WelcomeReport};
pub use holders::{Reason, Rekey};
pub use members::{HistoryError, Members, Membership};
pub use secret::{GroupSecret, SecretBundle, SecretId, decrypt, encrypt};
