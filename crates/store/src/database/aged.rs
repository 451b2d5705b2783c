//! Deletion of bodies by age (`docs/protocol/streams.md#22`).

use p2panda_core::{Timestamp, Topic, VerifyingKey};
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::{LogKey, TopicKey, Tx};

/// An entry of a feed, with the size of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgedEntry {
    /// Offset in the feed.
    pub offset: u64,
    /// Row of its log.
    pub log: LogKey,
    /// Label of its log.
    pub label: VerifyingKey,
    /// Sequence number in its log.
    pub seq: u32,
    /// Stored bytes of its body.
    pub bytes: u64,
}

/// Progress of the search in a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgedUntil {
    /// Offset up to which it was searched.
    pub looked: u64,
    /// Highest offset whose body was deleted; 0: none.
    pub deleted: u64,
}

impl Tx<'_> {
    /// Lists topics with stored entries, after `after`.
    pub fn stored_topics(
        &self,
        after: Option<&Topic>,
        rows_max: usize,
    ) -> Result<Vec<Topic>, StoreError> {
        let sql = "SELECT topic FROM topic WHERE topic > ?1 ORDER BY topic LIMIT ?2";
        let after = after.map_or(&[][..], |topic| topic.as_bytes().as_slice());
        self.rows(sql, params![after, int(rows_max as u64)], |row| {
            let Blob32(topic) = row.get(0)?;
            Ok(Topic::from_bytes(topic))
        })
    }

    /// Returns the offset up to which all entries of a topic's feed got their offset before a
    /// time. `wait_us` is the longest time between two notes of times while entries arrive.
    pub fn feed_before(
        &self,
        topic: TopicKey,
        before: Timestamp,
        wait_us: u64,
    ) -> Result<u64, StoreError> {
        // Entries between a note and the next one arrived within that time.
        let since = before.as_micros().saturating_sub(wait_us);
        let sql = "SELECT offset FROM feed_time WHERE topic = ?1 AND at >= ?2
            ORDER BY offset LIMIT 1";
        let mut statement = self.cached(sql)?;
        let next = statement.query_row([topic.0, int(since)], |row| unsigned(row, 0));
        Ok(next
            .optional()?
            .map_or(u64::MAX, |next| next.saturating_sub(1)))
    }

    /// Returns the offset up to which all consumers have settled, and all views applied, a topic.
    pub fn settled_by_all(&self, topic: TopicKey) -> Result<u64, StoreError> {
        let sql = "SELECT min(at) FROM (
                SELECT min(prefix) AS at FROM consumer_topic WHERE topic = ?1
                UNION ALL SELECT min(position) FROM place WHERE topic = ?1
                UNION ALL SELECT min((SELECT min(offset) - 1 FROM open
                    WHERE consumer = p.consumer AND topic = ?1)) FROM place p WHERE topic = ?1
                UNION ALL SELECT min(position) FROM app_view WHERE role < 2 AND id IN (
                    SELECT view FROM view_topic
                    WHERE topic = (SELECT topic FROM topic WHERE id = ?1)))";
        let at: Option<i64> = self.cached(sql)?.query_row([topic.0], |row| row.get(0))?;
        Ok(at.map_or(u64::MAX, |at| u64::try_from(at).unwrap_or(0)))
    }

    /// Returns the progress of the search in a topic.
    pub fn aged_until(&self, topic: TopicKey) -> Result<AgedUntil, StoreError> {
        let sql = "SELECT looked, deleted FROM aged_topic WHERE topic = ?1";
        let found = self.cached(sql)?.query_row([topic.0], |row| {
            Ok(AgedUntil {
                looked: unsigned(row, 0)?,
                deleted: unsigned(row, 1)?,
            })
        });
        Ok(found.optional()?.unwrap_or_default())
    }

    /// Stores the progress of the search in a topic.
    pub fn set_aged_until(&mut self, topic: TopicKey, until: AgedUntil) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO aged_topic VALUES(?1, ?2, ?3)";
        self.cached(sql)?
            .execute([topic.0, int(until.looked), int(until.deleted)])?;
        Ok(())
    }

    /// Lists entries of a topic's feed after one offset and up to another, at most `rows_max`.
    pub fn entries_between(
        &self,
        topic: TopicKey,
        (after, until): (u64, u64),
        rows_max: usize,
    ) -> Result<Vec<AgedEntry>, StoreError> {
        let sql = "SELECT o.offset, o.log, a.key, o.seq, coalesce(length(o.body), 0)
            FROM operation o INDEXED BY operation_feed
                JOIN log l ON l.id = o.log JOIN author a ON a.id = l.author
            WHERE o.topic = ?1 AND o.offset > ?2 AND o.offset <= ?3
            ORDER BY o.offset LIMIT ?4";
        let range = params![topic.0, int(after), int(until), int(rows_max as u64)];
        self.rows(sql, range, |row| {
            Ok(AgedEntry {
                offset: unsigned(row, 0)?,
                log: LogKey(row.get(1)?),
                label: verifying_key(row, 2)?,
                seq: row.get(3)?,
                bytes: unsigned(row, 4)?,
            })
        })
    }

    /// Deletes the body of an entry, as [`Tx::drop_body`] does; its bytes no longer count as kept.
    /// False if it was deleted before, or pruned.
    pub fn age_body(&mut self, topic: TopicKey, entry: &AgedEntry) -> Result<bool, StoreError> {
        let (log, seq, bytes) = (entry.log, entry.seq, int(entry.bytes));
        if self.is_garbage(log, seq)? || self.is_dropped(log, seq)? {
            return Ok(false);
        }
        if !self.drop_body(topic, log, seq)? {
            return Ok(false);
        }
        let sql = "INSERT INTO aged_body VALUES(?1, ?2, ?3)";
        self.cached(sql)?.execute(params![log.0, seq, bytes])?;
        let sql = "INSERT OR IGNORE INTO aged VALUES(?1, 0)";
        self.cached(sql)?.execute([log.0])?;
        let sql = "UPDATE aged SET bytes = bytes + ?2 WHERE log = ?1";
        self.cached(sql)?.execute([log.0, bytes])?;
        Ok(true)
    }

    /// Returns the bytes of a log's bodies that were deleted by age and not pruned since.
    pub fn aged_bytes(&self, log: LogKey) -> Result<u64, StoreError> {
        let sql = "SELECT bytes FROM aged WHERE log = ?1";
        let found = self.cached(sql)?.query_row([log.0], |row| unsigned(row, 0));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// Called when a log is pruned: the bytes deleted by age then count as pruned.
    pub(crate) fn prune_aged(&mut self, log: LogKey, below: u32) -> Result<(), StoreError> {
        let sql = "UPDATE aged SET bytes = (SELECT coalesce(sum(bytes), 0) FROM aged_body
                WHERE log = ?1 AND seq >= ?2)
            WHERE log = ?1";
        self.cached(sql)?.execute(params![log.0, below])?;
        Ok(())
    }
}

impl Reader {
    /// Returns the highest offset of a topic whose body was deleted by age; 0: none.
    pub fn aged_until(&self, topic: &Topic) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(topic) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        let sql = "SELECT deleted FROM aged_topic WHERE topic = ?1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let found = statement.query_row([topic], |row| unsigned(row, 0));
        Ok(found.optional()?.unwrap_or(0))
    }
}
