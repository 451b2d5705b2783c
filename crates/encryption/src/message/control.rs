//! Control messages of the message scheme.

use crate::control::{Change, ControlMessage};
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, variant};
use crate::{Member, OperationId};

/// Message that everybody in the group is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// A change of members, or a new seed.
    Change(Change),
    /// Somebody took over a create, update or removal, or their own add.
    Ack {
        /// The author of the operation.
        ack_sender: Member,
        /// Id of the acknowledged operation.
        ack_seq: OperationId,
    },
    /// Somebody took over the add of another member.
    AddAck {
        /// The author of the add.
        ack_sender: Member,
        /// The add.
        ack_seq: OperationId,
    },
}

impl From<Change> for Control {
    fn from(change: Change) -> Control {
        Control::Change(change)
    }
}

impl ControlMessage for Control {
    fn change(&self) -> Option<&Change> {
        match self {
            Control::Change(change) => Some(change),
            Control::Ack { .. } | Control::AddAck { .. } => None,
        }
    }
}

impl Wire for Control {
    fn write(&self, w: &mut Writer) {
        match self {
            Control::Change(change) => change.write(w),
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
            ("Ack", true) => read_ack(r).map(|(ack_seq, ack_sender)| Control::Ack {
                ack_sender,
                ack_seq,
            }),
            ("AddAck", true) => read_ack(r).map(|(ack_seq, ack_sender)| Control::AddAck {
                ack_sender,
                ack_seq,
            }),
            change => Change::read_variant(change, r).map(Control::Change),
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
