//! Messages to one recipient, attached to a control message (`docs/protocol/encryption.md#2.1`).

use p2panda_core::cbor;
use p2panda_core::limits::DIRECT_MESSAGE_BYTES_MAX;
use thiserror::Error;

use crate::Member;
use crate::suite::Suite;
use crate::two_party::{ReceiveError, TwoPartyMessage};
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, variant};

/// A secret for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectMessage {
    /// Content for the recipient.
    pub content: Content,
    /// The member that can open it.
    pub recipient: Member,
}

/// Content of a direct message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// For a new member.
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

/// Reason why the direct messages of a control message give us no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DirectError {
    /// There is none for us, and we need one.
    #[error("a direct message of kind {0:?} is missing")]
    Missing(Kind),
    /// It is of another kind.
    #[error("expected a direct message of kind {expected:?}, got {got:?}")]
    Unexpected {
        /// The kind that the control message requires.
        expected: Kind,
        /// The received kind.
        got: Kind,
    },
    /// It is for somebody else.
    #[error("the direct message is for {0}")]
    NotOurs(Member),
    /// Several name us.
    #[error("several direct messages name us")]
    Ambiguous,
    /// It does not open.
    #[error(transparent)]
    TwoParty(#[from] ReceiveError),
}

impl DirectMessage {
    /// The suite of the channel that it goes through, as everybody can tell.
    pub fn suite(&self) -> Suite {
        self.content.ciphertext().ciphertext.suite()
    }

    /// Returns the ciphertext, if the message is of this kind and for this member.
    pub(crate) fn expect(&self, kind: Kind, me: &Member) -> Result<&TwoPartyMessage, DirectError> {
        let got = self.content.kind();
        if got != kind {
            let expected = kind;
            return Err(DirectError::Unexpected { expected, got });
        }
        if self.recipient != *me {
            return Err(DirectError::NotOurs(self.recipient));
        }
        Ok(self.content.ciphertext())
    }
}

/// The one direct message for a member, if there is one.
pub(crate) fn addressed<'d>(
    directs: &'d [DirectMessage],
    me: &Member,
) -> Result<Option<&'d DirectMessage>, DirectError> {
    let mut ours = directs.iter().filter(|direct| direct.recipient == *me);
    match (ours.next(), ours.next()) {
        (_, Some(_)) => Err(DirectError::Ambiguous),
        (first, None) => Ok(first),
    }
}

/// The kinds of direct messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// [`Content::Welcome`].
    Welcome,
    /// [`Content::TwoParty`].
    TwoParty,
    /// [`Content::Forward`].
    Forward,
}

impl Content {
    /// Returns the kind of the content.
    pub fn kind(&self) -> Kind {
        match self {
            Content::Welcome { .. } => Kind::Welcome,
            Content::TwoParty { .. } => Kind::TwoParty,
            Content::Forward { .. } => Kind::Forward,
        }
    }

    /// Returns the ciphertext that only the recipient opens.
    pub(crate) fn ciphertext(&self) -> &TwoPartyMessage {
        match self {
            Content::Welcome { ciphertext, .. }
            | Content::TwoParty { ciphertext }
            | Content::Forward { ciphertext } => ciphertext,
        }
    }

    /// Bytes of ciphertext and history.
    pub(crate) fn bytes(&self) -> usize {
        let history = match self {
            Content::Welcome { history, .. } => history.len(),
            _ => 0,
        };
        history.saturating_add(self.ciphertext().ciphertext.bytes())
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

/// Direct messages as part of a stored state. Each keeps the limits of nesting for itself that it
/// was received under.
pub(crate) fn store(directs: &[DirectMessage], w: &mut Writer) {
    w.array(directs.len());
    for direct in directs {
        w.bytes(&direct.encode());
    }
}

/// The inverse of [`store`].
pub(crate) fn restore(r: &mut Reader<'_>) -> Result<Vec<DirectMessage>, DecodeError> {
    let count = r.array()?;
    (0..count)
        .map(|_| {
            let mut direct = Reader::checked(r.bytes()?, cbor::VALUE)?;
            DirectMessage::read(&mut direct)
        })
        .collect()
}
