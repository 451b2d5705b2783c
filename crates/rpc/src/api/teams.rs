//! Teams (`docs/protocol/rpc.md#14`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SpaceRole;

/// Parameters of `team.create`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamCreateParams {
    /// Name, up to 256 bytes; the members of spaces that the team is in learn it.
    #[serde(default)]
    pub name: String,
}

/// Parameters of `team.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamAddParams {
    /// Team.
    #[schemars(with = "String")]
    pub team: VerifyingKey,
    /// Device, which means its person if the node knows it; or a person or team.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// Role in the team; an `owner` manages it.
    pub role: SpaceRole,
}

/// Parameters of `team.remove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TeamRemoveParams {
    /// Team.
    #[schemars(with = "String")]
    pub team: VerifyingKey,
    /// Device, which means its person if that is listed; or a person or team.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
}

/// Result of `team.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamListResult {
    /// Teams that the node made, and those of its spaces; sorted.
    pub teams: Vec<TeamView>,
}

/// A team, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamView {
    /// Id, by which it is added to a space.
    #[schemars(with = "String")]
    pub team: VerifyingKey,
    /// Name, if the node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether the node may change it.
    pub manages: bool,
    /// Direct members: devices, persons and teams. The devices of a person that manages the team are listed
    /// too.
    pub members: Vec<TeamMemberView>,
    /// Topics of the spaces that it is in and that the node follows, by alias.
    pub spaces: Vec<String>,
    /// Those of them that have not been told of the node's changes yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}

/// A direct member of a team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamMemberView {
    /// Device, person or team.
    #[schemars(with = "String")]
    pub member: VerifyingKey,
    /// Whether it is a person or team.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub group: bool,
    /// Role in the team.
    pub role: SpaceRole,
}

/// A team that is a member of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpaceTeamView {
    /// Id.
    #[schemars(with = "String")]
    pub team: VerifyingKey,
    /// Name in this space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Role in the space.
    pub role: SpaceRole,
    /// Devices that are members by it.
    #[schemars(with = "Vec<String>")]
    pub devices: Vec<VerifyingKey>,
}
