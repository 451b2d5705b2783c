//! Durable consumers: what they have acknowledged, per topic, as a contiguous prefix of the
//! feed and a sparse set above it.

use std::collections::BTreeSet;

use p2panda_core::limits::FOLDED_ACKS_MAX;
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::neighbour::{Neighbour, feed_after};
use crate::database::sql::int;
use crate::database::tx::{ConsumerKey, LogKey, TopicKey, Tx};

/// Position at which a consumer starts in the feed of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its position; a new consumer starts at the beginning.
    Resume,
    /// At the beginning; all its acknowledgements are forgotten.
    Beginning,
    /// After everything in the feed by now.
    Now,
    /// At this offset, inclusive.
    Offset(u64),
}

impl Tx<'_> {
    /// The row of a consumer, made if there is none.
    pub fn consumer(&mut self, name: &str) -> Result<ConsumerKey, StoreError> {
        self.row_of(
            "SELECT id FROM consumer WHERE name = ?1",
            "INSERT INTO consumer(name) VALUES(?1)",
            &name,
        )
        .map(ConsumerKey)
    }

    /// Places a consumer in the feed of a topic. Returns its prefix: everything at or below
    /// that offset is acknowledged.
    pub fn place_consumer(
        &mut self,
        consumer: ConsumerKey,
        topic: TopicKey,
        start: Start,
    ) -> Result<u64, StoreError> {
        let prefix = match start {
            Start::Resume => {
                let prefix = self.prefix(consumer, topic)?;
                if prefix.is_some() {
                    return Ok(prefix.unwrap_or(0));
                }
                0
            }
            Start::Beginning => 0,
            Start::Now => self.last_offset(topic)?,
            Start::Offset(offset) => offset.saturating_sub(1),
        };
        let acks = "DELETE FROM ack WHERE consumer = ?1 AND topic = ?2";
        self.cached(acks)?.execute(params![consumer.0, topic.0])?;
        self.save_prefix(consumer, topic, prefix)?;
        Ok(prefix)
    }

    /// Acknowledges offsets, in any order. Those that are not in the feed of the topic are
    /// skipped: an operation that was pruned needs no acknowledgement, and one that does not exist
    /// yet must not be skipped later.
    pub fn ack(
        &mut self,
        consumer: ConsumerKey,
        topic: TopicKey,
        offsets: &[u64],
    ) -> Result<(), StoreError> {
        let before = self.prefix(consumer, topic)?;
        let mut prefix = before.unwrap_or(0);
        let mut sparse = self.has_acks(consumer, topic)?;
        if sparse {
            prefix = self.absorb(consumer, topic, prefix)?;
        }
        let mut next = None;
        for offset in offsets.iter().copied().collect::<BTreeSet<u64>>() {
            if offset <= prefix {
                continue;
            }
            let after = match next {
                Some(after) => after,
                None => self.next_after(topic, prefix)?,
            };
            next = Some(after);
            if after == Neighbour::At(offset) {
                (prefix, next) = (offset, None);
                if sparse {
                    prefix = self.absorb(consumer, topic, prefix)?;
                }
            } else if self.in_feed(topic, offset)? {
                let sql = "INSERT OR IGNORE INTO ack VALUES(?1, ?2, ?3)";
                self.cached(sql)?
                    .execute(params![consumer.0, topic.0, int(offset)])?;
                sparse = true;
            }
        }
        if before != Some(prefix) {
            self.save_prefix(consumer, topic, prefix)?;
        }
        Ok(())
    }

    /// Moves the prefix over acknowledged offsets, as far as the feed has no other between.
    fn absorb(
        &mut self,
        consumer: ConsumerKey,
        topic: TopicKey,
        mut prefix: u64,
    ) -> Result<u64, StoreError> {
        let acked = "SELECT 1 FROM ack WHERE consumer = ?1 AND topic = ?2 AND offset = ?3";
        let mut next = self.next_after(topic, prefix)?;
        for _ in 0..FOLDED_ACKS_MAX {
            let Neighbour::At(offset) = next else { break };
            let parameters = params![consumer.0, topic.0, int(offset)];
            if !self.cached(acked)?.exists(parameters)? {
                break;
            }
            prefix = offset;
            next = self.next_after(topic, prefix)?;
        }
        // Acknowledgements of what was pruned go as well: nothing before `next` is open.
        let settled = match next {
            Neighbour::At(next) => next - 1,
            Neighbour::Beyond(passed) => passed,
            Neighbour::None => u64::MAX,
        };
        let sql = "DELETE FROM ack WHERE consumer = ?1 AND topic = ?2 AND offset <= ?3";
        self.cached(sql)?
            .execute(params![consumer.0, topic.0, int(settled)])?;
        Ok(prefix)
    }

    fn prefix(&self, consumer: ConsumerKey, topic: TopicKey) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT prefix FROM consumer_topic WHERE consumer = ?1 AND topic = ?2";
        let row = self
            .cached(sql)?
            .query_row(params![consumer.0, topic.0], |row| {
                crate::database::sql::unsigned(row, 0)
            });
        Ok(row.optional()?)
    }

    fn save_prefix(
        &mut self,
        consumer: ConsumerKey,
        topic: TopicKey,
        prefix: u64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO consumer_topic VALUES(?1, ?2, ?3)";
        self.cached(sql)?
            .execute(params![consumer.0, topic.0, int(prefix)])?;
        Ok(())
    }

    fn has_acks(&self, consumer: ConsumerKey, topic: TopicKey) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM ack WHERE consumer = ?1 AND topic = ?2 LIMIT 1";
        Ok(self.cached(sql)?.exists(params![consumer.0, topic.0])?)
    }

    fn in_feed(&self, topic: TopicKey, offset: u64) -> Result<bool, StoreError> {
        let sql = "SELECT log, seq FROM operation WHERE topic = ?1 AND offset = ?2";
        let row = self
            .cached(sql)?
            .query_row(params![topic.0, int(offset)], |row| {
                Ok((LogKey(row.get(0)?), row.get(1)?))
            });
        match row.optional()? {
            Some((log, seq)) => Ok(!self.is_garbage(log, seq)?),
            None => Ok(false),
        }
    }

    fn next_after(&self, topic: TopicKey, after: u64) -> Result<Neighbour, StoreError> {
        let connection = &self.database().connection;
        Ok(feed_after(connection, topic.0, after, self.garbage)?)
    }

    /// The last offset given out that has not been deleted; it may be that of a pruned operation.
    fn last_offset(&self, topic: TopicKey) -> Result<u64, StoreError> {
        let sql = "SELECT offset FROM operation WHERE topic = ?1 AND offset > 0
            ORDER BY offset DESC LIMIT 1";
        let row = self
            .cached(sql)?
            .query_row([topic.0], |row| crate::database::sql::unsigned(row, 0));
        Ok(row.optional()?.unwrap_or(0))
    }
}
