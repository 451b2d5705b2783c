//! Rewrites stored plaintext when it is to be sealed from now on, or no longer
//! (`docs/protocol/at-rest.md#5`).

use std::sync::Arc;

use bytes::Bytes;
use p2panda_core::Hash;
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::garbage::Slice;
use crate::database::meta::{meta, put_meta};
use crate::database::sealing::{Plaintexts, Sealing, Set, Stored};
use crate::database::sql::{int, unsigned};
use crate::database::tx::Tx;
use crate::database::writer::Database;

/// Progress of the rewrite: an arrival number, big-endian, then 1 for sealed or 0 for clear.
const LOOKED: &str = "plaintexts_looked";

impl Database {
    /// Sets what opens sealed plaintext, also for open readers, and whether new plaintext is
    /// sealed. Call it once per open.
    pub fn set_plaintexts(&mut self, by: Arc<dyn Plaintexts>, seals: bool) {
        // The first call counts.
        let _ = self.sealing.0.set(Set { by, seals });
    }

    /// Returns `true` if rows may exist that are not stored as new ones are.
    pub fn has_other_plaintexts(&self) -> Result<bool, StoreError> {
        let Some(set) = self.sealing.0.get() else {
            return Ok(false);
        };
        let looked = looked(&self.connection)?;
        // Without a note nothing was ever sealed.
        Ok(looked.map_or(set.seals, |(arrival, seals)| {
            seals != set.seals || arrival < u64::MAX
        }))
    }
}

fn looked(connection: &Connection) -> rusqlite::Result<Option<(u64, bool)>> {
    let noted = meta(connection, LOOKED)?;
    Ok(noted.and_then(|noted| {
        let (seals, arrival) = noted.split_last()?;
        let arrival = arrival.try_into().ok().map(u64::from_be_bytes)?;
        Some((arrival, *seals == 1))
    }))
}

impl Tx<'_> {
    /// Rewrites stored plaintext as new plaintext is stored, within these bounds. Returns whether
    /// there is more.
    pub fn restore_plaintexts(&mut self, slice: Slice) -> Result<bool, StoreError> {
        let sealing = self.database().sealing.clone();
        let Some(set) = sealing.0.get() else {
            return Ok(false);
        };
        let mut after = match looked(&self.database().connection)? {
            Some((arrival, seals)) if seals == set.seals => arrival,
            _ => 0,
        };
        let sql = "SELECT arrival, coalesce(length(opened), 0),
                opened IS NOT NULL AND (opened_by IS NULL) = ?3
            FROM operation WHERE arrival > ?1 ORDER BY arrival LIMIT ?2";
        let range = params![int(after), int(slice.rows as u64), set.seals];
        let rows: Vec<(u64, u64, bool)> = self.rows(sql, range, |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?, row.get(2)?))
        })?;
        let mut more = rows.len() == slice.rows;
        let mut bytes = 0;
        for (arrival, length, differs) in rows {
            if bytes > 0 && differs && bytes + length > slice.bytes {
                more = true;
                break;
            }
            after = arrival;
            if differs {
                bytes += length;
                self.restore_plaintext(arrival, set, &sealing)?;
            }
        }
        let looked = match more {
            true => after,
            false => u64::MAX,
        };
        let note = [&looked.to_be_bytes()[..], &[u8::from(set.seals)]].concat();
        put_meta(&self.database().connection, LOOKED, &note)?;
        Ok(more)
    }

    /// Rewrites one row; a row that does not open stays as it is.
    fn restore_plaintext(
        &mut self,
        arrival: u64,
        set: &Set,
        sealing: &Sealing,
    ) -> Result<(), StoreError> {
        let header = self.header_at(arrival)?;
        let sql = "SELECT opened, opened_by FROM operation WHERE arrival = ?1";
        let row = self.cached(sql)?.query_row([int(arrival)], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Option<i64>>(1)?))
        });
        let plaintext = match row? {
            (opened, None) => Some(Bytes::from(opened)),
            (sealed, Some(_)) => set.by.open(&Hash::digest(&header), &sealed),
        };
        match plaintext {
            Some(plaintext) => self.put_opened(arrival, &sealing.stored(&header, Some(&plaintext))),
            None => Ok(()),
        }
    }

    fn put_opened(&mut self, arrival: u64, stored: &Stored<'_>) -> Result<(), StoreError> {
        // Overwrites the old bytes first, because the new value has another length.
        let sql = "UPDATE operation SET opened = zeroblob(length(opened)) WHERE arrival = ?1";
        self.cached(sql)?.execute([int(arrival)])?;
        let sql = "UPDATE operation SET opened = ?2, opened_by = ?3 WHERE arrival = ?1";
        self.cached(sql)?
            .execute(params![int(arrival), stored.bytes, stored.code])?;
        self.written(stored.bytes.as_deref().map_or(0, <[u8]>::len));
        Ok(())
    }

    /// Returns the stored header of an operation.
    pub(crate) fn header_at(&self, arrival: u64) -> Result<Vec<u8>, StoreError> {
        let sql = "SELECT header FROM operation WHERE arrival = ?1";
        let found = self
            .cached(sql)?
            .query_row([int(arrival)], |row| row.get(0));
        Ok(found.optional()?.unwrap_or_default())
    }
}
