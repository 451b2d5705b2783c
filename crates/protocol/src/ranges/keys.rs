//! The keys that bind fingerprints to a session and to their sender (`docs/protocol/ranges.md#3`).

use p2panda_core::{Hash, Heads, LogId, Prefix, VerifyingKey};

use super::message::Fingerprint;

/// Keeps these hashes apart from all others.
const CONTEXT: &[u8] = b"p2panda/ranges/v1";

/// Prefix that one side puts in front of each hash that it says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(Hash);

impl Key {
    pub(super) fn new(binding: &[u8; 32], sender: &VerifyingKey) -> Key {
        Key(Hash::digest_parts(&[CONTEXT, binding, sender.as_bytes()]))
    }

    /// Returns the fingerprint of this side for a range in which it has these heads.
    pub(super) fn fingerprint(&self, heads: &mut Heads, range: &Prefix) -> Fingerprint {
        self.bind(&heads.hash(range))
    }

    /// The same of a range in which this side has any.
    pub(super) fn fingerprint_of_any(
        &self,
        heads: &mut Heads,
        range: &Prefix,
    ) -> Option<Fingerprint> {
        Some(self.bind(&heads.hash_of_any(range)?))
    }

    fn bind(&self, hash: &Hash) -> Fingerprint {
        let bound = Hash::digest_parts(&[self.0.as_bytes(), hash.as_bytes()]);
        let first = bound.as_bytes().first_chunk::<16>();
        Fingerprint(first.copied().unwrap_or_default())
    }

    /// Eight bytes that stand for a log in this session. Nobody can choose them.
    pub(super) fn short(&self, author: &VerifyingKey, log: &LogId) -> u64 {
        let parts = [self.0.as_bytes(), author.as_bytes(), log.as_bytes()];
        let hash = Hash::digest_parts(&parts.map(|part| part.as_slice()));
        let first = hash.as_bytes().first_chunk::<8>();
        u64::from_be_bytes(first.copied().unwrap_or_default())
    }
}
