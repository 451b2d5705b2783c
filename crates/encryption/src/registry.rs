//! Public keys of the other members (`docs/protocol/encryption.md#7`).

use std::collections::BTreeMap;

use p2panda_core::Hash;
use p2panda_core::limits::{LONG_TERM_BUNDLES_MAX, ONE_TIME_BUNDLES_MAX};
use thiserror::Error;

use crate::Member;
use crate::bundle::{BundleError, LongTermBundle, OneTimeBundle, latest, rank};
use crate::wire::{DecodeError, Fields, Items, Reader, Wire, Writer, list, map};
use crate::x25519::PublicKey;

/// Why a bundle was not taken, or none was found.
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
    identities: BTreeMap<Member, PublicKey>,
    onetime: BTreeMap<Member, Vec<OneTimeBundle>>,
    longterm: BTreeMap<Member, Vec<LongTermBundle>>,
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
        match self.identities.entry(member).or_insert(key) {
            known if *known == key => Ok(()),
            _ => Err(RegistryError::IdentityMismatch),
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
        let bundles = self.longterm.entry(member).or_default();
        push_bounded(bundles, bundle, LONG_TERM_BUNDLES_MAX, |bundles| {
            let order = |index: &usize| {
                let bundle: Option<&LongTermBundle> = bundles.get(*index);
                bundle.map(|bundle| rank(&bundle.signed_prekey))
            };
            (0..bundles.len()).min_by_key(order).unwrap_or(0)
        });
        Ok(())
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
        let bundles = self.onetime.entry(member).or_default();
        push_bounded(bundles, bundle, ONE_TIME_BUNDLES_MAX, |_| 0);
        Ok(())
    }

    /// The member's latest valid long-term bundle, which stays.
    pub fn long_term(
        &self,
        member: &Member,
        now: u64,
    ) -> Result<Option<&LongTermBundle>, RegistryError> {
        let Some(bundles) = self.longterm.get(member).filter(|b| !b.is_empty()) else {
            return Ok(None);
        };
        latest(bundles, now)
            .map(Some)
            .ok_or(RegistryError::KeyBundlesExpired)
    }

    /// Takes the member's newest one-time bundle out.
    pub fn take_one_time(&mut self, member: &Member) -> Option<OneTimeBundle> {
        self.onetime.get_mut(member)?.pop()
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
        let Some(bundles) = self.onetime.get(member).filter(|b| !b.is_empty()) else {
            return Ok(None);
        };
        let valid = |bundle: &&OneTimeBundle| bundle.signed_prekey.lifetime.is_valid(now);
        let valid = || bundles.iter().filter(valid);
        let newest = valid().map(|bundle| rank(&bundle.signed_prekey)).max();
        valid()
            .filter(|bundle| Some(rank(&bundle.signed_prekey)) == newest)
            .min_by_key(|bundle| {
                // Those without a key of their own come last.
                let key = bundle.onetime_prekey.map(|prekey| prekey.key);
                let place = |key: PublicKey| {
                    Hash::digest([*sender.as_bytes(), *key.as_bytes()].as_flattened())
                };
                (key.is_none(), key.map(place))
            })
            .map(Some)
            .ok_or(RegistryError::KeyBundlesExpired)
    }

    /// Whether the bundle is still there to be used.
    pub(crate) fn has_one_time(&self, member: &Member, bundle: &OneTimeBundle) -> bool {
        let bundles = self.onetime.get(member);
        bundles.is_some_and(|bundles| bundles.contains(bundle))
    }

    /// Removes a bundle that was used. Of the last one the pre-key stays, which is better than
    /// nothing.
    pub(crate) fn discard_one_time(&mut self, member: &Member, bundle: &OneTimeBundle) {
        if let Some(bundles) = self.onetime.get_mut(member) {
            bundles.retain(|known| known != bundle);
            if bundles.is_empty() {
                bundles.push(OneTimeBundle {
                    onetime_prekey: None,
                    ..*bundle
                });
            }
        }
    }

    /// Drops bundles that do not verify now; identities stay.
    pub fn remove_expired(&mut self, now: u64) {
        for bundles in self.longterm.values_mut() {
            bundles.retain(|bundle| bundle.verify(now).is_ok());
        }
        for bundles in self.onetime.values_mut() {
            bundles.retain(|bundle| bundle.verify(now).is_ok());
        }
    }

    /// Writes the layout with the one-time bundles left out.
    pub(crate) fn write_without_one_time(&self, w: &mut Writer) {
        self.write_with(&BTreeMap::new(), w);
    }

    fn write_with(&self, onetime: &BTreeMap<Member, Vec<OneTimeBundle>>, w: &mut Writer) {
        w.map(3).text("identities").map(self.identities.len());
        for (member, key) in &self.identities {
            w.item(member).item(key);
        }
        w.text("onetime_bundles");
        write_lists(onetime, w);
        w.text("longterm_bundles");
        write_lists(&self.longterm, w);
    }
}

impl Wire for Registry {
    fn write(&self, w: &mut Writer) {
        self.write_with(&self.onetime, w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Registry, DecodeError> {
        let mut fields = Fields::open(r)?;
        let identities =
            fields.required("identities", |r| map(r, Member::read, PublicKey::read))?;
        let onetime = fields.required("onetime_bundles", read_lists)?;
        let longterm = fields.required("longterm_bundles", read_lists)?;
        fields.close()?;
        Ok(Registry {
            identities,
            onetime,
            longterm,
        })
    }
}

/// Appends an item that is not there; where that is too many, one goes.
fn push_bounded<T: PartialEq>(
    list: &mut Vec<T>,
    item: T,
    max: usize,
    least: impl Fn(&[T]) -> usize,
) {
    if list.contains(&item) {
        return;
    }
    list.push(item);
    if list.len() > max {
        list.remove(least(list));
    }
}

fn write_lists<T: Wire>(lists: &BTreeMap<Member, Vec<T>>, w: &mut Writer) {
    w.map(lists.len());
    for (member, list) in lists {
        w.item(member).array(list.len());
        for item in list {
            w.item(item);
        }
    }
}

fn read_lists<T: Wire>(r: &mut Reader<'_>) -> Result<BTreeMap<Member, Vec<T>>, DecodeError> {
    map(r, Member::read, |r| list(r, usize::MAX))
}
