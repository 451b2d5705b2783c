//! Pruned operations: gone for everybody at once, deleted in slices
//! (`docs/protocol/streams.md#5`).
//!
//! What a prune cannot delete at once becomes *garbage*: a row that names the log and the sequence
//! number below which nothing of it is there any more. Reads of one log begin at its first
//! sequence number anyway. Reads of a whole topic pass over garbage, a bounded number of rows at a
//! time; while there is none at all they are the plain ones.

use p2panda_core::limits::GARBAGE_PASSED_ROWS_MAX;
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::sql::{int, unsigned};
use crate::database::tx::{LogKey, Tx};
use crate::error::StoreError;

/// Rows behind a slice that are overwritten with it. SQLite joins pages that have become nearly empty,
/// and leaves copies of rows behind that it moves. So no row near a deleted one may be readable: these
/// fill more than the pages that are joined, if they are short, and pages of long ones are not joined.
const AHEAD_ROWS: u32 = 64;

/// How much may still be deleted in one transaction: where operations are left at all, one of any
/// size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Operations.
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

    /// Whether pruned operations are still to be deleted.
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

    /// Whether what a log has at a place was pruned.
    pub(crate) fn is_garbage(&self, log: LogKey, seq: u32) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM garbage WHERE log = ?1 AND below > ?2";
        Ok(self.garbage && self.cached(sql)?.exists(params![log.0, seq])?)
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
        let wiped = "UPDATE operation SET header = zeroblob(length(header)),
                body = zeroblob(length(body))
            WHERE log = ?1 AND seq >= ?2 AND seq < ?3";
        let until = end.saturating_add(AHEAD_ROWS).min(below);
        self.cached(wiped)?.execute(params![log.0, first, until])?;
        let missing = "DELETE FROM missing WHERE arrival IN
            (SELECT arrival FROM operation WHERE log = ?1 AND seq < ?2)";
        self.cached(missing)?.execute(params![log.0, end])?;
        let operations = "DELETE FROM operation WHERE log = ?1 AND seq < ?2";
        self.cached(operations)?.execute(params![log.0, end])?;
        self.forget_bodies(log, end)?;
        Ok(end < below)
    }

    /// The oldest operations of a log that fit into a slice.
    fn oldest(&self, log: LogKey, below: u32, slice: &Slice) -> Result<Oldest, StoreError> {
        let sql = "SELECT seq, length(header) + coalesce(length(body), 0) FROM operation
            WHERE log = ?1 AND seq < ?2 ORDER BY seq";
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

/// A place in the feed of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// The nearest operation.
    At(u64),
    /// There is none.
    None,
    /// Nothing but garbage up to this offset, and further on it is not known.
    Beyond(u64),
}

/// The first operation in the feed of a topic above an offset.
pub(crate) fn feed_after(
    connection: &Connection,
    topic: i64,
    after: u64,
    has_garbage: bool,
) -> rusqlite::Result<Neighbour> {
    let sql = match has_garbage {
        false => {
            "SELECT offset, 0 FROM operation WHERE topic = ?1 AND offset > ?2
            ORDER BY offset LIMIT 1"
        }
        true => {
            "SELECT o.offset, EXISTS(SELECT 1 FROM garbage WHERE log = o.log AND below > o.seq)
            FROM operation o INDEXED BY operation_feed WHERE o.topic = ?1 AND o.offset > ?2
            ORDER BY o.offset LIMIT 512"
        }
    };
    nearest(connection, sql, topic, after)
}

/// The last operation in the feed of a topic.
pub(crate) fn feed_end(
    connection: &Connection,
    topic: i64,
    has_garbage: bool,
) -> rusqlite::Result<Neighbour> {
    let sql = match has_garbage {
        false => {
            "SELECT offset, 0 FROM operation WHERE topic = ?1 AND offset > ?2
            ORDER BY offset DESC LIMIT 1"
        }
        true => {
            "SELECT o.offset, EXISTS(SELECT 1 FROM garbage WHERE log = o.log AND below > o.seq)
            FROM operation o INDEXED BY operation_feed WHERE o.topic = ?1 AND o.offset > ?2
            ORDER BY o.offset DESC LIMIT 512"
        }
    };
    nearest(connection, sql, topic, 0)
}

fn nearest(
    connection: &Connection,
    sql: &str,
    topic: i64,
    after: u64,
) -> rusqlite::Result<Neighbour> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![topic, int(after)])?;
    let (mut passed, mut last) = (0, after);
    while let Some(row) = rows.next()? {
        last = unsigned(row, 0)?;
        if !row.get(1)? {
            return Ok(Neighbour::At(last));
        }
        passed += 1;
    }
    Ok(match passed < GARBAGE_PASSED_ROWS_MAX {
        true => Neighbour::None,
        false => Neighbour::Beyond(last),
    })
}

/// Whether anything at all was pruned and is still to be deleted.
pub(crate) fn has_garbage(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM garbage LIMIT 1")?
        .exists([])
}
