//! A consumer's places by topic, and which of them may have changed since they were last stored.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Iter, Values};

use super::place::Place;
use super::rows::TopicNumber;

/// A place is marked as changed by what borrows it to change it.
#[derive(Debug, Default)]
pub(super) struct Places {
    places: BTreeMap<TopicNumber, Place>,
    changed: BTreeSet<TopicNumber>,
}

impl Places {
    pub fn get(&self, topic: TopicNumber) -> Option<&Place> {
        self.places.get(&topic)
    }

    pub fn iter(&self) -> Iter<'_, TopicNumber, Place> {
        self.places.iter()
    }

    pub fn values(&self) -> Values<'_, TopicNumber, Place> {
        self.places.values()
    }

    pub fn get_mut(&mut self, topic: TopicNumber) -> Option<&mut Place> {
        let place = self.places.get_mut(&topic)?;
        self.changed.insert(topic);
        Some(place)
    }

    pub fn insert(&mut self, topic: TopicNumber, place: Place) {
        self.changed.insert(topic);
        self.places.insert(topic, place);
    }

    pub fn remove(&mut self, topic: TopicNumber) {
        self.changed.remove(&topic);
        self.places.remove(&topic);
    }

    /// Every place, to change it.
    pub fn for_each(&mut self, change: impl FnMut(&mut Place)) {
        self.changed.extend(self.places.keys());
        self.places.values_mut().for_each(change);
    }

    /// Every place that was borrowed to change it since the last call.
    pub fn for_each_changed(&mut self, mut look: impl FnMut(TopicNumber, &mut Place)) {
        while let Some(topic) = self.changed.pop_first() {
            if let Some(place) = self.places.get_mut(&topic) {
                look(topic, place);
            }
        }
    }
}
