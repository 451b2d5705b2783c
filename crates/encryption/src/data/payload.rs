//! What the messages of a group say.

use super::control::Control;
use super::secret::SecretId;
use crate::direct::{self, DirectMessage};
use crate::orderer;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, ints_array, tuple, variant};
use crate::{Member, OperationId};

/// What a group message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A change of the group.
    Control {
        /// For everybody.
        control: Control,
        /// For one recipient each.
        directs: Vec<DirectMessage>,
    },
    /// Data of the application.
    Application {
        /// The secret it is sealed under.
        secret: SecretId,
        /// Drawn for this message.
        nonce: [u8; 24],
        /// Ciphertext and tag.
        ciphertext: Vec<u8>,
    },
}

/// Sealed data, ready to be framed and signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The application payload.
    pub payload: Payload,
    /// The messages to name as processed before this one.
    pub dependencies: Vec<OperationId>,
}

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
                secret,
                nonce,
                ciphertext,
            } => {
                w.map(1).text("Application").array(3).item(secret);
                w.ints(nonce).bytes(ciphertext);
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
            ("Application", true) => tuple(r, 3, |r| {
                Ok(Payload::Application {
                    secret: SecretId::read(r)?,
                    nonce: ints_array(r)?,
                    ciphertext: r.bytes()?.to_vec(),
                })
            }),
            _ => Err(DecodeError::Variant),
        }
    }
}
