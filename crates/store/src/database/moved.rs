//! Places that operations had in the feed before the one that they have now
//! (`docs/protocol/streams.md#9.1`): what a change names, and why an offset is empty.

use bytes::Bytes;
use p2panda_core::Hash;
use p2panda_core::limits::FEED_MOVES_KEPT_MAX;
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::content::{Change, Content};
use crate::database::error::StoreError;
use crate::database::sql::{int, unsigned};
use crate::database::tx::{LogKey, Tx};

/// State of an operation in the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Its arrival number.
    pub arrival: u64,
    /// Its place, if it has one.
    pub offset: Option<u64>,
    /// Change that its entry tells instead of having content.
    pub change: Option<Change>,
    /// `true` if its body is stored.
    pub has_body: bool,
    /// Opened body, if it was opened.
    pub opened: Option<Bytes>,
}

impl Tx<'_> {
    /// Returns the state of a stored operation in the feed.
    pub fn standing(&self, log: LogKey, seq: u32) -> Result<Option<Standing>, StoreError> {
        let sql = "SELECT arrival, offset, content, body IS NOT NULL, opened, opened_by, header
            FROM operation
            WHERE log = ?1 AND seq = ?2";
        let mut statement = self.cached(sql)?;
        let row = statement.query_row(params![log.0, seq], |row| {
            let content: Option<i64> = row.get(2)?;
            let opened: Option<Vec<u8>> = row.get(4)?;
            let opened = match row.get::<_, Option<i64>>(5)? {
                None => opened.map(Bytes::from),
                Some(_) => opened.and_then(|sealed| {
                    let header = row.get_ref(6).ok()?.as_blob().ok()?;
                    self.database().sealing.open(&Hash::digest(header), &sealed)
                }),
            };
            Ok(Standing {
                arrival: unsigned(row, 0)?,
                offset: row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned),
                change: match Content::read(content, None) {
                    Some(Content::Change(change)) => Some(change),
                    _ => None,
                },
                has_body: row.get(3)?,
                opened,
            })
        });
        Ok(row.optional()?)
    }

    /// Notes the place that an operation leaves, if it has one. The first one is kept, and the newest.
    pub(crate) fn note_move(&mut self, arrival: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO moved SELECT topic, offset, arrival FROM operation
            WHERE arrival = ?1 AND offset IS NOT NULL";
        if self.cached(sql)?.execute([int(arrival)])? == 0 {
            return Ok(());
        }
        let sql = "DELETE FROM moved WHERE arrival = ?1
            AND offset > (SELECT min(offset) FROM moved WHERE arrival = ?1)
            AND offset NOT IN
                (SELECT offset FROM moved WHERE arrival = ?1 ORDER BY offset DESC LIMIT ?2)";
        let newest = int(FEED_MOVES_KEPT_MAX as u64 - 1);
        self.cached(sql)?.execute([int(arrival), newest])?;
        Ok(())
    }

    /// An operation has another arrival number.
    pub(crate) fn renumber_moves(&mut self, old: u64, new: u64) -> Result<(), StoreError> {
        let sql = "UPDATE moved SET arrival = ?2 WHERE arrival = ?1";
        self.cached(sql)?.execute([int(old), int(new)])?;
        Ok(())
    }

    /// Forgets the places that operations of a log had, from `from` to before `end`.
    pub(crate) fn forget_moves(
        &mut self,
        log: LogKey,
        (from, end): (u32, u32),
    ) -> Result<(), StoreError> {
        if !is_any(&self.database().connection)? {
            return Ok(());
        }
        let sql = "DELETE FROM moved WHERE arrival IN
            (SELECT arrival FROM operation WHERE log = ?1 AND seq >= ?2 AND seq < ?3)";
        self.cached(sql)?.execute(params![log.0, from, end])?;
        Ok(())
    }
}

/// Returns `true` if any operation has left a place.
pub(crate) fn is_any(snapshot: &Connection) -> rusqlite::Result<bool> {
    snapshot
        .prepare_cached("SELECT 1 FROM moved LIMIT 1")?
        .exists([])
}

/// Returns the former places of an operation, in the order of the offsets.
pub(crate) fn places(snapshot: &Connection, arrival: u64) -> rusqlite::Result<Vec<u64>> {
    let sql = "SELECT offset FROM moved WHERE arrival = ?1 ORDER BY offset";
    let mut statement = snapshot.prepare_cached(sql)?;
    let rows = statement.query_map([int(arrival)], |row| unsigned(row, 0))?;
    rows.collect()
}
