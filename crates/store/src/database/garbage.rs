//! Pruned operations: gone for everybody at once, deleted in slices
//! (`docs/protocol/streams.md#5`).
//!
//! Operations that a prune cannot delete at once become *garbage*: a row that names the log and
//! the sequence number below which nothing of it exists any more. Reads of one log begin at its
//! first sequence number anyway. Reads of a whole topic pass over garbage, a bounded number of
//! rows at a time; while there is none at all they are the plain ones.

use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::sql::unsigned;
use crate::database::tx::{LogKey, Tx};

/// Rows behind a slice that are overwritten with it. SQLite joins pages that have become nearly
/// empty, and leaves copies of rows after that it moves. So no row near a deleted one may be
/// readable: these fill more than the pages that are joined, if they are short, and pages of long
/// ones are not joined.
const AHEAD_ROWS: u32 = 64;

/// Amount that may still be deleted in one transaction: where operations are left at all, one of
/// any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Number of deleted operations.
    pub rows: usize,
    /// Header and body bytes.
    pub bytes: u64,
}

impl Slice {
    fn take(&mut self, rows: usize, bytes: u64) {
        self.rows = self.rows.saturating_sub(rows);
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.bytes == 0 {
            self.rows = 0;
        }
    }
}

/// The oldest operations of a log.
struct Oldest {
    rows: usize,
    bytes: u64,
    /// The first of them.
    first: u32,
    /// The first behind them.
    end: u32,
}

impl Tx<'_> {
    /// From now on nothing of a log below a sequence number is there. What fits into the slice is
    /// deleted at once and taken from it, the rest is left to [`Tx::delete_garbage`].
    pub fn prune(&mut self, log: LogKey, below: u32, slice: &mut Slice) -> Result<(), StoreError> {
        self.prune_aged(log, below)?;
        if self.delete_slice(log, below, slice)? {
            let sql = "INSERT INTO garbage(log, below) VALUES(?1, ?2)
                ON CONFLICT(log) DO UPDATE SET below = max(below, ?2)";
            self.cached(sql)?.execute(params![log.0, below])?;
            self.garbage = true;
        } else if self.garbage {
            self.forget_garbage(log)?;
        }
        Ok(())
    }

    /// Returns `true` if pruned operations are still to be deleted.
    pub fn has_garbage(&self) -> bool {
        self.garbage
    }

    /// Deletes one slice of what was pruned; whether there is more.
    pub fn delete_garbage(&mut self, mut slice: Slice) -> Result<bool, StoreError> {
        while let Some((log, below)) = self.first_garbage()? {
            if slice.rows == 0 {
                return Ok(true);
            }
            if self.delete_slice(log, below, &mut slice)? {
                return Ok(true);
            }
            self.forget_garbage(log)?;
        }
        self.garbage = false;
        Ok(false)
    }

    fn first_garbage(&self) -> Result<Option<(LogKey, u32)>, StoreError> {
        let sql = "SELECT log, below FROM garbage LIMIT 1";
        let mut statement = self.cached(sql)?;
        let row = statement.query_row([], |row| Ok((LogKey(row.get(0)?), row.get(1)?)));
        Ok(row.optional()?)
    }

    fn forget_garbage(&mut self, log: LogKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM garbage WHERE log = ?1";
        self.cached(sql)?.execute([log.0])?;
        Ok(())
    }

    /// Deletes the oldest operations of a log, all of them below `below`; whether there are more.
    fn delete_slice(
        &mut self,
        log: LogKey,
        below: u32,
        slice: &mut Slice,
    ) -> Result<bool, StoreError> {
        let oldest = self.oldest(log, below, slice)?;
        let Oldest { first, end, .. } = oldest;
        slice.take(oldest.rows, oldest.bytes);
        if oldest.rows == 0 {
            return Ok(end < below);
        }
        self.leave_views(log, (first, end), true)?;
        let wiped = "UPDATE operation SET header = zeroblob(length(header)),
                body = zeroblob(length(body)), opened = zeroblob(length(opened))
            WHERE log = ?1 AND seq >= ?2 AND seq < ?3";
        let until = end.saturating_add(AHEAD_ROWS).min(below);
        self.cached(wiped)?.execute(params![log.0, first, until])?;
        let missing = "DELETE FROM missing WHERE arrival IN
            (SELECT arrival FROM operation WHERE log = ?1 AND seq < ?2)";
        self.cached(missing)?.execute(params![log.0, end])?;
        self.forget_moves(log, (0, end))?;
        let operations = "DELETE FROM operation WHERE log = ?1 AND seq < ?2";
        self.cached(operations)?.execute(params![log.0, end])?;
        self.forget_bodies(log, end)?;
        Ok(end < below)
    }

    /// The oldest operations of a log that fit into a slice.
    fn oldest(&self, log: LogKey, below: u32, slice: &Slice) -> Result<Oldest, StoreError> {
        let sql = "SELECT seq, length(header) + coalesce(length(body), 0)
                + coalesce(length(opened), 0)
            FROM operation WHERE log = ?1 AND seq < ?2 ORDER BY seq";
        let mut statement = self.cached(sql)?;
        let mut found = statement.query(params![log.0, below])?;
        let mut oldest = Oldest {
            rows: 0,
            bytes: 0,
            first: below,
            end: below,
        };
        while let Some(row) = found.next()? {
            let (seq, bytes): (u32, u64) = (row.get(0)?, unsigned(row, 1)?);
            let is_large = oldest.bytes + bytes > slice.bytes;
            if oldest.rows >= slice.rows || (is_large && oldest.rows > 0) {
                oldest.end = seq;
                break;
            }
            oldest.first = oldest.first.min(seq);
            oldest.rows += 1;
            oldest.bytes += bytes;
        }
        Ok(oldest)
    }
}
