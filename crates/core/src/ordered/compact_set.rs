//! A set as a sorted vector.

use alloc::vec::{self, Vec};
use core::borrow::Borrow;
use core::fmt::{self, Debug, Formatter};
use core::ops::{RangeBounds, Sub};
use core::slice;

use super::compact::{places, search};

/// An ordered set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BTreeSet<T>(Vec<T>);

impl<T> BTreeSet<T> {
    /// Creates an empty set.
    pub const fn new() -> Self {
        BTreeSet(Vec::new())
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Iterates over the values.
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.0.iter()
    }

    /// Returns the smallest value.
    pub fn first(&self) -> Option<&T> {
        self.0.first()
    }

    /// Returns the largest value.
    pub fn last(&self) -> Option<&T> {
        self.0.last()
    }

    /// Removes and returns the smallest value.
    pub fn pop_first(&mut self) -> Option<T> {
        (!self.is_empty()).then(|| self.0.remove(0))
    }

    /// Removes and returns the largest value.
    pub fn pop_last(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Keeps only values for which `keeps` returns true.
    pub fn retain(&mut self, keeps: impl FnMut(&T) -> bool) {
        self.0.retain(keeps);
    }
}

impl<T: Ord> BTreeSet<T> {
    /// Returns `true` if the set has this value.
    pub fn contains<Q: Ord + ?Sized>(&self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        search(&self.0, value).is_ok()
    }

    /// Adds a value; returns whether it is new.
    pub fn insert(&mut self, value: T) -> bool {
        let place = search(&self.0, &value);
        if let Err(place) = place {
            self.0.insert(place, value);
        }
        place.is_err()
    }

    /// Removes a value; returns whether the set had it.
    pub fn remove<Q: Ord + ?Sized>(&mut self, value: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.take(value).is_some()
    }

    /// Removes and returns a value.
    pub fn take<Q: Ord + ?Sized>(&mut self, value: &Q) -> Option<T>
    where
        T: Borrow<Q>,
    {
        let place = search(&self.0, value).ok()?;
        Some(self.0.remove(place))
    }

    /// Iterates over values within bounds.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(&self, range: R) -> slice::Iter<'_, T>
    where
        T: Borrow<Q>,
    {
        let (from, to) = places(&self.0, &range);
        self.0.get(from..to).unwrap_or_default().iter()
    }

    /// Removes and returns values from this one on.
    pub fn split_off<Q: Ord + ?Sized>(&mut self, from: &Q) -> Self
    where
        T: Borrow<Q>,
    {
        let (Ok(place) | Err(place)) = search(&self.0, from);
        BTreeSet(self.0.split_off(place))
    }

    /// Moves all values of another set into this one.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(core::mem::take(other));
    }

    /// Iterates over values that the other set lacks.
    pub fn difference<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s T> + Clone {
        self.iter().filter(|value| !other.contains(*value))
    }

    /// Iterates over values that both sets have.
    pub fn intersection<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s T> + Clone {
        self.iter().filter(|value| other.contains(*value))
    }

    /// Iterates over values of either set, in order.
    pub fn union<'s>(&'s self, other: &'s Self) -> Union<'s, T> {
        Union(&self.0, &other.0)
    }

    /// Returns `true` if the other set has all values of this one.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|value| other.contains(value))
    }

    /// Returns `true` if this set has all values of the other one.
    pub fn is_superset(&self, other: &Self) -> bool {
        other.is_subset(self)
    }

    /// Returns `true` if the sets have no value in common.
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.intersection(other).next().is_none()
    }
}

/// Values of either of two sorted slices.
#[derive(Clone)]
pub struct Union<'s, T>(&'s [T], &'s [T]);

impl<'s, T: Ord> Iterator for Union<'s, T> {
    type Item = &'s T;

    fn next(&mut self) -> Option<&'s T> {
        let (one, other) = (self.0.split_first(), self.1.split_first());
        let takes_one = match (one, other) {
            (Some((one, _)), Some((other, _))) => one <= other,
            (one, _) => one.is_some(),
        };
        let (value, rest) = if takes_one { one? } else { other? };
        if takes_one {
            self.0 = rest;
            if let Some((same, rest)) = other
                && same == value
            {
                self.1 = rest;
            }
        } else {
            self.1 = rest;
        }
        Some(value)
    }
}

impl<T> Default for BTreeSet<T> {
    fn default() -> Self {
        BTreeSet::new()
    }
}

impl<T: Debug> Debug for BTreeSet<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Ord> Extend<T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            self.insert(value);
        }
    }
}

impl<'s, T: Ord + Copy + 's> Extend<&'s T> for BTreeSet<T> {
    fn extend<I: IntoIterator<Item = &'s T>>(&mut self, values: I) {
        self.extend(values.into_iter().copied());
    }
}

impl<T: Ord> FromIterator<T> for BTreeSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut set = BTreeSet::new();
        set.extend(values);
        set
    }
}

impl<T: Ord, const N: usize> From<[T; N]> for BTreeSet<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

impl<T> IntoIterator for BTreeSet<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> vec::IntoIter<T> {
        self.0.into_iter()
    }
}

impl<'s, T> IntoIterator for &'s BTreeSet<T> {
    type Item = &'s T;
    type IntoIter = slice::Iter<'s, T>;

    fn into_iter(self) -> slice::Iter<'s, T> {
        self.iter()
    }
}

impl<T: Ord + Clone> Sub<&BTreeSet<T>> for &BTreeSet<T> {
    type Output = BTreeSet<T>;

    fn sub(self, other: &BTreeSet<T>) -> BTreeSet<T> {
        self.difference(other).cloned().collect()
    }
}
