//! A map as two sorted vectors. Maps with the same key type share the code that depends on keys
//! alone.

use alloc::vec::{self, Vec};
use core::borrow::Borrow;
use core::fmt::{self, Debug, Formatter};
use core::iter::Zip;
use core::ops::{Bound, RangeBounds};
use core::slice;

/// A map, ordered by key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BTreeMap<K, V> {
    pub(super) keys: Vec<K>,
    values: Vec<V>,
}

/// Finds the index of a key, or where to insert it.
pub(super) fn search<K: Borrow<Q>, Q: Ord + ?Sized>(keys: &[K], key: &Q) -> Result<usize, usize> {
    keys.binary_search_by(|other| other.borrow().cmp(key))
}

/// Returns the index range of keys within bounds.
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
    /// Creates an empty map.
    pub const fn new() -> Self {
        BTreeMap {
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns `true` if the map is empty.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// Iterates over the entries.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.keys.iter().zip(&self.values)
    }

    /// Iterates over the entries, with mutable values.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.keys.iter().zip(&mut self.values)
    }

    /// Iterates over the keys.
    pub fn keys(&self) -> slice::Iter<'_, K> {
        self.keys.iter()
    }

    /// Iterates over the values, in key order.
    pub fn values(&self) -> slice::Iter<'_, V> {
        self.values.iter()
    }

    /// Iterates over mutable values, in key order.
    pub fn values_mut(&mut self) -> slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    /// Returns the keys, consuming the map.
    pub fn into_keys(self) -> vec::IntoIter<K> {
        self.keys.into_iter()
    }

    /// Returns the values, consuming the map.
    pub fn into_values(self) -> vec::IntoIter<V> {
        self.values.into_iter()
    }

    /// Returns the entry with the smallest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.keys.first().zip(self.values.first())
    }

    /// Returns the entry with the largest key.
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

    /// Keeps only entries for which `keeps` returns true.
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

    /// Returns the value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.values.get(self.found(key)?)
    }

    /// Returns the mutable value of a key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.found(key)?;
        self.values.get_mut(place)
    }

    /// Returns `true` if the map has the key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.found(key).is_some()
    }

    /// Sets the value of a key and returns the previous one. A stored key is not replaced.
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

    /// Removes a key and returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    /// Removes a key and returns the stored key and its value.
    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        let place = self.found(key)?;
        Some((self.keys.remove(place), self.values.remove(place)))
    }

    /// Returns the entry of a key.
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

    /// Iterates over entries with keys within bounds.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, range: R) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (from, to) = places(&self.keys, &range);
        let keys = self.keys.get(from..to).unwrap_or_default();
        keys.iter()
            .zip(self.values.get(from..to).unwrap_or_default())
    }

    /// Iterates over entries with keys within bounds, with mutable values.
    pub fn range_mut<Q: Ord + ?Sized, R: RangeBounds<Q>>(&mut self, range: R) -> IterMut<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (from, to) = places(&self.keys, &range);
        let keys = self.keys.get(from..to).unwrap_or_default();
        let values = self.values.get_mut(from..to).unwrap_or_default();
        keys.iter().zip(values)
    }

    /// Removes and returns the entries from this key on.
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

    /// Moves all entries of another map into this one, replacing values of equal keys.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(core::mem::take(other));
    }
}

/// Iterator over entries.
pub type Iter<'m, K, V> = Zip<slice::Iter<'m, K>, slice::Iter<'m, V>>;
/// Iterator over entries with mutable values.
pub type IterMut<'m, K, V> = Zip<slice::Iter<'m, K>, slice::IterMut<'m, V>>;
/// Iterator over owned entries.
pub type IntoIter<K, V> = Zip<vec::IntoIter<K>, vec::IntoIter<V>>;

/// Entry of a key in a map.
pub enum Entry<'m, K, V> {
    /// The key has no value.
    Vacant(VacantEntry<'m, K, V>),
    /// The key has a value.
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
    /// Sets the value.
    pub fn insert(self, value: V) -> &'m mut V {
        let VacantEntry { map, place, key } = self;
        map.put(place, key, value);
        at(map, place)
    }
}

impl<'m, K, V> OccupiedEntry<'m, K, V> {
    /// Returns the value.
    pub fn get(&self) -> &V {
        let value = self.map.values.get(self.place);
        value.expect("nothing was removed since it was found")
    }

    /// Returns the mutable value.
    pub fn get_mut(&mut self) -> &mut V {
        at(self.map, self.place)
    }

    /// Returns the mutable value with the lifetime of the map.
    pub fn into_mut(self) -> &'m mut V {
        at(self.map, self.place)
    }

    /// Removes the entry and returns its value.
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
    /// Returns the value, or inserts the one that `make` returns.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'m mut V {
        match self {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(make()),
        }
    }

    /// Returns the value, or inserts the one that `make` returns for the key.
    pub fn or_insert_with_key(self, make: impl FnOnce(&K) -> V) -> &'m mut V {
        match self {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let value = make(&entry.key);
                entry.insert(value)
            }
        }
    }

    /// Returns the value, or inserts this one.
    pub fn or_insert(self, value: V) -> &'m mut V {
        self.or_insert_with(|| value)
    }

    /// Returns the value, or inserts the default.
    pub fn or_default(self) -> &'m mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// Changes the value, if any.
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
