//! Metadata of the database: the numbers handed out, whether it was closed, and what a data
//! directory notes in it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::database::sql::{int, unsigned};

/// Added to the last arrival number and feed offset when the directory was not closed
/// cleanly, so that none which a power cut took back is handed out again
/// (`docs/protocol/streams.md#2`).
const UNCLEAN_GAP: u64 = 1 << 32;

/// Noted at a clean end, removed by the first write of an open.
pub(crate) const CLEAN: &str = "clean";

/// Numbers of which the database is told ahead, so that not every commit has to. Without a clean
/// close they are skipped.
const RESERVED: u64 = 4_096;

/// The last numbers handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub arrival: u64,
    pub offset: u64,
    pub order: u64,
}

impl Counters {
    /// Returns `true` if the database, which knows the numbers up to `reserved`, has to be told
    /// more.
    pub(crate) fn exceed(&self, reserved: &Counters) -> bool {
        self.arrival > reserved.arrival
            || self.offset > reserved.offset
            || self.order > reserved.order
    }

    /// Returns what the database is told then.
    pub(crate) fn ahead(&self) -> Counters {
        Counters {
            arrival: self.arrival + RESERVED,
            offset: self.offset + RESERVED,
            order: self.order + RESERVED,
        }
    }
}

/// The numbers to continue from, and the offset below which everything was given out before an end that
/// was not clean, 0: there was none. Nothing but an open between its first write and its clean end leaves
/// numbers without a mark.
pub(crate) fn load_counters(connection: &Connection) -> rusqlite::Result<(Counters, u64)> {
    let row = connection
        .query_row("SELECT arrival, offset, ordering FROM counter", [], |row| {
            Ok(Counters {
                arrival: unsigned(row, 0)?,
                offset: unsigned(row, 1)?,
                order: unsigned(row, 2)?,
            })
        })
        .optional()?;
    let mut counters: Counters = row.unwrap_or_default();
    if counters.arrival > 0 && meta(connection, CLEAN)?.is_none() {
        counters.arrival += UNCLEAN_GAP;
        counters.offset += UNCLEAN_GAP;
        return Ok((counters, counters.offset));
    }
    Ok((counters, 0))
}

pub(crate) fn save_counters(
    connection: &Connection,
    counters: Counters,
) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO counter(id, arrival, offset, ordering) VALUES(1, ?1, ?2, ?3)
               ON CONFLICT(id) DO UPDATE SET arrival = ?1, offset = ?2, ordering = ?3";
    let Counters {
        arrival,
        offset,
        order,
    } = counters;
    connection
        .prepare_cached(sql)?
        .execute(params![int(arrival), int(offset), int(order)])?;
    Ok(())
}

pub(crate) fn meta(
    connection: &Connection,
    name: &str,
) -> Result<Option<Vec<u8>>, rusqlite::Error> {
    connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
}

pub(crate) fn put_meta(
    connection: &Connection,
    name: &str,
    value: &[u8],
) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT OR REPLACE INTO meta VALUES(?1, ?2)",
        params![name, value],
    )?;
    Ok(())
}

pub(crate) fn remove_meta(connection: &Connection, name: &str) -> Result<(), rusqlite::Error> {
    connection.execute("DELETE FROM meta WHERE name = ?1", [name])?;
    Ok(())
}
