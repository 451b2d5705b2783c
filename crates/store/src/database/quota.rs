//! Amounts that are kept: of all, of each topic and of each author
//! (`docs/protocol/streams.md#21`).
//!
//! The schema has a trigger that adds what a log grows or shrinks by, in the transaction that changes the
//! log: the numbers are right no matter what ends a process.

use p2panda_core::{Topic, VerifyingKey};
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::unsigned;
use crate::database::tx::{TopicKey, Tx};

/// Scope in which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Of everything.
    All,
    /// Of a topic.
    Topic(TopicKey),
    /// Of an author, in all its logs of all topics.
    Author(VerifyingKey),
}

impl Tx<'_> {
    /// Counts from now on, which takes one look at every log if nobody counted so far; or does not count.
    pub fn count_kept(&mut self, on: bool) -> Result<(), StoreError> {
        if !on {
            self.cached("DELETE FROM kept_bytes")?.execute([])?;
            return Ok(());
        }
        let counts = "SELECT EXISTS(SELECT 1 FROM kept_bytes WHERE kind = 0)";
        if self.cached(counts)?.query_row([], |row| row.get(0))? {
            return Ok(());
        }
        for sql in [
            "INSERT INTO kept_bytes SELECT 0, 0, coalesce(sum(bytes - pruned_bytes), 0)
                - (SELECT coalesce(sum(bytes), 0) FROM aged) FROM log",
            "INSERT INTO kept_bytes SELECT 1, l.topic,
                sum(l.bytes - l.pruned_bytes - coalesce(g.bytes, 0))
                FROM log l LEFT JOIN aged g ON g.log = l.id GROUP BY l.topic",
            "INSERT INTO kept_bytes SELECT 2, coalesce(n.author, a.key),
                sum(l.bytes - l.pruned_bytes - coalesce(g.bytes, 0))
                FROM log l JOIN author a ON a.id = l.author LEFT JOIN named_log n ON n.label = l.author
                LEFT JOIN aged g ON g.log = l.id
                GROUP BY coalesce(n.author, a.key)",
        ] {
            self.cached(sql)?.execute([])?;
        }
        Ok(())
    }

    /// Header and payload bytes that are kept, as of the logs that were saved; 0 if nobody counts.
    pub fn kept_bytes(&self, of: Counted) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce((SELECT bytes FROM kept_bytes WHERE kind = ?1 AND key = ?2), 0)";
        let mut statement = self.cached(sql)?;
        let bytes = |row: &rusqlite::Row<'_>| unsigned(row, 0);
        let bytes = match of {
            Counted::All => statement.query_row(params![0, 0], bytes),
            Counted::Topic(topic) => statement.query_row(params![1, topic.0], bytes),
            Counted::Author(author) => {
                statement.query_row(params![2, author.as_bytes().as_slice()], bytes)
            }
        };
        Ok(bytes?)
    }
}

impl Reader {
    /// Stored header and payload bytes of everything, of a topic and of an author. `None` without quotas.
    pub fn kept_bytes_of(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
    ) -> Result<Option<[u64; 3]>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT bytes FROM kept_bytes WHERE kind = ?1 AND key = ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        let bytes = |row: &rusqlite::Row<'_>| unsigned(row, 0);
        let Some(all) = statement.query_row(params![0, 0], bytes).optional()? else {
            return Ok(None);
        };
        let of_topic = match topic_key(&snapshot, topic)? {
            Some(key) => statement.query_row(params![1, key], bytes).optional()?,
            None => None,
        };
        let author = author.as_bytes().as_slice();
        let of_author = statement.query_row(params![2, author], bytes).optional()?;
        Ok(Some([all, of_topic.unwrap_or(0), of_author.unwrap_or(0)]))
    }

    /// Stored header and payload bytes of a topic, or of all topics. `None` without quotas.
    pub fn kept_bytes(&self, topic: Option<&Topic>) -> Result<Option<u64>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT bytes FROM kept_bytes WHERE kind = ?1 AND key = ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        let bytes = |row: &rusqlite::Row<'_>| unsigned(row, 0);
        let all = statement.query_row(params![0, 0], bytes).optional()?;
        let (Some(topic), Some(_)) = (topic, all) else {
            return Ok(all);
        };
        let of = match topic_key(&snapshot, topic)? {
            Some(key) => statement.query_row(params![1, key], bytes).optional()?,
            None => None,
        };
        Ok(Some(of.unwrap_or(0)))
    }
}
