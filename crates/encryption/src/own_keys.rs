//! Our own identity, pre-keys and one-time keys (`docs/protocol/encryption.md#6`).

use p2panda_core::limits::PRE_KEY_CLOCK_SKEW_S;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::bundle::{
    HybridBundle, Lifetime, LongTermBundle, OneTimeBundle, OneTimePreKey, PreKey, rank,
};
use crate::rows::{LoadError, Row, Rows, Single, Table, tag};
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, map, tuple, version};
use crate::x25519::{PublicKey, SecretKey};
use crate::xeddsa::{self, XSignature};
use crate::xwing::XWingSecret;

/// Own key that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnKeysError {
    /// The one-time key was used before, or never made.
    #[error("unknown one-time secret")]
    UnknownOneTimeSecret,
    /// The pre-key was removed, or never made.
    #[error("unknown pre-key secret")]
    UnknownPreKeySecret,
    /// No pre-key is valid now: rotate.
    #[error("no valid pre-key")]
    NoPreKeysAvailable,
}

/// The secrets that open first messages to us.
///
/// Rotate well before expiry, so that the new bundle spreads; keep the old secret as long as
/// peers may be offline, then [`OwnKeys::remove_expired`]: until then a thief of our state reads
/// old first messages. Store the whole state: ids of one-time keys must never start again.
///
/// ```
/// # use p2panda_encryption::{Lifetime, OwnKeys, SecretKey};
/// # use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
/// let mut rng = ChaCha20Rng::from_seed([1; 32]);
/// let mut keys = OwnKeys::new(SecretKey::random(&mut rng));
/// keys.rotate_prekey(Lifetime::starting(10_000, 3_600), &mut rng);
/// let bundle = keys.long_term_bundle(10_001)?;
/// assert_eq!(bundle.verify(10_001), Ok(()));
/// # Ok::<(), p2panda_encryption::OwnKeysError>(())
/// ```
#[derive(Debug)]
pub struct OwnKeys {
    identity_secret: SecretKey,
    identity_key: PublicKey,
    prekeys: Table<PublicKey, Stored>,
    /// The X-Wing pre-keys by the pre-key that they were published with.
    hybrid: Table<PublicKey, (XWingSecret, HybridBundle)>,
    onetime: Table<u64, (PublicKey, SecretKey)>,
    onetime_next_id: u64,
    header: Single,
}

impl PartialEq for OwnKeys {
    fn eq(&self, other: &OwnKeys) -> bool {
        self.identity_secret == other.identity_secret
            && self.prekeys == other.prekeys
            && self.hybrid == other.hybrid
            && self.onetime == other.onetime
            && self.onetime_next_id == other.onetime_next_id
    }
}

impl Eq for OwnKeys {}

#[derive(Debug, PartialEq, Eq)]
struct Stored {
    prekey: PreKey,
    secret: SecretKey,
    signature: XSignature,
    /// It opened a first message of a hybrid channel, which its thief can open as well.
    is_used: bool,
}

impl OwnKeys {
    /// Starts without pre-keys.
    pub fn new(identity_secret: SecretKey) -> OwnKeys {
        OwnKeys {
            identity_key: identity_secret.public_key(),
            identity_secret,
            prekeys: Table::default(),
            hybrid: Table::default(),
            onetime: Table::default(),
            onetime_next_id: 0,
            header: Single::default(),
        }
    }

    /// The public half of our identity.
    pub fn identity_key(&self) -> &PublicKey {
        &self.identity_key
    }

    /// Draws a new pre-key; the older ones open messages until they are removed.
    pub fn rotate_prekey(&mut self, lifetime: Lifetime, rng: &mut impl CryptoRng) {
        self.draw_prekey(lifetime, rng);
    }

    /// The same with an X-Wing pre-key next to it, for groups of the hybrid suite.
    pub fn rotate_hybrid_prekey(&mut self, lifetime: Lifetime, rng: &mut impl CryptoRng) {
        let prekey = self.draw_prekey(lifetime, rng);
        let secret = XWingSecret::random(rng);
        let public = secret.public_key();
        let bundle = HybridBundle::sign(public, prekey, &self.identity_secret, rng);
        self.hybrid.insert(prekey.key, (secret, bundle));
    }

    fn draw_prekey(&mut self, lifetime: Lifetime, rng: &mut impl CryptoRng) -> PreKey {
        let secret = SecretKey::random(rng);
        let key = secret.public_key();
        let signature = xeddsa::sign(key.as_bytes(), &self.identity_secret, rng);
        let prekey = PreKey { key, lifetime };
        let stored = Stored {
            prekey,
            secret,
            signature,
            is_used: false,
        };
        self.prekeys.insert(key, stored);
        prekey
    }

    /// The bundle to publish for groups of the hybrid suite, next to the classic ones.
    pub fn hybrid_bundle(&self, now: u64) -> Result<&HybridBundle, OwnKeysError> {
        let bundles = self.hybrid.values().map(|(_, bundle)| bundle);
        bundles
            .filter(|bundle| bundle.signed_prekey.lifetime.is_valid(now))
            .max_by_key(|bundle| rank(&bundle.signed_prekey))
            .ok_or(OwnKeysError::NoPreKeysAvailable)
    }

    /// The bundle to publish for the data scheme.
    pub fn long_term_bundle(&self, now: u64) -> Result<LongTermBundle, OwnKeysError> {
        let stored = self.latest(now)?;
        Ok(LongTermBundle {
            identity_key: self.identity_key,
            signed_prekey: stored.prekey,
            prekey_signature: stored.signature,
        })
    }

    /// A new bundle to publish for the message scheme. Store the state before publishing it.
    pub fn one_time_bundle(
        &mut self,
        now: u64,
        rng: &mut impl CryptoRng,
    ) -> Result<OneTimeBundle, OwnKeysError> {
        let stored = self.latest(now)?;
        let (prekey, signature) = (stored.prekey, stored.signature);
        let next_id = self
            .onetime_next_id
            .checked_add(1)
            .ok_or(OwnKeysError::NoPreKeysAvailable)?;
        let secret = SecretKey::random(rng);
        let key = secret.public_key();
        let id = self.onetime_next_id;
        self.onetime_next_id = next_id;
        self.onetime.insert(id, (prekey.key, secret));
        Ok(OneTimeBundle {
            identity_key: self.identity_key,
            signed_prekey: prekey,
            onetime_prekey: Some(OneTimePreKey { key, id }),
            prekey_signature: signature,
        })
    }

    /// Takes a one-time secret out, for its one use.
    pub fn use_one_time(&mut self, id: u64) -> Result<SecretKey, OwnKeysError> {
        let (_, secret) = self
            .onetime
            .remove(&id)
            .ok_or(OwnKeysError::UnknownOneTimeSecret)?;
        Ok(secret)
    }

    /// Removes pre-keys that are not valid now, and the one-time secrets published with them.
    pub fn remove_expired(&mut self, now: u64) {
        self.prekeys
            .retain(|_, stored| stored.prekey.lifetime.is_valid(now));
        self.retain_of_prekeys();
    }

    /// Returns `true` if the pre-key that others use now opened a first message of a hybrid
    /// channel, and was drawn so many seconds ago: draw the next one, so that this one can be
    /// removed ([`OwnKeys::remove_used`]).
    pub fn is_newest_used(&self, now: u64, after_s: u64) -> bool {
        let newest = self.hybrid_bundle(now).map(|bundle| bundle.signed_prekey);
        newest.is_ok_and(|newest| {
            let stored = self.prekeys.get(&newest.key);
            stored.is_some_and(|stored| stored.is_used) && has_passed(&newest, now, after_s)
        })
    }

    /// Removes pre-keys that opened first messages of hybrid channels, if the next one was drawn so many
    /// seconds ago: nobody opens these messages again. Tells whether there were any.
    pub fn remove_used(&mut self, now: u64, after_s: u64) -> bool {
        let used = self.used_before(now, after_s);
        self.prekeys.retain(|key, _| !used.contains(key));
        self.retain_of_prekeys();
        !used.is_empty()
    }

    /// Returns `true` if [`OwnKeys::remove_used`] would remove any.
    pub fn has_used(&self, now: u64, after_s: u64) -> bool {
        !self.used_before(now, after_s).is_empty()
    }

    fn used_before(&self, now: u64, after_s: u64) -> Vec<PublicKey> {
        let mut ranked: Vec<PreKey> = self.prekeys.values().map(|stored| stored.prekey).collect();
        ranked.sort_unstable_by_key(rank);
        let next = ranked.iter().skip(1);
        let replaced = ranked.iter().zip(next);
        let replaced = replaced.filter(|(_, next)| has_passed(next, now, after_s));
        let replaced = replaced.map(|(prekey, _)| prekey.key);
        let is_used = |key: &PublicKey| self.prekeys.get(key).is_some_and(|it| it.is_used);
        replaced.filter(is_used).collect()
    }

    /// A first message of a hybrid channel was opened with a pre-key.
    pub(crate) fn used(&mut self, prekey: &PublicKey) {
        if self.hybrid.contains_key(prekey) {
            self.prekeys.update(prekey, |stored| {
                !std::mem::replace(&mut stored.is_used, true)
            });
        }
    }

    fn retain_of_prekeys(&mut self) {
        let prekeys = &self.prekeys;
        self.hybrid.retain(|prekey, _| prekeys.contains_key(prekey));
        self.onetime
            .retain(|_, (prekey, _)| prekeys.contains_key(prekey));
    }

    /// Also of an expired pre-key, so that late messages still open.
    pub(crate) fn prekey_secret(&self, id: &PublicKey) -> Result<&SecretKey, OwnKeysError> {
        let stored = self.prekeys.get(id);
        Ok(&stored.ok_or(OwnKeysError::UnknownPreKeySecret)?.secret)
    }

    /// The X-Wing secret that was published with a pre-key.
    pub(crate) fn xwing_secret(&self, id: &PublicKey) -> Option<&XWingSecret> {
        self.hybrid.get(id).map(|(secret, _)| secret)
    }

    pub(crate) fn xwing_secrets(&self) -> impl Iterator<Item = &XWingSecret> {
        self.hybrid.values().map(|(secret, _)| secret)
    }

    pub(crate) fn one_time_secret(&self, id: u64) -> Option<&SecretKey> {
        self.onetime.get(&id).map(|(_, secret)| secret)
    }

    pub(crate) fn identity_secret(&self) -> &SecretKey {
        &self.identity_secret
    }

    /// The rows that have changed since the last call; at first all. Store them in the transaction
    /// of what they belong to.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut out = Rows::changed();
        self.prekeys.rows(tag::PRE_KEY, &mut out);
        self.hybrid.rows(tag::HYBRID_PRE_KEY, &mut out);
        self.onetime.rows(tag::ONE_TIME, &mut out);
        self.header.rows(tag::HEADER, self.header(), &mut out);
        self.prekeys.settle();
        self.hybrid.settle();
        self.onetime.settle();
        self.header.settle(self.header());
        out.into_vec()
    }

    /// The keys of stored rows, given in any order.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<OwnKeys, LoadError> {
        let (mut prekeys, mut hybrid) = (Table::default(), Table::default());
        let (mut onetime, mut header) = (Table::default(), None);
        for (key, value) in rows {
            let value = value.as_ref();
            match key.as_ref().split_first() {
                Some((&tag::HEADER, [])) => header = Some(Header::decode_stored(value)?),
                Some((&tag::PRE_KEY, name)) => prekeys.load(name, value)?,
                Some((&tag::HYBRID_PRE_KEY, name)) => hybrid.load(name, value)?,
                Some((&tag::ONE_TIME, name)) => onetime.load(name, value)?,
                _ => return Err(LoadError::Corrupt),
            }
        }
        let Header(secret, onetime_next_id) = header.ok_or(LoadError::Version)?;
        let mut keys = OwnKeys {
            identity_key: secret.public_key(),
            identity_secret: secret,
            prekeys,
            hybrid,
            onetime,
            onetime_next_id,
            header: Single::default(),
        };
        keys.header.settle(keys.header());
        Ok(keys)
    }

    fn header(&self) -> Zeroizing<Vec<u8>> {
        Header(self.identity_secret.duplicate(), self.onetime_next_id).encode()
    }

    fn latest(&self, now: u64) -> Result<&Stored, OwnKeysError> {
        self.prekeys
            .values()
            .filter(|stored| stored.prekey.lifetime.is_valid(now))
            .max_by_key(|stored| rank(&stored.prekey))
            .ok_or(OwnKeysError::NoPreKeysAvailable)
    }
}

/// Returns `true` if a pre-key was drawn so many seconds ago.
fn has_passed(prekey: &PreKey, now: u64, after_s: u64) -> bool {
    let drawn = prekey
        .lifetime
        .not_before
        .saturating_add(PRE_KEY_CLOCK_SKEW_S);
    now >= drawn.saturating_add(after_s)
}

/// Identity secret and the next id of a one-time key.
struct Header(SecretKey, u64);

impl Wire for Header {
    fn write(&self, w: &mut Writer) {
        w.array(3).uint(1).item(&self.0).uint(self.1);
    }

    fn read(r: &mut Reader<'_>) -> Result<Header, DecodeError> {
        tuple(r, 3, |r| {
            version(r, 1)?;
            Ok(Header(SecretKey::read(r)?, r.uint()?))
        })
    }
}

impl Wire for OwnKeys {
    fn write(&self, w: &mut Writer) {
        let has_hybrid = !self.hybrid.is_empty();
        w.map(5 + usize::from(has_hybrid));
        if has_hybrid {
            w.text("hybrid").map(self.hybrid.len());
            for (id, (secret, bundle)) in self.hybrid.iter() {
                w.item(id).array(2).item(secret).item(bundle);
            }
        }
        w.text("prekeys").map(self.prekeys.len());
        for (id, stored) in self.prekeys.iter() {
            w.item(id).item(stored);
        }
        w.text("identity_key").item(&self.identity_key);
        w.text("identity_secret").item(&self.identity_secret);
        w.text("onetime_next_id").uint(self.onetime_next_id);
        w.text("onetime_secrets").map(self.onetime.len());
        for (id, (prekey, secret)) in self.onetime.iter() {
            w.uint(*id).array(2).item(prekey).item(secret);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<OwnKeys, DecodeError> {
        let mut fields = Fields::open(r)?;
        let pair = |r: &mut Reader<'_>| {
            tuple(r, 2, |r| {
                Ok((XWingSecret::read(r)?, HybridBundle::read(r)?))
            })
        };
        let hybrid = fields.optional("hybrid", |r| map(r, PublicKey::read, pair))?;
        let prekeys = fields.required("prekeys", |r| map(r, PublicKey::read, Stored::read))?;
        let identity_key = fields.required("identity_key", PublicKey::read)?;
        let identity_secret = fields.required("identity_secret", SecretKey::read)?;
        let onetime_next_id = fields.required("onetime_next_id", |r| Ok(r.uint()?))?;
        let pair =
            |r: &mut Reader<'_>| tuple(r, 2, |r| Ok((PublicKey::read(r)?, SecretKey::read(r)?)));
        let onetime = fields.required("onetime_secrets", |r| map(r, |r| Ok(r.uint()?), pair))?;
        fields.close()?;
        Ok(OwnKeys {
            identity_secret,
            identity_key,
            prekeys: Table::fresh(prekeys),
            hybrid: Table::fresh(hybrid.unwrap_or_default()),
            onetime: Table::fresh(onetime),
            onetime_next_id,
            header: Single::default(),
        })
    }
}

impl Wire for Stored {
    fn write(&self, w: &mut Writer) {
        w.map(3 + usize::from(self.is_used));
        if self.is_used {
            w.text("used").bool(true);
        }
        w.text("prekey").item(&self.prekey);
        w.text("secret").item(&self.secret);
        w.text("signature").item(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Stored, DecodeError> {
        let mut fields = Fields::open(r)?;
        let is_used = fields.optional("used", |r| Ok(r.bool()?))?;
        let prekey = fields.required("prekey", PreKey::read)?;
        let secret = fields.required("secret", SecretKey::read)?;
        let signature = fields.required("signature", XSignature::read)?;
        fields.close()?;
        Ok(Stored {
            prekey,
            secret,
            signature,
            is_used: is_used.unwrap_or(false),
        })
    }
}
