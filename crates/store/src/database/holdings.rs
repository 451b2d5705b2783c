//! What a topic holds, as a session tells its peer.

use p2panda_core::{Gap, Heights, Topic};
use rusqlite::{Row, params};

use crate::database::error::StoreError;
use crate::database::reader::{Reader, last_arrival, topic_key};
use crate::database::sql::{int, verifying_key};

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

impl Reader {
    /// Heights of all logs of a topic, the last arrival number in it and the first wanted body of
    /// each log, of the same moment: what arrives later has a higher number.
    pub fn holdings(&self, topic: &Topic) -> Result<Holdings, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Holdings::default());
        };
        let log_id = topic.log_id();
        let sql = "SELECT a.key, l.head_seq FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let height = |row: &Row<'_>| Ok((verifying_key(row, 0)?, log_id, row.get(1)?));
        let heights = statement
            .query_map([key], height)?
            .collect::<Result<Heights, _>>()?;
        Ok(Holdings {
            heights,
            arrival: last_arrival(&snapshot, key)?,
            gaps: self.gaps(&snapshot, key)?,
        })
    }

    /// Heights of the logs of a topic that have been known longest, at most so many.
    pub fn oldest_heights(&self, topic: &Topic, logs_max: usize) -> Result<Heights, StoreError> {
        let snapshot = self.snapshot()?;
        let mut heights = Heights::default();
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(heights);
        };
        let log_id = topic.log_id();
        let sql = "SELECT a.key, l.head_seq FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1 ORDER BY l.id LIMIT ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query(params![key, int(logs_max as u64)])?;
        while let Some(row) = rows.next()? {
            heights.raise(verifying_key(row, 0)?, log_id, row.get(1)?);
        }
        Ok(heights)
    }
}
