//! What the messages of a group say.

use super::control::Control;
use crate::direct::{self, DirectMessage};
use crate::orderer;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, tuple, variant};
use crate::{Member, OperationId};

/// What a group message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A change of the group, or an acknowledgement.
    Control {
        /// For everybody.
        control: Control,
        /// For one recipient each.
        directs: Vec<DirectMessage>,
    },
    /// A message of the application.
    Application {
        /// Its number in the sender's ratchet.
        generation: u32,
        /// Ciphertext and tag.
        ciphertext: Vec<u8>,
    },
}

/// An answer, to be framed, signed, published and reported with [`published`].
///
/// [`published`]: crate::message::Group::published
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The acknowledgement.
    pub payload: Payload,
    /// The messages to name as processed before this one.
    pub dependencies: Vec<OperationId>,
}

/// A sealed message, to be framed, signed, published and reported with [`published`].
///
/// [`published`]: crate::message::Group::published
pub type Sent = Outgoing;

impl orderer::Payload for Payload {
    fn directs(&self) -> Option<&[DirectMessage]> {
        match self {
            Payload::Control { directs, .. } => Some(directs),
            Payload::Application { .. } => None,
        }
    }

    fn creates(&self) -> Option<&[Member]> {
        match self {
            Payload::Control {
                control: Control::Create { initial_members },
                ..
            } => Some(initial_members),
            _ => None,
        }
    }

    fn admits(&self, member: &Member) -> bool {
        match self {
            Payload::Control { control, .. } => control.admits(member),
            Payload::Application { .. } => false,
        }
    }
}

impl Wire for Payload {
    fn write(&self, w: &mut Writer) {
        match self {
            Payload::Control { control, directs } => {
                w.map(1).text("Control").array(2).item(control);
                direct::store(directs, w);
            }
            Payload::Application {
                generation,
                ciphertext,
            } => {
                w.map(1).text("Application").array(2);
                w.uint(u64::from(*generation)).bytes(ciphertext);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Payload, DecodeError> {
        match variant(r)? {
            ("Control", true) => tuple(r, 2, |r| {
                Ok(Payload::Control {
                    control: Control::read(r)?,
                    directs: direct::restore(r)?,
                })
            }),
            ("Application", true) => tuple(r, 2, |r| {
                let generation = u32::try_from(r.uint()?).map_err(|_| DecodeError::Range)?;
                Ok(Payload::Application {
                    generation,
                    ciphertext: r.bytes()?.to_vec(),
                })
            }),
            _ => Err(DecodeError::Variant),
        }
    }
}
