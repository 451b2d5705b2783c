//! Why we cannot do something.

use p2panda_encryption::data::{CommitError, OperationError};
use p2panda_encryption::{DeliverError, OwnKeysError};
use p2panda_groups::GroupId;
use thiserror::Error;

use crate::receive::ProcessError;
use crate::sealed::InviteError;
use crate::{Role, SpaceId};

/// Why we cannot do something. Where nothing was signed, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// There is no such space.
    #[error("the space {0} is unknown")]
    UnknownSpace(SpaceId),
    /// There is one with this id.
    #[error("the space {0} exists")]
    SpaceExists(SpaceId),
    /// We have no role that allows it.
    #[error("our role does not allow it: {0:?}")]
    Role(Option<Role>),
    /// We are an owner and have no secrets of the space yet: somebody has to heal it.
    #[error("nobody has given us the secrets of the space yet")]
    NotWelcomed,
    /// The group has no owner afterwards.
    #[error("the last owner would be gone")]
    LastOwner,
    /// Publishing would use a secret that somebody has who is no member, or there is none: heal
    /// first, and try again.
    #[error("the space has to be healed first")]
    HealFirst,
    /// Encryption refuses.
    #[error(transparent)]
    Encryption(#[from] OperationError),
    /// Something could not be sealed.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// Our own keys.
    #[error(transparent)]
    OwnKeys(#[from] OwnKeysError),
    /// What was drafted does not fit any more: a fault of the caller's order of calls.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The invite does not allow it.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// No keys of an owner are known.
    #[error("no keys of an owner are known")]
    Unreachable,
    /// More members than one message can welcome: make the space with fewer and add the others.
    #[error("too many members for one message")]
    TooManyMembers,
    /// The device is none of the person's, or the person is not known.
    #[error("it is no device of this person")]
    NoDevice,
    /// A person has a device.
    #[error("the last device of the person would be gone")]
    LastDevice,
    /// A person has so many devices, and no more.
    #[error("the person has as many devices as it can have")]
    TooManyDevices,
    /// What was revoked once is not linked again: make new keys.
    #[error("the device was revoked; it needs new keys")]
    RevokedDevice,
    /// It was removed from a space in which our person is no owner: as one of its devices it would put the
    /// person out there. Make new keys, or have an owner add it first.
    #[error("the device was removed from a space of this person; it needs new keys")]
    RemovedDevice,
    /// The group is no team, or not known here, or not in the space.
    #[error("it is no team that is known here")]
    NoTeam,
    /// Somebody is no member of the team.
    #[error("it is no member of the team")]
    NotInTeam,
    /// A team is never an owner, and never manages another one: its members do not decide about others by it.
    #[error("a team cannot be an owner; make persons owners")]
    TeamOwner,
    /// The team would contain itself.
    #[error("the team would contain itself")]
    TeamCycle,
    /// More teams within teams than there may be.
    #[error("too many teams within each other")]
    TeamTooDeep,
    /// It is a member by a team only: change the team, or remove that from the space.
    #[error("it is a member by the team {0}; change the team, or remove the team from the space")]
    ByTeam(GroupId),
    /// What the space knows of the recovery key does not allow it, or not yet.
    #[error("the space does not know the recovery key as a member")]
    NotRecoverable,
    /// More bytes than can be sealed.
    #[error("too large to be sealed")]
    TooLarge,
    /// The space, or one of its groups, is of the other form of messages.
    #[error("the space has another form of messages")]
    Form,
    /// The space demands a suite that this version of the software does not speak.
    #[error("the space demands suite {0}, which this version does not speak")]
    Suite(u8),
    /// In the message scheme nobody reads what was written before.
    #[error("a space of the message scheme has no history")]
    History,
    /// The space has had nearly as many secrets as it can have, or all.
    #[error(
        "the space has {left} secrets left, for removals only: create another space and add its \
         members there"
    )]
    Ended {
        /// How many it can still have.
        left: usize,
    },
    /// What we signed is not accepted.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl LocalError {
    /// Whether it works after [`Spaces::heal`](crate::Spaces::heal).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            LocalError::HealFirst | LocalError::Encryption(OperationError::NoEligibleSecret)
        )
    }
}
