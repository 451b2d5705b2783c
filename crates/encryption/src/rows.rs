//! State as rows: what must be stored after a change, and back (`docs/protocol/encryption.md#13.6`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, RangeBounds};

use p2panda_core::{Hash, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::{DecodeError, Items, Reader, Wire, Writer};
use crate::x25519::PublicKey;

/// A row to be stored. Encrypt what is stored: values hold secrets in clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Names the row among those of the same state; without secrets, at most 97 bytes in this crate.
    pub key: Vec<u8>,
    /// Value to store there; `None` if the row is to be deleted.
    pub value: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.value.as_ref().map(|value| value.len());
        write!(f, "Row({:?}, {len:?} bytes)", self.key)
    }
}

/// Reason why rows are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Another version of the software wrote them.
    #[error("the rows have another version")]
    Version,
    /// A row is missing, is cut or names what is not there.
    #[error("the rows are damaged")]
    Corrupt,
}

impl From<DecodeError> for LoadError {
    fn from(error: DecodeError) -> LoadError {
        match error {
            DecodeError::Version => LoadError::Version,
            _ => LoadError::Corrupt,
        }
    }
}

/// The kinds of rows, by their first byte. The message scheme begins at 32, keys at 48.
pub(crate) mod tag {
    pub(crate) const HEADER: u8 = 0;
    pub(crate) const MEMBERSHIP: u8 = 1;
    pub(crate) const SESSION: u8 = 2;
    pub(crate) const OWN_KEYS: u8 = 3;
    pub(crate) const NODE: u8 = 4;
    pub(crate) const PRUNED: u8 = 5;
    pub(crate) const PASSED: u8 = 6;
    pub(crate) const WAITING: u8 = 7;
    pub(crate) const APPLICATION: u8 = 8;
    pub(crate) const LACKING: u8 = 9;
    pub(crate) const REMOVAL: u8 = 10;
    pub(crate) const SUITE: u8 = 11;
    pub(crate) const HYBRID: u8 = 12;
    pub(crate) const SECRET: u8 = 16;
    pub(crate) const HOLDERS: u8 = 17;
    pub(crate) const ROTATION: u8 = 18;
    pub(crate) const INDEX: u8 = 19;
    pub(crate) const PARKED: u8 = 20;
    pub(crate) const CHAIN: u8 = 32;
    pub(crate) const MEMBER_SECRET: u8 = 33;
    pub(crate) const RATCHET: u8 = 34;
    pub(crate) const LEAVER: u8 = 35;
    pub(crate) const BESIDE: u8 = 36;
    pub(crate) const UNFOLLOWED: u8 = 37;
    pub(crate) const LOST: u8 = 38;
    pub(crate) const INVITED: u8 = 39;
    pub(crate) const PRE_KEY: u8 = 48;
    pub(crate) const ONE_TIME: u8 = 49;
    pub(crate) const IDENTITY: u8 = 50;
    pub(crate) const LONG_TERM_BUNDLE: u8 = 51;
    pub(crate) const ONE_TIME_BUNDLE: u8 = 52;
    pub(crate) const HYBRID_PRE_KEY: u8 = 53;
    pub(crate) const HYBRID_BUNDLE: u8 = 54;
    pub(crate) const SPEAKS_HYBRID: u8 = 55;
}

/// Rows on their way out.
pub(crate) struct Rows {
    /// Every row, or those that changed.
    pub(crate) is_all: bool,
    out: Vec<Row>,
}

impl Rows {
    pub(crate) fn all() -> Rows {
        let (is_all, out) = (true, Vec::new());
        Rows { is_all, out }
    }

    pub(crate) fn changed() -> Rows {
        let (is_all, out) = (false, Vec::new());
        Rows { is_all, out }
    }

    pub(crate) fn put(&mut self, tag: u8, key: &impl Key, value: &impl Wire) {
        self.put_bytes(tag, key, value.encode());
    }

    pub(crate) fn put_bytes(&mut self, tag: u8, key: &impl Key, value: Zeroizing<Vec<u8>>) {
        self.push(tag, key, Some(value));
    }

    pub(crate) fn delete(&mut self, tag: u8, key: &impl Key) {
        self.push(tag, key, None);
    }

    pub(crate) fn into_vec(self) -> Vec<Row> {
        self.out
    }

    /// All rows as one item, in the order of their keys.
    pub(crate) fn write(mut self, w: &mut Writer) {
        self.out
            .sort_unstable_by(|one, other| one.key.cmp(&other.key));
        w.array(self.out.len());
        for row in &self.out {
            let value = row.value.as_ref().map_or(&[][..], |value| value);
            w.array(2).bytes(&row.key).bytes(value);
        }
    }

    fn push(&mut self, tag: u8, key: &impl Key, value: Option<Zeroizing<Vec<u8>>>) {
        let mut name = vec![tag];
        key.put(&mut name);
        self.out.push(Row { key: name, value });
    }
}

/// Name and value.
type Stored<'a> = (&'a [u8], &'a [u8]);

/// The inverse of [`Rows::write`].
pub(crate) fn read<'a>(r: &mut Reader<'a>) -> Result<Vec<Stored<'a>>, DecodeError> {
    let row = |r: &mut Reader<'a>| match r.array()? {
        2 => Ok((r.bytes()?, r.bytes()?)),
        _ => Err(DecodeError::Length),
    };
    let count = r.array()?;
    (0..count).map(|_| row(r)).collect()
}

/// Name of rows of one kind. The order of the encodings is that of the keys.
pub(crate) trait Key: Ord + Clone {
    fn put(&self, out: &mut Vec<u8>);

    /// Takes it off the front.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

/// The key of a kind with one row.
impl Key for () {
    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut &[u8]) -> Option<()> {
        Some(())
    }
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

impl Key for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.to_be_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<u64> {
        array(bytes).map(u64::from_be_bytes)
    }
}

impl Key for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.to_be_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<u32> {
        array(bytes).map(u32::from_be_bytes)
    }
}

impl Key for Hash {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<Hash> {
        array(bytes).map(Hash::from_bytes)
    }
}

impl Key for VerifyingKey {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    /// The key was checked before it was stored.
    fn take(bytes: &mut &[u8]) -> Option<VerifyingKey> {
        array(bytes).map(VerifyingKey::from_bytes_unchecked)
    }
}

impl Key for PublicKey {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.as_bytes());
    }

    fn take(bytes: &mut &[u8]) -> Option<PublicKey> {
        array(bytes).map(PublicKey::from_bytes)
    }
}

impl<A: Key, B: Key> Key for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<(A, B)> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
}

impl<A: Key, B: Key, C: Key> Key for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn take(bytes: &mut &[u8]) -> Option<(A, B, C)> {
        Some((A::take(bytes)?, B::take(bytes)?, C::take(bytes)?))
    }
}

/// Exactly one key.
pub(crate) fn key<K: Key>(mut bytes: &[u8]) -> Result<K, LoadError> {
    let key = K::take(&mut bytes).ok_or(LoadError::Corrupt)?;
    match bytes.is_empty() {
        true => Ok(key),
        false => Err(LoadError::Corrupt),
    }
}

/// Rows of one kind in memory, which remembers those that changed.
#[derive(Clone)]
pub(crate) struct Table<K, V> {
    entries: BTreeMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K: Ord, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table {
            entries: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }
}

impl<K: Ord, V: PartialEq> PartialEq for Table<K, V> {
    fn eq(&self, other: &Table<K, V>) -> bool {
        self.entries == other.entries
    }
}

impl<K: Ord, V: Eq> Eq for Table<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// Entries that nothing is stored of.
    pub(crate) fn fresh(entries: BTreeMap<K, V>) -> Table<K, V> {
        let changed = entries.keys().cloned().collect();
        Table { entries, changed }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.iter()
    }

    pub(crate) fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.entries.keys()
    }

    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.entries.values()
    }

    pub(crate) fn range(
        &self,
        range: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.entries.range(range)
    }

    pub(crate) fn first(&self) -> Option<&K> {
        self.entries.keys().next()
    }

    pub(crate) fn last(&self) -> Option<&K> {
        self.entries.keys().next_back()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.changed.insert(key.clone());
        self.entries.insert(key, value)
    }

    /// Inserts what is stored already.
    pub(crate) fn insert_stored(&mut self, key: K, value: V) {
        self.entries.insert(key, value);
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let value = self.entries.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(value)
    }

    /// Changes a value, which counts as changed if the closure says so.
    pub(crate) fn update(&mut self, key: &K, change: impl FnOnce(&mut V) -> bool) {
        if let Some(value) = self.entries.get_mut(key)
            && change(value)
        {
            self.changed.insert(key.clone());
        }
    }

    /// Every value, as changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.changed.extend(self.entries.keys().cloned());
        self.entries.values_mut()
    }

    pub(crate) fn or_insert_with(&mut self, key: K, fresh: impl FnOnce() -> V) -> &mut V {
        self.changed.insert(key.clone());
        self.entries.entry(key).or_insert_with(fresh)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let value = self.entries.remove(key)?;
        self.changed.insert(key.clone());
        Some(value)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        let changed = &mut self.changed;
        self.entries.retain(|key, value| {
            let keep = keep(key, value);
            if !keep {
                changed.insert(key.clone());
            }
            keep
        });
    }

    pub(crate) fn clear(&mut self) {
        self.retain(|_, _| false);
    }

    /// Drops what is named by less.
    pub(crate) fn drop_below(&mut self, key: &K) {
        let kept = self.entries.split_off(key);
        let dropped = std::mem::replace(&mut self.entries, kept);
        self.changed.extend(dropped.into_keys());
    }

    /// Names of what changed since the last [`Table::settle`].
    pub(crate) fn changed(&self) -> impl Iterator<Item = &K> {
        self.changed.iter()
    }

    /// All changes are stored.
    pub(crate) fn settle(&mut self) {
        self.changed.clear();
    }
}

impl<K: Key, V: Wire> Table<K, V> {
    pub(crate) fn rows(&self, tag: u8, out: &mut Rows) {
        if out.is_all {
            self.iter()
                .for_each(|(key, value)| out.put(tag, key, value));
            return;
        }
        for key in &self.changed {
            match self.get(key) {
                Some(value) => out.put(tag, key, value),
                None => out.delete(tag, key),
            }
        }
    }

    /// Takes over a stored row.
    pub(crate) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        self.insert_stored(key(name)?, V::decode_stored(value)?);
        Ok(())
    }
}

impl<A: Ord + Clone, V> Table<(A, u64), V> {
    /// Iterates over what is listed under a name, oldest first.
    pub(crate) fn list(&self, name: &A) -> impl DoubleEndedIterator<Item = (&(A, u64), &V)> {
        let bounds = (
            Bound::Included((name.clone(), 0)),
            Bound::Included((name.clone(), u64::MAX)),
        );
        self.entries.range(bounds)
    }

    /// Appends to the list under a name.
    pub(crate) fn append(&mut self, name: A, value: V) {
        let last = self.list(&name).next_back().map(|((_, place), _)| *place);
        let place = last.map_or(0, |last| last.saturating_add(1));
        self.insert((name, place), value);
    }
}

/// Names of rows without a value.
#[derive(Clone, Debug)]
pub(crate) struct Set<K>(Table<K, ()>);

impl<K: Ord> Default for Set<K> {
    fn default() -> Set<K> {
        Set(Table::default())
    }
}

impl<K: Ord> PartialEq for Set<K> {
    fn eq(&self, other: &Set<K>) -> bool {
        self.0 == other.0
    }
}

impl<K: Ord> Eq for Set<K> {}

impl<K: Ord + Clone> Set<K> {
    pub(crate) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.keys()
    }

    pub(crate) fn insert(&mut self, key: K) {
        if !self.contains(&key) {
            self.0.insert(key, ());
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.0.remove(key);
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.0.retain(|key, ()| keep(key));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn settle(&mut self) {
        self.0.settle();
    }
}

impl<K: Ord + Clone> Extend<K> for Set<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.insert(key));
    }
}

impl<'a, K: Ord + Clone + 'a> Extend<&'a K> for Set<K> {
    fn extend<I: IntoIterator<Item = &'a K>>(&mut self, keys: I) {
        keys.into_iter().for_each(|key| self.insert(key.clone()));
    }
}

impl<K: Ord + Clone> FromIterator<K> for Set<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Set<K> {
        let mut set = Set::default();
        set.extend(keys);
        set
    }
}

impl<K: Key> Set<K> {
    pub(crate) fn rows(&self, tag: u8, out: &mut Rows) {
        self.0.rows(tag, out);
    }

    pub(crate) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        self.0.load(name, value)
    }
}

/// Rows in the order in which they came.
#[derive(Clone, Debug)]
pub(crate) struct List<T>(Table<u64, T>);

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(Table::default())
    }
}

impl<T: PartialEq> PartialEq for List<T> {
    fn eq(&self, other: &List<T>) -> bool {
        self.0 == other.0
    }
}

impl<T: Eq> Eq for List<T> {}

impl<T> List<T> {
    pub(crate) fn push(&mut self, item: T) {
        let place = self.0.last().map_or(0, |last| last.saturating_add(1));
        self.0.insert(place, item);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    pub(crate) fn settle(&mut self) {
        self.0.settle();
    }
}

impl<T: Wire> List<T> {
    pub(crate) fn rows(&self, tag: u8, out: &mut Rows) {
        self.0.rows(tag, out);
    }

    pub(crate) fn load(&mut self, name: &[u8], value: &[u8]) -> Result<(), LoadError> {
        self.0.load(name, value)
    }
}

/// One row of a state that always is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Single {
    stored: Option<Hash>,
}

/// Equality of two states ignores what is stored.
impl PartialEq for Single {
    fn eq(&self, _: &Single) -> bool {
        true
    }
}

impl Eq for Single {}

impl Single {
    /// The row, where it is not what was stored last.
    pub(crate) fn rows(&self, tag: u8, value: Zeroizing<Vec<u8>>, out: &mut Rows) {
        self.rows_of(tag, &(), value, out);
    }

    /// The same for one of several.
    pub(crate) fn rows_of(
        &self,
        tag: u8,
        key: &impl Key,
        value: Zeroizing<Vec<u8>>,
        out: &mut Rows,
    ) {
        if out.is_all || self.stored != Some(Hash::digest(&value)) {
            out.put_bytes(tag, key, value);
        }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    /// All rows of the state while none is stored, then those that changed.
    pub(crate) fn rows_to_store(&self) -> Rows {
        match self.stored {
            Some(_) => Rows::changed(),
            None => Rows::all(),
        }
    }

    pub(crate) fn settle(&mut self, value: Zeroizing<Vec<u8>>) {
        self.stored = Some(Hash::digest(&value));
    }
}

/// Nothing but the name of the row counts.
impl Wire for () {
    fn write(&self, w: &mut Writer) {
        w.null();
    }

    fn read(r: &mut Reader<'_>) -> Result<(), DecodeError> {
        Ok(r.null()?)
    }
}

impl Wire for u64 {
    fn write(&self, w: &mut Writer) {
        w.uint(*self);
    }

    fn read(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
        Ok(r.uint()?)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn write(&self, w: &mut Writer) {
        w.array(2).item(&self.0).item(&self.1);
    }

    fn read(r: &mut Reader<'_>) -> Result<(A, B), DecodeError> {
        crate::wire::tuple(r, 2, |r| Ok((A::read(r)?, B::read(r)?)))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, w: &mut Writer) {
        w.optional(self.as_ref());
    }

    fn read(r: &mut Reader<'_>) -> Result<Option<T>, DecodeError> {
        crate::wire::nullable(r, T::read)
    }
}
