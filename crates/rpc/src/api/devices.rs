//! The devices of the node's person (`docs/protocol/rpc.md#15`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Result of `device.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceListResult {
    /// The person's group; none: the node is a member of spaces by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The devices, then those that are revoked in some spaces and not yet in others.
    pub devices: Vec<DeviceView>,
    /// Operations of the node that nobody is known to have, and somebody is to have.
    pub unsent: u64,
    /// The recovery file is more than 30 days old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewal_due: bool,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceView {
    /// Its node id.
    #[schemars(with = "String")]
    pub device: VerifyingKey,
    /// It is the node itself.
    pub this: bool,
    /// `linked`, `recovery` or `revoked`.
    pub state: DeviceState,
    /// Aliases of the topics whose spaces have not been told.
    pub pending: Vec<String>,
}

/// Whether a device is one of the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// It is.
    Linked,
    /// It is the key of a recovery file.
    Recovery,
    /// It was.
    Revoked,
}

impl DeviceState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceState::Linked => "linked",
            DeviceState::Recovery => "recovery",
            DeviceState::Revoked => "revoked",
        }
    }
}

/// Parameters of `device.link`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceLinkParams {
    /// Names this node in the ticket, with where it can be reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contact: bool,
}

/// Result of `device.link`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLinkResult {
    /// Names the link in the other methods.
    pub link: String,
    /// What is entered on the other device; works once.
    pub code: String,
    /// The code with the network of the node; for a QR code.
    pub ticket: String,
}

impl std::fmt::Debug for DeviceLinkResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceLinkResult")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// Parameters of `device.accept`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceAcceptParams {
    /// What the other device shows: 26 characters, or a ticket.
    pub code: String,
}

impl std::fmt::Debug for DeviceAcceptParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceAcceptParams").finish_non_exhaustive()
    }
}

/// Result of `device.accept`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceAcceptResult {
    /// Names the link in the other methods.
    pub link: String,
}

/// Parameters of `device.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceWaitParams {
    /// The link.
    pub link: String,
    /// Answers once the link is in another state than this one.
    pub after: DeviceLinkState,
    /// But no later than after so many milliseconds, at most 30 000.
    #[serde(default)]
    pub wait_ms: u64,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceLinkState {
    /// The other device is not there yet.
    Waiting,
    /// Both show digits, which a person compares and confirms on the device that offered the link.
    Compare,
    /// They were confirmed.
    Confirmed,
    /// Both devices belong to the person.
    Linked,
    /// It came to nothing: `error` says why.
    Ended,
}

/// Result of `device.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceWaitResult {
    /// How far it is.
    pub state: DeviceLinkState,
    /// The six digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<String>,
    /// The new device, once linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub device: Option<VerifyingKey>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Parameters of `device.confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfirmParams {
    /// The link.
    pub link: String,
    /// What the other device shows. There is one try.
    pub digits: String,
}

/// Parameters with a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRefuseParams {
    /// The link.
    pub link: String,
}

/// Parameters of `device.revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRevokeParams {
    /// Node id of the device.
    #[schemars(with = "String")]
    pub device: VerifyingKey,
}
