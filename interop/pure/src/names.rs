//! Keys and hashes of both sides: the same 32 bytes.

use p2panda_core::{Hash, VerifyingKey};

use crate::{PublishedId, PublishedKey};

/// Our key as theirs.
pub fn to_published_key(key: &VerifyingKey) -> PublishedKey {
    PublishedKey::from_bytes(key.as_bytes()).expect("members and groups are points of the curve")
}

/// Their key as ours.
pub fn from_published_key(key: &PublishedKey) -> VerifyingKey {
    VerifyingKey::from_bytes(*key.as_bytes()).expect("members and groups are points of the curve")
}

/// Our operation id as theirs.
pub fn to_published_id(id: &Hash) -> PublishedId {
    PublishedId::from_bytes(*id.as_bytes())
}

/// Their operation id as ours.
pub fn from_published_id(id: &PublishedId) -> Hash {
    Hash::from_bytes(*id.as_bytes())
}
