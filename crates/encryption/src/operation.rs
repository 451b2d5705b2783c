//! Checks that both schemes begin with, and reasons why an operation of ours is not drafted.

use p2panda_core::ordered::BTreeSet;

use p2panda_core::limits::GROUP_MEMBERS_MAX;
use thiserror::Error;

use crate::Member;
use crate::aead::AeadError;
use crate::limit::Limit;
use crate::message::RatchetError;
use crate::sessions::{Context, DeliverError};

/// Reason why an operation of ours was not drafted or a message not sealed; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OperationError {
    /// We are in the group already.
    #[error("the group already exists")]
    GroupAlreadyEstablished,
    /// We are not in the group, or not yet.
    #[error("the group does not exist for us yet")]
    GroupNotYetEstablished,
    /// We cannot add ourselves.
    #[error("a member cannot add itself")]
    NotAddOurselves,
    /// The member is in the group already.
    #[error("{0} is already a member")]
    AddedExistsAlready(Member),
    /// Nobody of that name is in the group.
    #[error("{0} is not a member")]
    InexistentRemovedMember(Member),
    /// Data scheme: no secret is held by exactly the members. Call `update` first.
    #[error("no secret is held by exactly the members")]
    NoEligibleSecret,
    /// Message scheme: a member that left can still follow our chain. Call `update` first.
    #[error("a member that left can still read: update first")]
    RekeyRequired,
    /// Message scheme: what was produced before has no id yet. Call
    /// [`published`](crate::message::Group::published).
    #[error("the message before has no id yet")]
    Unpublished,
    /// This is an older copy of our state, restored from a backup. Call `update` first.
    #[error("the state was restored from a backup: update first")]
    Restored,
    /// Something could not be encrypted for a member.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// Data scheme: the data is too long for the cipher.
    #[error(transparent)]
    Aead(#[from] AeadError),
    /// Message scheme: the own ratchet is at its end, or the message too long.
    #[error(transparent)]
    Ratchet(#[from] RatchetError),
    /// A bound was reached.
    #[error(transparent)]
    Limit(#[from] Limit),
}

/// Refuses to create what exists or existed, and lists that are too long; we come on top.
pub(crate) fn check_create(
    exists: bool,
    members: &[Member],
    context: &Context<'_>,
) -> Result<(), OperationError> {
    if exists {
        return Err(OperationError::GroupAlreadyEstablished);
    }
    Ok(context.within(members.len() + 1)?)
}

/// Refuses to add anyone who is a member, and one more than there may be.
pub(crate) fn check_add(
    added: Member,
    me: Member,
    members: &BTreeSet<Member>,
) -> Result<(), OperationError> {
    if added == me {
        return Err(OperationError::NotAddOurselves);
    }
    if members.contains(&added) {
        return Err(OperationError::AddedExistsAlready(added));
    }
    if members.len() >= GROUP_MEMBERS_MAX {
        return Err(Limit::Members.into());
    }
    Ok(())
}

/// Checks a removal and returns who is left; one who is no member cannot be removed.
pub(crate) fn check_remove(
    removed: Member,
    mut members: BTreeSet<Member>,
) -> Result<BTreeSet<Member>, OperationError> {
    match members.remove(&removed) {
        true => Ok(members),
        false => Err(OperationError::InexistentRemovedMember(removed)),
    }
}
