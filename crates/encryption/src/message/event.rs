//! Results of processing the messages of a group.

use thiserror::Error;
use zeroize::Zeroizing;

use super::agreement::ProcessError;
use super::control::Control;
use super::payload::Outgoing;
use super::ratchet::RatchetError;
use crate::data::Need;
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
        /// Our acknowledgement.
        answer: Option<Outgoing>,
    },
    /// Membership or chains have changed.
    Changed {
        /// The control message.
        operation: OperationId,
        /// Its author.
        sender: Member,
        /// Control message that was processed.
        control: Control,
        /// Our acknowledgement.
        answer: Option<Outgoing>,
    },
    /// We are not in the group any more; messages wait for a new welcome.
    RemovedOurselves {
        /// The removal.
        operation: OperationId,
    },
    /// A message was opened.
    Application {
        /// The operation that carried it.
        operation: OperationId,
        /// Its author.
        sender: Member,
        /// The message.
        plaintext: Zeroizing<Vec<u8>>,
    },
    /// A message of the time before we joined, which is not for us.
    Skipped {
        /// The operation that carried it.
        operation: OperationId,
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
    /// There is no ratchet of the sender.
    #[error("no ratchet of {0} for generation {1}")]
    DecryptionRatchetUnavailable(Member, u32),
    /// The ratchet has no key, or the message does not open.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
}

impl Failure {
    /// Returns the repair that it needs; `None` where the message is wrong forever.
    pub fn needs(&self) -> Option<Need> {
        match self {
            Failure::Process(ProcessError::Direct(DirectError::TwoParty(ReceiveError::Limit(
                _,
            )))) => Some(Need::Room),
            Failure::Process(ProcessError::Direct(DirectError::Missing(_))) => Some(Need::Channel),
            Failure::Process(error) if error.is_channel() => Some(Need::Channel),
            _ => None,
        }
    }
}
