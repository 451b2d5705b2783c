//! Logs that cannot continue here, since this node does not take their next operation
//! (`docs/protocol/streams.md#4.9`).

use p2panda_core::log::Head;
use p2panda_core::{Hash, Timestamp, Topic, VerifyingKey};
use rusqlite::{Connection, Row, params};

use crate::database::error::StoreError;
use crate::database::evidence::RejectReason;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::{TopicKey, Tx};

/// A log that cannot continue on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedLog {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Key that stands for the author where logs of a topic are told apart: the author itself,
    /// unless the log has a name.
    pub label: VerifyingKey,
    /// Its first operation that is not taken.
    pub seq: u32,
    /// Reason for the refusal.
    pub reason: RejectReason,
    /// Size of the operation on the wire, in bytes.
    pub bytes: u64,
    /// The newest operation that was seen of the log, in an unbroken row from the one that is not
    /// taken. Peers that have no newer one are not asked for the log again.
    pub seen: Head,
    /// Time at which it was found out.
    pub at: Timestamp,
}

const COLUMNS: &str = "b.author, b.seq, b.reason, b.bytes, b.seen_seq, b.seen_id, b.at,
    coalesce((SELECT n.author FROM named_log n JOIN author a ON a.id = n.label WHERE a.key = b.author),
        b.author)";

impl Tx<'_> {
    /// All logs that are blocked, with their topics.
    pub fn blocked_logs(&self) -> Result<Vec<(Topic, BlockedLog)>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, t.topic FROM blocked b JOIN topic t ON t.id = b.topic
                ORDER BY b.topic, b.author"
        );
        let rows = self.rows(&sql, [], |row| {
            let Blob32(topic) = row.get(8)?;
            Ok((Topic::from_bytes(topic), blocked(row)?))
        })?;
        Ok(known(rows, |(topic, log)| Some((topic, log?))))
    }

    /// Notes that a log is blocked, or what was seen of it since.
    pub fn block(&mut self, topic: TopicKey, log: &BlockedLog) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO blocked VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        self.cached(sql)?.execute(params![
            topic.0,
            log.label.as_bytes().as_slice(),
            log.seq,
            log.reason.code(),
            int(log.bytes),
            log.seen.seq,
            log.seen.id.as_bytes().as_slice(),
            int(log.at.as_micros()),
        ])?;
        Ok(())
    }

    /// A log continues.
    pub fn unblock(&mut self, topic: TopicKey, label: &VerifyingKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM blocked WHERE topic = ?1 AND author = ?2";
        self.cached(sql)?
            .execute(params![topic.0, label.as_bytes().as_slice()])?;
        Ok(())
    }
}

impl Reader {
    /// The logs of a topic that are blocked.
    pub fn blocked(&self, topic: &Topic) -> Result<Vec<BlockedLog>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        Ok(blocked_of(&snapshot, key)?)
    }
}

/// The logs of a topic that are blocked, by its key.
pub(crate) fn blocked_of(snapshot: &Connection, topic: i64) -> rusqlite::Result<Vec<BlockedLog>> {
    let sql = format!("SELECT {COLUMNS} FROM blocked b WHERE b.topic = ?1 ORDER BY b.author");
    let mut statement = snapshot.prepare_cached(&sql)?;
    let rows = statement.query_map([topic], blocked)?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(known(rows, |log| log))
}

/// `None`: for a reason that only a newer version knows.
fn blocked(row: &Row<'_>) -> rusqlite::Result<Option<BlockedLog>> {
    let Blob32(seen_id) = row.get(5)?;
    let reason = RejectReason::from_code(row.get(2)?);
    let log = BlockedLog {
        author: verifying_key(row, 7)?,
        label: verifying_key(row, 0)?,
        seq: row.get(1)?,
        reason: RejectReason::TooLarge,
        bytes: unsigned(row, 3)?,
        seen: Head {
            seq: row.get(4)?,
            id: Hash::from_bytes(seen_id),
        },
        at: Timestamp::from_micros(unsigned(row, 6)?),
    };
    Ok(reason.map(|reason| BlockedLog { reason, ..log }))
}

fn known<R, T>(rows: Vec<R>, known: impl Fn(R) -> Option<T>) -> Vec<T> {
    rows.into_iter().filter_map(known).collect()
}
