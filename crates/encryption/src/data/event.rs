//! Results of processing the messages of a group.

use thiserror::Error;
use zeroize::Zeroizing;

use super::Control;
use super::agreement::ProcessError;
use super::secret::SecretId;
use crate::aead::AeadError;
use crate::direct::DirectError;
use crate::two_party::ReceiveError;
use crate::{Member, OperationId};

/// Outcome of a message.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// We are in the group.
    Joined {
        /// The create or add.
        operation: OperationId,
    },
    /// Membership or secrets have changed.
    Changed {
        /// The control message.
        operation: OperationId,
        /// Its author.
        sender: Member,
        /// Control message that was processed.
        control: Control,
    },
    /// We are not in the group any more; messages wait for a new welcome.
    RemovedOurselves {
        /// The removal.
        operation: OperationId,
    },
    /// Data was opened.
    Application {
        /// The operation that carried it.
        operation: OperationId,
        /// Its author.
        sender: Member,
        /// The data.
        plaintext: Zeroizing<Vec<u8>>,
    },
    /// A message has no effect.
    Failed {
        /// The message.
        operation: OperationId,
        /// Its author.
        sender: Member,
        /// Reason for the failure.
        failure: Failure,
    },
}

/// Reason why a message has no effect, while the others continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Failure {
    /// A control message.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Data under a secret that we never had or have erased.
    #[error("unknown group secret {0}")]
    UnknownGroupSecret(SecretId),
    /// Data that does not open.
    #[error(transparent)]
    Aead(#[from] AeadError),
}

/// Repair that a failure needs. Nothing repairs a message that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// This secret: the data is kept and opens once it comes.
    Secret(SecretId),
    /// A channel with the sender: the next update begins it again, and the sender then hands over
    /// what we lack.
    Channel,
    /// Room for first messages: rotate the pre-key.
    Room,
}

impl Failure {
    /// Returns the repair that it needs; `None` where the message is wrong forever.
    pub fn needs(&self) -> Option<Need> {
        match self {
            Failure::UnknownGroupSecret(secret) => Some(Need::Secret(*secret)),
            Failure::Process(ProcessError::Direct(DirectError::TwoParty(ReceiveError::Limit(
                _,
            )))) => Some(Need::Room),
            Failure::Process(error) if error.is_channel() => Some(Need::Channel),
            Failure::Process(_) | Failure::Aead(_) => None,
        }
    }
}
