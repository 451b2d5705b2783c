//! Errors of local actions.

use p2panda_encryption::data::{CommitError, OperationError};
use p2panda_encryption::{DeliverError, OwnKeysError};
use p2panda_groups::GroupId;
use thiserror::Error;

use crate::receive::ProcessError;
use crate::sealed::InviteError;
use crate::{Role, SpaceId};

/// Why an action of this node failed. If nothing was signed, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// This node does not know the space.
    #[error("the space {0} is unknown")]
    UnknownSpace(SpaceId),
    /// A space with this id exists.
    #[error("the space {0} exists")]
    SpaceExists(SpaceId),
    /// Our role does not allow the action.
    #[error("our role does not allow it: {0:?}")]
    Role(Option<Role>),
    /// We are an owner without secrets of the space: another member has to heal it first.
    #[error("nobody has given us the secrets of the space yet")]
    NotWelcomed,
    /// The action would leave the space without an owner.
    #[error("the last owner would be gone")]
    LastOwner,
    /// There is no secret, or a former member knows it: heal first, then try again.
    #[error("the space has to be healed first")]
    HealFirst,
    /// The encryption of the group refuses the action.
    #[error(transparent)]
    Encryption(#[from] OperationError),
    /// Sealing failed.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// An error of our own keys.
    #[error(transparent)]
    OwnKeys(#[from] OwnKeysError),
    /// The draft is outdated: the caller changed the group between drafting and publishing.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The invite does not allow the request.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// This node knows no keys of an owner.
    #[error("no keys of an owner are known")]
    Unreachable,
    /// One message cannot welcome so many members: create the space with fewer, then add the
    /// others.
    #[error("too many members for one message")]
    TooManyMembers,
    /// The key is not a device of the person, or this node does not know the person.
    #[error("it is no device of this person")]
    NoDevice,
    /// A person must keep one device.
    #[error("the last device of the person would be gone")]
    LastDevice,
    /// The person has as many devices as the limit allows.
    #[error("the person has as many devices as it can have")]
    TooManyDevices,
    /// A revoked key cannot be linked again: create new keys on that device.
    #[error("the device was revoked; it needs new keys")]
    RevokedDevice,
    /// The key was removed from a space in which our person is not an owner. Linking it would
    /// remove the person from that space. Create new keys on that device, or ask an owner to add it
    /// first.
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
    /// In this space the recovery key is not, or not yet, a member.
    #[error("the space does not know the recovery key as a member")]
    NotRecoverable,
    /// The data is above the limit for sealing.
    #[error("too large to be sealed")]
    TooLarge,
    /// The space, or one of its groups, uses the other form of messages.
    #[error("the space has another form of messages")]
    Form,
    /// The space requires a suite that this version does not support.
    #[error("the space demands suite {0}, which this version does not speak")]
    Suite(u8),
    /// In the message scheme members never read earlier messages.
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
    /// The rules of groups refuse the operation that we signed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl LocalError {
    /// Whether the action succeeds after [`Spaces::heal`](crate::Spaces::heal).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            LocalError::HealFirst | LocalError::Encryption(OperationError::NoEligibleSecret)
        )
    }
}
