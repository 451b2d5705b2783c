//! Invites for unlisted keys (`docs/protocol/rpc.md#4`).

use p2panda_core::VerifyingKey;
use p2panda_core::limits::RPC_INVITE_VALID;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use p2panda_core::{AccessCode, AccessCodeError, invite_proof};

/// Scopes that an invite can grant; by default it grants both.
pub const INVITE_SCOPES: [&str; 2] = ["read", "relay"];
/// Proof of an invite, sent with the proof of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteProof {
    /// Id of the invite, 16 hexadecimal digits.
    pub id: String,
    /// Keyed hash of 32 bytes (4.12).
    pub proof: super::Bin,
}

/// Parameters of `access.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessInviteParams {
    /// Topics or aliases; the node keeps these topics from then on.
    pub topics: Vec<String>,
    /// Its name, at most 64 letters, digits, dots, hyphens and underscores; default: its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `read`, `relay` or both (default).
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// Number of keys that the invite admits.
    #[serde(default = "one")]
    pub uses: u32,
    /// Seconds for which keys are admitted; 7 days by default.
    #[serde(default = "valid")]
    pub expires_seconds: u64,
}

fn scopes() -> Vec<String> {
    INVITE_SCOPES.map(str::to_owned).to_vec()
}

fn one() -> u32 {
    1
}

fn valid() -> u64 {
    RPC_INVITE_VALID.as_secs()
}

/// Result of `access.invite`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessInviteResult {
    /// The invite to hand out: anyone who has it can have a key admitted.
    pub invite: String,
    /// Name of the invite.
    pub name: String,
}

/// Result of `access.invites`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessInvitesResult {
    /// Invites, sorted by name.
    pub invites: Vec<AccessInviteView>,
}

/// An invite, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccessInviteView {
    /// Name of the invite.
    pub name: String,
    /// Scopes of its keys.
    pub scopes: Vec<String>,
    /// Aliases of its topics.
    pub topics: Vec<String>,
    /// Number of keys that the invite admits.
    pub uses: u32,
    /// Expiry, in seconds since 1970.
    pub expires: u64,
    /// Keys that were admitted.
    #[schemars(with = "Vec<String>")]
    pub keys: Vec<VerifyingKey>,
}

/// Parameters of `access.revoke`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AccessRevokeParams {
    /// Name of the invite.
    pub name: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use p2panda_core::SigningKey;
    use serde_json::Value;

    use super::*;
    use crate::api::challenge_text;

    fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        let bytes = data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes());
        bytes.unwrap().try_into().unwrap()
    }

    #[test]
    fn invites_and_their_proofs_are_those_of_the_vector() {
        let vector = include_str!("../../../../vectors/rpc-invite.json");
        let vector: Value = serde_json::from_str(vector).unwrap();
        let code = AccessCode {
            node: SigningKey::from_bytes(&bytes(&vector["node_seed"])).verifying_key(),
            id: bytes(&vector["id"]),
            secret: bytes(&vector["secret"]),
        };
        assert_eq!(code.to_string(), vector["invite"].as_str().unwrap());
        assert_eq!(code.id_text(), vector["id"].as_str().unwrap());
        let key = SigningKey::from_bytes(&bytes(&vector["key_seed"]));
        let text = challenge_text(
            &code.node,
            vector["authority"].as_str().unwrap(),
            &bytes::<32>(&vector["client"]),
            &bytes::<32>(&vector["server"]),
            vector["expires"].as_u64().unwrap(),
        );
        assert_eq!(text, vector["text"].as_str().unwrap());
        let signature = key.sign(text.as_bytes());
        assert_eq!(*signature.as_bytes(), bytes(&vector["signature"]));
        let proof = invite_proof(&code.secret, &text, &key.verifying_key());
        assert_eq!(proof, bytes::<32>(&vector["proof"]));
        for wrong in vector["wrong"].as_array().unwrap() {
            let read = wrong["invite"].as_str().unwrap().parse::<AccessCode>();
            let said = match read.unwrap_err() {
                AccessCodeError::Scheme => "scheme",
                AccessCodeError::Newer { .. } => "newer",
                _ => "damaged",
            };
            assert_eq!(said, wrong["error"].as_str().unwrap(), "{wrong}");
        }
    }
}
