//! Members, actions and operations.

use core::fmt;

use p2panda_core::{Hash, VerifyingKey};

use crate::{Access, bound_group_id};

/// Names a group: the public half of a key that nobody uses to sign.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(VerifyingKey);

impl GroupId {
    /// The bytes as they cross the wire.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The id as the key that it is.
    pub const fn as_key(&self) -> &VerifyingKey {
        &self.0
    }
}

impl From<VerifyingKey> for GroupId {
    fn from(key: VerifyingKey) -> GroupId {
        GroupId(key)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

/// Someone or something that has access to a group.
///
/// The kind is part of the identity: an individual and a group of one id are two members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A single key, such as that of a device.
    Individual(VerifyingKey),
    /// Another group, with all its members.
    Group(GroupId),
}

impl Member {
    /// The id without the kind.
    pub fn key(&self) -> &VerifyingKey {
        match self {
            Member::Individual(key) => key,
            Member::Group(group) => group.as_key(),
        }
    }
}

impl From<VerifyingKey> for Member {
    fn from(key: VerifyingKey) -> Member {
        Member::Individual(key)
    }
}

impl From<GroupId> for Member {
    fn from(group: GroupId) -> Member {
        Member::Group(group)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::Individual(key) => key.fmt(f),
            Member::Group(group) => write!(f, "group {group}"),
        }
    }
}

/// Effect of an operation on its group (`docs/protocol/groups.md#3`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Makes the group.
    Create {
        /// The first members; of a member that occurs twice the later entry counts.
        initial_members: Vec<(Member, Access)>,
    },
    /// Makes someone a member, for the first time or again.
    Add {
        /// New member.
        member: Member,
        /// Access of the new member.
        access: Access,
    },
    /// Ends a membership.
    Remove {
        /// Member that the action is about.
        member: Member,
    },
    /// Raises the access of a member.
    Promote {
        /// Member that the action is about.
        member: Member,
        /// The new access.
        access: Access,
    },
    /// Lowers the access of a member.
    Demote {
        /// Member that the action is about.
        member: Member,
        /// The new access.
        access: Access,
    },
}

impl Action {
    /// The member that the action is about; none for a create.
    pub fn member(&self) -> Option<Member> {
        match self {
            Action::Create { .. } => None,
            Action::Add { member, .. }
            | Action::Remove { member }
            | Action::Promote { member, .. }
            | Action::Demote { member, .. } => Some(*member),
        }
    }

    /// The access that the action names; none for create and remove.
    pub fn access(&self) -> Option<Access> {
        match self {
            Action::Create { .. } | Action::Remove { .. } => None,
            Action::Add { access, .. }
            | Action::Promote { access, .. }
            | Action::Demote { access, .. } => Some(*access),
        }
    }
}

/// Content of an operation in its header extensions; id and author come from the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The group that is changed.
    pub group: GroupId,
    /// The heads of the whole graph as the author knew it, over all groups.
    pub dependencies: Vec<Hash>,
    /// Action of the operation.
    pub action: Action,
    /// Binds the id of a new group to its creator; only read with [`Action::Create`].
    pub nonce: Option<[u8; 32]>,
}

/// A complete operation on a group. Its signature was verified by the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The hash of the operation's header.
    pub id: Hash,
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Content of the operation.
    pub arguments: Arguments,
}

impl Operation {
    /// True for a create whose group id belongs to its author (`docs/protocol/groups.md#4`).
    pub fn is_bound_create(&self) -> bool {
        let Arguments {
            group,
            nonce,
            action,
            ..
        } = &self.arguments;
        matches!(action, Action::Create { .. })
            && nonce.is_some_and(|nonce| bound_group_id(&self.author, &nonce) == *group)
    }
}
