//! Group ids that are bound to their creator.

use p2panda_core::{SigningKey, VerifyingKey};

use crate::GroupId;

const CONTEXT: &str = "p2panda group id v1";

/// The group id that is bound to this author and nonce (`docs/protocol/groups.md#4`).
///
/// Under the hardened rules nobody else can create a group with this id and have effect. Draw a
/// fresh nonce for every group and send it with the create. Nobody keeps the private half.
pub fn bound_group_id(author: &VerifyingKey, nonce: &[u8; 32]) -> GroupId {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(author.as_bytes()).update(nonce);
    GroupId::from(SigningKey::from_bytes(hasher.finalize().as_bytes()).verifying_key())
}
