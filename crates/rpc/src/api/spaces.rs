//! Encrypted spaces (`docs/protocol/rpc.md#14`).

use p2panda_core::{Hash, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceRole {
    /// Stores and forwards, and has no keys.
    Courier,
    /// Reads.
    Reader,
    /// Reads and writes.
    Editor,
    /// Reads, writes and decides who else is a member.
    Owner,
}

impl SpaceRole {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            SpaceRole::Courier => "courier",
            SpaceRole::Reader => "reader",
            SpaceRole::Editor => "editor",
            SpaceRole::Owner => "owner",
        }
    }
}

impl std::fmt::Display for SpaceRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parameters of `space.create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceCreateParams {
    /// What it is called, up to 256 bytes; only members learn it.
    #[serde(default)]
    pub name: String,
    /// Newcomers read only what is written from then on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_history: bool,
    /// How messages are sealed; `message` implies `no_history`.
    #[serde(default, skip_serializing_if = "SpaceScheme::is_data")]
    pub scheme: SpaceScheme,
}

/// How the messages of a space are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpaceScheme {
    /// Under secrets that are kept: members can read again what they could read once.
    #[default]
    Data,
    /// Each with a key of its own, which is erased when it is used.
    Message,
}

impl SpaceScheme {
    fn is_data(&self) -> bool {
        *self == SpaceScheme::Data
    }
}

/// A space as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceView {
    /// Alias of the topic that carries it.
    pub topic: String,
    /// What it is called, where the node knows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role of the node; none: it is no member, or does not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<SpaceRole>,
    /// It asked by an invite, and no owner has let it in yet.
    pub joining: bool,
}

/// Result of `space.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceListResult {
    /// Sorted by topic.
    pub spaces: Vec<SpaceView>,
}

/// Parameters of `space.join`. Exactly one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceJoinParams {
    /// Ticket with an invite: asks to be let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Topic or alias: follows the space there, so that an owner can add the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// Parameters of `space.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceInviteParams {
    /// Topic or alias.
    pub topic: String,
    /// Role of those who come by it.
    pub role: SpaceRole,
    /// How many may come.
    #[serde(default = "one")]
    pub uses: u64,
    /// After how many seconds it ends; 7 days if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// Names this node in the ticket, with where it can be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contact: bool,
}

fn one() -> u64 {
    1
}

/// Result of `space.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInviteResult {
    /// What is handed to somebody: as secret as the topic, and anyone who has it may come in.
    pub ticket: String,
    /// Names the invite; no secret.
    #[schemars(with = "String")]
    pub invite: VerifyingKey,
}

/// Result of `space.invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInvitesResult {
    /// Also those that are used up, revoked or have expired.
    pub invites: Vec<SpaceInviteView>,
}

/// An invite as the members know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInviteView {
    /// Names it.
    #[schemars(with = "String")]
    pub invite: VerifyingKey,
    /// The owner that made it.
    #[schemars(with = "String")]
    pub by: VerifyingKey,
    /// Role of those who come by it.
    pub role: SpaceRole,
    /// How many may come.
    pub uses: u64,
    /// Until when, in seconds since 1970, by the clock of the owner that lets somebody in.
    pub expires: u64,
    /// An owner took it back.
    pub revoked: bool,
    /// Who came by it.
    #[schemars(with = "Vec<String>")]
    pub came: Vec<VerifyingKey>,
}

/// Parameters of `space.revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRevokeParams {
    /// Topic or alias.
    pub topic: String,
    /// The invite.
    #[schemars(with = "String")]
    pub invite: VerifyingKey,
}

/// Parameters of `space.members`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceMembersParams {
    /// Topic or alias.
    pub topic: String,
    /// Before this message, which changed members; now, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub at: Option<Hash>,
}

/// Result of `space.members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceMembersResult {
    /// Whether the node knows who is a member there.
    pub known: bool,
    /// Sorted.
    pub members: Vec<SpaceMemberView>,
    /// What the space has not been told of the person whose device the node is. Empty with `at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<SpacePendingView>,
    /// Nobody lacks anything, and no new secret is needed. Now, also where the members are those of
    /// another time.
    pub healed: bool,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceMemberView {
    /// Who.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// With which role.
    pub role: SpaceRole,
    /// It lacks secrets, and is handed them soon.
    pub lacking: bool,
    /// The person of which it is a device: members with the same one are one person. None with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
}

/// What a space has not been told of the person whose device the node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpacePendingView {
    /// What is to be done.
    pub what: SpacePendingKind,
    /// The device that is linked or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub device: Option<VerifyingKey>,
}

/// What is to be done about a person in a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpacePendingKind {
    /// The node is a member by itself: an owner is to take its person in.
    Introduce,
    /// A device of the person is to become a member.
    Link,
    /// A device is to be one no longer.
    Revoke,
}

/// Parameters with a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceMemberParams {
    /// Topic or alias.
    pub topic: String,
    /// Who.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
}

/// Parameters of `space.add` and `space.role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRoleParams {
    /// Topic or alias.
    pub topic: String,
    /// Who.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// The role from now on.
    pub role: SpaceRole,
}

/// Parameters of `space.remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRemoveParams {
    /// Topic or alias.
    pub topic: String,
    /// Who; all of them with one new secret.
    #[schemars(with = "Vec<String>")]
    pub members: Vec<VerifyingKey>,
}

/// Parameters of `space.rename`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRenameParams {
    /// Topic or alias.
    pub topic: String,
    /// What it is called from now on, up to 256 bytes.
    pub name: String,
}

/// Result of `space.why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceWhyResult {
    /// Who.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// With which role; none: no member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<SpaceRole>,
    /// The invite by which it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub invite: Option<VerifyingKey>,
    /// What decides it, oldest first.
    pub decided: Vec<SpaceDecision>,
    /// The same as a sentence.
    pub why: String,
}

/// An operation that decides about a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceDecision {
    /// The operation.
    #[schemars(with = "String")]
    pub operation: Hash,
    /// Who did it.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// `create`, `add`, `role` or `remove`.
    pub deed: String,
}

/// Result of `space.lacking`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceLackingResult {
    /// Members that lack secrets and can be reached: they are handed them soon.
    #[schemars(with = "Vec<String>")]
    pub members: Vec<VerifyingKey>,
}
