//! Control messages of the message scheme.

use p2panda_core::limits::ENCRYPTION_MEMBERS_MAX;

use crate::wire::{
    DecodeError, Fields, Items, Reader, Wire, Writer, field, list, unit, variant, write_list,
};
use crate::{Member, OperationId};

/// What everybody in the group hears of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The group begins.
    Create {
        /// Everybody, also the creator.
        initial_members: Vec<Member>,
    },
    /// Somebody took over a create, update or removal, or their own add.
    Ack {
        /// The author of the operation.
        ack_sender: Member,
        /// The operation.
        ack_seq: OperationId,
    },
    /// A new seed for the same members.
    Update,
    /// A member leaves, and the others get a new seed.
    Remove {
        /// Who leaves.
        removed: Member,
    },
    /// A member comes.
    Add {
        /// Who comes.
        added: Member,
    },
    /// Somebody took over the add of another member.
    AddAck {
        /// The author of the add.
        ack_sender: Member,
        /// The add.
        ack_seq: OperationId,
    },
}

impl Control {
    /// Whether it makes somebody a member.
    pub(super) fn admits(&self, member: &Member) -> bool {
        match self {
            Control::Create { initial_members } => initial_members.contains(member),
            Control::Add { added } => added == member,
            _ => false,
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
            Control::Ack {
                ack_sender,
                ack_seq,
            } => write_ack("Ack", ack_sender, ack_seq, w),
            Control::AddAck {
                ack_sender,
                ack_seq,
            } => write_ack("AddAck", ack_sender, ack_seq, w),
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
            ("Ack", true) => read_ack(r).map(|(ack_seq, ack_sender)| Control::Ack {
                ack_sender,
                ack_seq,
            }),
            ("AddAck", true) => read_ack(r).map(|(ack_seq, ack_sender)| Control::AddAck {
                ack_sender,
                ack_seq,
            }),
            _ => Err(DecodeError::Variant),
        }
    }
}

fn write_ack(name: &str, sender: &Member, operation: &OperationId, w: &mut Writer) {
    w.map(1).text(name).map(2);
    w.text("ack_seq").item(operation);
    w.text("ack_sender").item(sender);
}

fn read_ack(r: &mut Reader<'_>) -> Result<(OperationId, Member), DecodeError> {
    let mut fields = Fields::open(r)?;
    let operation = fields.required("ack_seq", OperationId::read)?;
    let sender = fields.required("ack_sender", Member::read)?;
    fields.close()?;
    Ok((operation, sender))
}
