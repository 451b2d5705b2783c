//! One share: what it may hold and what it holds.

use crate::limits;

/// What a charge is for. Some kinds have a part of every share only, so that they never crowd out
/// the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On its way in.
    Passing,
    /// An operation that waits for others.
    Kept,
    /// An open connection.
    Connection,
    /// What a connection may send beyond its first window.
    Window,
}

/// Bytes held, and how many may be held. Once it was full it admits again only below seven
/// eighths, so that those who wait are not woken for every byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) limit: usize,
    /// Nothing is read from here on; what is left is for charges that are asked for, and for those
    /// that nobody is asked about.
    reads: usize,
    pub(super) used: usize,
    kept: usize,
    connections: usize,
    windows: usize,
    pub(super) full: bool,
    /// Full at the last look, and all the time since.
    pub(super) pressed: bool,
}

impl Level {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            reads: limit,
            ..Self::default()
        }
    }

    /// That of all peers, whose limit is never passed.
    pub(super) fn of_all(limit: usize) -> Self {
        Self {
            reads: limit - limit / limits::BUDGET_UNREAD_PART,
            ..Self::new(limit)
        }
    }

    pub(super) fn add(&mut self, kind: Kind, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
        if let Some(part) = self.part_mut(kind) {
            *part = part.saturating_add(bytes);
        }
    }

    /// Answers whether it admits again because of that.
    pub(super) fn remove(&mut self, kind: Kind, bytes: usize) -> bool {
        self.used = self.used.saturating_sub(bytes);
        if let Some(part) = self.part_mut(kind) {
            *part = part.saturating_sub(bytes);
        }
        let opened = self.full && self.used <= self.reads - self.reads / 8;
        self.full &= !opened;
        self.pressed &= !opened;
        opened
    }

    /// Takes over all that another share holds; `sign` says whether to add or to take away.
    pub(super) fn carry(&mut self, other: &Level, add: bool) -> bool {
        let parts = [
            (Kind::Passing, other.passing()),
            (Kind::Kept, other.kept),
            (Kind::Connection, other.connections),
            (Kind::Window, other.windows),
        ];
        let mut opened = false;
        for (kind, bytes) in parts {
            if add {
                self.add(kind, bytes);
            } else {
                opened |= self.remove(kind, bytes);
            }
        }
        opened
    }

    /// Whether more may be read. Remembers that it was full.
    pub(super) fn admits(&mut self) -> bool {
        self.full |= self.used >= self.reads;
        !self.full
    }

    /// Whether that many bytes of a kind that has a part only would fit.
    pub(super) fn fits(&self, kind: Kind, bytes: usize) -> bool {
        let (held, part) = match kind {
            Kind::Passing => (self.used, 1),
            Kind::Kept => (self.kept, limits::BUDGET_KEPT_PART),
            Kind::Connection => (self.connections, limits::BUDGET_CONNECTIONS_PART),
            Kind::Window => (self.windows, limits::BUDGET_WINDOWS_PART),
        };
        held.saturating_add(bytes) <= self.limit / part
    }

    /// Bytes that are on their way in.
    pub(super) fn passing(&self) -> usize {
        self.used
            .saturating_sub(self.kept + self.connections + self.windows)
    }

    fn part_mut(&mut self, kind: Kind) -> Option<&mut usize> {
        match kind {
            Kind::Passing => None,
            Kind::Kept => Some(&mut self.kept),
            Kind::Connection => Some(&mut self.connections),
            Kind::Window => Some(&mut self.windows),
        }
    }
}
