//! Rows that are sealed by anyone who writes them (`docs/protocol/at-rest.md`). The store knows
//! neither their names nor what is in them.
//!
//! The key of a row follows from its *salt*, which lives in a table of its own: there, rows are never
//! deleted and never change their length, so that SQLite overwrites a salt where it is and leaves no
//! copy of it. Copies of a sealed row may stay in unused parts of a page; without the salt they are
//! noise.

use p2panda_core::VerifyingKey;
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::sql::Blob32;
use crate::database::tx::Tx;

/// A salt that is not in use.
const NO_SALT: [u8; 32] = [0; 32];

/// The row of a wrapped key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrappedKey(i64);

/// A sealed row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedRow {
    /// The keyed hash of its key.
    pub name: [u8; 32],
    /// Salt of its key, which is derived from it and the key of all rows.
    pub salt: [u8; 32],
    /// Sealed bytes.
    pub value: Vec<u8>,
}

impl Tx<'_> {
    /// The key of the rows of a node, as it was wrapped.
    pub fn wrapped_key(
        &self,
        node: &VerifyingKey,
    ) -> Result<Option<(WrappedKey, Vec<u8>)>, StoreError> {
        let sql = "SELECT id, wrapped FROM sealed_key WHERE node = ?1";
        let mut statement = self.cached(sql)?;
        let row = statement.query_row([node.as_bytes().as_slice()], |row| {
            Ok((WrappedKey(row.get(0)?), row.get(1)?))
        });
        Ok(row.optional()?)
    }

    /// Stores the key of the rows of a node, or the same key wrapped again.
    pub fn put_wrapped_key(
        &mut self,
        node: &VerifyingKey,
        wrapped: &[u8],
    ) -> Result<WrappedKey, StoreError> {
        let sql = "INSERT INTO sealed_key(node, wrapped) VALUES(?1, ?2)
            ON CONFLICT(node) DO UPDATE SET wrapped = excluded.wrapped RETURNING id";
        let mut statement = self.cached(sql)?;
        let of = params![node.as_bytes().as_slice(), wrapped];
        Ok(statement.query_row(of, |row| row.get(0).map(WrappedKey))?)
    }

    /// All rows under a key.
    pub fn sealed_rows(&self, key: WrappedKey) -> Result<Vec<SealedRow>, StoreError> {
        let sql = "SELECT r.name, s.salt, r.value FROM sealed_row r
            JOIN sealed_salt s ON s.slot = r.slot WHERE r.key = ?1";
        self.rows(sql, [key.0], |row| {
            let (Blob32(name), Blob32(salt)) = (row.get(0)?, row.get(1)?);
            let value = row.get(2)?;
            Ok(SealedRow { name, salt, value })
        })
    }

    /// Stores a sealed row. What was there under its name is forgotten; whether something was.
    pub fn put_sealed(&mut self, key: WrappedKey, row: &SealedRow) -> Result<bool, StoreError> {
        let known = self.slot_of(key, &row.name)?;
        if let Some(slot) = known {
            self.set_salt(slot, &row.salt)?;
            let sql = "UPDATE sealed_row SET value = ?3 WHERE key = ?1 AND name = ?2";
            self.cached(sql)?
                .execute(params![key.0, row.name.as_slice(), row.value])?;
        } else {
            let slot = self.take_slot(&row.salt)?;
            let sql = "INSERT INTO sealed_row(key, name, slot, value) VALUES(?1, ?2, ?3, ?4)";
            self.cached(sql)?
                .execute(params![key.0, row.name.as_slice(), slot, row.value])?;
        }
        self.written(row.value.len());
        Ok(known.is_some())
    }

    /// Forgets a row: its salt is overwritten. Whether there was one.
    pub fn forget_sealed(&mut self, key: WrappedKey, name: &[u8; 32]) -> Result<bool, StoreError> {
        let Some(slot) = self.slot_of(key, name)? else {
            return Ok(false);
        };
        self.set_salt(slot, &NO_SALT)?;
        let sql = "DELETE FROM sealed_row WHERE key = ?1 AND name = ?2";
        self.cached(sql)?.execute(params![key.0, name.as_slice()])?;
        Ok(true)
    }

    fn slot_of(&self, key: WrappedKey, name: &[u8; 32]) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT slot FROM sealed_row WHERE key = ?1 AND name = ?2";
        let mut statement = self.cached(sql)?;
        let slot = statement.query_row(params![key.0, name.as_slice()], |row| row.get(0));
        Ok(slot.optional()?)
    }

    fn set_salt(&mut self, slot: i64, salt: &[u8; 32]) -> Result<(), StoreError> {
        let sql = "UPDATE sealed_salt SET salt = ?2 WHERE slot = ?1";
        self.cached(sql)?.execute(params![slot, salt.as_slice()])?;
        Ok(())
    }

    /// A place for a salt: one that is free, else one behind all others.
    fn take_slot(&mut self, salt: &[u8; 32]) -> Result<i64, StoreError> {
        let sql = "SELECT slot FROM sealed_salt WHERE salt = zeroblob(32) LIMIT 1";
        let free: Option<i64> = {
            let mut statement = self.cached(sql)?;
            statement.query_row([], |row| row.get(0)).optional()?
        };
        if let Some(slot) = free {
            self.set_salt(slot, salt)?;
            return Ok(slot);
        }
        let sql = "INSERT INTO sealed_salt(salt) VALUES(?1) RETURNING slot";
        let mut statement = self.cached(sql)?;
        Ok(statement.query_row([salt.as_slice()], |row| row.get(0))?)
    }
}

impl SealedRow {
    /// A row to be stored.
    pub fn new(name: [u8; 32], salt: [u8; 32], value: Vec<u8>) -> SealedRow {
        SealedRow { name, salt, value }
    }
}
