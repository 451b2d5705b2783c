#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use alloc::collections::{BTreeMap as Map, BTreeSet as Set};
use alloc::vec::Vec;
use core::ops::Bound;

use super::compact::{BTreeMap, Entry};
use super::compact_set::BTreeSet;

/// Random numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u8 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % sides) as u8
    }

    fn bound(&mut self) -> Bound<u8> {
        match self.roll(3) {
            0 => Bound::Unbounded,
            1 => Bound::Included(self.roll(64)),
            _ => Bound::Excluded(self.roll(64)),
        }
    }

    /// Bounds that both kinds allow.
    fn bounds(&mut self) -> (Bound<u8>, Bound<u8>) {
        loop {
            let bounds = (self.bound(), self.bound());
            let key = |bound| match bound {
                Bound::Included(key) | Bound::Excluded(key) => Some(key),
                Bound::Unbounded => None,
            };
            match (key(bounds.0), key(bounds.1)) {
                (Some(from), Some(to)) if from >= to => {}
                _ => return bounds,
            }
        }
    }
}

fn change(dice: &mut Dice, map: &mut BTreeMap<u8, u8>, same: &mut Map<u8, u8>) {
    let (key, value) = (dice.roll(64), dice.roll(255));
    match dice.roll(12) {
        0..5 => assert_eq!(map.insert(key, value), same.insert(key, value)),
        5 => assert_eq!(map.remove(&key), same.remove(&key)),
        6 => assert_eq!(map.pop_first(), same.pop_first()),
        7 => assert_eq!(map.pop_last(), same.pop_last()),
        8 => {
            *map.entry(key)
                .and_modify(|value| *value /= 2)
                .or_insert(value) ^= 1;
            *same
                .entry(key)
                .and_modify(|value| *value /= 2)
                .or_insert(value) ^= 1;
        }
        9 => {
            let keeps = |key: &u8, value: &mut u8| {
                *value = value.wrapping_add(1);
                !(*key ^ *value).is_multiple_of(3)
            };
            map.retain(keeps);
            same.retain(keeps);
        }
        10 => {
            let (mut behind, mut same_behind) = (map.split_off(&key), same.split_off(&key));
            behind.insert(0, value);
            same_behind.insert(0, value);
            map.append(&mut behind);
            same.append(&mut same_behind);
            assert!(behind.is_empty());
        }
        _ => {
            if let Entry::Occupied(mut entry) = map.entry(key) {
                assert_eq!(Some(entry.get()), same.get(&key));
                *entry.get_mut() = 7;
                assert_eq!(entry.remove(), 7);
            }
            same.remove(&key);
        }
    }
}

#[test]
fn a_compact_map_does_what_the_one_of_alloc_does() {
    let mut dice = Dice(1);
    let (mut map, mut same) = (BTreeMap::new(), Map::new());
    for _ in 0..4_000 {
        change(&mut dice, &mut map, &mut same);
        assert!(map.iter().eq(same.iter()));
        assert_eq!(map.first_key_value(), same.first_key_value());
        assert_eq!(map.last_key_value(), same.last_key_value());
        let key = dice.roll(64);
        assert_eq!(map.get(&key), same.get(&key));
        assert_eq!(map.contains_key(&key), same.contains_key(&key));
        let bounds = dice.bounds();
        let (range, same_range) = (map.range::<u8, _>(bounds), same.range::<u8, _>(bounds));
        assert!(range.rev().eq(same_range.rev()), "{bounds:?}");
        for (_, value) in map.range_mut::<u8, _>(bounds) {
            *value ^= 5;
        }
        for (_, value) in same.range_mut::<u8, _>(bounds) {
            *value ^= 5;
        }
    }
    assert!(map.keys().eq(same.keys()) && map.values().eq(same.values()));
    assert!(map.clone().into_iter().eq(same));
}

#[test]
fn a_compact_set_does_what_the_one_of_alloc_does() {
    let mut dice = Dice(2);
    for _ in 0..1_000 {
        let some: Vec<u8> = (0..dice.roll(40)).map(|_| dice.roll(64)).collect();
        let more: Vec<u8> = (0..dice.roll(40)).map(|_| dice.roll(64)).collect();
        let (one, other) = (
            BTreeSet::from_iter(some.clone()),
            BTreeSet::from_iter(more.clone()),
        );
        let (same, same_other) = (Set::from_iter(some), Set::from_iter(more));
        assert!(one.union(&other).eq(same.union(&same_other)));
        assert!(one.difference(&other).eq(same.difference(&same_other)));
        assert!(one.intersection(&other).eq(same.intersection(&same_other)));
        assert_eq!(one.is_subset(&other), same.is_subset(&same_other));
        assert_eq!(one.is_superset(&other), same.is_superset(&same_other));
        assert_eq!(one.is_disjoint(&other), same.is_disjoint(&same_other));
        assert!((&one - &other).iter().eq((&same - &same_other).iter()));
        let bounds = dice.bounds();
        assert!(one.range::<u8, _>(bounds).eq(same.range::<u8, _>(bounds)));
        assert_eq!(one.cmp(&other), same.cmp(&same_other));
        assert_eq!((one.first(), one.last()), (same.first(), same.last()));
        let (mut one, mut same, value) = (one, same, dice.roll(64));
        assert_eq!(one.remove(&value), same.remove(&value));
        assert_eq!(one.insert(value), same.insert(value));
        assert_eq!(one.pop_first(), same.pop_first());
        assert_eq!(one.pop_last(), same.pop_last());
        one.retain(|value| !value.is_multiple_of(2));
        same.retain(|value| !value.is_multiple_of(2));
        let (behind, same_behind) = (one.split_off(&value), same.split_off(&value));
        assert!(behind.into_iter().eq(same_behind) && one.into_iter().eq(same));
    }
}
