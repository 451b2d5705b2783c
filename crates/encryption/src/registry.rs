//! Public keys of the other members (`docs/protocol/encryption.md#7`).

use p2panda_core::ordered::BTreeSet;

use p2panda_core::Hash;
use p2panda_core::limits::{HYBRID_BUNDLES_MAX, LONG_TERM_BUNDLES_MAX, ONE_TIME_BUNDLES_MAX};
use thiserror::Error;

use crate::Member;
use crate::bundle::{BundleError, HybridBundle, LongTermBundle, OneTimeBundle, PreKey, rank};
use crate::rows::{LoadError, Row, Rows, Set, Table, key, tag};
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, list, map};
use crate::x25519::PublicKey;

/// Reason why a bundle was not taken, or none was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The bundle does not verify.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// There are bundles, and none is valid now.
    #[error("every key bundle of the member has expired")]
    KeyBundlesExpired,
    /// The member has another identity key; that one stays.
    #[error("the member has another identity key")]
    IdentityMismatch,
}

/// Identity keys and bundles by member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    identities: Table<Member, PublicKey>,
    onetime: Lists<OneTimeBundle>,
    longterm: Lists<LongTermBundle>,
    hybrid: Lists<HybridBundle>,
    /// Anyone who once showed that it speaks the hybrid suite stays here, also without a bundle.
    speak_hybrid: Set<Member>,
}

/// Bundles by member, oldest first.
#[derive(Clone, Debug)]
struct Lists<T> {
    bundles: Table<(Member, u64), T>,
    /// Members that have or had any: in the layout of published peers an empty list stays.
    owners: BTreeSet<Member>,
}

impl Registry {
    /// Starts with nobody.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// The member's identity key.
    pub fn identity_key(&self, member: &Member) -> Option<&PublicKey> {
        self.identities.get(member)
    }

    /// Records a member's identity key; a second one is refused.
    pub fn record_identity(&mut self, member: Member, key: PublicKey) -> Result<(), RegistryError> {
        match self.identities.get(&member) {
            Some(known) if *known == key => Ok(()),
            Some(_) => Err(RegistryError::IdentityMismatch),
            None => {
                self.identities.insert(member, key);
                Ok(())
            }
        }
    }

    /// Adds a bundle that came in an envelope signed by the member. A repeat is ignored; above
    /// [`LONG_TERM_BUNDLES_MAX`] the one goes that would be used last.
    pub fn add_long_term(
        &mut self,
        member: Member,
        bundle: LongTermBundle,
        now: u64,
    ) -> Result<(), RegistryError> {
        bundle.verify(now)?;
        self.record_identity(member, bundle.identity_key)?;
        let prekey = |bundle: &LongTermBundle| bundle.signed_prekey;
        self.longterm
            .keep(member, bundle, LONG_TERM_BUNDLES_MAX, prekey);
        Ok(())
    }

    /// Adds a bundle that came in an envelope signed by the member, and remembers that the member
    /// speaks the hybrid suite. A repeat is ignored; above [`HYBRID_BUNDLES_MAX`] the one goes that
    /// would be used last.
    pub fn add_hybrid(
        &mut self,
        member: Member,
        bundle: HybridBundle,
        now: u64,
    ) -> Result<(), RegistryError> {
        bundle.verify(now)?;
        self.record_identity(member, bundle.identity_key)?;
        self.speak_hybrid.insert(member);
        let prekey = |bundle: &HybridBundle| bundle.signed_prekey;
        self.hybrid.keep(member, bundle, HYBRID_BUNDLES_MAX, prekey);
        Ok(())
    }

    /// The member's latest valid hybrid bundle, which stays.
    pub fn hybrid(
        &self,
        member: &Member,
        now: u64,
    ) -> Result<Option<&HybridBundle>, RegistryError> {
        if !self.speaks_hybrid(member) {
            return Ok(None);
        }
        let valid = |bundle: &&HybridBundle| bundle.signed_prekey.lifetime.is_valid(now);
        let bundles = self.hybrid.bundles.list(member).map(|(_, bundle)| bundle);
        let latest = bundles
            .filter(valid)
            .max_by_key(|bundle| rank(&bundle.signed_prekey));
        latest.map(Some).ok_or(RegistryError::KeyBundlesExpired)
    }

    /// Returns `true` if the member ever showed that it speaks the hybrid suite, also if its
    /// bundles have expired since. A caller does not make a classic group with it then.
    pub fn speaks_hybrid(&self, member: &Member) -> bool {
        self.speak_hybrid.contains(member)
    }

    /// Adds a bundle that came in an envelope signed by the member. A repeat is ignored; above
    /// [`ONE_TIME_BUNDLES_MAX`] the oldest goes.
    pub fn add_one_time(
        &mut self,
        member: Member,
        bundle: OneTimeBundle,
        now: u64,
    ) -> Result<(), RegistryError> {
        bundle.verify(now)?;
        self.record_identity(member, bundle.identity_key)?;
        if self
            .onetime
            .bundles
            .list(&member)
            .any(|(_, known)| *known == bundle)
        {
            return Ok(());
        }
        self.onetime.append(member, bundle);
        if self.onetime.bundles.list(&member).count() > ONE_TIME_BUNDLES_MAX {
            let oldest = self
                .onetime
                .bundles
                .list(&member)
                .next()
                .map(|(name, _)| *name);
            oldest.map(|name| self.onetime.bundles.remove(&name));
        }
        Ok(())
    }

    /// The member's latest valid long-term bundle, which stays.
    pub fn long_term(
        &self,
        member: &Member,
        now: u64,
    ) -> Result<Option<&LongTermBundle>, RegistryError> {
        if self.longterm.bundles.list(member).next().is_none() {
            return Ok(None);
        }
        let bundles = self.longterm.bundles.list(member).map(|(_, bundle)| bundle);
        bundles
            .filter(|bundle| bundle.signed_prekey.lifetime.is_valid(now))
            .max_by_key(|bundle| rank(&bundle.signed_prekey))
            .map(Some)
            .ok_or(RegistryError::KeyBundlesExpired)
    }

    /// Takes the member's newest one-time bundle out.
    pub fn take_one_time(&mut self, member: &Member) -> Option<OneTimeBundle> {
        let newest = *self.onetime.bundles.list(member).next_back()?.0;
        self.onetime.bundles.remove(&newest)
    }

    /// The one-time bundle that a sender with this identity key uses next.
    ///
    /// Where everybody sees the same list, each sender takes another bundle of it: of those that
    /// are valid now and have the newest pre-key, the one with the least hash of sender and key.
    pub(crate) fn one_time(
        &self,
        member: &Member,
        sender: &PublicKey,
        now: u64,
    ) -> Result<Option<&OneTimeBundle>, RegistryError> {
        if self.onetime.bundles.list(member).next().is_none() {
            return Ok(None);
        }
        let valid = |bundle: &&OneTimeBundle| bundle.signed_prekey.lifetime.is_valid(now);
        let bundles = || self.onetime.bundles.list(member).map(|(_, bundle)| bundle);
        let valid = || bundles().filter(valid);
        let newest = valid().map(|bundle| rank(&bundle.signed_prekey)).max();
        valid()
            .filter(|bundle| Some(rank(&bundle.signed_prekey)) == newest)
            .min_by_key(|bundle| place(sender, bundle))
            .map(Some)
            .ok_or(RegistryError::KeyBundlesExpired)
    }

    /// The bundle whose one-time key goes with a pre-key, chosen like [`Registry::one_time`].
    pub(crate) fn one_time_with(
        &self,
        member: &Member,
        sender: &PublicKey,
        prekey: &PublicKey,
    ) -> Option<&OneTimeBundle> {
        let bundles = self.onetime.bundles.list(member).map(|(_, bundle)| bundle);
        let fits = |bundle: &&OneTimeBundle| {
            bundle.signed_prekey.key == *prekey && bundle.onetime_prekey.is_some()
        };
        bundles
            .filter(fits)
            .min_by_key(|bundle| place(sender, bundle))
    }

    /// Returns `true` if the bundle is still there to be used.
    pub(crate) fn has_one_time(&self, member: &Member, bundle: &OneTimeBundle) -> bool {
        let mut bundles = self.onetime.bundles.list(member);
        bundles.any(|(_, known)| known == bundle)
    }

    /// Removes a bundle that was used. Of the last one the pre-key stays, which is better than
    /// nothing.
    pub(crate) fn discard_one_time(&mut self, member: &Member, bundle: &OneTimeBundle) {
        let used = |(_, known): &(&(Member, u64), &OneTimeBundle)| *known == bundle;
        let used = self
            .onetime
            .bundles
            .list(member)
            .find(used)
            .map(|(name, _)| *name);
        let Some(used) = used else {
            return;
        };
        self.onetime.bundles.remove(&used);
        if self.onetime.bundles.list(member).next().is_none() {
            let prekey = OneTimeBundle {
                onetime_prekey: None,
                ..*bundle
            };
            self.onetime.append(*member, prekey);
        }
    }

    /// Drops bundles that do not verify now; identities stay.
    pub fn remove_expired(&mut self, now: u64) {
        self.longterm
            .bundles
            .retain(|_, bundle| bundle.verify(now).is_ok());
        self.onetime
            .bundles
            .retain(|_, bundle| bundle.verify(now).is_ok());
        self.hybrid
            .bundles
            .retain(|_, bundle| bundle.verify(now).is_ok());
    }

    /// The rows that have changed since the last call; at first all. Store them in the transaction
    /// of what they belong to.
    pub fn changes(&mut self) -> Vec<Row> {
        let mut out = Rows::changed();
        self.identities.rows(tag::IDENTITY, &mut out);
        self.longterm.bundles.rows(tag::LONG_TERM_BUNDLE, &mut out);
        self.onetime.bundles.rows(tag::ONE_TIME_BUNDLE, &mut out);
        self.hybrid.bundles.rows(tag::HYBRID_BUNDLE, &mut out);
        self.speak_hybrid.rows(tag::SPEAKS_HYBRID, &mut out);
        self.identities.settle();
        self.longterm.bundles.settle();
        self.onetime.bundles.settle();
        self.hybrid.bundles.settle();
        self.speak_hybrid.settle();
        out.into_vec()
    }

    /// The registry of stored rows, given in any order. The rows of some members are a registry of
    /// these: the second to the 33rd byte of each key are the member.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        rows: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Registry, LoadError> {
        let mut registry = Registry::new();
        for (name, value) in rows {
            let value = value.as_ref();
            match name.as_ref().split_first() {
                Some((&tag::IDENTITY, name)) => registry.identities.load(name, value)?,
                Some((&tag::LONG_TERM_BUNDLE, name)) => registry.longterm.load(name, value)?,
                Some((&tag::ONE_TIME_BUNDLE, name)) => registry.onetime.load(name, value)?,
                Some((&tag::HYBRID_BUNDLE, name)) => registry.hybrid.load(name, value)?,
                Some((&tag::SPEAKS_HYBRID, name)) => {
                    registry.hybrid.owners.insert(key(name)?);
                    registry.speak_hybrid.load(name, value)?;
                }
                _ => return Err(LoadError::Corrupt),
            }
        }
        Ok(registry)
    }

    /// Writes the layout with the one-time bundles left out.
    pub(crate) fn write_without_one_time(&self, w: &mut Writer) {
        self.write_with(&Lists::default(), w);
    }

    fn write_with(&self, onetime: &Lists<OneTimeBundle>, w: &mut Writer) {
        let has_hybrid = !self.speak_hybrid.is_empty();
        w.map(3 + usize::from(has_hybrid));
        if has_hybrid {
            w.text("hybrid");
            self.hybrid.write(w);
        }
        w.text("identities").map(self.identities.len());
        for (member, key) in self.identities.iter() {
            w.item(member).item(key);
        }
        w.text("onetime_bundles");
        onetime.write(w);
        w.text("longterm_bundles");
        self.longterm.write(w);
    }
}

impl Wire for Registry {
    fn write(&self, w: &mut Writer) {
        self.write_with(&self.onetime, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Registry, DecodeError> {
        let mut fields = Fields::open(r)?;
        let hybrid = fields.optional("hybrid", Lists::<HybridBundle>::read)?;
        let hybrid = hybrid.unwrap_or_default();
        let identities =
            fields.required("identities", |r| map(r, Member::read, PublicKey::read))?;
        let onetime = fields.required("onetime_bundles", Lists::read)?;
        let longterm = fields.required("longterm_bundles", Lists::read)?;
        fields.close()?;
        Ok(Registry {
            identities: Table::fresh(identities),
            onetime,
            longterm,
            speak_hybrid: hybrid.owners.iter().copied().collect(),
            hybrid,
        })
    }
}

/// Rank of a bundle for a sender among those that everybody sees. Those without a one-time key
/// come last.
fn place(sender: &PublicKey, bundle: &OneTimeBundle) -> (bool, Option<Hash>) {
    let key = bundle.onetime_prekey.map(|prekey| prekey.key);
    let place = key.map(|key| {
        let both = [*sender.as_bytes(), *key.as_bytes()];
        Hash::digest(both.as_flattened())
    });
    (key.is_none(), place)
}

impl<T> Default for Lists<T> {
    fn default() -> Lists<T> {
        Lists {
            bundles: Table::default(),
            owners: BTreeSet::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Lists<T> {
    fn eq(&self, other: &Lists<T>) -> bool {
        self.bundles == other.bundles
    }
}

impl<T: Eq> Eq for Lists<T> {}

impl<T: Wire> Lists<T> {
    fn append(&mut self, owner: Member, bundle: T) {
        self.owners.insert(owner);
        self.bundles.append(owner, bundle);
    }

    /// Appends a bundle that is not there; where that is too many, the one goes that would be used
    /// last.
    fn keep(&mut self, owner: Member, bundle: T, max: usize, prekey: impl Fn(&T) -> PreKey)
    where
        T: PartialEq,
    {
        let bundles = || self.bundles.list(&owner);
        if bundles().any(|(_, known)| *known == bundle) {
            return;
        }
        self.append(owner, bundle);
        let bundles = || self.bundles.list(&owner);
        if bundles().count() > max {
            let last = bundles().min_by_key(|(_, bundle)| rank(&prekey(bundle)));
            let last = last.map(|(name, _)| *name);
            last.map(|name| self.bundles.remove(&name));
        }
    }

    fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let name: (Member, u64) = key(name)?;
        self.owners.insert(name.0);
        self.bundles.insert_stored(name, T::decode_stored(value)?);
        Ok(())
    }

    fn write(&self, w: &mut Writer) {
        w.map(self.owners.len());
        for owner in &self.owners {
            let bundles = || self.bundles.list(owner);
            w.item(owner).array(bundles().count());
            for (_, bundle) in bundles() {
                w.item(bundle);
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Lists<T>, DecodeError> {
        let mut lists = Lists::default();
        for (owner, bundles) in map(r, Member::read, |r| list::<T>(r, usize::MAX))? {
            lists.owners.insert(owner);
            for bundle in bundles {
                lists.append(owner, bundle);
            }
        }
        Ok(lists)
    }
}
