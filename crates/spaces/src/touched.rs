//! The spaces by id, and which of them may have rows to store.

use p2panda_core::ordered::{BTreeMap, BTreeSet};
use std::ops::Deref;

use crate::SpaceId;
use crate::space::Space;

/// All spaces. Mutable access is recorded, so that storing costs nothing for unchanged spaces.
#[derive(Default)]
pub(crate) struct Touched {
    spaces: BTreeMap<SpaceId, Space>,
    touched: BTreeSet<SpaceId>,
}

impl Touched {
    /// Spaces loaded from rows, none of them changed.
    pub(crate) fn stored(spaces: BTreeMap<SpaceId, Space>) -> Touched {
        Touched {
            spaces,
            touched: BTreeSet::new(),
        }
    }

    pub(crate) fn get_mut(&mut self, id: &SpaceId) -> Option<&mut Space> {
        let space = self.spaces.get_mut(id)?;
        self.touched.insert(*id);
        Some(space)
    }

    pub(crate) fn get_or_insert_with(
        &mut self,
        id: SpaceId,
        make: impl FnOnce() -> Space,
    ) -> &mut Space {
        self.touched.insert(id);
        self.spaces.entry(id).or_insert_with(make)
    }

    pub(crate) fn insert(&mut self, id: SpaceId, space: Space) {
        self.touched.insert(id);
        self.spaces.insert(id, space);
    }

    pub(crate) fn remove(&mut self, id: &SpaceId) {
        self.spaces.remove(id);
    }

    /// Calls a function for each space that was accessed mutably since the last call.
    pub(crate) fn settle(&mut self, mut each: impl FnMut(&mut Space)) {
        for id in std::mem::take(&mut self.touched) {
            if let Some(space) = self.spaces.get_mut(&id) {
                each(space);
            }
        }
    }
}

impl Deref for Touched {
    type Target = BTreeMap<SpaceId, Space>;

    fn deref(&self) -> &BTreeMap<SpaceId, Space> {
        &self.spaces
    }
}
