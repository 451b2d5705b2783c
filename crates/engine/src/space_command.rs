//! What can be asked of spaces.

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::{Hash, NetworkId, SigningKey, Topic, VerifyingKey};
use p2panda_encryption::data::Rekey;
use p2panda_groups::{GroupId, Member};
use p2panda_spaces::{
    CardError, Invite, InviteState, LocalError, Pending, PersonCard, PersonMember, RecoveryContent,
    Role, Scheme, Settings, SpaceId, TeamMember, Why,
};
use thiserror::Error;

use crate::answer::PublishError;
use crate::reply::Reply;

/// What can be asked of spaces.
#[non_exhaustive]
pub enum SpaceCommand {
    /// Makes a space in a topic; we are its owner.
    Create {
        /// The topic; it carries no space so far.
        topic: Topic,
        /// What the creator decides, for all its life.
        settings: Settings,
        /// What it is called; only members learn it.
        name: Option<String>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// From now on a topic carries a space: of the logs `control` and `content` in it, nothing is shown
    /// that is not permitted and opened (`docs/protocol/streams.md#7`). Our keys are published there,
    /// so that an owner can make us a member.
    Follow {
        /// The topic that this is about.
        topic: Topic,
        /// Which space, if an invite names it; otherwise the first one into which we are welcomed.
        id: Option<SpaceId>,
        /// Whether it did not before; called when that is synced to disk.
        reply: Reply<Result<bool, SpaceError>>,
    },
    /// Follows the space of an invite and asks to be let in, unless we are a member. The request waits
    /// in the topic for an owner (`docs/protocol/spaces.md#16`).
    Join {
        /// The topic that this is about.
        topic: Topic,
        /// What was handed to us.
        invite: Box<Invite>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Makes an invite.
    Offer {
        /// The topic that carries the space.
        topic: Topic,
        /// The role of those who join by it.
        role: Role,
        /// How many may join.
        uses: u64,
        /// Until when, in seconds since 1970.
        expires_at: u64,
        /// The invite, a secret; called when that is synced to disk.
        reply: Reply<Result<Invite, SpaceError>>,
    },
    /// Changes a space.
    Change {
        /// The topic that carries it.
        topic: Topic,
        /// How.
        change: SpaceChange,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Who is a member.
    Look {
        /// The topic that carries the space.
        topic: Topic,
        /// At which control operation; now, if not said.
        at: Option<Hash>,
        /// None if this is not known.
        reply: Reply<Option<SpaceLook>>,
    },
    /// Why somebody is a member, or is not.
    Why {
        /// The topic that carries the space.
        topic: Topic,
        /// Who.
        member: VerifyingKey,
        /// None if the space is not known here.
        reply: Reply<Option<Why>>,
    },
    /// The invites of a space, those too that are used up or revoked.
    Invites {
        /// The topic that carries the space.
        topic: Topic,
        /// In the order of their keys.
        reply: Reply<Vec<InviteState>>,
    },
    /// Seals an ephemeral message for the members.
    SealEphemeral {
        /// The topic that this is about.
        topic: Topic,
        /// The message.
        data: Bytes,
        /// What is to be sent.
        reply: Reply<Result<Bytes, SpaceError>>,
    },
    /// Opens an ephemeral message of a space.
    OpenEphemeral {
        /// The topic that this is about.
        topic: Topic,
        /// Who signed it.
        author: VerifyingKey,
        /// The message as it came.
        body: Bytes,
        /// None if it does not open, or its author may not write.
        reply: Reply<Option<Bytes>>,
    },
    /// Whether a topic carries a space, as far as we were told.
    IsSpace {
        /// The topic that this is about.
        topic: Topic,
        /// The answer.
        reply: Reply<bool>,
    },
    /// Something about the person whose device this node is.
    Person(PersonCommand),
    /// Something about the recovery of that person.
    Recovery(RecoveryCommand),
    /// Something about teams.
    Team(TeamCommand),
    /// The topics that carry spaces, sorted.
    List {
        /// With the spaces, as far as they are known.
        reply: Reply<Vec<(Topic, SpaceState)>>,
    },
}

/// What this node is in a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceState {
    /// Which it is, once that is known.
    pub id: Option<SpaceId>,
    /// What it is called, where members of it know that.
    pub name: Option<String>,
    /// Our role; none if we are no member, or do not know it yet.
    pub role: Option<Role>,
    /// How its messages are sealed, once members have told us.
    pub scheme: Option<Scheme>,
    /// We asked to be let in by an invite, and no owner has answered.
    pub is_joining: bool,
    /// In it, devices of our person tell each other of spaces; the application has nothing to do there.
    pub is_of_devices: bool,
}

/// A change of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceChange {
    /// Makes somebody a member.
    Add(VerifyingKey, Role),
    /// Makes a person or a team a member, or gives it another role; its group is known here, from another
    /// space or since it was made here.
    AddGroup(GroupId, Role),
    /// Takes the membership of a person or a team away.
    RemoveGroup(GroupId),
    /// Gives a member another role.
    SetRole(VerifyingKey, Role),
    /// Takes a membership away; ours too, unless we are the last owner.
    Remove(VerifyingKey),
    /// Takes several memberships away, with one new secret.
    RemoveAll(Vec<VerifyingKey>),
    /// Makes a new secret.
    Rotate,
    /// Brings the space up to date, and hands secrets to anyone who lacks them and can be reached.
    Heal,
    /// Says that we lack something.
    Ask,
    /// Takes an invite back. Who came by it stays.
    Revoke(VerifyingKey),
    /// Calls the space by another name.
    Name(String),
}

/// A space as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceLook {
    /// Which it is.
    pub id: SpaceId,
    /// The members, sorted.
    pub members: Vec<(VerifyingKey, Role)>,
    /// The same by person; empty of a past.
    pub persons: Vec<PersonMember>,
    /// The teams in it; none of a past.
    pub teams: Vec<TeamMember>,
    /// What the space has not heard of our own person.
    pub pending: Vec<Pending>,
    /// The teams that we have changed, of which the space has not heard.
    pub pending_teams: Vec<GroupId>,
    /// Persons are to be taken in, brought up to date or let go, by us as an owner.
    pub tends: bool,
    /// Members that lack secrets and can be reached: they are handed them soon.
    pub lacking: Vec<VerifyingKey>,
    /// Members beyond what their invite allows, whom an owner removes.
    pub excess: Vec<VerifyingKey>,
    /// Changes of groups that the space does not know yet.
    pub behind: bool,
    /// Whether a new secret is needed.
    pub rekey: Rekey,
    /// How many more secrets the space can have.
    pub secrets_left: usize,
}

/// Why nothing resulted from it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The topic carries no space, or it is not known here yet.
    #[error("the topic carries no space that is known here")]
    Unknown,
    /// It carries one already.
    #[error("the topic already carries a space")]
    Exists,
    /// What belongs to it could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Keys of a device are none, or not good by now.
    #[error("the keys of the device are damaged or have expired")]
    Bundle,
    /// What a device was given of its person.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Devices of a person tell each other of spaces there; nobody else changes it.
    #[error(
        "devices of this person tell each other of spaces there; it is changed by linking and revoking them"
    )]
    DeviceSpace,
    /// This node is a device of another person.
    #[error("this node is a device of another person")]
    OtherPerson,
    /// A recovery file is restored by a node without spaces only.
    #[error("this node follows spaces or is a device of a person; restore the file with a new one")]
    NotEmpty,
    /// While a recovery file was written, another device revoked its key.
    #[error("another device has revoked the key of this recovery file; export again")]
    RecoveryKeyRevoked,
    /// The space does not allow it, or not now.
    #[error(transparent)]
    Space(#[from] LocalError),
}

impl SpaceLook {
    /// Whether nobody lacks anything, and no new secret is needed.
    pub fn is_healed(&self) -> bool {
        let needs = [&self.lacking, &self.excess];
        !self.behind
            && !self.tends
            && self.rekey == Rekey::None
            && needs.iter().all(|need| need.is_empty())
    }
}

impl SpaceChange {
    /// Whether it is part of the upkeep of a space.
    pub(crate) fn is_upkeep(&self) -> bool {
        use SpaceChange::{Ask, Heal, Rotate};
        matches!(self, Rotate | Heal | Ask)
    }
}

impl SpaceError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SpaceError::Space(error) => error.is_retryable(),
            SpaceError::Publish(error) => *error == PublishError::PullingOwnLog,
            _ => false,
        }
    }
}

impl SpaceCommand {
    /// Whether a power cut must take nothing of it back.
    pub(crate) fn must_sync(&self) -> bool {
        match self {
            SpaceCommand::Person(command) => return command.must_sync(),
            SpaceCommand::Team(command) => {
                return !matches!(
                    command,
                    TeamCommand::List { .. } | TeamCommand::Named { .. }
                );
            }
            SpaceCommand::Recovery(command) => {
                return !matches!(command, RecoveryCommand::Content { .. });
            }
            _ => {}
        }
        matches!(
            self,
            SpaceCommand::Create { .. }
                | SpaceCommand::Follow { .. }
                | SpaceCommand::Join { .. }
                | SpaceCommand::Offer { .. }
                | SpaceCommand::Change { .. }
        )
    }
}

/// What can be asked of teams (`docs/protocol/spaces.md#19`).
#[non_exhaustive]
pub enum TeamCommand {
    /// Makes a team that we manage.
    Create {
        /// What it is called in spaces, of up to 256 bytes; an empty one is none.
        name: String,
        /// Its group; called when that is synced to disk.
        reply: Reply<Result<GroupId, SpaceError>>,
    },
    /// Changes a team that we manage, or leaves one. Spaces follow.
    Change {
        /// The team.
        team: GroupId,
        /// Whom: a device means its person, where that is known.
        member: Member,
        /// Its role in the team from now on; none takes it out.
        role: Option<Role>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// What an id names: a team or person that is known here, else a device.
    Named {
        /// The id.
        id: VerifyingKey,
        /// The answer.
        reply: Reply<Member>,
    },
    /// The teams that are known here, sorted.
    List {
        /// The answer.
        reply: Reply<Vec<TeamLook>>,
    },
}

/// A team as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TeamLook {
    /// Its group.
    pub id: GroupId,
    /// What it is called, as far as we know.
    pub name: Option<String>,
    /// Its direct members with their roles in it, sorted: devices, persons, other teams. The devices of a
    /// person that manages it are listed too.
    pub members: Vec<(Member, Role)>,
    /// All devices that are members, directly or through others, sorted.
    pub devices: Vec<(VerifyingKey, Role)>,
    /// Whether we may change it.
    pub is_manager: bool,
    /// The topics of the spaces that it is in, as far as we follow them.
    pub spaces: Vec<Topic>,
    /// Those of them that have not heard of our changes.
    pub pending: Vec<Topic>,
}

/// What can be asked of the person whose device this node is (`docs/protocol/spaces.md#18`).
#[non_exhaustive]
pub enum PersonCommand {
    /// Makes the person's group, with this node as its device, unless there is one.
    Create {
        /// Its id; called when that is synced to disk.
        reply: Reply<Result<GroupId, SpaceError>>,
    },
    /// Makes another node a device of the person, which is made if there is none. Spaces follow.
    Add {
        /// Its key.
        device: VerifyingKey,
        /// The keys by which it is reached, as [`PersonCommand::Bundle`] gives them there; may be empty.
        bundle: Bytes,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Makes a device none any more. Spaces follow.
    Revoke {
        /// Its key.
        device: VerifyingKey,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// The person and its devices.
    Look {
        /// The answer.
        reply: Reply<PersonLook>,
    },
    /// The keys by which this node is reached.
    Bundle {
        /// The bytes; called when that is synced to disk.
        reply: Reply<Result<Bytes, SpaceError>>,
    },
    /// What a new device is given.
    Card {
        /// The answer.
        reply: Reply<Result<PersonCard, SpaceError>>,
    },
    /// This node is a device of that person from now on, and follows its spaces.
    TakeCard {
        /// What another device gave.
        card: Box<PersonCard>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
}

/// What can be asked of a person's recovery (`docs/protocol/recovery.md`).
#[non_exhaustive]
pub enum RecoveryCommand {
    /// A recovery key is a device of the person from now on, which is made if there is none.
    Begin {
        /// Its public half.
        key: VerifyingKey,
        /// The recovery keys of the person before; called when that is synced to disk.
        reply: Reply<Result<Vec<VerifyingKey>, SpaceError>>,
    },
    /// What a file holds now.
    Content {
        /// The recovery key.
        key: Box<SigningKey>,
        /// Our network.
        network: NetworkId,
        /// The answer.
        reply: Reply<Result<RecoveryContent, SpaceError>>,
    },
    /// The file of a recovery key is there: earlier keys are revoked.
    Written {
        /// The key.
        key: VerifyingKey,
        /// Those that it replaces.
        earlier: Vec<VerifyingKey>,
        /// Nothing is written after this: the date is noted. That is so too where no key is revoked.
        is_last: bool,
        /// How many keys are revoked; called when that is synced to disk.
        reply: Reply<Result<usize, SpaceError>>,
    },
    /// This node becomes a device of a person by its recovery file.
    Restore {
        /// What is in the file.
        content: Arc<RecoveryContent>,
        /// All other devices are revoked.
        revoke_others: bool,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
}

/// The person whose device this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonLook {
    /// Its group; none if this node is the device of none.
    pub id: Option<GroupId>,
    /// Its devices, sorted.
    pub devices: Vec<VerifyingKey>,
    /// The topic in which its devices tell each other of spaces.
    pub of_devices: Option<Topic>,
    /// What spaces have not heard of it.
    pub pending: Vec<(Topic, Pending)>,
    /// Those of the devices that are recovery keys, also of files that other devices wrote.
    pub recovery: Vec<VerifyingKey>,
    /// When a recovery file that is still valid was written last, by whichever device, in seconds since
    /// 1970.
    pub exported: Option<u64>,
    /// That is so long ago that it should be written again.
    pub is_renewal_due: bool,
}

impl PersonCommand {
    /// Whether a power cut must take nothing of it back.
    pub(crate) fn must_sync(&self) -> bool {
        !matches!(
            self,
            PersonCommand::Look { .. } | PersonCommand::Card { .. }
        )
    }
}
