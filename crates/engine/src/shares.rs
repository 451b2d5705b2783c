//! Shares of something bounded: when there is no room, the one who has most makes room
//! (`docs/protocol/streams.md#4`).

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::VerifyingKey;

use crate::command::Source;

/// Source of something. All sessions of a peer are one, since sessions cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// This node itself, or nobody knows any more.
    Node,
    /// An import, by its number.
    Import(u64),
    Peer(VerifyingKey),
}

impl From<Source> for Origin {
    fn from(source: Source) -> Origin {
        match source {
            Source::Session { peer, .. } => Origin::Peer(peer),
            Source::Import { id } => Origin::Import(id),
        }
    }
}

/// Sizes by origin, the largest first.
#[derive(Default)]
pub(crate) struct Shares {
    sizes: BTreeMap<Origin, usize>,
    by_size: BTreeSet<(usize, Origin)>,
}

impl Shares {
    pub fn of(&self, origin: Origin) -> usize {
        self.sizes.get(&origin).copied().unwrap_or_default()
    }

    pub fn add(&mut self, origin: Origin, amount: usize) {
        self.set(origin, self.of(origin).saturating_add(amount));
    }

    pub fn remove(&mut self, origin: Origin, amount: usize) {
        self.set(origin, self.of(origin).saturating_sub(amount));
    }

    /// Those that have more than `origin` would have with `amount` more, the fullest first; nobody
    /// if that is `origin` itself.
    pub fn above(&self, origin: Origin, amount: usize) -> impl Iterator<Item = Origin> {
        let would_have = self.of(origin).saturating_add(amount);
        let fullest_first = self.by_size.iter().rev();
        fullest_first
            .take_while(move |(size, other)| *other != origin && *size > would_have)
            .map(|(_, other)| *other)
    }

    fn set(&mut self, origin: Origin, size: usize) {
        if let Some(before) = self.sizes.remove(&origin) {
            self.by_size.remove(&(before, origin));
        }
        if size > 0 {
            self.sizes.insert(origin, size);
            self.by_size.insert((size, origin));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fullest_makes_room_for_those_with_less() {
        let mut shares = Shares::default();
        let [a, b, c] = [1, 2, 3].map(Origin::Import);
        shares.add(a, 5);
        shares.add(b, 3);
        assert_eq!(shares.above(c, 1).next(), Some(a));
        assert_eq!(shares.above(b, 1).next(), Some(a));
        assert_eq!(shares.above(b, 2).next(), None, "then they would be equal");
        assert_eq!(shares.above(a, 1).next(), None, "it is the fullest itself");
        shares.remove(a, 4);
        assert_eq!(shares.above(c, 1).next(), Some(b));
        shares.remove(b, 3);
        assert_eq!((shares.of(b), shares.above(c, 1).next()), (0, None));
    }
}
