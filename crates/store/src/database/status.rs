use std::collections::HashMap;

use p2panda_core::limits::CONSUMER_PAGE_ROWS;
use p2panda_core::{LogRange, Timestamp, Topic};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::blocked::{BlockedLog, blocked_of};
use crate::database::branch::has_closed_own_log;
use crate::database::error::StoreError;
use crate::database::evidence::RejectReason;
use crate::database::feed_time::delivered_at;
use crate::database::neighbour::{Neighbour, feed_after, feed_end, has_garbage};
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{int, seq_or_none, unsigned};

/// Stored operations and their header and payload bytes, bodies that have not arrived included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of stored operations.
    pub operations: u64,
    /// Bytes of headers, and of payloads as the headers name them.
    pub bytes: u64,
}

/// Content of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStatus {
    /// Logs, one per author.
    pub logs: u64,
    /// Operations and bytes of all logs.
    pub totals: Totals,
    /// First and last offset in the feed. While many pruned operations are still to be deleted they
    /// may be those of two of them, or lie between.
    pub feed: Option<(u64, u64)>,
    /// Operations that wait for their causal order.
    pub waiting: u64,
    /// Operations of a space that wait for a secret which is not here: a member that has it gives it to this
    /// node, if this node may have it.
    pub sealed: u64,
    /// Operations ever refused, by reason.
    pub rejected: Vec<(RejectReason, u64)>,
    /// Forks with evidence.
    pub forks: u64,
    /// Logs that cannot continue here, since this node does not take their next operation.
    pub blocked: Vec<BlockedLog>,
    /// `true` if the node's own log is closed, because a copy of its directory has published to it
    /// as well.
    pub own_log_closed: bool,
    /// The durable consumers that read the topic, by name, at most 1 000; the stream of the topic is
    /// one of them once it has acknowledged something.
    pub consumers: Vec<TopicConsumer>,
}

/// Position of a durable consumer in a topic, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicConsumer {
    /// The name under which it is stored.
    pub name: String,
    /// Everything in the feed at or below this offset is settled, except what is open.
    pub position: u64,
    /// Number of entries of the feed that are not settled, those included that a filter will not admit. Offsets
    /// do not tell it: they have gaps.
    pub unsettled: u64,
    /// Offset of the oldest entry that is not settled; `None`: there is none. One that a filter will
    /// not admit counts as well.
    pub oldest: Option<u64>,
    /// About when that was delivered into the feed, by this node's clock.
    pub since: Option<Timestamp>,
}

impl Reader {
    /// Counts the operations of a topic that arrived above a number. Linear in them: for people,
    /// not for sessions.
    pub fn arrived_above(&self, topic: &Topic, arrival: u64) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        let sql = "SELECT count(*) FROM operation WHERE topic = ?1 AND arrival > ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        Ok(statement.query_row(params![key, int(arrival)], |row| unsigned(row, 0))?)
    }

    /// Returns the totals of what is stored of the ranges, by two look-ups each. Ranges of other
    /// logs than the topic's count nothing. The ranges are put in the order in which their logs
    /// became known here, unknown ones last.
    pub fn totals_oldest_first(
        &self,
        topic: &Topic,
        ranges: &mut [LogRange],
    ) -> Result<Totals, StoreError> {
        let snapshot = self.snapshot()?;
        let mut totals = Totals::default();
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(totals);
        };
        let log_id = topic.log_id();
        let mut order = HashMap::new();
        for range in ranges.iter().filter(|range| range.log == log_id) {
            let sql = "SELECT id, head_seq, bytes, first_seq FROM log
                WHERE topic = ?1 AND author = (SELECT id FROM author WHERE key = ?2)";
            let author = range.author.as_bytes().as_slice();
            let mut statement = snapshot.prepare_cached(sql)?;
            let log = statement
                .query_row(params![key, author], |row| {
                    let first_seq: u32 = row.get(3)?;
                    Ok((
                        row.get(0)?,
                        row.get::<_, u32>(1)?,
                        unsigned(row, 2)?,
                        first_seq,
                    ))
                })
                .optional()?;
            let Some((log, head_seq, bytes, first_seq)) = log else {
                continue;
            };
            order.insert(range.author, log);
            let end = (u64::from(head_seq) + 1, bytes);
            // What lies below the first one was pruned.
            let pruned = first_seq.checked_sub(1);
            // A whole log needs no further look: many short ones are common.
            let from = match range.after.max(pruned) {
                None => (0, 0),
                after => first_above(&snapshot, log, after)?.unwrap_or(end),
            };
            let until = match range.until >= head_seq {
                true => end,
                false => {
                    let until = Some(range.until).max(pruned);
                    first_above(&snapshot, log, until)?.unwrap_or(end)
                }
            };
            totals.operations += until.0.saturating_sub(from.0);
            totals.bytes += until.1.saturating_sub(from.1);
        }
        // Rows of logs are numbered as the logs became known.
        ranges.sort_by_key(|range| order.get(&range.author).copied().unwrap_or(i64::MAX));
        Ok(totals)
    }

    /// Returns the content of a topic.
    pub fn status(&self, topic: &Topic) -> Result<TopicStatus, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(TopicStatus::default());
        };
        let sql = "SELECT count(*), coalesce(sum(head_seq - first_seq + 1), 0),
                coalesce(sum(bytes - pruned_bytes), 0), coalesce(sum(head_seq - ordered_seq), 0)
            FROM log WHERE topic = ?1";
        let mut status = snapshot.prepare_cached(sql)?.query_row([key], |row| {
            Ok(TopicStatus {
                logs: unsigned(row, 0)?,
                totals: Totals {
                    operations: unsigned(row, 1)?,
                    bytes: unsigned(row, 2)?,
                },
                waiting: unsigned(row, 3)?,
                ..TopicStatus::default()
            })
        })?;
        status.feed = feed_range(&snapshot, key)?;
        status.rejected = rejected(&snapshot, key)?;
        let sql = "SELECT count(*) FROM fork WHERE topic = ?1";
        status.forks = snapshot
            .prepare_cached(sql)?
            .query_row([key], |row| unsigned(row, 0))?;
        status.sealed = snapshot
            .prepare_cached(
                "SELECT count(*) FROM parked p JOIN operation o ON o.arrival = p.arrival
                WHERE p.topic = ?1",
            )?
            .query_row([key], |row| unsigned(row, 0))?;
        status.blocked = blocked_of(&snapshot, key)?;
        status.own_log_closed = has_closed_own_log(&snapshot, key)?;
        status.consumers = consumers(&snapshot, key)?;
        Ok(status)
    }
}

/// Sequence number of the first stored operation above `after`, and the bytes before it.
fn first_above(
    snapshot: &Connection,
    log: i64,
    after: Option<u32>,
) -> rusqlite::Result<Option<(u64, u64)>> {
    let sql = "SELECT seq, bytes_before FROM operation WHERE log = ?1 AND seq > ?2
        ORDER BY seq LIMIT 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    statement
        .query_row(params![log, seq_or_none(after)], |row| {
            Ok((unsigned(row, 0)?, unsigned(row, 1)?))
        })
        .optional()
}

fn feed_range(snapshot: &Connection, topic: i64) -> rusqlite::Result<Option<(u64, u64)>> {
    let has_garbage = has_garbage(snapshot)?;
    let first = feed_after(snapshot, topic, 0, has_garbage)?;
    let last = feed_end(snapshot, topic, has_garbage)?;
    Ok(number(first).zip(number(last)))
}

fn number(neighbour: Neighbour) -> Option<u64> {
    match neighbour {
        Neighbour::At(offset) | Neighbour::Beyond(offset) => Some(offset),
        Neighbour::None => None,
    }
}

/// By one look at the feed for each, and a count of what it has not settled.
fn consumers(snapshot: &Connection, topic: i64) -> rusqlite::Result<Vec<TopicConsumer>> {
    let sql = "SELECT c.name, p.position, (SELECT min(offset) FROM open o
            WHERE o.consumer = p.consumer AND o.topic = p.topic AND o.offset <= p.position),
            (SELECT count(*) FROM operation f WHERE f.topic = p.topic AND f.offset > p.position)
            + (SELECT count(*) FROM open o
            WHERE o.consumer = p.consumer AND o.topic = p.topic AND o.offset <= p.position)
        FROM place p JOIN named_consumer c ON c.id = p.consumer WHERE p.topic = ?1
        UNION ALL SELECT c.name, p.prefix, NULL,
            (SELECT count(*) FROM operation f WHERE f.topic = p.topic AND f.offset > p.prefix)
            - (SELECT count(*) FROM ack a
            WHERE a.consumer = p.consumer AND a.topic = p.topic AND a.offset > p.prefix)
        FROM consumer_topic p JOIN consumer c ON c.id = p.consumer WHERE p.topic = ?1
        ORDER BY 1 LIMIT ?2";
    let mut statement = snapshot.prepare_cached(sql)?;
    let rows_max = int(CONSUMER_PAGE_ROWS as u64);
    let rows = statement.query_map([topic, rows_max], |row| {
        let open: Option<i64> = row.get(2)?;
        Ok(TopicConsumer {
            name: row.get(0)?,
            position: unsigned(row, 1)?,
            unsettled: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
            oldest: open.map(i64::cast_unsigned),
            since: None,
        })
    })?;
    let mut consumers: Vec<_> = rows.collect::<Result<_, _>>()?;
    let has_garbage = has_garbage(snapshot)?;
    for consumer in &mut consumers {
        if consumer.oldest.is_none() {
            let next = feed_after(snapshot, topic, consumer.position, has_garbage)?;
            consumer.oldest = number(next);
        }
        if let Some(oldest) = consumer.oldest {
            consumer.since = delivered_at(snapshot, topic, oldest)?;
        }
    }
    Ok(consumers)
}

fn rejected(snapshot: &Connection, topic: i64) -> rusqlite::Result<Vec<(RejectReason, u64)>> {
    let sql = "SELECT reason, total FROM rejected_count WHERE topic = ?1 ORDER BY reason";
    let mut statement = snapshot.prepare_cached(sql)?;
    let rows = statement.query_map([topic], |row| Ok((row.get::<_, u8>(0)?, unsigned(row, 1)?)))?;
    let mut reasons = Vec::new();
    for row in rows {
        let (code, total) = row?;
        if let Some(reason) = RejectReason::from_code(code) {
            reasons.push((reason, total));
        }
    }
    Ok(reasons)
}
