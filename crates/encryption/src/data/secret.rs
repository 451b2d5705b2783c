//! Group secrets and bundles of them (`docs/protocol/encryption.md#10.1`).

use p2panda_core::ordered::BTreeSet;
use std::fmt;

use p2panda_core::limits::{GROUP_SECRETS_MAX, SECRET_DRAWS_MAX};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::aead::{self, AeadError};
use crate::hkdf::derive_secret;
use crate::limit::Limit;
use crate::rows::{Key, LoadError, Rows, Table, key, tag};
use crate::secret::Secret;
use crate::wire::{DecodeError, Items, Reader, Wire, Writer, ints_array, list, tuple};

/// Names a group secret: SHA-256 of its 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretId([u8; 32]);

impl SecretId {
    /// Takes the bytes as they are.
    pub const fn from_bytes(bytes: [u8; 32]) -> SecretId {
        SecretId(bytes)
    }

    /// The secret bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretId({self})")
    }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Key for SecretId {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn take(bytes: &mut &[u8]) -> Option<SecretId> {
        let (first, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(SecretId(*first))
    }
}

impl Wire for SecretId {
    fn write(&self, w: &mut Writer) {
        w.ints(&self.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<SecretId, DecodeError> {
        ints_array(r).map(SecretId)
    }
}

/// A secret that the group encrypts data under, with the date its author gave it.
#[derive(Debug, PartialEq, Eq)]
pub struct GroupSecret {
    secret: Secret,
    timestamp: u64,
    /// The root that this secret was derived from, until it is taken out ([`GroupSecret::split`]).
    root: Option<Secret>,
}

/// Purpose under which a kept secret is derived from its root
/// ([`Group::split`](super::Group::split)).
const KEPT: &[u8] = b"p2panda kept secret v1";

impl GroupSecret {
    /// Wraps an existing secret.
    pub fn new(secret: Secret, timestamp: u64) -> GroupSecret {
        GroupSecret {
            secret,
            timestamp,
            root: None,
        }
    }

    /// Derives the secret to keep from this one, which becomes its root and is returned once.
    pub(super) fn split(self) -> GroupSecret {
        GroupSecret {
            secret: derive_secret(KEPT, self.secret.as_bytes(), &[]),
            timestamp: self.timestamp,
            root: Some(self.secret),
        }
    }

    /// Takes the root out.
    pub(super) fn take_root(&mut self) -> Option<Secret> {
        self.root.take()
    }

    /// The bytes that members are sent: the root if there is one, otherwise the secret.
    pub(super) fn to_send(&self) -> Zeroizing<Vec<u8>> {
        let secret = self.root.as_ref().unwrap_or(&self.secret);
        GroupSecret::new(secret.duplicate(), self.timestamp).encode()
    }

    /// Its name.
    pub fn id(&self) -> SecretId {
        SecretId(Sha256::digest(self.secret.as_bytes()).into())
    }

    /// Its date, in seconds since 1970 unless its author lied.
    pub fn timestamp(&self) -> u64 {
        self.timestamp
    }

    /// Derives a secret for another purpose, which does not reveal this one.
    pub fn derive(&self, purpose: &str) -> Secret {
        derive_secret(purpose.as_bytes(), self.secret.as_bytes(), &[])
    }

    pub(crate) fn duplicate(&self) -> GroupSecret {
        GroupSecret::new(self.secret.duplicate(), self.timestamp)
    }
}

impl Wire for GroupSecret {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.secret).uint(self.timestamp);
    }

    fn read(r: &mut Reader<'_>) -> Result<GroupSecret, DecodeError> {
        tuple(r, 2, |r| Ok(GroupSecret::new(Secret::read(r)?, r.uint()?)))
    }
}

/// Seals data of the application; nothing else is authenticated with it.
pub fn encrypt(
    secret: &GroupSecret,
    nonce: &[u8; 24],
    plaintext: &[u8],
) -> Result<Vec<u8>, AeadError> {
    aead::seal_x(secret.secret.as_bytes(), nonce, &[], plaintext)
}

/// The inverse of [`encrypt`].
pub fn decrypt(
    secret: &GroupSecret,
    nonce: &[u8; 24],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, AeadError> {
    aead::open_x(secret.secret.as_bytes(), nonce, &[], ciphertext)
}

/// Secrets by name. A secret keeps the date of its first arrival.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SecretBundle {
    secrets: Table<SecretId, GroupSecret>,
    /// Date and name of each, the highest last.
    ranks: BTreeSet<(u64, SecretId)>,
}

impl SecretBundle {
    /// Starts empty.
    pub fn new() -> SecretBundle {
        SecretBundle::default()
    }

    /// The secret of that name.
    pub fn get(&self, id: &SecretId) -> Option<&GroupSecret> {
        self.secrets.get(id)
    }

    /// The secret with the greatest date, among equals the one with the greatest name.
    pub fn latest(&self) -> Option<&GroupSecret> {
        let (_, id) = self.ranks.last()?;
        self.secrets.get(id)
    }

    /// Draws a secret that outranks every secret of the bundle; does not insert it.
    pub fn generate(&self, now: u64, rng: &mut impl CryptoRng) -> Result<GroupSecret, Limit> {
        let latest = self.latest().map(GroupSecret::id);
        let draw = |rng: &mut _, date| GroupSecret::new(Secret::random(rng), date);
        self.generate_above(latest, now, rng, draw)
    }

    /// Draws a secret that outranks every secret of the bundle or, where somebody left no room for
    /// that at the end of time, at least this one.
    pub(super) fn generate_above<R: CryptoRng>(
        &self,
        used: Option<SecretId>,
        now: u64,
        rng: &mut R,
        draw: impl Fn(&mut R, u64) -> GroupSecret,
    ) -> Result<GroupSecret, Limit> {
        let latest = self.latest();
        let timestamp = match latest {
            Some(latest) if latest.timestamp >= now => latest.timestamp.saturating_add(1),
            _ => now,
        };
        let Some(latest) = latest.filter(|latest| latest.timestamp >= timestamp) else {
            return Ok(draw(rng, timestamp));
        };
        // At the end of time only the greater name wins. The least one that wins leaves room for
        // those that come later.
        let used = used.filter(|id| self.get(id).is_some_and(|u| u.timestamp >= timestamp));
        let mut drawn: Vec<_> = (0..SECRET_DRAWS_MAX)
            .map(|_| draw(rng, timestamp))
            .filter(|secret| used.is_none_or(|used| secret.id() > used))
            .collect();
        drawn.sort_by_key(GroupSecret::id);
        let above = drawn.partition_point(|secret| secret.id() <= latest.id());
        let best = if above < drawn.len() { above } else { 0 };
        drawn.into_iter().nth(best).ok_or(Limit::Timestamp)
    }

    /// Inserts a secret unless it is known, or there are [`GROUP_SECRETS_MAX`].
    pub fn insert(&mut self, secret: GroupSecret) {
        let id = secret.id();
        if self.secrets.len() < GROUP_SECRETS_MAX && !self.secrets.contains_key(&id) {
            self.ranks.insert((secret.timestamp, id));
            self.secrets.insert(id, secret);
        }
    }

    /// Inserts every secret that is not known, the highest first, up to [`GROUP_SECRETS_MAX`].
    pub fn extend(&mut self, other: SecretBundle) {
        for (_, secret) in other.ranked().rev() {
            self.insert(secret.duplicate());
        }
    }

    /// Copies the bundle with all its secrets.
    #[must_use]
    pub fn duplicate(&self) -> SecretBundle {
        let mut bundle = SecretBundle::new();
        for secret in self.secrets.values() {
            bundle.insert(secret.duplicate());
        }
        bundle
    }

    /// Erases a secret.
    pub fn remove(&mut self, id: &SecretId) -> bool {
        let removed = self.secrets.remove(id);
        if let Some(secret) = &removed {
            self.ranks.remove(&(secret.timestamp, *id));
        }
        removed.is_some()
    }

    /// Returns the number of secrets.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Returns `true` if there are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// Names and secrets.
    pub fn iter(&self) -> impl Iterator<Item = (&SecretId, &GroupSecret)> {
        self.secrets.iter()
    }

    /// From the lowest rank to the highest.
    pub fn ranked(&self) -> impl DoubleEndedIterator<Item = (&SecretId, &GroupSecret)> {
        let ranks = self.ranks.iter();
        ranks.filter_map(|(_, id)| Some((id, self.secrets.get(id)?)))
    }

    /// Returns the rank of a secret among the others.
    pub(super) fn rank(&self, id: &SecretId) -> Option<(u64, SecretId)> {
        let secret = self.secrets.get(id)?;
        Some((secret.timestamp, *id))
    }

    pub(super) fn rows(&self, out: &mut Rows) {
        self.secrets.rows(tag::SECRET, out);
    }

    pub(super) fn settle(&mut self) {
        self.secrets.settle();
    }

    pub(super) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let (id, secret) = (key::<SecretId>(name)?, GroupSecret::decode_stored(value)?);
        self.ranks.insert((secret.timestamp, id));
        self.secrets.insert_stored(id, secret);
        Ok(())
    }
}

impl Wire for SecretBundle {
    fn write(&self, w: &mut Writer) {
        w.array(self.secrets.len());
        for secret in self.secrets.values() {
            w.item(secret);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<SecretBundle, DecodeError> {
        let mut bundle = SecretBundle::new();
        for secret in list(r, GROUP_SECRETS_MAX)? {
            bundle.insert(secret);
        }
        Ok(bundle)
    }
}
