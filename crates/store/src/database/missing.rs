//! Bodies that are not here although their headers are (`docs/protocol/streams.md 4.6`): those that
//! are wanted, and those that were dropped on purpose.

use bytes::Bytes;
use p2panda_core::limits::BODIES_ASKED_MAX;
use p2panda_core::{Gap, Header, LogId, LogRange, Look, Timestamp, Topic, VerifyingKey, Wanted};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::content::code;
use crate::database::error::StoreError;
use crate::database::large;
use crate::database::log_name::log_id_of;
use crate::database::meta::{meta, put_meta, remove_meta};
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{int, seq_or_none, unsigned};
use crate::database::tx::{LogKey, TopicKey, Tx};
use crate::database::writer::Database;

/// The body of an operation that was stored without it.
#[derive(Clone, Copy, Debug)]
pub struct LateBody<'a> {
    /// Topic of the operation.
    pub topic: TopicKey,
    /// Log of the operation.
    pub log: LogKey,
    /// Its sequence number.
    pub seq: u32,
    /// Its arrival number so far.
    pub arrival: u64,
    /// The one it gets now, from [`Tx::next_arrival`].
    pub new_arrival: u64,
    /// The body that arrived.
    pub body: &'a [u8],
}

impl Tx<'_> {
    /// Notes that the body of a stored operation has not arrived.
    pub fn want_body(
        &mut self,
        topic: TopicKey,
        log: LogKey,
        seq: u32,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO wanted VALUES(?1, ?2, ?3, ?4)";
        let since = int(since.as_micros());
        self.cached(sql)?
            .execute(params![topic.0, log.0, seq, since])?;
        Ok(())
    }

    /// Returns `true` if the body was dropped on purpose.
    pub fn is_dropped(&self, log: LogKey, seq: u32) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM dropped WHERE log = ?1 AND seq = ?2";
        Ok(self.cached(sql)?.exists(params![log.0, seq])?)
    }

    /// Adds the body to an operation that was stored without it. The operation arrives again, so
    /// that sessions which have passed its old arrival number come to it.
    pub fn fill_body(&mut self, late: &LateBody<'_>) -> Result<(), StoreError> {
        let (old, new) = (int(late.arrival), int(late.new_arrival));
        let sql = "UPDATE operation SET arrival = ?2, body = ?3 WHERE arrival = ?1";
        self.cached(sql)?
            .execute(params![old, new, large::placed(Some(late.body))])?;
        let connection = &self.database().connection;
        large::write(connection, late.new_arrival, Some(late.body))?;
        let sql = "UPDATE missing SET arrival = ?2 WHERE arrival = ?1";
        self.cached(sql)?.execute([old, new])?;
        self.renumber_moves(late.arrival, late.new_arrival)?;
        let sql = "DELETE FROM wanted WHERE topic = ?1 AND log = ?2 AND seq = ?3";
        self.cached(sql)?
            .execute(params![late.topic.0, late.log.0, late.seq])?;
        self.written(late.body.len());
        Ok(())
    }

    /// Drops the body of a stored operation permanently, whether or not it has come, and what it
    /// was opened to: the operation leaves the feed, unless its entry reports a change, and nobody
    /// is asked for the body again. False if no such operation is stored.
    pub fn drop_body(
        &mut self,
        topic: TopicKey,
        log: LogKey,
        seq: u32,
    ) -> Result<bool, StoreError> {
        let wiped = "UPDATE operation SET body = zeroblob(length(body)),
                opened = zeroblob(length(opened))
            WHERE log = ?1 AND seq = ?2 AND body IS NOT NULL";
        self.cached(wiped)?.execute(params![log.0, seq])?;
        self.leave_views(log, (seq, seq.saturating_add(1)), false)?;
        let sql = "UPDATE operation SET body = NULL, opened = NULL,
                offset = CASE WHEN content > ?3 THEN offset END
            WHERE log = ?1 AND seq = ?2";
        let dropped = params![log.0, seq, code::OPENED];
        if self.cached(sql)?.execute(dropped)? == 0 {
            return Ok(false);
        }
        let sql = "DELETE FROM wanted WHERE topic = ?1 AND log = ?2 AND seq = ?3";
        self.cached(sql)?.execute(params![topic.0, log.0, seq])?;
        let sql = "INSERT OR IGNORE INTO dropped VALUES(?1, ?2)";
        self.cached(sql)?.execute(params![log.0, seq])?;
        Ok(true)
    }

    /// Forgets what is noted of the bodies of a log below a sequence number.
    pub(crate) fn forget_bodies(&mut self, log: LogKey, below: u32) -> Result<(), StoreError> {
        let sql = "DELETE FROM wanted WHERE topic = (SELECT topic FROM log WHERE id = ?1)
            AND log = ?1 AND seq < ?2";
        self.cached(sql)?.execute(params![log.0, below])?;
        let sql = "DELETE FROM dropped WHERE log = ?1 AND seq < ?2";
        self.cached(sql)?.execute(params![log.0, below])?;
        let sql = "DELETE FROM aged_body WHERE log = ?1 AND seq < ?2";
        self.cached(sql)?.execute(params![log.0, below])?;
        Ok(())
    }
}

/// Key of the position up to which rows of an earlier version were looked through: an arrival
/// number, big-endian.
pub(crate) const SCANNED: &str = "bodies_scanned";

impl Database {
    /// Returns `true` if operations that an earlier version stored are still to be looked through.
    pub fn has_unscanned_bodies(&self) -> Result<bool, StoreError> {
        Ok(meta(&self.connection, SCANNED)?.is_some())
    }
}

impl Tx<'_> {
    /// Looks through at most that many operations that an earlier version may have stored without
    /// their body, and notes the bodies as wanted; whether there are more.
    pub fn scan_bodies(&mut self, rows_max: usize) -> Result<bool, StoreError> {
        let Some(scanned) = meta(&self.database().connection, SCANNED)? else {
            return Ok(false);
        };
        let scanned = scanned.as_slice().try_into().map_or(0, u64::from_be_bytes);
        let (found, last, count) = self.bodies_behind(scanned, rows_max)?;
        for (topic, log, seq) in found {
            self.want_body(TopicKey(topic), LogKey(log), seq, Timestamp::from_micros(0))?;
        }
        let more = count == rows_max;
        match more {
            true => put_meta(&self.database().connection, SCANNED, &last.to_be_bytes())?,
            false => remove_meta(&self.database().connection, SCANNED)?,
        }
        Ok(more)
    }

    /// Operations without the body that their header names, the last arrival number that was
    /// looked at, and how many were.
    fn bodies_behind(&self, arrival: u64, rows_max: usize) -> Result<Scanned, StoreError> {
        let sql = "SELECT arrival, topic, log, seq, CASE WHEN body IS NULL THEN header END
            FROM operation WHERE arrival > ?1 ORDER BY arrival LIMIT ?2";
        let mut statement = self.cached(sql)?;
        let mut rows = statement.query(params![int(arrival), int(rows_max as u64)])?;
        let (mut found, mut last, mut count) = (Vec::new(), arrival, 0);
        while let Some(row) = rows.next()? {
            (last, count) = (unsigned(row, 0)?, count + 1);
            let (log, seq): (i64, u32) = (row.get(2)?, row.get(3)?);
            let header = row.get_ref(4)?.as_blob().unwrap_or_default();
            let header = Header::decode_unverified(Bytes::copy_from_slice(header));
            let lacks = header.is_ok_and(|header| header.payload_size() > 0);
            if lacks && !self.is_dropped(LogKey(log), seq)? {
                found.push((row.get(1)?, log, seq));
            }
        }
        Ok((found, last, count))
    }
}

/// Topic, log and sequence number of what was found, the last arrival number, and the rows.
type Scanned = (Vec<(i64, i64, u32)>, u64, usize);

impl Reader {
    /// Wanted bodies that a session asks about, at most as many as one question names.
    pub fn look(&self, topic: &Topic, look: &Look) -> Result<Wanted, StoreError> {
        match look {
            Look::After(after) => self.wanted_page(topic, *after, BODIES_ASKED_MAX),
            Look::Of(ranges) => Ok(Wanted {
                ranges: self.wanted_of(topic, ranges, BODIES_ASKED_MAX)?,
                more: false,
            }),
        }
    }

    /// Wanted bodies of a topic behind this entry, at most `limit`. A range has the label of its log for
    /// an author, and the id of the log.
    pub fn wanted_page(
        &self,
        topic: &Topic,
        after: Option<(VerifyingKey, u32)>,
        limit: usize,
    ) -> Result<Wanted, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Wanted::default());
        };
        // The log of that entry may hold more.
        let (mut log, mut seq) = match after {
            Some((author, seq)) => (log_of(&snapshot, key, &author)?, i64::from(seq)),
            None => (0, -1),
        };
        let sql = "SELECT seq FROM wanted WHERE topic = ?1 AND log = ?2 AND seq > ?3
                AND seq >= (SELECT first_seq FROM log WHERE id = ?2)
            ORDER BY seq LIMIT ?4";
        let mut statement = snapshot.prepare_cached(sql)?;
        let (mut page, mut left) = (Wanted::default(), limit);
        let first = topic.log_id();
        loop {
            let mut rows = statement.query(params![key, log, seq, int(left as u64)])?;
            let mut of = None;
            while let Some(row) = rows.next()? {
                left = left.saturating_sub(1);
                let (label, id) = match of {
                    Some(known) => known,
                    None => {
                        let label = self.author(log)?;
                        *of.insert((label, log_id_of(&snapshot, &label)?.unwrap_or(first)))
                    }
                };
                push(&mut page.ranges, label, id, row.get(0)?);
            }
            match next_log(&snapshot, key, log)? {
                Some(next) if left > 0 => (log, seq) = (next, -1),
                _ => break,
            }
        }
        page.more = left == 0;
        Ok(page)
    }

    /// Those of the bodies that are wanted, at most `limit`.
    pub fn wanted_of(
        &self,
        topic: &Topic,
        ranges: &[LogRange],
        limit: usize,
    ) -> Result<Vec<LogRange>, StoreError> {
        let snapshot = self.snapshot()?;
        let mut wanted = Vec::new();
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(wanted);
        };
        let mut left = limit;
        for range in ranges.iter().filter(|range| range.log == topic.log_id()) {
            let log = log_of(&snapshot, key, &range.author)?;
            let sql = "SELECT seq FROM wanted WHERE topic = ?1 AND log = ?2
                    AND seq > ?3 AND seq <= ?4
                    AND seq >= (SELECT first_seq FROM log WHERE id = ?2)
                ORDER BY seq LIMIT ?5";
            let (after, limit) = (seq_or_none(range.after), int(left as u64));
            let mut statement = snapshot.prepare_cached(sql)?;
            let mut rows = statement.query(params![key, log, after, range.until, limit])?;
            while let Some(row) = rows.next()? {
                left = left.saturating_sub(1);
                push(&mut wanted, range.author, range.log, row.get(0)?);
            }
        }
        Ok(wanted)
    }

    /// Number of wanted bodies of a topic. Linear in it: for people, not for sessions.
    pub fn wanted(&self, topic: &Topic) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        let sql = "SELECT count(*) FROM wanted w JOIN log l ON l.id = w.log
            WHERE w.topic = ?1 AND w.seq >= l.first_seq";
        let mut statement = snapshot.prepare_cached(sql)?;
        Ok(statement.query_row([key], |row| unsigned(row, 0))?)
    }

    /// The first wanted body of each log of a topic that lacks one. Two look-ups for each of them.
    pub(crate) fn gaps(&self, snapshot: &Connection, topic: i64) -> rusqlite::Result<Vec<Gap>> {
        let sql = "SELECT seq FROM wanted WHERE topic = ?1 AND log = ?2
                AND seq >= (SELECT first_seq FROM log WHERE id = ?2)
            ORDER BY seq LIMIT 1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let (mut logs, mut last) = (Vec::new(), 0);
        while let Some(log) = next_log(snapshot, topic, last)? {
            last = log;
            let first = statement
                .query_row([topic, log], |row| row.get(0))
                .optional()?;
            if let Some(seq) = first {
                let author = self.author(log)?;
                logs.push(Gap { author, seq });
            }
        }
        Ok(logs)
    }
}

/// The next log of a topic that lacks a body.
fn next_log(snapshot: &Connection, topic: i64, after: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT log FROM wanted WHERE topic = ?1 AND log > ?2 ORDER BY log LIMIT 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    statement
        .query_row([topic, after], |row| row.get(0))
        .optional()
}

/// The row of a log, 0 if there is none.
fn log_of(snapshot: &Connection, topic: i64, author: &VerifyingKey) -> rusqlite::Result<i64> {
    let sql = "SELECT id FROM log WHERE topic = ?1
        AND author = (SELECT id FROM author WHERE key = ?2)";
    let mut statement = snapshot.prepare_cached(sql)?;
    let row = statement
        .query_row(params![topic, author.as_bytes().as_slice()], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(row.unwrap_or(0))
}

/// Adds an entry to the ranges, to the last one if it follows it.
fn push(ranges: &mut Vec<LogRange>, author: VerifyingKey, log: LogId, seq: u32) {
    if let Some(last) = ranges.last_mut()
        && (last.author, last.log) == (author, log)
        && last.until.checked_add(1) == Some(seq)
    {
        last.until = seq;
        return;
    }
    ranges.push(LogRange {
        author,
        log,
        after: seq.checked_sub(1),
        until: seq,
    });
}
