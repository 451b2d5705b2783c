//! The payloads of messages of a group, in both schemes.

use crate::OperationId;
use crate::direct::{self, DirectMessage};
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, tuple, variant};

/// Content of a group message: `C` are the control messages of the scheme, `E` is what it seals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<C, E> {
    /// A change of the group, or an acknowledgement.
    Control {
        /// For everybody.
        control: C,
        /// For one recipient each.
        directs: Vec<DirectMessage>,
    },
    /// Data of the application.
    Application(E),
}

/// A message of ours, to be framed, signed and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing<P> {
    /// Content of the message.
    pub payload: P,
    /// The messages to name as processed before this one.
    pub dependencies: Vec<OperationId>,
}

impl<C, E> Payload<C, E> {
    /// The control message, if it is one.
    pub(crate) fn control(&self) -> Option<&C> {
        match self {
            Payload::Control { control, .. } => Some(control),
            Payload::Application(_) => None,
        }
    }

    /// The direct messages, if it is a control message, which later ones of everybody depend on.
    pub(crate) fn directs(&self) -> Option<&[DirectMessage]> {
        match self {
            Payload::Control { directs, .. } => Some(directs),
            Payload::Application(_) => None,
        }
    }
}

impl<C: Wire, E: Wire> Wire for Payload<C, E> {
    fn write(&self, w: &mut Writer) {
        match self {
            Payload::Control { control, directs } => {
                w.map(1).text("Control").array(2).item(control);
                direct::store(directs, w);
            }
            Payload::Application(encrypted) => {
                w.map(1).text("Application").item(encrypted);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Payload<C, E>, DecodeError> {
        match variant(r)? {
            ("Control", true) => tuple(r, 2, |r| {
                Ok(Payload::Control {
                    control: C::read(r)?,
                    directs: direct::restore(r)?,
                })
            }),
            ("Application", true) => E::read(r).map(Payload::Application),
            _ => Err(DecodeError::Variant),
        }
    }
}
