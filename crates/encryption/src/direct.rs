//! Messages to one recipient, attached to a control message (`docs/protocol/encryption.md#2.1`).

use p2panda_core::cbor;

use crate::Member;
use crate::limits::DIRECT_MESSAGE_BYTES_MAX;
use crate::two_party::TwoPartyMessage;
use crate::wire::{DecodeError, Fields, Reader, Wire, Writer, variant};

/// A secret for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// What it carries.
    pub content: Content,
    /// Who can open it.
    pub recipient: Member,
}

/// What a direct message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// What a new member needs.
    Welcome {
        /// The membership before the add: one CBOR item, in clear.
        history: Vec<u8>,
        /// Group secrets, or a chain secret in the message scheme.
        ciphertext: TwoPartyMessage,
    },
    /// A group secret, or a seed in the message scheme.
    TwoParty {
        /// The secret.
        ciphertext: TwoPartyMessage,
    },
    /// A secret handed on to a member that was added at the same time; message scheme only.
    Forward {
        /// The secret.
        ciphertext: TwoPartyMessage,
    },
}

/// The kinds of direct messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Content::Welcome`].
    Welcome,
    /// [`Content::TwoParty`].
    TwoParty,
    /// [`Content::Forward`].
    Forward,
}

impl Content {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Content::Welcome { .. } => Kind::Welcome,
            Content::TwoParty { .. } => Kind::TwoParty,
            Content::Forward { .. } => Kind::Forward,
        }
    }
}

impl Wire for DirectMessage {
    fn write(&self, w: &mut Writer) {
        w.map(2).text("content").item(&self.content);
        w.text("recipient").item(&self.recipient);
    }

    fn read(r: &mut Reader<'_>) -> Result<DirectMessage, DecodeError> {
        let mut fields = Fields::open(r)?;
        let content = fields.required("content", Content::read)?;
        let recipient = fields.required("recipient", Member::read)?;
        fields.close()?;
        Ok(DirectMessage { content, recipient })
    }

    fn decode(bytes: &[u8]) -> Result<DirectMessage, DecodeError> {
        if bytes.len() > DIRECT_MESSAGE_BYTES_MAX {
            return Err(DecodeError::TooLarge);
        }
        let mut r = Reader::checked(bytes, cbor::VALUE)?;
        let message = DirectMessage::read(&mut r)?;
        r.finish()?;
        Ok(message)
    }
}

impl Wire for Content {
    fn write(&self, w: &mut Writer) {
        match self {
            Content::Welcome {
                history,
                ciphertext,
            } => {
                w.map(1).text("Welcome").map(2);
                w.text("history").raw(history);
                w.text("ciphertext").item(ciphertext);
            }
            Content::TwoParty { ciphertext } => {
                w.map(1).text("TwoParty").map(1);
                w.text("ciphertext").item(ciphertext);
            }
            Content::Forward { ciphertext } => {
                w.map(1).text("Forward").map(1);
                w.text("ciphertext").item(ciphertext);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Content, DecodeError> {
        let (name, true) = variant(r)? else {
            return Err(DecodeError::Variant);
        };
        if name == "Welcome" {
            let mut fields = Fields::open(r)?;
            let history = fields.required("history", |r| Ok(r.item()?.to_vec()))?;
            let ciphertext = fields.required("ciphertext", TwoPartyMessage::read)?;
            fields.close()?;
            return Ok(Content::Welcome {
                history,
                ciphertext,
            });
        }
        let mut fields = Fields::open(r)?;
        let ciphertext = fields.required("ciphertext", TwoPartyMessage::read)?;
        fields.close()?;
        match name {
            "TwoParty" => Ok(Content::TwoParty { ciphertext }),
            "Forward" => Ok(Content::Forward { ciphertext }),
            _ => Err(DecodeError::Variant),
        }
    }
}
