//! Looks at the feed of a topic that pass over pruned operations which are still to be deleted
//! (`docs/protocol/streams.md#5`).

use p2panda_core::limits::GARBAGE_PASSED_ROWS_MAX;
use rusqlite::{Connection, params};

use crate::database::sql::{int, unsigned};

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

/// Returns `true` if anything at all was pruned and is still to be deleted.
pub(crate) fn has_garbage(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM garbage LIMIT 1")?
        .exists([])
}
