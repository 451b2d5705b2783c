//! Requests about spaces.

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

/// Requests about spaces.
#[non_exhaustive]
pub enum SpaceCommand {
    /// Creates a space in a topic, with this node as its owner.
    Create {
        /// The topic, which must not carry a space.
        topic: Topic,
        /// Settings, which never change.
        settings: Settings,
        /// Name of the space, which only members learn.
        name: Option<String>,
        /// `true`: with a key of its own (`docs/protocol/spaces.md#20`).
        own_key: bool,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Follows a space in a topic: of the logs `control` and `content`, only what is permitted and
    /// opened is shown (`docs/protocol/streams.md#7`). Publishes our keys there, so that an owner
    /// can make us a member.
    Follow {
        /// The topic that this is about.
        topic: Topic,
        /// The space, if an invite names it; otherwise the first one that welcomes us.
        id: Option<SpaceId>,
        /// `true`: with a key of its own (`docs/protocol/spaces.md#20`).
        own_key: bool,
        /// `true` if the topic was not followed before; called when that is synced to disk.
        reply: Reply<Result<bool, SpaceError>>,
    },
    /// Follows the space of an invite and asks to join it, unless we are a member. The request
    /// waits in the topic for an owner (`docs/protocol/spaces.md#16`).
    Join {
        /// The topic that this is about.
        topic: Topic,
        /// Invite with which to join.
        invite: Box<Invite>,
        /// `true`: with a key of its own (`docs/protocol/spaces.md#20`).
        own_key: bool,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Does at once what healing still waits for, in all spaces.
    HealNow {
        /// Called when that is synced to disk.
        reply: Reply<()>,
    },
    /// Creates an invite.
    Offer {
        /// The topic that carries the space.
        topic: Topic,
        /// The role of those who join by it.
        role: Role,
        /// Number of newcomers that may join by it.
        uses: u64,
        /// Time at which it expires, in seconds since 1970.
        expires_at: u64,
        /// The invite, a secret; called when that is synced to disk.
        reply: Reply<Result<Invite, SpaceError>>,
    },
    /// Changes a space.
    Change {
        /// The topic that carries it.
        topic: Topic,
        /// The change to make.
        change: SpaceChange,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Describes a space: its members and its state.
    Look {
        /// The topic that carries the space.
        topic: Topic,
        /// Control operation at which to describe it; `None`: now.
        at: Option<Hash>,
        /// `None` if this is not known.
        reply: Reply<Option<SpaceLook>>,
    },
    /// Explains why a key is a member, or is not.
    Why {
        /// The topic that carries the space.
        topic: Topic,
        /// Key of the member to explain.
        member: VerifyingKey,
        /// `None` if the space is not known here.
        reply: Reply<Option<Why>>,
    },
    /// Lists the invites of a space, including used and revoked ones.
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
        /// The sealed message.
        reply: Reply<Result<Bytes, SpaceError>>,
    },
    /// Opens an ephemeral message of a space.
    OpenEphemeral {
        /// The topic that this is about.
        topic: Topic,
        /// Author of the operation.
        author: VerifyingKey,
        /// The received message.
        body: Bytes,
        /// `None` if it does not open, or its author may not write.
        reply: Reply<Option<Bytes>>,
    },
    /// Asks for the key with which this node signs in a space instead of its node key.
    OwnKey {
        /// The topic that carries the space.
        topic: Topic,
        /// The key; `None` if the node signs with its node key.
        reply: Reply<Option<SigningKey>>,
    },
    /// Asks whether this node follows a space in a topic.
    IsSpace {
        /// The topic that this is about.
        topic: Topic,
        /// The answer.
        reply: Reply<bool>,
    },
    /// A request about the person whose device this node is.
    Person(PersonCommand),
    /// A request about the recovery of that person.
    Recovery(RecoveryCommand),
    /// Something about teams.
    Team(TeamCommand),
    /// Lists the topics that carry spaces, sorted.
    List {
        /// The topics, and the state of each space.
        reply: Reply<Vec<(Topic, SpaceState)>>,
    },
}

/// State of this node in a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceState {
    /// Id of the space, once it is known.
    pub id: Option<SpaceId>,
    /// Name of the space, if this node is a member and there is one.
    pub name: Option<String>,
    /// Our role. `None` if we are not a member, or do not know it yet.
    pub role: Option<Role>,
    /// Encryption scheme of its messages, once members have told us.
    pub scheme: Option<Scheme>,
    /// Least suite of the channels that secrets go through, once members have told us. From 2 on, no
    /// quantum computer of later opens them.
    pub suite: Option<u8>,
    /// Days after which owners replace a secret. `None` if nobody asks for that, as far as we know.
    pub rotation_days: Option<u32>,
    /// Number of secrets that the space can still have (`docs/protocol/spaces.md#8`). `None` if we
    /// are not handed any.
    pub secrets_left: Option<usize>,
    /// `true` if we asked to join by an invite, and no owner has answered.
    pub is_joining: bool,
    /// `true` if it is the device space of our person, which applications do not use.
    pub is_of_devices: bool,
    /// Key with which this node signs there instead of its node key (`docs/protocol/spaces.md#20`).
    /// `None` if it signs with the node key.
    pub own_key: Option<VerifyingKey>,
}

/// A change of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceChange {
    /// Adds a member.
    Add(VerifyingKey, Role),
    /// Makes a person or a team a member, or gives it another role; its group is known here, from another
    /// space or since it was made here.
    AddGroup(GroupId, Role),
    /// Takes the membership of a person or a team away.
    RemoveGroup(GroupId),
    /// Changes the role of a member.
    SetRole(VerifyingKey, Role),
    /// Removes a member; this may be us, unless we are the last owner.
    Remove(VerifyingKey),
    /// Removes several members, with one new secret.
    RemoveAll(Vec<VerifyingKey>),
    /// Creates a new secret.
    Rotate,
    /// Updates the space, and sends secrets to each member that lacks them and can be reached.
    Heal,
    /// Reports that we lack secrets.
    Ask,
    /// Revokes an invite. Members that joined by it stay.
    Revoke(VerifyingKey),
    /// Changes the name of the space.
    Name(String),
    /// Raises the least suite of the channels of the space. Nothing is published where the space
    /// requires as much already.
    RaiseSuite(u8),
    /// From now on, owners replace a secret when it is so many days old; with 0 they do not.
    RotateEvery(u32),
}

/// Members and state of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceLook {
    /// Id of the space, which is that of its group.
    pub id: SpaceId,
    /// The members, sorted.
    pub members: Vec<(VerifyingKey, Role)>,
    /// The members by person; empty for a past state.
    pub persons: Vec<PersonMember>,
    /// The teams in it; none of a past.
    pub teams: Vec<TeamMember>,
    /// Members that are recovery keys of our own person; empty for a past state. Those of others cannot be
    /// told from devices.
    pub recovery: Vec<VerifyingKey>,
    /// Changes of our own person that have not reached the space.
    pub pending: Vec<Pending>,
    /// The teams that we have changed, of which the space has not heard.
    pub pending_teams: Vec<GroupId>,
    /// `true` if we, as an owner, have persons to add, update or remove.
    pub tends: bool,
    /// Members that lack secrets and can be reached: they are sent the secrets soon.
    pub lacking: Vec<VerifyingKey>,
    /// Members above the number that their invite allows; an owner removes them.
    pub excess: Vec<VerifyingKey>,
    /// `true` if groups have changes that the space does not know yet.
    pub behind: bool,
    /// Need for a new secret.
    pub rekey: Rekey,
    /// Least suite of the channels that secrets go through.
    pub suite: u8,
    /// Members with secrets of which no valid keys of that suite are known here; all of them if this
    /// version does not support it.
    pub without_suite: Vec<VerifyingKey>,
    /// Days after which owners replace a secret. `None` if nobody asks for that.
    pub rotation_days: Option<u32>,
    /// Time from which the secret is too old, in seconds since 1970; an owner replaces it soon after.
    /// `None` if nobody asks for that, and for a past state.
    pub rotates_at: Option<u64>,
    /// Number of secrets that the space can still have.
    pub secrets_left: usize,
}

/// Reason why a request about a space failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpaceError {
    /// The topic carries no space, or this node does not know it yet.
    #[error("this node knows no space in the topic")]
    Unknown,
    /// The topic already carries a space.
    #[error("the topic already carries a space")]
    Exists,
    /// Its operations could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The keys of a device are damaged or have expired.
    #[error("the keys of the device are damaged or have expired")]
    Bundle,
    /// The card of a person is refused.
    #[error(transparent)]
    Card(#[from] CardError),
    /// The space is the device space of a person, which only its devices change.
    #[error("this is the device space of a person; link or revoke devices to change it")]
    DeviceSpace,
    /// This node acts in the topic with its node id already.
    #[error(
        "this node acts in the topic with its node id already; a key of its own needs a new topic"
    )]
    NodeKey,
    /// This node is a device of another person.
    #[error("this node is already a device of another person")]
    OtherPerson,
    /// Only a node without spaces and without a person can restore a recovery file.
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
    /// Returns `true` if no member lacks secrets, and no new secret is needed.
    pub fn is_healed(&self) -> bool {
        let needs = [&self.lacking, &self.excess];
        !self.behind
            && !self.tends
            && self.rekey == Rekey::None
            && needs.iter().all(|need| need.is_empty())
    }
}

impl SpaceChange {
    /// Returns `true` if the change is part of the upkeep of a space.
    pub(crate) fn is_upkeep(&self) -> bool {
        use SpaceChange::{Ask, Heal, Rotate};
        matches!(self, Rotate | Heal | Ask)
    }
}

impl SpaceError {
    /// Returns `true` if the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            SpaceError::Space(error) => error.is_retryable(),
            SpaceError::Publish(error) => *error == PublishError::PullingOwnLog,
            _ => false,
        }
    }
}

impl SpaceCommand {
    /// Returns `true` if its result must survive a power cut.
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
                | SpaceCommand::HealNow { .. }
                | SpaceCommand::Change { .. }
        )
    }
}

/// Questions about teams and changes of them (`docs/protocol/spaces.md#19`).
#[non_exhaustive]
pub enum TeamCommand {
    /// Makes a team that we manage.
    Create {
        /// Name of the team in spaces, of up to 256 bytes; an empty one is none.
        name: String,
        /// Its group; called when that is synced to disk.
        reply: Reply<Result<GroupId, SpaceError>>,
    },
    /// Changes a team that we manage, or leaves one. Spaces follow.
    Change {
        /// Id of the team.
        team: GroupId,
        /// Member of the team: a device means its person, where that is known.
        member: Member,
        /// Its role in the team from now on; none takes it out.
        role: Option<Role>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Asks what an id names: a team or person that is known here, else a device.
    Named {
        /// The id to look up.
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
    /// Id of the team, which is that of its group.
    pub id: GroupId,
    /// Name of the team, as far as we know.
    pub name: Option<String>,
    /// Its direct members with their roles in it, sorted: devices, persons, other teams. The devices of a
    /// person that manages it are listed too.
    pub members: Vec<(Member, Role)>,
    /// All devices that are members, directly or through others, sorted.
    pub devices: Vec<(VerifyingKey, Role)>,
    /// `true` if we may change it.
    pub is_manager: bool,
    /// The topics of the spaces that it is in, as far as we follow them.
    pub spaces: Vec<Topic>,
    /// Those of them that have not heard of our changes.
    pub pending: Vec<Topic>,
}

/// Requests about the person whose device this node is (`docs/protocol/spaces.md#18`).
#[non_exhaustive]
pub enum PersonCommand {
    /// Creates the person's group, with this node as its device, unless it exists.
    Create {
        /// Its id; called when that is synced to disk.
        reply: Reply<Result<GroupId, SpaceError>>,
    },
    /// Adds another node as a device of the person, which is created if necessary. The person's
    /// spaces follow.
    Add {
        /// Node id of the device.
        device: VerifyingKey,
        /// Its public keys, as [`PersonCommand::Bundle`] returns them there; may be empty.
        bundle: Bytes,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Revokes a device. The person's spaces follow.
    Revoke {
        /// Node id of the device.
        device: VerifyingKey,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
    /// Describes the person and its devices.
    Look {
        /// The answer.
        reply: Reply<PersonLook>,
    },
    /// Returns the public keys of this node.
    Bundle {
        /// The bytes; called when that is synced to disk.
        reply: Reply<Result<Bytes, SpaceError>>,
    },
    /// Returns the card for a new device.
    Card {
        /// The answer.
        reply: Reply<Result<PersonCard, SpaceError>>,
    },
    /// Makes this node a device of the person of a card, and follows its spaces.
    TakeCard {
        /// The card, from another device.
        card: Box<PersonCard>,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
}

/// Requests about the recovery of a person (`docs/protocol/recovery.md`).
#[non_exhaustive]
pub enum RecoveryCommand {
    /// Adds a recovery key as a device of the person, which is created if necessary.
    Begin {
        /// Its public half.
        key: VerifyingKey,
        /// The recovery keys of the person before; called when that is synced to disk.
        reply: Reply<Result<Vec<VerifyingKey>, SpaceError>>,
    },
    /// Returns what a recovery file should hold now.
    Content {
        /// The recovery key.
        key: Box<SigningKey>,
        /// Id of the network of this node.
        network: NetworkId,
        /// The answer.
        reply: Reply<Result<RecoveryContent, SpaceError>>,
    },
    /// Reports that the file of a recovery key is written: earlier keys are revoked.
    Written {
        /// Public half of the recovery key.
        key: VerifyingKey,
        /// Those that it replaces.
        earlier: Vec<VerifyingKey>,
        /// `true` if the file is not written again after this, so that its date is recorded.
        /// Always so if no key is revoked.
        is_last: bool,
        /// Number of revoked keys; called when that is synced to disk.
        reply: Reply<Result<usize, SpaceError>>,
    },
    /// Makes this node a device of a person by its recovery file.
    Restore {
        /// Content of the file.
        content: Arc<RecoveryContent>,
        /// `true` to revoke all other devices.
        revoke_others: bool,
        /// Called when that is synced to disk.
        reply: Reply<Result<(), SpaceError>>,
    },
}

/// The person whose device this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonLook {
    /// Its group. `None` if this node is not a device of a person.
    pub id: Option<GroupId>,
    /// Its devices, sorted.
    pub devices: Vec<VerifyingKey>,
    /// The topic of its device space.
    pub of_devices: Option<Topic>,
    /// Changes of the person that have not reached all spaces, by topic.
    pub pending: Vec<(Topic, Pending)>,
    /// Those of the devices that are recovery keys, also of files that other devices wrote.
    pub recovery: Vec<VerifyingKey>,
    /// Time at which a recovery file that is still valid was written last, by any device, in
    /// seconds since 1970.
    pub exported: Option<u64>,
    /// `true` if the file is so old that it should be written again.
    pub is_renewal_due: bool,
}

impl PersonCommand {
    /// Returns `true` if its result must survive a power cut.
    pub(crate) fn must_sync(&self) -> bool {
        !matches!(
            self,
            PersonCommand::Look { .. } | PersonCommand::Card { .. }
        )
    }
}
