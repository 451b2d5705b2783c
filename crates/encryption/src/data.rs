//! The data scheme: group secrets of long life, late joiners read old data
//! (`docs/protocol/encryption.md#10`).

mod agreement;
mod control;
mod event;
mod group;
mod holders;
mod members;
mod payload;
mod secret;

pub use agreement::{Agreement, Draft, Output, Prepared, ProcessError};
pub use control::Control;
pub use event::{Event, Failure};
pub use group::{CommitError, Group, OperationError, WelcomeReport};
pub use holders::{Reason, Rekey};
pub use members::{HistoryError, Members, Membership};
pub use payload::{Payload, Sent};
pub use secret::{GroupSecret, SecretBundle, SecretId, decrypt, encrypt};
