//! Spaces between our own nodes, in the form of which nobody else learns who is in them
//! (`docs/protocol/spaces.md#9`).

mod body;
mod chain_rows;
mod chains;
mod floor;
mod invites;
mod messages;
mod publish;
mod receive;
mod ring;
mod runs;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod vector_tests;

use p2panda_core::{Hash, Signature, VerifyingKey};
use p2panda_encryption::data::SecretId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Invalid, Refusal, Role, SpaceId, Verdict};

pub(crate) use body::{
    Body, GroupOperation, STRUCTURE, Structure, read_array, read_key, read_list, read_optional,
};
#[cfg(test)]
pub(crate) use body::{Envelope, open, seal};
pub use body::{KeyId, Scheme, Settings};
pub(crate) use chains::Chains;
pub(crate) use floor::SUITE;
pub(crate) use invites::Note;
pub use invites::{Invite, InviteError, InviteState, Offer};
pub(crate) use publish::{Control, Forge};
pub(crate) use ring::{Ring, copy};
pub(crate) use runs::{Run, Runs};

/// An operation of a space as it came: signature, topic and log were checked.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The id of the operation.
    pub id: Hash,
    /// Who signed it.
    pub author: VerifyingKey,
    /// Its sequence number in its log.
    pub seq: u64,
    /// The control messages that its header names.
    pub dependencies: &'a [Hash],
    /// Its body.
    pub body: &'a [u8],
}

/// The two logs of an author in the topic of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// Who is a member, and secrets; never pruned.
    Control,
    /// What the application says.
    Content,
}

impl Log {
    /// The name of the log.
    pub const fn name(self) -> &'static str {
        match self {
            Log::Control => "control",
            Log::Content => "content",
        }
    }
}

/// What is to be signed and published as an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// The space.
    pub space: SpaceId,
    /// In which log of ours.
    pub log: Log,
    /// The control messages that the header names, and no others.
    pub dependencies: Vec<Hash>,
    /// The body.
    pub body: Vec<u8>,
}

/// What actions of ours need from the one who holds our signing key and our logs.
pub trait Signer {
    /// Signs these bytes.
    fn sign(&mut self, bytes: &[u8]) -> Signature;

    /// Signs an operation, keeps it to be published, and gives its id.
    fn publish(&mut self, outgoing: Outgoing) -> Hash;

    /// How many entries of an author's content log in the topic of the space are here, or were
    /// here and are pruned: the sequence number of the next one.
    fn height(&self, space: &SpaceId, author: &VerifyingKey) -> u64;

    /// Whether healing may hand secrets to one more member now; the others stay in
    /// [`Spaces::health`](crate::Spaces::health).
    fn has_room(&self) -> bool {
        true
    }
}

/// Publishes in the form of our own nodes: what a [`Desk`](crate::Desk) forges with.
#[derive(Debug)]
pub struct Sealed<'s, S>(pub &'s mut S);

/// What an operation waits for; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Wait {
    /// For control messages that it names.
    #[error("{} control messages before it are missing", .0.len())]
    Missing(Vec<Hash>),
    /// For a structure key ([`Event::Keys`](crate::Event::Keys), [`Glance::Keys`]).
    #[error("the structure key {0} is missing")]
    Key(KeyId),
    /// For a version of the software that speaks this suite, which an owner of the space demands.
    #[error("the space demands suite {0}, which this version does not speak")]
    Suite(u8),
    /// For a time in which there is nothing else to do: it touches too many others.
    #[error("it touches too many other operations")]
    Postponed,
}

/// Why an operation was not processed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It can be processed later: hand it in again.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// It is no message of a space and never has an effect.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What the outside of a control operation has for us, also while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Glance {
    /// Nothing.
    Nothing,
    /// New keys of its author: a member that lacked something may be reached now.
    Bundle,
    /// Its author asks to be let in by an invite, and the invite signed that. An owner decides
    /// ([`Spaces::admit_newcomer`](crate::Spaces::admit_newcomer)).
    Request {
        /// The space.
        space: SpaceId,
        /// The invite.
        invite: VerifyingKey,
    },
    /// It welcomes us: what waits for these keys can be handed in again.
    Keys {
        /// The space. Who is in none of this topic yet may be in this one from now on.
        space: SpaceId,
        /// Keys that are new.
        keys: Vec<KeyId>,
    },
}

/// What became of a content message.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// It is open. Deliver it if it stands.
    Opened {
        /// The author's role at the past that the message names.
        role: Role,
        /// Whether it stands now; a change is told ([`Event::Range`](crate::Event::Range)).
        verdict: Verdict,
        /// The data.
        data: Zeroizing<Vec<u8>>,
    },
    /// We lack its secret: ask again when it is there
    /// ([`Event::Secrets`](crate::Event::Secrets)).
    Sealed {
        /// Which; in the message scheme the name of its epoch.
        secret: SecretId,
    },
    /// It does not stand, and is not opened: in the message scheme its key is kept until it does.
    Withheld,
    /// In the message scheme: it stands, and its key was erased, because it was opened or because it is too old, or
    /// is of a time before we came. Nothing opens it any more.
    Gone,
    /// It has no effect, at all nodes.
    Refused(Refusal),
}

/// What a space has beyond the form of 0.7.1.
#[derive(Debug, Default)]
pub(crate) struct Native {
    /// Once the space was founded.
    pub(crate) settings: Option<Settings>,
    pub(crate) ring: Ring,
    /// In the message scheme only.
    pub(crate) chains: Chains,
    pub(crate) runs: Runs,
    /// What the row says; none if there is none.
    pub(crate) stored: Option<Option<Settings>>,
}
