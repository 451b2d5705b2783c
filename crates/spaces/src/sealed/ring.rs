//! The structure keys of a space (`docs/protocol/spaces.md#10`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_encryption::Secret;
use p2panda_encryption::data::{SecretBundle, SecretId};

use super::body::{KeyId, STRUCTURE};

#[derive(Debug, Default)]
pub(crate) struct Ring {
    keys: BTreeMap<KeyId, Secret>,
    /// The secrets of which the key is here.
    known: BTreeSet<SecretId>,
    dirty: BTreeSet<KeyId>,
    /// The one that came last.
    newest: Option<KeyId>,
}

impl Ring {
    pub(crate) fn get(&self, id: &KeyId) -> Option<&Secret> {
        self.keys.get(id)
    }

    /// Returns the number of keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that came last; after a restart any.
    pub(crate) fn newest(&self) -> Option<&Secret> {
        let newest = self.newest.and_then(|id| self.keys.get(&id));
        newest.or_else(|| self.keys.values().next_back())
    }

    /// Takes a key in; gives its name if it is new.
    pub(crate) fn insert(&mut self, key: Secret) -> Option<KeyId> {
        let id = KeyId::of(&key);
        if self.keys.contains_key(&id) {
            return None;
        }
        self.keys.insert(id, key);
        self.dirty.insert(id);
        self.newest = Some(id);
        Some(id)
    }

    /// A key that was stored.
    pub(crate) fn restore(&mut self, key: Secret) {
        self.keys.insert(KeyId::of(&key), key);
    }

    /// Adds the keys of new secrets; returns the ids of both.
    pub(crate) fn learn(&mut self, secrets: &SecretBundle) -> (Vec<KeyId>, Vec<SecretId>) {
        let (mut keys, mut new) = (Vec::new(), Vec::new());
        for (id, secret) in secrets.iter() {
            if self.known.insert(*id) {
                new.push(*id);
                keys.extend(self.insert(secret.derive(STRUCTURE)));
            }
        }
        (keys, new)
    }

    /// Iterates over all keys, by id.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&KeyId, &Secret)> {
        self.keys.iter()
    }

    /// Copies of all keys but one.
    pub(crate) fn others(&self, except: &KeyId) -> Vec<Secret> {
        let others = self.keys.iter().filter(|(id, _)| *id != except);
        others.map(|(_, key)| copy(key)).collect()
    }

    /// The keys that were not stored yet.
    pub(crate) fn take_dirty(&mut self) -> Vec<KeyId> {
        std::mem::take(&mut self.dirty).into_iter().collect()
    }
}

/// A second copy of a key, which is erased like the first one.
pub(crate) fn copy(key: &Secret) -> Secret {
    Secret::from_bytes(*key.as_bytes())
}
