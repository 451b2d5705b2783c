//! The payloads of messages of a group.

use super::control::Control;
use crate::wire::{DecodeError, Reader, Wire, Writer, tuple};

/// Content of a group message.
pub type Payload = crate::Payload<Control, Encrypted>;

/// An answer, to be framed, signed, published and reported with [`published`].
///
/// [`published`]: crate::message::Group::published
pub type Outgoing = crate::Outgoing<Payload>;

/// A sealed message, to be framed, signed, published and reported with [`published`].
///
/// [`published`]: crate::message::Group::published
pub type Sent = Outgoing;

/// A message of the application, sealed with a key of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// Its number in the sender's ratchet.
    pub generation: u32,
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Wire for Encrypted {
    fn write(&self, w: &mut Writer) {
        w.array(2).uint(u64::from(self.generation));
        w.bytes(&self.ciphertext);
    }

    fn read(r: &mut Reader<'_>) -> Result<Encrypted, DecodeError> {
        tuple(r, 2, |r| {
            let generation = u32::try_from(r.uint()?).map_err(|_| DecodeError::Range)?;
            Ok(Encrypted {
                generation,
                ciphertext: r.bytes()?.to_vec(),
            })
        })
    }
}
