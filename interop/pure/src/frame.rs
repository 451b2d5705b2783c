//! What travels between members of an encrypted group.

use p2panda_core::Hash;
use p2panda_encryption::{Member, OperationId};

/// The part of a signed operation that matters here. Signatures are left out: nobody forges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Unique; with our messages the hash of the rest.
    pub id: OperationId,
    /// The author.
    pub sender: Member,
    /// The messages that come before this one.
    pub dependencies: Vec<OperationId>,
    /// The content.
    pub body: Body,
}

/// The content of a [`Frame`], encoded as in `docs/protocol/encryption.md#2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A change of the group.
    Control {
        /// For everybody.
        control: Vec<u8>,
        /// For one recipient each.
        directs: Vec<Vec<u8>>,
    },
    /// Data of the data scheme.
    Data {
        /// The id of the group secret.
        secret: [u8; 32],
        /// Of XChaCha20-Poly1305.
        nonce: [u8; 24],
        /// With its tag.
        ciphertext: Vec<u8>,
    },
    /// A message of the message scheme.
    Message {
        /// Its number in the sender's ratchet.
        generation: u32,
        /// With its tag.
        ciphertext: Vec<u8>,
    },
}

impl Frame {
    /// Names the message by its content.
    pub fn new(sender: Member, dependencies: Vec<OperationId>, body: Body) -> Frame {
        let mut parts: Vec<&[u8]> = vec![sender.as_bytes()];
        parts.extend(dependencies.iter().map(|id| &id.as_bytes()[..]));
        let number;
        match &body {
            Body::Control { control, directs } => {
                parts.push(control);
                parts.extend(directs.iter().map(|direct| &direct[..]));
            }
            Body::Data {
                secret,
                nonce,
                ciphertext,
            } => parts.extend([&secret[..], &nonce[..], ciphertext]),
            Body::Message {
                generation,
                ciphertext,
            } => {
                number = generation.to_be_bytes();
                parts.extend([&number[..], ciphertext]);
            }
        }
        Frame {
            id: Hash::digest_parts(&parts),
            sender,
            dependencies,
            body,
        }
    }

    /// Bytes of the content, without what every operation has.
    pub fn bytes(&self) -> usize {
        match &self.body {
            Body::Control { control, directs } => {
                control.len() + directs.iter().map(Vec::len).sum::<usize>()
            }
            Body::Data { ciphertext, .. } => 32 + 24 + ciphertext.len(),
            Body::Message { ciphertext, .. } => 4 + ciphertext.len(),
        }
    }
}
