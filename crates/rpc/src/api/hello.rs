//! Who speaks (`docs/protocol/rpc.md#4`).

use p2panda_core::VerifyingKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bin, InviteProof};

/// Parameters of `hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HelloParams {
    /// Version that the client speaks.
    pub rpc: u32,
    /// Name and version of the client's software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The credential, where the transport did not carry one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
}

/// A credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Auth {
    /// A token of the node's configuration.
    Token(String),
    /// A ticket of `auth.ticket`.
    Ticket(String),
    /// A proof of a key.
    Key(KeyProof),
}

/// A proof that the client has a key (`docs/protocol/rpc.md#4`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyProof {
    /// The key.
    #[schemars(with = "String")]
    pub key: VerifyingKey,
    /// 32 random bytes of the client.
    pub nonce: Bin,
    /// Until when the proof is good, in seconds since 1970.
    pub expires: u64,
    /// Signature of the text.
    pub signature: Bin,
    /// The invite by which the key is to be admitted (4.12).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invite: Option<InviteProof>,
}

/// Result of `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HelloResult {
    /// Version that the server speaks.
    pub rpc: u32,
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// Version of the software.
    pub version: String,
    /// The name that the client has here; none without a credential.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
}

/// Result of `auth.challenge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChallengeResult {
    /// The node.
    #[schemars(with = "String")]
    pub node: VerifyingKey,
    /// 32 random bytes, good once, on this connection, for 60 s.
    pub nonce: Bin,
    /// Seconds since 1970 by the clock of the node, for a client whose clock is wrong.
    pub now: u64,
}

/// Result of `auth.ticket`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketResult {
    /// Good once, for 60 s.
    pub ticket: String,
}

/// What a client signs to prove a key. It begins with a letter, which no header does: those are CBOR
/// arrays.
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
