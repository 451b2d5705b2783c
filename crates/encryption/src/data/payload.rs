//! The payloads of messages of a group.

use super::Control;
use super::secret::SecretId;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, ints_array, tuple};

/// Content of a group message.
pub type Payload = crate::Payload<Control, Encrypted>;

/// Sealed data, ready to be framed and signed.
pub type Sent = crate::Outgoing<Payload>;

/// Data of the application, sealed under a group secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encrypted {
    /// The secret it is sealed under.
    pub secret: SecretId,
    /// Drawn for this message.
    pub nonce: [u8; 24],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl Wire for Encrypted {
    fn write(&self, w: &mut Writer) {
        w.array(3).item(&self.secret);
        w.ints(&self.nonce).bytes(&self.ciphertext);
    }

    fn read(r: &mut Reader<'_>) -> Result<Encrypted, DecodeError> {
        tuple(r, 3, |r| {
            Ok(Encrypted {
                secret: SecretId::read(r)?,
                nonce: ints_array(r)?,
                ciphertext: r.bytes()?.to_vec(),
            })
        })
    }
}
