//! A map as two sorted vectors. What depends on keys alone is the same code for all maps of a key.

use alloc::vec::{self, Vec};
use core::borrow::Borrow;
use core::fmt::{self, Debug, Formatter};
use core::iter::Zip;
use core::ops::{Bound, RangeBounds};
use core::slice;

/// A map in the order of its keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BTreeMap<K, V> {
    pub(super) keys: Vec<K>,
    values: Vec<V>,
}

/// Where a key is, or where it belongs.
pub(super) fn search<K: Borrow<Q>, Q: Ord + ?Sized>(keys: &[K], key: &Q) -> Result<usize, usize> {
    keys.binary_search_by(|other| other.borrow().cmp(key))
}

/// The places of the keys that are within bounds.
pub(super) fn places<K, Q, R>(keys: &[K], range: &R) -> (usize, usize)
where
    K: Borrow<Q>,
    Q: Ord + ?Sized,
    R: RangeBounds<Q>,
{
    let place = |key: &Q, is_behind: bool| match search(keys, key) {
        Ok(found) if is_behind => found + 1,
        Ok(place) | Err(place) => place,
    };
    let from = match range.start_bound() {
        Bound::Included(key) => place(key, false),
        Bound::Excluded(key) => place(key, true),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(key) => place(key, true),
        Bound::Excluded(key) => place(key, false),
        Bound::Unbounded => keys.len(),
    };
    (from, to.max(from))
}

impl<K, V> BTreeMap<K, V> {
    /// An empty one.
    pub const fn new() -> Self {
        BTreeMap {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// All entries.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.keys.iter().zip(&self.values)
    }

    /// All entries; values may be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.keys.iter().zip(&mut self.values)
    }

    /// All keys.
    pub fn keys(&self) -> slice::Iter<'_, K> {
        self.keys.iter()
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> slice::Iter<'_, V> {
        self.values.iter()
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    /// The keys alone.
    pub fn into_keys(self) -> vec::IntoIter<K> {
        self.keys.into_iter()
    }

    /// The values alone.
    pub fn into_values(self) -> vec::IntoIter<V> {
        self.values.into_iter()
    }

    /// The entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.keys.first().zip(self.values.first())
    }

    /// The entry with the largest key.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.keys.last().zip(self.values.last())
    }

    /// Removes the entry with the smallest key.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.is_empty()).then(|| (self.keys.remove(0), self.values.remove(0)))
    }

    /// Removes the entry with the largest key.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        self.keys.pop().zip(self.values.pop())
    }

    /// Keeps the entries for which this is true.
    pub fn retain(&mut self, mut keeps: impl FnMut(&K, &mut V) -> bool) {
        let mut kept = 0;
        for place in 0..self.len() {
            let entry = self.keys.get(place).zip(self.values.get_mut(place));
            if entry.is_some_and(|(key, value)| keeps(key, value)) {
                self.keys.swap(kept, place);
                self.values.swap(kept, place);
                kept += 1;
            }
        }
        self.keys.truncate(kept);
        self.values.truncate(kept);
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    fn put(&mut self, place: usize, key: K, value: V) {
        self.keys.insert(place, key);
        self.values.insert(place, value);
    }

    fn found<Q: Ord + ?Sized>(&self, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        search(&self.keys, key).ok()
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(self.found(key)?)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.found(key)?;
        self.values.get_mut(place)
    }

    /// Whether it has the key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.found(key).is_some()
    }

    /// Gives a key a value; the one that it had before, if any. The key itself stays.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match search(&self.keys, &key) {
            Ok(place) => {
                let before = self.values.get_mut(place)?;
                Some(core::mem::replace(before, value))
            }
            Err(place) => {
                self.put(place, key, value);
                None
            }
        }
    }

    /// Removes a key.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes a key, which is given back too.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let place = self.found(key)?;
        Some((self.keys.remove(place), self.values.remove(place)))
    }

    /// The place of a key.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        match search(&self.keys, &key) {
            Ok(place) => Entry::Occupied(OccupiedEntry { map: self, place }),
            Err(place) => Entry::Vacant(VacantEntry {
                map: self,
                place,
                key,
            }),
        }
    }

    /// The entries whose keys are within bounds.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, range: R) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (from, to) = places(&self.keys, &range);
        let keys = self.keys.get(from..to).unwrap_or_default();
        keys.iter()
            .zip(self.values.get(from..to).unwrap_or_default())
    }

    /// The same; values may be changed.
    pub fn range_mut<Q: Ord + ?Sized, R: RangeBounds<Q>>(&mut self, range: R) -> IterMut<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (from, to) = places(&self.keys, &range);
        let keys = self.keys.get(from..to).unwrap_or_default();
        let values = self.values.get_mut(from..to).unwrap_or_default();
        keys.iter().zip(values)
    }

    /// Takes the entries from this key on.
    pub fn split_off<Q: Ord + ?Sized>(&mut self, from: &Q) -> Self
    where
        K: Borrow<Q>,
    {
        let (Ok(place) | Err(place)) = search(&self.keys, from);
        BTreeMap {
            keys: self.keys.split_off(place),
            values: self.values.split_off(place),
        }
    }

    /// Takes all entries of another one, whose values win.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(core::mem::take(other));
    }
}

/// Entries.
pub type Iter<'m, K, V> = Zip<slice::Iter<'m, K>, slice::Iter<'m, V>>;
/// Entries whose values may be changed.
pub type IterMut<'m, K, V> = Zip<slice::Iter<'m, K>, slice::IterMut<'m, V>>;
/// Entries that are taken.
pub type IntoIter<K, V> = Zip<vec::IntoIter<K>, vec::IntoIter<V>>;

/// The place of a key in a map.
pub enum Entry<'m, K, V> {
    /// It has no value.
    Vacant(VacantEntry<'m, K, V>),
    /// It has one.
    Occupied(OccupiedEntry<'m, K, V>),
}

/// A key without a value.
pub struct VacantEntry<'m, K, V> {
    map: &'m mut BTreeMap<K, V>,
    place: usize,
    key: K,
}

/// A key with its value.
pub struct OccupiedEntry<'m, K, V> {
    map: &'m mut BTreeMap<K, V>,
    place: usize,
}

impl<'m, K: Ord, V> VacantEntry<'m, K, V> {
    /// Gives it a value.
    pub fn insert(self, value: V) -> &'m mut V {
        let VacantEntry { map, place, key } = self;
        map.put(place, key, value);
        at(map, place)
    }
}

impl<'m, K, V> OccupiedEntry<'m, K, V> {
    /// Its value.
    pub fn get(&self) -> &V {
        let value = self.map.values.get(self.place);
        value.expect("nothing was removed since it was found")
    }

    /// Its value, to be changed.
    pub fn get_mut(&mut self) -> &mut V {
        at(self.map, self.place)
    }

    /// The same, for as long as the map.
    pub fn into_mut(self) -> &'m mut V {
        at(self.map, self.place)
    }

    /// Removes it.
    pub fn remove(self) -> V {
        self.map.keys.remove(self.place);
        self.map.values.remove(self.place)
    }
}

fn at<K, V>(map: &mut BTreeMap<K, V>, place: usize) -> &mut V {
    let value = map.values.get_mut(place);
    value.expect("nothing was removed since it was found")
}

impl<'m, K: Ord, V> Entry<'m, K, V> {
    /// The value, made if there is none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'m mut V {
        match self {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()),
        }
    }

    /// The value, made of its key if there is none.
    pub fn or_insert_with_key(self, make: impl FnOnce(&K) -> V) -> &'m mut V {
        match self {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let value = make(&entry.key);
                entry.insert(value)
            }
        }
    }

    /// The value, or this one.
    pub fn or_insert(self, value: V) -> &'m mut V {
        self.or_insert_with(|| value)
    }

    /// The value, or the default one.
    pub fn or_default(self) -> &'m mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value, if there is one.
    pub fn and_modify(mut self, change: impl FnOnce(&mut V)) -> Self {
        if let Entry::Occupied(entry) = &mut self {
            change(entry.get_mut());
        }
        self
    }
}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        BTreeMap::new()
    }
}

impl<K: Debug, V: Debug> Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = BTreeMap::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for BTreeMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> IntoIter<K, V> {
        self.keys.into_iter().zip(self.values)
    }
}

impl<'m, K, V> IntoIterator for &'m BTreeMap<K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = Iter<'m, K, V>;

    fn into_iter(self) -> Iter<'m, K, V> {
        self.iter()
    }
}

impl<'m, K, V> IntoIterator for &'m mut BTreeMap<K, V> {
    type Item = (&'m K, &'m mut V);
    type IntoIter = IterMut<'m, K, V>;

    fn into_iter(self) -> IterMut<'m, K, V> {
        self.iter_mut()
    }
}
