//! Control messages: how the members of a group learn of a change, in both schemes
//! (`docs/protocol/encryption.md#2`).

use p2panda_core::limits::GROUP_MEMBERS_MAX;

use crate::Member;
use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, field, list, unit, variant, write_list,
};

/// A change of the group, as everybody in it hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The group begins.
    Create {
        /// Everybody, also the creator.
        initial_members: Vec<Member>,
    },
    /// A new secret, or seed in the message scheme, for the same members.
    Update,
    /// A member leaves, and the others get a new secret or seed.
    Remove {
        /// Member that leaves.
        removed: Member,
    },
    /// A member comes.
    Add {
        /// Member that joins.
        added: Member,
    },
}

/// A control message of either scheme.
pub(crate) trait ControlMessage: Wire {
    /// The change, unless it only acknowledges one.
    fn change(&self) -> Option<&Change>;
}

impl ControlMessage for Change {
    fn change(&self) -> Option<&Change> {
        Some(self)
    }
}

impl Change {
    /// The members that the group begins with; none where it has begun.
    pub(crate) fn initial_members(&self) -> &[Member] {
        match self {
            Change::Create { initial_members } => initial_members,
            _ => &[],
        }
    }

    /// Returns `true` if it makes somebody a member.
    pub(crate) fn admits(&self, member: &Member) -> bool {
        match self {
            Change::Create { initial_members } => initial_members.contains(member),
            Change::Add { added } => added == member,
            Change::Update | Change::Remove { .. } => false,
        }
    }

    /// Reads what follows the name of a variant.
    pub(crate) fn read_variant(
        (name, value_follows): (&str, bool),
        r: &mut Reader<'_>,
    ) -> Result<Change, DecodeError> {
        match (name, value_follows) {
            ("Update", value) => unit(r, value).map(|()| Change::Update),
            ("Create", true) => {
                let initial_members = field(r, "initial_members", |r| list(r, GROUP_MEMBERS_MAX))?;
                Ok(Change::Create { initial_members })
            }
            ("Remove", true) => {
                let removed = field(r, "removed", Member::read)?;
                Ok(Change::Remove { removed })
            }
            ("Add", true) => {
                let added = field(r, "added", Member::read)?;
                Ok(Change::Add { added })
            }
            _ => Err(DecodeError::Variant),
        }
    }
}

impl Wire for Change {
    fn write(&self, w: &mut Writer) {
        match self {
            Change::Create { initial_members } => {
                w.map(1).text("Create").map(1).text("initial_members");
                write_list(initial_members, w);
            }
            Change::Update => {
                w.text("Update");
            }
            Change::Remove { removed } => {
                w.map(1).text("Remove").map(1).text("removed").item(removed);
            }
            Change::Add { added } => {
                w.map(1).text("Add").map(1).text("added").item(added);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Change, DecodeError> {
        Change::read_variant(variant(r)?, r)
    }
}
