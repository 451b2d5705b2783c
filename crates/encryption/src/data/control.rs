//! Control messages of the data scheme.

use p2panda_core::limits::ENCRYPTION_MEMBERS_MAX;

use crate::Member;
use crate::wire::{
    DecodeError, Items, Reader, Wire, Writer, field, list, unit, variant, write_list,
};

/// What everybody in the group hears of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The group begins.
    Create {
        /// Everybody, also the creator.
        initial_members: Vec<Member>,
    },
    /// A new secret for the same members.
    Update,
    /// A member leaves, and the others get a new secret.
    Remove {
        /// Who leaves.
        removed: Member,
    },
    /// A member comes.
    Add {
        /// Who comes.
        added: Member,
    },
}

impl Control {
    /// Whether it makes somebody a member.
    pub(super) fn admits(&self, member: &Member) -> bool {
        match self {
            Control::Create { initial_members } => initial_members.contains(member),
            Control::Add { added } => added == member,
            Control::Update | Control::Remove { .. } => false,
        }
    }
}

impl Wire for Control {
    fn write(&self, w: &mut Writer) {
        match self {
            Control::Create { initial_members } => {
                w.map(1).text("Create").map(1).text("initial_members");
                write_list(initial_members, w);
            }
            Control::Update => {
                w.text("Update");
            }
            Control::Remove { removed } => {
                w.map(1).text("Remove").map(1).text("removed").item(removed);
            }
            Control::Add { added } => {
                w.map(1).text("Add").map(1).text("added").item(added);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Control, DecodeError> {
        match variant(r)? {
            ("Update", value) => unit(r, value).map(|()| Control::Update),
            ("Create", true) => {
                let initial_members =
                    field(r, "initial_members", |r| list(r, ENCRYPTION_MEMBERS_MAX))?;
                Ok(Control::Create { initial_members })
            }
            ("Remove", true) => {
                let removed = field(r, "removed", Member::read)?;
                Ok(Control::Remove { removed })
            }
            ("Add", true) => {
                let added = field(r, "added", Member::read)?;
                Ok(Control::Add { added })
            }
            _ => Err(DecodeError::Variant),
        }
    }
}
