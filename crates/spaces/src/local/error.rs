//! Errors of local actions.

use p2panda_core::VerifyingKey;
use p2panda_core::limits::{SPACE_NAME_BYTES_MAX, SPACE_ROTATION_DAYS_MAX};
use p2panda_encryption::data::{CommitError, OperationError};
use p2panda_encryption::{DeliverError, OwnKeysError};
use p2panda_groups::GroupId;
use thiserror::Error;

use crate::receive::ProcessError;
use crate::sealed::InviteError;
use crate::{Role, SpaceId};

/// Reason why an action of this node failed. If nothing was signed, nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// This node does not know the space.
    #[error("this node does not know space {0}; wait until its messages have synced")]
    UnknownSpace(SpaceId),
    /// A space with this id exists.
    #[error("space {0} already exists")]
    SpaceExists(SpaceId),
    /// Our role does not allow the action.
    #[error("{}", refused_role(*.0))]
    Role(Option<Role>),
    /// We are an owner without secrets of the space: another member has to heal it first.
    #[error("no member has sent us the secrets of the space yet; stay online and try again")]
    NotWelcomed,
    /// The action would leave the space without an owner.
    #[error("the space would have no owner; make another member an owner first")]
    LastOwner,
    /// None of the owners that would remain was sent the secrets of the space and is not revoked.
    #[error(
        "no owner that remains has the secrets of the space, as far as this node knows ({}); wait until \
         one of them is online, or make another member an owner first",
        keys(.0)
    )]
    NoUsableOwner(Vec<VerifyingKey>),
    /// There is no secret, or a former member knows it: heal first, then try again.
    #[error("the space has no secret that only its members know; heal it first")]
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
    #[error("no keys of an owner have arrived yet; stay online and try again")]
    Unreachable,
    /// One message cannot welcome so many members: create the space with fewer, then add the
    /// others.
    #[error("one message cannot welcome so many members; add some of them later")]
    TooManyMembers,
    /// The key is not a device of the person, or this node does not know the person.
    #[error("the key is not a device of this person")]
    NoDevice,
    /// Nobody can sign with the key that is to become a member.
    #[error("nobody can sign with this key; ask the member for its id")]
    UnusableKey,
    /// A person must keep one device.
    #[error("the person would have no device; link another one first")]
    LastDevice,
    /// The person has as many devices as the limit allows.
    #[error("the person has the most devices possible; revoke one first")]
    TooManyDevices,
    /// A revoked key cannot be linked again: create new keys on that device.
    #[error("the device was revoked; create new keys on it and link it again")]
    RevokedDevice,
    /// The key was removed from a space in which our person is not an owner. Linking it would
    /// remove the person from that space. Create new keys on that device, or ask an owner to add it
    /// first. Also if a person that is to be added lists a key that was removed from the space.
    #[error("the device was removed from a space of this person; create new keys on it")]
    RemovedDevice,
    /// The group is not a team, is not known here, or is not in the space.
    #[error("this node does not know the team, or the team is not in the space")]
    NoTeam,
    /// The person or device is not a member of the team.
    #[error("that person or device is not a member of the team")]
    NotInTeam,
    /// A team is never an owner, and never manages another one: its members do not decide about others by it.
    #[error("a team cannot be an owner; make persons owners")]
    TeamOwner,
    /// The team would contain itself.
    #[error("the team would contain itself")]
    TeamCycle,
    /// Teams are nested too deeply.
    #[error("teams are nested too deeply")]
    TeamTooDeep,
    /// It is a member by a team only: change the team, or remove that from the space.
    #[error("it is a member through team {0}; change the team, or remove the team from the space")]
    ByTeam(GroupId),
    /// It is a member only because a person lists it, which the key itself has not said: name the person.
    #[error(
        "it is a member only through person {0}, and has not said that it belongs to it; name the person"
    )]
    ByPerson(GroupId),
    /// In this space the recovery key is not, or not yet, a member.
    #[error("the recovery key is not a member of the space, as far as has synced; stay online")]
    NotRecoverable,
    /// The data is above the limit for sealing.
    #[error("the data is too large to be sealed; split it")]
    TooLarge,
    /// The name of a space or a team is above the limit.
    #[error("the name has {bytes} bytes; {SPACE_NAME_BYTES_MAX} fit")]
    NameTooLong {
        /// Length of the name.
        bytes: usize,
    },
    /// The invite would admit nobody.
    #[error("an invite has at least 1 use")]
    NoUses,
    /// The space, or one of its groups, uses the other form of messages.
    #[error("the space uses the other form of messages")]
    Form,
    /// The space requires a suite that this version does not support.
    #[error("the space requires suite {0}, which this version does not support; update this node")]
    Suite(u8),
    /// The caller asked for a suite that this version cannot make a space require.
    #[error("a space cannot require suite {suite}: this version supports suite {supported}")]
    NoSuite {
        /// The suite that the caller asked for.
        suite: u8,
        /// The suite that this version supports between our own nodes.
        supported: u8,
    },
    /// A new secret cannot be asked for after so many days.
    #[error("a secret is replaced after {SPACE_ROTATION_DAYS_MAX} days at most")]
    TooManyDays,
    /// In the message scheme members never read earlier messages.
    #[error("a space of the message scheme cannot give newcomers its history; turn that off")]
    History,
    /// The space has had nearly as many secrets as it can have, or all.
    #[error(
        "the space has {left} secrets left, for removals only: create another space and add its \
         members there"
    )]
    Ended {
        /// Number of secrets that it can still have.
        left: usize,
    },
    /// The rules of groups refuse the operation that we signed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

fn refused_role(role: Option<Role>) -> String {
    match role {
        Some(role) => format!("our role ({role}) does not allow this; ask an owner of the space"),
        None => "we are not a member of the space; ask an owner of the space".to_owned(),
    }
}

fn keys(keys: &[VerifyingKey]) -> String {
    let keys: Vec<String> = keys.iter().map(VerifyingKey::to_string).collect();
    keys.join(", ")
}

impl LocalError {
    /// Returns `true` if the action succeeds after [`Spaces::heal`](crate::Spaces::heal).
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            LocalError::HealFirst | LocalError::Encryption(OperationError::NoEligibleSecret)
        )
    }
}
