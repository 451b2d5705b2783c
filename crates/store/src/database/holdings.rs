//! The stored content of a topic, as a session reports it to its peer.

use p2panda_core::limits::HEADS_PAGE_ROWS;
use p2panda_core::log::Head;
use p2panda_core::{Gap, Hash, HeadsChange, Heights, Topic, VerifyingKey};
use rusqlite::{Row, params};

use crate::database::blocked::blocked_of;
use crate::database::branch::told_instead;
use crate::database::error::StoreError;
use crate::database::reader::{Reader, last_arrival, topic_key};
use crate::database::sql::{Blob32, int, verifying_key};

/// One consistent look at a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holdings {
    /// The highest sequence number of each log.
    pub heights: Heights,
    /// The last arrival number, 0: none.
    pub arrival: u64,
    /// The first wanted body of each log that lacks one.
    pub gaps: Vec<Gap>,
}

/// End of a page of heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadsPlace(i64);

impl Reader {
    /// The heads of some logs of a topic, those behind `after` or from the start, the last arrival
    /// number of that moment, and where the next page begins: `None` if this is the last one, which
    /// also has the blocked logs.
    ///
    /// The pages are of several moments. Together with every commit from before the first one on they
    /// are all heads.
    pub fn heads(
        &self,
        topic: &Topic,
        after: Option<HeadsPlace>,
    ) -> Result<(HeadsChange, Option<HeadsPlace>), StoreError> {
        let mut found = HeadsChange::default();
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok((found, None));
        };
        if after.is_none() {
            found.arrival = last_arrival(&snapshot, key)?;
        }
        // By author, as the index has them: a log that is new behind this place is of a later commit.
        let instead = told_instead(&snapshot, key)?;
        let sql = "SELECT l.author, a.key, l.head_seq, l.head_id,
                EXISTS (SELECT 1 FROM fork f WHERE f.topic = ?1 AND f.log = l.id)
            FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1 AND l.author > ?2 ORDER BY l.author LIMIT ?3";
        let mut statement = snapshot.prepare_cached(sql)?;
        let after = after.map_or(i64::MIN, |HeadsPlace(after)| after);
        let mut rows = statement.query(params![key, after, int(HEADS_PAGE_ROWS as u64)])?;
        let (mut last, mut count) = (None, 0);
        while let Some(row) = rows.next()? {
            last = Some(HeadsPlace(row.get(0)?));
            count += 1;
            let author = verifying_key(row, 1)?;
            let Blob32(id) = row.get(3)?;
            let Some(seq) = told(&instead, &author, row.get(2)?) else {
                continue;
            };
            let id = Hash::from_bytes(id);
            found.raised.push((author, Head { seq, id }));
            if row.get(4)? {
                found.forked.push(author);
            }
        }
        let full = count == HEADS_PAGE_ROWS;
        if !full {
            let blocked = blocked_of(&snapshot, key)?;
            let seen = blocked.iter().map(|log| (log.label, Some(log.seen)));
            found.blocked.extend(seen);
        }
        Ok((found, last.filter(|_| full)))
    }

    /// Heights of the first log of each author in a topic, the last arrival number in it and the first
    /// wanted body of each of these logs, of the same moment: what arrives later has a higher number.
    /// Logs with a name are for peers that compare heads.
    pub fn holdings(&self, topic: &Topic) -> Result<Holdings, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Holdings::default());
        };
        let log_id = topic.log_id();
        let instead = told_instead(&snapshot, key)?;
        let sql = "SELECT a.key, l.head_seq FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1
                AND NOT EXISTS (SELECT 1 FROM named_log n WHERE n.label = l.author)";
        let mut statement = snapshot.prepare_cached(sql)?;
        let height = |row: &Row<'_>| {
            let author = verifying_key(row, 0)?;
            let seq = told(&instead, &author, row.get(1)?);
            Ok(seq.map(|seq| (author, log_id, seq)))
        };
        let heights = statement
            .query_map([key], height)?
            .filter_map(Result::transpose)
            .collect::<Result<Heights, _>>()?;
        Ok(Holdings {
            heights,
            arrival: last_arrival(&snapshot, key)?,
            gaps: self.gaps(&snapshot, key)?,
        })
    }

    /// Heights of the first logs of authors in a topic that have been known longest, at most that
    /// many.
    pub fn oldest_heights(&self, topic: &Topic, logs_max: usize) -> Result<Heights, StoreError> {
        let snapshot = self.snapshot()?;
        let mut heights = Heights::default();
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(heights);
        };
        let log_id = topic.log_id();
        let sql = "SELECT a.key, l.head_seq FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1
                AND NOT EXISTS (SELECT 1 FROM named_log n WHERE n.label = l.author)
            ORDER BY l.id LIMIT ?2";
        let instead = told_instead(&snapshot, key)?;
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query(params![key, int(logs_max as u64)])?;
        while let Some(row) = rows.next()? {
            let author = verifying_key(row, 0)?;
            if let Some(seq) = told(&instead, &author, row.get(1)?) {
                heights.raise(author, log_id, seq);
            }
        }
        Ok(heights)
    }
}

/// Returns what peers are told of the height of a log.
fn told(
    instead: &[(VerifyingKey, Option<u32>)],
    author: &VerifyingKey,
    height: u32,
) -> Option<u32> {
    let instead = instead.iter().find(|(of, _)| of == author);
    instead.map_or(Some(height), |(_, told)| *told)
}
