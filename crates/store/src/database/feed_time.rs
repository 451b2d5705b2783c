//! Times at which offsets were given out: a sparse index by this node's time, which never falls
//! (`docs/protocol/consumers.md#5`).

use p2panda_core::{Timestamp, Topic};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::neighbour::has_garbage;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{int, unsigned};
use crate::database::tx::{TopicKey, Tx};

/// Part of a topic that a reader still has before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ahead {
    /// Number of entries after its position.
    pub entries: u64,
    /// Header and body bytes of them.
    pub bytes: u64,
    /// The lowest offset of them.
    pub first: Option<u64>,
    /// About when that was given out.
    pub since: Option<Timestamp>,
}

impl Tx<'_> {
    /// The offset that was noted last in a topic, and its time.
    pub fn last_feed_time(&self, topic: TopicKey) -> Result<Option<(u64, Timestamp)>, StoreError> {
        let sql = "SELECT offset, at FROM feed_time WHERE topic = ?1 ORDER BY offset DESC LIMIT 1";
        let found = self.cached(sql)?.query_row([topic.0], |row| {
            Ok((unsigned(row, 0)?, Timestamp::from_micros(unsigned(row, 1)?)))
        });
        Ok(found.optional()?)
    }

    /// Notes when an offset was given out.
    pub fn note_feed_time(
        &mut self,
        topic: TopicKey,
        offset: u64,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO feed_time VALUES(?1, ?2, ?3)";
        self.cached(sql)?
            .execute([topic.0, int(offset), int(at.as_micros())])?;
        Ok(())
    }
}

impl Reader {
    /// An offset before which everything was given out before a time: the nearest one that is noted.
    pub fn offset_at(&self, topic: &Topic, time: Timestamp) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(topic) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        let sql = "SELECT offset FROM feed_time WHERE topic = ?1 AND at < ?2
            ORDER BY offset DESC LIMIT 1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let found = statement.query_row([topic, int(time.as_micros())], |row| unsigned(row, 0));
        Ok(found.optional()?.unwrap_or(0))
    }

    /// Returns what lies in the feed of a topic above an offset. Takes as long as that is.
    pub fn ahead(&self, topic: &Topic, after: u64) -> Result<Ahead, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(topic) = topic_key(&snapshot, topic)? else {
            return Ok(Ahead::default());
        };
        let sql = match has_garbage(&snapshot)? {
            false => {
                "SELECT count(*), sum(length(header) + coalesce(length(body), 0)), min(offset)
                FROM operation INDEXED BY operation_feed WHERE topic = ?1 AND offset > ?2"
            }
            true => {
                "SELECT count(*), sum(length(header) + coalesce(length(body), 0)), min(offset)
                FROM operation o INDEXED BY operation_feed WHERE topic = ?1 AND offset > ?2
                AND NOT EXISTS(SELECT 1 FROM garbage WHERE log = o.log AND below > o.seq)"
            }
        };
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut ahead = statement.query_row([topic, int(after)], |row| {
            Ok(Ahead {
                entries: unsigned(row, 0)?,
                bytes: row.get::<_, Option<i64>>(1)?.map_or(0, i64::cast_unsigned),
                first: row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned),
                since: None,
            })
        })?;
        if let Some(first) = ahead.first {
            ahead.since = delivered_at(&snapshot, topic, first)?;
        }
        Ok(ahead)
    }
}

/// About when an entry was delivered into the feed of a topic: not later than that.
pub(crate) fn delivered_at(
    connection: &Connection,
    topic: i64,
    offset: u64,
) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT at FROM feed_time WHERE topic = ?1 AND offset <= ?2
        ORDER BY offset DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![topic, int(offset)], |row| unsigned(row, 0));
    Ok(found.optional()?.map(Timestamp::from_micros))
}
