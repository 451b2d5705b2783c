//! Identity of the two sides (`docs/protocol/rpc.md#4`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, InviteProof};

/// Parameters of `hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// Protocol version of the client.
    pub rpc: u32,
    /// Name and version of the client's software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Credential, if the transport did not carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A token of the node's configuration.
    Token(String),
    /// A ticket from `auth.ticket`.
    Ticket(String),
    /// A proof of a key.
    Key(KeyProof),
}

/// Proof that the client has a key (`docs/protocol/rpc.md#4`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyProof {
    /// The key.
    #[schemars(with = "String")]
    pub key: VerifyingKey,
    /// 32 random bytes from the client.
    pub nonce: Bin,
    /// End of the proof's validity, in seconds since 1970.
    pub expires: u64,
    /// Signature over the text.
    pub signature: Bin,
    /// Proof of an invite that admits the key (4.12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteProof>,
}

/// Result of `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloResult {
    /// Protocol version of the server.
    pub rpc: u32,
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Software version of the node.
    pub version: String,
    /// Name of the client at this node; none without a credential.
    pub name: Option<String>,
    /// Scopes of the client.
    pub scopes: Vec<String>,
}

/// Result of `auth.challenge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChallengeResult {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// 32 random bytes, valid once, on this connection, for 60 s.
    pub nonce: Bin,
    /// Seconds since 1970 by the node's clock, for clients with a wrong clock.
    pub now: u64,
}

/// Result of `auth.ticket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketResult {
    /// Valid once, for 60 s.
    pub ticket: String,
}

/// Returns the text that a client signs to prove a key. It begins with a letter, which no header
/// does: those are CBOR arrays.
pub fn challenge_text(
    node: &VerifyingKey,
    authority: &str,
    client: &[u8],
    server: &[u8],
    expires: u64,
) -> String {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    format!(
        "p2panda rpc login 1\nnode: {node}\nauthority: {authority}\nclient: {}\nserver: {}\nexpires: {expires}\n",
        hex(client),
        hex(server)
    )
}
