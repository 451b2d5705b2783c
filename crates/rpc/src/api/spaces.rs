//! Encrypted spaces (`docs/protocol/rpc.md#14`).

use p2panda_core::limits::SPACE_SECRETS_LEFT_TOLD;
use p2panda_core::{Hash, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpaceTeamView;

/// Role of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceRole {
    /// Stores and forwards without keys.
    Courier,
    /// Reads.
    Reader,
    /// Reads and writes.
    Editor,
    /// Reads, writes and changes members.
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
    /// Name, up to 256 bytes; only members learn it.
    #[serde(default)]
    pub name: String,
    /// Whether newcomers read only messages that are written after they join.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_history: bool,
    /// Scheme that seals messages; `message` implies `no_history`.
    #[serde(default, skip_serializing_if = "SpaceScheme::is_data")]
    pub scheme: SpaceScheme,
    /// Least suite of the channels that secrets go through. Absent: 2, the only one that this version
    /// supports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u8>,
    /// Whether the node signs in the space with a new key that it uses nowhere else, instead of the key of
    /// its node id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_key: bool,
}

/// Scheme that seals the messages of a space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpaceScheme {
    /// Secrets are kept: members can read again what they could read once.
    #[default]
    Data,
    /// Each message has a separate key, which is erased when it is used.
    Message,
}

impl SpaceScheme {
    fn is_data(&self) -> bool {
        *self == SpaceScheme::Data
    }
}

/// A space, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceView {
    /// Alias of the topic that carries it.
    pub topic: String,
    /// Name, if the node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role of the node; none if it is not a member or does not know yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<SpaceRole>,
    /// Scheme that seals messages; absent if the node does not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<SpaceScheme>,
    /// Least suite of the channels that secrets go through; from 2 on, no future quantum computer opens
    /// them. Absent if the node does not know it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u8>,
    /// Days after which owners replace a secret. Absent if no owner asks for that, as far as the node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_days: Option<u32>,
    /// How many more secrets the space can have: each removal needs one, in the message scheme also each
    /// addition. With none left, no member can be removed. Absent if the node is handed none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_left: Option<u64>,
    /// Key with which the node signs in the space. Absent if that is its node id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub own_key: Option<VerifyingKey>,
    /// Whether the node asked to join and no owner has admitted it yet.
    pub joining: bool,
}

impl SpaceView {
    /// Whether the space has so few secrets left that its members should go to another one.
    pub fn nears_end(&self) -> bool {
        nears_end(self.secrets_left)
    }
}

fn nears_end(left: Option<u64>) -> bool {
    let mut told = SPACE_SECRETS_LEFT_TOLD.iter();
    left.is_some_and(|left| told.any(|told| left <= *told as u64))
}

/// Result of `space.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceListResult {
    /// Sorted by topic.
    pub spaces: Vec<SpaceView>,
}

/// Parameters of `space.join`. Exactly one of `ticket` and `topic`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceJoinParams {
    /// Ticket with an invite: asks to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Topic or alias: follows the space, so that an owner can add the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Whether the node signs in the space with a new key that it uses nowhere else, instead of the key of
    /// its node id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_key: bool,
}

/// Parameters of `space.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceInviteParams {
    /// Topic or alias.
    pub topic: String,
    /// Role of those who join by it.
    pub role: SpaceRole,
    /// Number of nodes that may join by it.
    #[serde(default = "one")]
    pub uses: u64,
    /// Seconds until it expires; 7 days by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_seconds: Option<u64>,
    /// Whether to name this node and its addresses in the ticket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contact: bool,
}

fn one() -> u64 {
    1
}

/// Result of `space.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInviteResult {
    /// Ticket for newcomers. Keep it as secret as the topic: anyone who has it can join.
    pub ticket: String,
    /// Id of the invite; not a secret.
    #[schemars(with = "String")]
    pub invite: VerifyingKey,
}

/// Result of `space.invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInvitesResult {
    /// All invites, including used, revoked and expired ones.
    pub invites: Vec<SpaceInviteView>,
}

/// An invite, as members know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceInviteView {
    /// Id of the invite.
    #[schemars(with = "String")]
    pub invite: VerifyingKey,
    /// Owner that made it.
    #[schemars(with = "String")]
    pub by: VerifyingKey,
    /// Role of those who join by it.
    pub role: SpaceRole,
    /// Number of nodes that may join by it.
    pub uses: u64,
    /// End of validity, in seconds since 1970, by the clock of the admitting owner.
    pub expires: u64,
    /// Whether an owner has revoked it.
    pub revoked: bool,
    /// Members who joined by it.
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
    /// Id of a message that changed members: the members before it. Absent: the members now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub at: Option<Hash>,
}

/// Result of `space.members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceMembersResult {
    /// Whether the node knows the members at that point.
    pub known: bool,
    /// Sorted.
    pub members: Vec<SpaceMemberView>,
    /// Teams that are members. Empty with `at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teams: Vec<SpaceTeamView>,
    /// Changes of the node's person that the space has not been told yet. Empty with `at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<SpacePendingView>,
    /// Least suite of the channels that secrets go through. Absent with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u8>,
    /// Days after which owners replace a secret. Absent if no owner asks for that, and with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_days: Option<u32>,
    /// Time from which the secret is too old, in seconds since 1970. Absent if no owner asks for rotation by
    /// age, and with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotates_at: Option<u64>,
    /// How many more secrets the space can have, as far as the node was handed them. Absent with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_left: Option<u64>,
    /// Whether no member lacks secrets and no new secret is needed. Always the present state, even if
    /// the members are those of another time.
    pub healed: bool,
}

impl SpaceMembersResult {
    /// Whether the space has so few secrets left that its members should go to another one.
    pub fn nears_end(&self) -> bool {
        nears_end(self.secrets_left)
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceMemberView {
    /// Member.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// Role.
    pub role: SpaceRole,
    /// Whether it lacks secrets, which it gets soon.
    pub lacking: bool,
    /// Person of the member; members with the same value are its devices. Absent with `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Teams by which it is a member. Absent with `at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub teams: Vec<VerifyingKey>,
    /// Whether it is a recovery key of the node's person; those of other persons look like devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recovery: bool,
    /// Whether the node knows no valid keys of it for the suite of the space: it cannot be handed
    /// secrets.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_keys: bool,
}

/// A change of the node's person that a space has not been told yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpacePendingView {
    /// Kind of change.
    pub what: SpacePendingKind,
    /// Device to link or revoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub device: Option<VerifyingKey>,
}

/// Kind of a pending change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SpacePendingKind {
    /// The node is a member by itself; an owner has to add its person.
    Introduce,
    /// A device of the person has to become a member.
    Link,
    /// A revoked device has to be removed.
    Revoke,
}

/// Parameters with a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceMemberParams {
    /// Topic or alias.
    pub topic: String,
    /// Member.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
}

/// Parameters of `space.add` and `space.role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRoleParams {
    /// Topic or alias.
    pub topic: String,
    /// Member: a device, or a person or team that the node knows.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// New role; a team is never an owner.
    pub role: SpaceRole,
}

/// Parameters of `space.remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRemoveParams {
    /// Topic or alias.
    pub topic: String,
    /// Members to remove, all with one new secret; a person or team alone.
    #[schemars(with = "Vec<String>")]
    pub members: Vec<VerifyingKey>,
}

/// Parameters of `space.rename`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRenameParams {
    /// Topic or alias.
    pub topic: String,
    /// New name, up to 256 bytes.
    pub name: String,
}

/// Parameters of `space.rotate-every`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRotateEveryParams {
    /// Topic or alias.
    pub topic: String,
    /// Days after which owners replace a secret, up to 3650; 0: they do not.
    pub days: u32,
}

/// Parameters of `space.raise-suite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRaiseSuiteParams {
    /// Topic or alias.
    pub topic: String,
    /// New least suite. What the space requires already, or less, changes nothing.
    pub suite: u8,
}

/// Result of `space.why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceWhyResult {
    /// Member.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// Role; none if it is not a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<SpaceRole>,
    /// Teams by which it is a member.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub teams: Vec<VerifyingKey>,
    /// Invite by which it joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub invite: Option<VerifyingKey>,
    /// Deciding operations, oldest first.
    pub decided: Vec<SpaceDecision>,
    /// The reason as a sentence.
    pub why: String,
}

/// An operation that decides a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceDecision {
    /// The operation.
    #[schemars(with = "String")]
    pub operation: Hash,
    /// Author.
    #[schemars(with = "String")]
    pub author: VerifyingKey,
    /// `create`, `add`, `role` or `remove`.
    pub deed: String,
}

/// Result of `space.lacking`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceLackingResult {
    /// Members that lack secrets and can be reached; they get them soon.
    #[schemars(with = "Vec<String>")]
    pub members: Vec<VerifyingKey>,
}

#[cfg(test)]
mod tests {
    use super::nears_end;

    #[test]
    fn a_space_nears_its_end_where_its_members_are_told() {
        for (left, expected) in [(Some(1_001), false), (Some(1_000), true), (Some(0), true)] {
            assert_eq!(nears_end(left), expected, "{left:?}");
        }
        assert!(!nears_end(None), "it is not known here");
    }
}
