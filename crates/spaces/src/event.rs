//! Results of messages.

use core::fmt;

use p2panda_core::{Hash, VerifyingKey};
use p2panda_encryption::data::{Failure, SecretId};
use p2panda_groups::{GroupId, MemberChange, Status};
use zeroize::Zeroizing;

use crate::{KeyId, Role, SpaceId};

/// Event that a message brought about.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// New keys of an author: members that lacked secrets may be reached now.
    KeyBundle {
        /// Author of the keys.
        author: VerifyingKey,
    },
    /// An operation on a group entered the graph of groups.
    Group {
        /// Id of the operation.
        operation: Hash,
        /// Its author.
        author: VerifyingKey,
        /// The group that it is about.
        group: GroupId,
        /// Status of the operation.
        status: Status,
        /// Members whose access is another one.
        changes: Vec<MemberChange>,
    },
    /// The graph of groups says something worth telling.
    Groups(p2panda_groups::Event),
    /// A space begins.
    Created {
        /// Id of the space.
        space: SpaceId,
        /// The pointer to the create of its group.
        message: Hash,
        /// Creator of the space.
        author: VerifyingKey,
    },
    /// Members of a space came, went or have another role.
    Members {
        /// Id of the space.
        space: SpaceId,
        /// The pointer after which it is so.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
        /// Changes, sorted by member.
        changes: Vec<RoleChange>,
    },
    /// A member states which person it is a device of: an owner admits the person.
    Introduced {
        /// Id of the space.
        space: SpaceId,
        /// The member.
        device: VerifyingKey,
        /// Id of the person.
        person: GroupId,
    },
    /// A group in the space has changed, such as the devices of a person: owners may have something to do,
    /// also where no role is another one.
    Nested {
        /// Id of the space.
        space: SpaceId,
        /// The group, which other spaces may contain too.
        group: GroupId,
    },
    /// An owner raised the least suite of the channels.
    Floor {
        /// Id of the space.
        space: SpaceId,
        /// The owner.
        author: VerifyingKey,
        /// The suite that the space requires from now on, at least.
        suite: u8,
    },
    /// An owner asks for a new secret whenever the last one is so old.
    Rotation {
        /// Id of the space.
        space: SpaceId,
        /// The owner.
        author: VerifyingKey,
        /// The age in days; 0: it asks that no owner rotates by age.
        days: u32,
    },
    /// A person asks the owners to remove it.
    AsksToLeave {
        /// Id of the space.
        space: SpaceId,
        /// Device of the person that said so.
        device: VerifyingKey,
    },
    /// We hold secrets of the space from now on.
    Joined {
        /// Id of the space.
        space: SpaceId,
        /// The message that gave them to us.
        message: Hash,
    },
    /// We are no member with secrets any more.
    Ejected {
        /// Id of the space.
        space: SpaceId,
        /// The pointer after which it is so.
        message: Hash,
    },
    /// Data of the application was opened and stands.
    Opened {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
        /// The author's role at the past that the message names.
        role: Role,
        /// Decrypted data.
        data: Zeroizing<Vec<u8>>,
    },
    /// The verdict about data that was opened has changed.
    Verdict {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
        /// Verdict that holds now. With [`Verdict::Stands`], [`Spaces::open`] returns the data.
        ///
        /// [`Spaces::open`]: crate::Spaces::open
        verdict: Verdict,
    },
    /// Data that could be opened is not delivered.
    Withdrawn {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
    },
    /// A message of a space has no effect, at all nodes.
    Refused {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
        /// Reason for the refusal.
        refusal: Refusal,
    },
    /// An item for us in a message does not open, or not yet ([`Failure::needs`]).
    Failed {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
        /// Its author.
        author: VerifyingKey,
        /// Reason for the failure.
        failure: Failure,
    },
    /// We have new structure keys: control messages that waited for one of them can be handed in
    /// again.
    Keys {
        /// Id of the space.
        space: SpaceId,
        /// Ids of the new structure keys.
        keys: Vec<KeyId>,
    },
    /// We have new secrets: content that waited for one of them can be opened.
    Secrets {
        /// Id of the space.
        space: SpaceId,
        /// Secrets that content names; in the message scheme, epochs.
        secrets: Vec<SecretId>,
    },
    /// The space can have only so many more secrets, and then no removal any more.
    NearsEnd {
        /// Id of the space.
        space: SpaceId,
        /// Number of secrets that are left.
        left: usize,
    },
    /// The verdict about content messages of an author has changed.
    Range {
        /// Id of the space.
        space: SpaceId,
        /// Author of the content messages.
        author: VerifyingKey,
        /// The sequence number of the first one.
        first: u64,
        /// The sequence number after the last one; none if it is so for all later ones.
        end: Option<u64>,
        /// Verdict that holds now.
        verdict: Verdict,
    },
    /// So many messages wait that this one lost its place: hand it in again later.
    Displaced {
        /// Id of the space.
        space: SpaceId,
        /// Id of the message.
        message: Hash,
    },
}

/// A member of a space whose role is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoleChange {
    /// Key of the member.
    pub member: VerifyingKey,
    /// Before; none if it was no member.
    pub before: Option<Role>,
    /// Now; none if it is none any more.
    pub after: Option<Role>,
}

/// Verdict on data: a function of the messages that are known (`docs/protocol/spaces.md#6`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is delivered.
    Stands,
    /// Its author may not write any more, and the one who took that away had not seen it.
    Withdrawn,
    /// Its author was not allowed to write, in the past that the message names.
    Unauthorised,
}

impl Verdict {
    pub(crate) const ALL: [Verdict; 3] =
        [Verdict::Stands, Verdict::Withdrawn, Verdict::Unauthorised];
}

/// Reason why a message has no effect. `to_string` ends a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The author has no role that allows it, in the past that the message names.
    Role(Option<Role>),
    /// A pointer that would begin the space is not by the author of the group's create.
    NotTheCreator,
    /// It carries an operation on a group that is wrong, or lacks one that it needs.
    Operation,
    /// It does not open under the key that it names, or what it holds is no message.
    Malformed,
    /// It carries a secret through a channel of a lower suite than the space has in the past that the
    /// message names, which is this one.
    Suite(u8),
    /// Its author has no chain in the epoch that it names, or the generation is past the limit.
    Epoch,
    /// The space has another group: its author uses the id of the space a second time.
    OtherGroup(GroupId),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Role(Some(role)) => write!(f, "its author was {role}"),
            Refusal::Role(None) => f.write_str("its author was no member"),
            Refusal::NotTheCreator => f.write_str("its author did not create the space"),
            Refusal::Operation => f.write_str("it carries an operation on a group that is wrong"),
            Refusal::Malformed => f.write_str("it does not open, or holds no message"),
            Refusal::Epoch => f.write_str("its author has no such key in the epoch that it names"),
            Refusal::Suite(suite) => write!(
                f,
                "the space asks for suite {suite} or higher, and it came by a lower one"
            ),
            Refusal::OtherGroup(_) => f.write_str("the space has another group"),
        }
    }
}
