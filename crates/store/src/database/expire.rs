//! Expiry of stored plaintext (`docs/protocol/spaces-message.md#7`).

use p2panda_core::Timestamp;
use p2panda_core::limits::FEED_TIME_WAIT;
use rusqlite::{OptionalExtension, params};

use crate::database::content::code;
use crate::database::error::StoreError;
use crate::database::sql::{int, unsigned};
use crate::database::tx::{TopicKey, Tx};

/// Result of a step of [`Tx::expire_opened`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// Offset up to which nothing is left to erase.
    pub until: u64,
    /// Number of entries whose plaintext was erased.
    pub erased: usize,
    /// `true` if there are more entries before that time.
    pub has_more: bool,
}

impl Tx<'_> {
    /// Erases the plaintext of entries of a topic above an offset that were delivered before a
    /// time. Reads at most `rows_max` entries. Stored bodies stay.
    pub fn expire_opened(
        &mut self,
        topic: TopicKey,
        (after, before): (u64, Timestamp),
        rows_max: usize,
    ) -> Result<Expired, StoreError> {
        // An entry after a recorded point was delivered within this time of it, or has an own
        // point.
        let wait_us = u64::try_from(FEED_TIME_WAIT.as_micros()).unwrap_or(u64::MAX);
        let noted = before.as_micros().saturating_sub(wait_us);
        let sql = "SELECT offset - 1 FROM feed_time WHERE topic = ?1 AND at >= ?2
            ORDER BY offset LIMIT 1";
        let end = self
            .cached(sql)?
            .query_row(params![topic.0, int(noted)], |row| row.get::<_, i64>(0));
        let end = end.optional()?;
        let end = end.map_or(i64::MAX as u64, |end| end.max(0).cast_unsigned());
        let sql = "SELECT count(*), coalesce(max(offset), ?2) FROM (
            SELECT offset FROM operation INDEXED BY operation_feed
            WHERE topic = ?1 AND offset > ?2 AND offset <= ?3 ORDER BY offset LIMIT ?4)";
        let (rows, last) = self.cached(sql)?.query_row(
            params![topic.0, int(after), int(end), int(rows_max as u64)],
            |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)),
        )?;
        let has_more = rows == rows_max as u64;
        let until = last;
        let sql = "UPDATE operation INDEXED BY operation_feed
            SET opened = NULL, opened_by = NULL, content = CASE content WHEN ?4 THEN ?5 ELSE content END
            WHERE topic = ?1 AND offset > ?2 AND offset <= ?3 AND opened IS NOT NULL";
        let erased = self.cached(sql)?.execute(params![
            topic.0,
            int(after),
            int(until),
            code::OPENED,
            code::EXPIRED
        ])?;
        Ok(Expired {
            until,
            erased,
            has_more,
        })
    }
}
