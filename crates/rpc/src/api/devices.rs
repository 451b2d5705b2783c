//! The devices of the node's person (`docs/protocol/rpc.md#15`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bin;

/// Result of `device.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceListResult {
    /// Group of the person; absent if the node is a member of spaces by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// Devices, followed by revoked ones that some spaces have not been told of.
    pub devices: Vec<DeviceView>,
    /// Number of the node's operations in its spaces that no peer has stored, or was sent where it cannot say so.
    pub unsent: u64,
    /// Whether the recovery file is more than 30 days old.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renewal_due: bool,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceView {
    /// Node id of the device.
    #[schemars(with = "String")]
    pub device: VerifyingKey,
    /// Whether it is the node itself.
    pub this: bool,
    /// `linked`, `recovery` or `revoked`.
    pub state: DeviceState,
    /// Aliases of topics whose spaces have not been told yet.
    pub pending: Vec<String>,
}

/// State of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// A device of the person.
    Linked,
    /// The key of a recovery file.
    Recovery,
    /// A former device of the person.
    Revoked,
}

impl DeviceState {
    /// Returns the name of the state.
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
    /// Whether the ticket names this node and its addresses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub contact: bool,
}

/// Result of `device.link`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceLinkResult {
    /// Name of the link in other methods.
    pub link: String,
    /// Code to enter on the other device; works once.
    pub code: String,
    /// The code with the node's network, for a QR code.
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
    /// Code of 26 characters or ticket that the other device shows.
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
    /// Name of the link in other methods.
    pub link: String,
}

/// Parameters of `device.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceWaitParams {
    /// Name of the link.
    pub link: String,
    /// Waits while the link is in this state.
    pub after: DeviceLinkState,
    /// Longest time to wait in milliseconds, at most 30 000.
    #[serde(default)]
    pub wait_ms: u64,
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceLinkState {
    /// The other device has not connected yet.
    Waiting,
    /// Both devices show digits, to be compared and confirmed on the device that offered the link.
    Compare,
    /// The digits were confirmed.
    Confirmed,
    /// Both devices belong to the person.
    Linked,
    /// The link failed; `error` has the reason.
    Ended,
}

/// Result of `device.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceWaitResult {
    /// State of the link.
    pub state: DeviceLinkState,
    /// Six digits to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<String>,
    /// The new device, once it is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub device: Option<VerifyingKey>,
    /// Reason of the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Parameters of `device.confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfirmParams {
    /// Name of the link.
    pub link: String,
    /// Digits that the other device shows; there is only one attempt.
    pub digits: String,
}

/// Parameters with a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRefuseParams {
    /// Name of the link.
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

/// Parameters of `device.export`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceExportParams {
    /// Passphrase that opens the file: 1 to 1 024 bytes.
    pub passphrase: String,
    /// Whether earlier recovery files stay valid.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep_earlier: bool,
}

impl std::fmt::Debug for DeviceExportParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceExportParams").finish_non_exhaustive()
    }
}

/// Result of `device.export`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceExportResult {
    /// Name of the export in `device.export_stored`.
    pub export: String,
    /// Recovery file to store.
    pub file: Bin,
    /// Number of spaces in it.
    pub spaces: u64,
}

impl std::fmt::Debug for DeviceExportResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceExportResult")
            .field("spaces", &self.spaces)
            .finish_non_exhaustive()
    }
}

/// Parameters of `device.export_stored`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceExportStoredParams {
    /// Name of the export.
    pub export: String,
}

/// Result of `device.export_stored`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceExportStoredResult {
    /// Recovery file that replaces the stored one; absent once the export is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Bin>,
}

impl std::fmt::Debug for DeviceExportStoredResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceExportStoredResult")
            .finish_non_exhaustive()
    }
}

/// Parameters of `device.restore`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRestoreParams {
    /// Recovery file.
    pub file: Bin,
    /// Passphrase that opens it.
    pub passphrase: String,
    /// Whether all other devices of the person are revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoke_others: bool,
}

impl std::fmt::Debug for DeviceRestoreParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceRestoreParams")
            .field("revoke_others", &self.revoke_others)
            .finish_non_exhaustive()
    }
}

/// Result of `device.restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceRestoreResult {
    /// Number of spaces in the file.
    pub spaces: u64,
}
