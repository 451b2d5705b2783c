//! Idempotency keys (`docs/protocol/streams.md#3`).

use p2panda_core::limits::IDEMPOTENCY_KEYS_MAX;
use p2panda_core::{Hash, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::sql::{Blob32, int, unsigned};
use crate::database::tx::{LogKey, Tx};

/// An own operation that was published with an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedPublish {
    /// Hash of what was to be published.
    pub content: Hash,
    /// Id of the operation.
    pub id: Hash,
    /// Its place in the log.
    pub seq: u32,
    /// Time at which it was made.
    pub at: Timestamp,
    /// Its arrival number.
    pub arrival: u64,
    /// Its place in the feed, if it had one after the commit.
    pub offset: Option<u64>,
}

impl Tx<'_> {
    /// Returns what was published to a log with this key, the hash of it being given, at `since`
    /// or later.
    pub fn keyed_publish(
        &self,
        log: LogKey,
        key: &Hash,
        since: Timestamp,
    ) -> Result<Option<KeyedPublish>, StoreError> {
        let sql = "SELECT content, hash, seq, at, arrival, offset FROM keyed_publish
            WHERE log = ?1 AND key = ?2 AND at >= ?3";
        let of = params![log.0, key.as_bytes().as_slice(), int(since.as_micros())];
        let found = self.cached(sql)?.query_row(of, |row| {
            let (Blob32(content), Blob32(id)) = (row.get(0)?, row.get(1)?);
            let offset: Option<i64> = row.get(5)?;
            Ok(KeyedPublish {
                content: Hash::from_bytes(content),
                id: Hash::from_bytes(id),
                seq: row.get(2)?,
                at: Timestamp::from_micros(unsigned(row, 3)?),
                arrival: unsigned(row, 4)?,
                offset: offset.and_then(|offset| offset.try_into().ok()),
            })
        });
        Ok(found.optional()?)
    }

    /// Remembers what was published with a key. The oldest ones are forgotten, if they are from before
    /// `since` or too many.
    pub fn add_keyed_publish(
        &mut self,
        log: LogKey,
        key: &Hash,
        publish: &KeyedPublish,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let add = "INSERT OR REPLACE INTO keyed_publish(log, key, content, hash, seq, at, arrival, offset)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.cached(add)?.execute(params![
            log.0,
            key.as_bytes().as_slice(),
            publish.content.as_bytes().as_slice(),
            publish.id.as_bytes().as_slice(),
            publish.seq,
            int(publish.at.as_micros()),
            int(publish.arrival),
            publish.offset.map(int),
        ])?;
        let newest = self.database().connection.last_insert_rowid();
        let last = newest.saturating_sub_unsigned(IDEMPOTENCY_KEYS_MAX);
        // Two for one: so many as are too old become fewer.
        let forget = "DELETE FROM keyed_publish WHERE (at < ?1 OR id <= ?2)
            AND id IN (SELECT id FROM keyed_publish ORDER BY id LIMIT 2)";
        let since = int(since.as_micros());
        self.cached(forget)?.execute(params![since, last])?;
        Ok(())
    }
}
