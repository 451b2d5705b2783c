//! Between Rust's unsigned numbers and SQLite's signed ones, and what all connections have in
//! common.

use p2panda_core::VerifyingKey;
use rusqlite::config::DbConfig;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, Row};

/// Numbers of this crate stay far below `i64::MAX`; one from outside that does not is cut,
/// which in every query here means "above everything".
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The sequence number before `after + 1`: -1 stands for "none".
pub(crate) fn seq_or_none(after: Option<u32>) -> i64 {
    after.map_or(-1, i64::from)
}

/// Keeps every statement prepared, with one plan.
///
/// Without the stability guarantee SQLite plans a statement again whenever a parameter changes that
/// a partial index was chosen for, which costs more than to run it.
pub(crate) fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// 32 bytes in a column.
pub(crate) struct Blob32(pub [u8; 32]);

impl FromSql for Blob32 {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = value.as_blob()?;
        bytes
            .try_into()
            .map(Blob32)
            .map_err(|_| FromSqlError::InvalidBlobSize {
                expected_size: 32,
                blob_size: bytes.len(),
            })
    }
}

/// An unsigned number in a column; a negative one counts as 0.
pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)
        .map(|number| u64::try_from(number).unwrap_or(0))
}

/// A sequence number, -1 stands for "none".
pub(crate) fn optional_seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u32>> {
    row.get::<_, i64>(column)
        .map(|number| u32::try_from(number).ok())
}

/// Keys in the database were checked when they came in.
pub(crate) fn verifying_key(row: &Row<'_>, column: usize) -> rusqlite::Result<VerifyingKey> {
    row.get(column)
        .map(|Blob32(key)| VerifyingKey::from_bytes_unchecked(key))
}
