//! An ordered map for the many maps that mostly have one or two entries.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// With more entries it is a [`BTreeMap`].
const FEW: usize = 8;

/// An ordered map that takes only the memory of its entries while they are few. A [`BTreeMap`] has
/// room for eleven from the first entry on, and keeps it after the last one.
#[derive(Clone, Debug)]
pub struct Few<K, V>(Kept<K, V>);

#[derive(Clone, Debug)]
enum Kept<K, V> {
    /// Ascending.
    Few(Vec<(K, V)>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Few::new()
    }
}

impl<K, V> Few<K, V> {
    /// An empty map, which takes no memory.
    pub const fn new() -> Self {
        Few(Kept::Few(Vec::new()))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Few(few) => few.len(),
            Kept::Many(many) => many.len(),
        }
    }

    /// Returns `true` if it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> + Clone {
        let (few, many) = match &self.0 {
            Kept::Few(few) => (few.as_slice(), None),
            Kept::Many(many) => (&[][..], Some(many)),
        };
        let few = few.iter().map(|(key, value)| (key, value));
        few.chain(many.into_iter().flatten())
    }

    /// All keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, by their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// All values, by their keys.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let (few, many) = match &mut self.0 {
            Kept::Few(few) => (few.as_mut_slice(), None),
            Kept::Many(many) => (&mut [][..], Some(many)),
        };
        let few = few.iter_mut().map(|(_, value)| value);
        few.chain(many.into_iter().flat_map(BTreeMap::values_mut))
    }
}

impl<K: Ord, V> Few<K, V> {
    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        match &self.0 {
            Kept::Few(few) => {
                let place = place(few, key).ok()?;
                few.get(place).map(|(_, value)| value)
            }
            Kept::Many(many) => many.get(key),
        }
    }

    /// The value of a key.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.0 {
            Kept::Few(few) => {
                let place = place(few, key).ok()?;
                few.get_mut(place).map(|(_, value)| value)
            }
            Kept::Many(many) => many.get_mut(key),
        }
    }

    /// Returns `true` if there is an entry with this key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Sets the value of a key and returns the previous one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.make_room();
        match &mut self.0 {
            Kept::Few(few) => match place(few, &key) {
                Ok(place) => few
                    .get_mut(place)
                    .map(|(_, before)| core::mem::replace(before, value)),
                Err(place) => {
                    few.reserve_exact(1);
                    few.insert(place, (key, value));
                    None
                }
            },
            Kept::Many(many) => many.insert(key, value),
        }
    }

    /// The value of a key, inserted if it is missing.
    pub fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        let is_new = || matches!(&self.0, Kept::Few(few) if place(few, &key).is_err());
        if is_new() {
            self.make_room();
        }
        match &mut self.0 {
            Kept::Few(few) => {
                let place = place(few, &key).unwrap_or_else(|place| {
                    few.reserve_exact(1);
                    few.insert(place, (key, value()));
                    place
                });
                let entry = few.get_mut(place);
                &mut entry.expect("it was found or inserted").1
            }
            Kept::Many(many) => many.entry(key).or_insert_with(value),
        }
    }

    /// Removes an entry. Removing the last one frees all memory.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let value = match &mut self.0 {
            Kept::Few(few) => {
                let place = place(few, key).ok()?;
                few.remove(place).1
            }
            Kept::Many(many) => many.remove(key)?,
        };
        if self.is_empty() {
            *self = Few::new();
        }
        Some(value)
    }

    /// The entries of these keys, ascending.
    pub fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        let (few, many) = match &self.0 {
            Kept::Few(few) => {
                let first = few.partition_point(|(key, _)| key < keys.start());
                let end = few.partition_point(|(key, _)| key <= keys.end());
                (few.get(first..end).unwrap_or_default(), None)
            }
            Kept::Many(many) => (&[][..], Some(many.range(keys))),
        };
        let few = few.iter().map(|(key, value)| (key, value));
        few.chain(many.into_iter().flatten())
    }

    fn make_room(&mut self) {
        if let Kept::Few(few) = &mut self.0
            && few.len() >= FEW
        {
            self.0 = Kept::Many(core::mem::take(few).into_iter().collect());
        }
    }
}

fn place<K: Ord, V>(few: &[(K, V)], key: &K) -> Result<usize, usize> {
    few.binary_search_by(|(other, _)| other.cmp(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_an_ordered_map_of_any_size() {
        let (mut few, mut map) = (Few::new(), BTreeMap::new());
        let mut state = 1_u32;
        for step in 0..4_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let among = if step < 2_000 { 6 } else { 40 };
            let key = (state >> 16) % among;
            match state >> 30 {
                0 => assert_eq!(few.remove(&key), map.remove(&key)),
                1 => {
                    *few.get_or_insert_with(key, || step) += 1;
                    *map.entry(key).or_insert(step) += 1;
                }
                _ => assert_eq!(few.insert(key, step), map.insert(key, step)),
            }
            assert_eq!(few.get(&key), map.get(&key));
            assert_eq!((few.len(), few.is_empty()), (map.len(), map.is_empty()));
            assert!(few.iter().eq(map.iter()) && few.keys().eq(map.keys()));
            assert!(few.values_mut().eq(map.values_mut()));
            assert!(few.range(2..=key.max(2)).eq(map.range(2..=key.max(2))));
        }
    }

    #[test]
    fn its_memory_is_that_of_its_entries_and_none_if_empty() {
        let mut few = Few::new();
        few.insert(1, [0_u8; 32]);
        assert!(matches!(&few.0, Kept::Few(few) if few.capacity() == 1));
        few.remove(&1);
        assert!(matches!(&few.0, Kept::Few(few) if few.capacity() == 0));
    }
}
