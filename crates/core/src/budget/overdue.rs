//! Peers to disconnect: those that stay over their share, and those that fill a common share
//! without making progress.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use super::state::{AccountId, Record, State};
use super::{Prefix, Standing};
use crate::{VerifyingKey, limits};

impl State {
    pub(super) fn tick(&mut self, now: Duration) -> Vec<VerifyingKey> {
        let mut close = Vec::new();
        self.check_turn(now, &mut close);
        self.check_slow(now, &mut close);
        let marked_at = *self.marked_at.get_or_insert(now);
        if now.saturating_sub(marked_at) >= limits::BUDGET_PRESSURE_TIME {
            self.check_pressure(&mut close);
            self.mark(now);
        }
        close.sort_unstable();
        close.dedup();
        self.closed += close.len() as u64;
        let peers = close.iter().filter_map(|id| self.accounts.get(id));
        peers.map(|record| record.peer).collect()
    }

    /// Slowed by its own share, without progress.
    fn check_slow(&mut self, now: Duration, close: &mut Vec<AccountId>) {
        for (id, record) in &mut self.accounts {
            if !record.level.full || record.waiting.is_empty() {
                record.slow_since = None;
                continue;
            }
            let (since, moved) = *record.slow_since.get_or_insert((now, record.moved));
            let moves = record.moved.saturating_sub(moved) >= limits::PROGRESS_BYTES_MIN;
            let overdue = now.saturating_sub(since) >= limits::PROGRESS_TIMEOUT;
            if moves || overdue {
                record.slow_since = Some((now, record.moved));
            }
            if overdue && !moves {
                close.push(*id);
            }
        }
    }

    /// Makes room in every common share that was used up since the last check: disconnects the peers
    /// that hold most of it without progress, until a quarter is free.
    fn check_pressure(&self, close: &mut Vec<AccountId>) {
        let prefixes = self.prefixes.iter();
        let prefixes = prefixes.map(|(prefix, level)| (Share::Prefix(*prefix), level));
        let others = [(Share::Unproven, &self.unproven), (Share::All, &self.all)];
        // The narrow ones first: what is closed there makes room in the others as well.
        for (share, level) in prefixes.chain(others) {
            if level.pressed {
                self.make_room(share, level.limit / 4, close);
            }
        }
    }

    fn make_room(&self, share: Share, bytes: usize, close: &mut Vec<AccountId>) {
        let inside = |record: &Record| share.has(record.standing);
        let closed = close.iter().filter_map(|id| self.accounts.get(id));
        let closed = closed.filter(|record| inside(record));
        let mut freed: usize = closed.map(|record| record.level.used).sum();
        let mut in_the_way: Vec<_> = self
            .accounts
            .iter()
            .filter(|(id, record)| inside(record) && is_idle(record) && !close.contains(id))
            .map(|(id, record)| (Reverse(record.level.used), *id))
            .collect();
        in_the_way.sort_unstable();
        for (Reverse(used), id) in in_the_way {
            if freed >= bytes {
                return;
            }
            close.push(id);
            freed += used;
        }
    }

    fn mark(&mut self, now: Duration) {
        self.marked_at = Some(now);
        for record in self.accounts.values_mut() {
            record.marked = record.moved;
        }
        let others = [&mut self.unproven, &mut self.all];
        for level in self.prefixes.values_mut().chain(others) {
            level.pressed = level.full;
        }
    }
}

/// A common share.
#[derive(Clone, Copy)]
enum Share {
    All,
    Unproven,
    Prefix(Prefix),
}

impl Share {
    fn has(self, standing: Standing) -> bool {
        match (self, standing) {
            (Share::All, _) => true,
            (Share::Unproven, standing) => standing != Standing::Proven,
            (Share::Prefix(prefix), standing) => standing == Standing::Unproven(prefix),
        }
    }
}

/// Returns `true` if it holds data in arrival that makes no progress.
fn is_idle(record: &Record) -> bool {
    let passing = record.level.passing();
    let moved = record.moved.saturating_sub(record.marked);
    passing >= limits::BUDGET_SESSION_BYTES_MIN
        && moved < passing as u64 / limits::BUDGET_MOVED_PART
}
