//! The sealed form of spaces, between our own nodes: only members learn the members
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
mod rotation;
mod runs;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod vector_tests;

use p2panda_core::{Hash, Signature, VerifyingKey};
use p2panda_encryption::data::SecretId;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::joining::Made;
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

/// A received operation of a space whose signature, topic and log were checked.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The id of the operation.
    pub id: Hash,
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Its sequence number in its log.
    pub seq: u64,
    /// The control messages that its header names.
    pub dependencies: &'a [Hash],
    /// Body of the operation.
    pub body: &'a [u8],
}

/// The two logs of an author in the topic of a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// Membership and secrets; never pruned.
    Control,
    /// Messages of the application.
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

/// An operation to sign and publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// Id of the space.
    pub space: SpaceId,
    /// The log of ours that it belongs to.
    pub log: Log,
    /// The control messages that the header names, and no others.
    pub dependencies: Vec<Hash>,
    /// Body of the operation.
    pub body: Vec<u8>,
}

/// Signing and logs, which local actions need from their owner.
pub trait Signer {
    /// Signs bytes with the key of this node.
    fn sign(&mut self, bytes: &[u8]) -> Signature;

    /// Signs an operation, queues it for publishing, and returns its id.
    fn publish(&mut self, outgoing: Outgoing) -> Hash;

    /// Returns the next sequence number of an author's content log in the topic of the space,
    /// pruned entries included.
    fn height(&self, space: &SpaceId, author: &VerifyingKey) -> u64;

    /// Returns `true` if healing may send secrets to one more member now; the others stay in
    /// [`Spaces::health`](crate::Spaces::health).
    fn has_room(&self) -> bool {
        true
    }
}

/// Publishes in the sealed form, for a [`Desk`](crate::Desk).
#[derive(Debug)]
pub struct Sealed<'s, S>(pub &'s mut S);

/// Condition that an operation waits for. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Wait {
    /// Control messages that it names.
    #[error("{} control messages that it names have not arrived", .0.len())]
    Missing(Vec<Hash>),
    /// A structure key ([`Event::Keys`](crate::Event::Keys), [`Glance::Keys`]).
    #[error("the structure key {0} is missing")]
    Key(KeyId),
    /// A version of the software that supports this suite, which an owner of the space requires.
    #[error("the space requires suite {0}, which this version does not support; update this node")]
    Suite(u8),
    /// A time without other work, because it affects too many other operations.
    #[error("it affects too many other operations at once; process it again later")]
    Postponed,
}

/// Reason why an operation was not processed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It can be processed later: pass it in again.
    #[error(transparent)]
    Wait(#[from] Wait),
    /// It is not a message of a space and never has an effect.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Part of a control operation that shows without being opened, also while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Glance {
    /// It shows nothing.
    Nothing,
    /// New keys of its author: a member that lacks secrets may be reached now.
    Bundle,
    /// Its author asks to join by an invite, which signed the request. An owner decides
    /// ([`Spaces::admit_newcomer`](crate::Spaces::admit_newcomer)).
    Request {
        /// Id of the space.
        space: SpaceId,
        /// Public key of the invite.
        invite: VerifyingKey,
    },
    /// It welcomes us: pass in again what waits for these keys.
    Keys {
        /// The space. A node that is a member of no space in this topic may join this one.
        space: SpaceId,
        /// The new keys.
        keys: Vec<KeyId>,
    },
}

/// Outcome of a content message.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// It was opened. Deliver it if its verdict allows it.
    Opened {
        /// The author's role at the past that the message names.
        role: Role,
        /// Its verdict now; [`Event::Range`](crate::Event::Range) reports a change.
        verdict: Verdict,
        /// Decrypted data.
        data: Zeroizing<Vec<u8>>,
    },
    /// We lack its secret: pass it in again once that has arrived
    /// ([`Event::Secrets`](crate::Event::Secrets)).
    Sealed {
        /// The secret; in the message scheme the name of its epoch.
        secret: SecretId,
    },
    /// Its verdict withholds it, so it is not opened. In the message scheme its key is kept until
    /// the verdict changes.
    Withheld,
    /// In the message scheme: its key was erased because it was opened or is too old, or it was
    /// written before we joined. Nothing opens it any more.
    Gone,
    /// It has no effect, at all nodes.
    Refused(Refusal),
}

/// State of a space that the form of 0.7.1 does not have.
#[derive(Debug, Default)]
pub(crate) struct Native {
    /// Once the space was founded.
    pub(crate) settings: Option<Settings>,
    pub(crate) ring: Ring,
    /// In the data scheme without history only.
    pub(crate) made: Made,
    /// In the message scheme only.
    pub(crate) chains: Chains,
    pub(crate) runs: Runs,
    /// The stored settings; `None` without a row.
    pub(crate) stored: Option<Option<Settings>>,
}
