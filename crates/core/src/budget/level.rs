//! A share: the bytes that it may hold, and those that it holds.

use crate::limits;

/// The purpose of a charge. Some kinds are limited to a part of every share, so that they never crowd
/// out the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Data in arrival.
    Passing,
    /// An operation that waits for others.
    Kept,
    /// An open connection.
    Connection,
    /// Bytes that a connection may send beyond its first window.
    Window,
}

/// The held bytes and their limit. Once full, it admits again only below seven eighths, so that
/// waiters are not woken for every byte.
#[derive(Clone, Debug, Default)]
pub(super) struct Level {
    pub(super) limit: usize,
    /// At this level reading stops. The rest is for charges that are requested, and for those that are
    /// not.
    reads: usize,
    pub(super) used: usize,
    kept: usize,
    connections: usize,
    windows: usize,
    pub(super) full: bool,
    /// Full at the last check and ever since.
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

    /// The share of all peers, whose limit is never exceeded.
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

    /// Returns whether it admits again because of that.
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

    /// Adds or subtracts everything that another share holds, by `sign`.
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

    /// Returns `true` if more may be read. Notes when it is full.
    pub(super) fn admits(&mut self) -> bool {
        self.full |= self.used >= self.reads;
        !self.full
    }

    /// Returns `true` if this many bytes of a limited kind would fit.
    pub(super) fn fits(&self, kind: Kind, bytes: usize) -> bool {
        let (held, part) = match kind {
            Kind::Passing => (self.used, 1),
            Kind::Kept => (self.kept, limits::BUDGET_KEPT_PART),
            Kind::Connection => (self.connections, limits::BUDGET_CONNECTIONS_PART),
            Kind::Window => (self.windows, limits::BUDGET_WINDOWS_PART),
        };
        held.saturating_add(bytes) <= self.limit / part
    }

    /// Bytes of data in arrival.
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
