//! Refused operations with their reasons, and evidence of forks. Both are bounded.

use bytes::Bytes;
use p2panda_core::limits::{
    FORKS_PER_LOG_MAX, REJECTED_BYTES_MAX, REJECTED_HEADER_BYTES_MAX, REJECTED_ROWS_MAX,
};
use p2panda_core::{Hash, Timestamp, Topic, VerifyingKey};
use rusqlite::params;

use crate::database::error::StoreError;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::{LogKey, TopicKey, Tx};

/// Reason why an operation was refused (`docs/protocol/operations.md#3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The header is not a valid encoding of one.
    Undecodable,
    /// The signature does not verify.
    InvalidSignature,
    /// The body does not match hash and size in the header.
    PayloadMismatch,
    /// The header has no extensions.
    MissingExtensions,
    /// The extensions have another shape than the node's.
    InvalidExtensions,
    /// The extensions are of a version or variant this node does not know.
    UnknownExtensions,
    /// The operation belongs to another topic.
    WrongTopic,
    /// Another operation of the same author has this place in the log.
    Fork,
    /// The operation names another predecessor than the one stored.
    BacklinkMismatch,
    /// It does not continue the log.
    SeqNumNonIncremental,
    /// Header and body are larger than this node takes.
    TooLarge,
    /// It came as a message of a space and is none.
    NoSpaceMessage,
    /// Its author has no role in the space that allows it, in the past that it names.
    NotAllowed,
    /// A quota of what this node keeps is used up.
    Quota,
}

/// All reasons with the number they are stored under. A number is never given to another.
const CODES: [(RejectReason, u8); 14] = [
    (RejectReason::Undecodable, 1),
    (RejectReason::InvalidSignature, 2),
    (RejectReason::PayloadMismatch, 3),
    (RejectReason::MissingExtensions, 4),
    (RejectReason::InvalidExtensions, 5),
    (RejectReason::UnknownExtensions, 6),
    (RejectReason::WrongTopic, 7),
    (RejectReason::Fork, 8),
    (RejectReason::BacklinkMismatch, 9),
    (RejectReason::SeqNumNonIncremental, 10),
    (RejectReason::TooLarge, 11),
    (RejectReason::NoSpaceMessage, 12),
    (RejectReason::NotAllowed, 13),
    (RejectReason::Quota, 14),
];

impl RejectReason {
    /// The number under which it is stored.
    pub(crate) fn code(self) -> u8 {
        let found = CODES.iter().find(|(reason, _)| *reason == self);
        found
            .map(|(_, code)| *code)
            .expect("every reason is in the list")
    }

    /// The reason of a number.
    pub fn from_code(code: u8) -> Option<RejectReason> {
        CODES
            .iter()
            .find(|(_, known)| *known == code)
            .map(|(reason, _)| *reason)
    }
}

/// An operation that was refused.
#[derive(Clone, Copy, Debug)]
pub struct Reject<'a> {
    /// The operation id, or what takes its place.
    pub id: Hash,
    /// Its header as received; only the first
    /// [`REJECTED_HEADER_BYTES_MAX`](p2panda_core::limits::REJECTED_HEADER_BYTES_MAX) bytes are kept.
    pub header: &'a [u8],
    /// Reason why it was refused.
    pub reason: RejectReason,
    /// Peer that sent it, if it came from one.
    pub peer: Option<VerifyingKey>,
    /// Time of the refusal.
    pub at: Timestamp,
}

/// A stored refused operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RejectedRow {
    /// Number of the row, ascending with time.
    pub row: u64,
    /// The operation id, or the hash of what came in its place.
    pub id: Hash,
    /// Reason why it was refused, `None` for a reason that only a newer version knows.
    pub reason: Option<RejectReason>,
    /// Peer that sent it first, if it came from one.
    pub peer: Option<VerifyingKey>,
    /// Its header as received, at most the first
    /// [`REJECTED_HEADER_BYTES_MAX`](p2panda_core::limits::REJECTED_HEADER_BYTES_MAX) bytes.
    pub header: Bytes,
    /// Time at which it came first.
    pub at: Timestamp,
}

/// Stored evidence of a fork: two operations of one author that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkRow {
    /// Author of both operations.
    pub author: VerifyingKey,
    /// Sequence number of the second operation.
    pub seq: u32,
    /// Header of the operation we have.
    pub first: Bytes,
    /// Header of the operation we refused.
    pub second: Bytes,
    /// Time at which the second one came.
    pub at: Timestamp,
}

impl Tx<'_> {
    /// Records a refused operation, once per operation id. Returns whether it is new.
    pub fn reject(&mut self, topic: TopicKey, reject: &Reject<'_>) -> Result<bool, StoreError> {
        let kept = reject.header.get(..REJECTED_HEADER_BYTES_MAX);
        let header = kept.unwrap_or(reject.header);
        let sql = "INSERT OR IGNORE INTO rejected(topic, hash, reason, peer, header, at)
            VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
        let added = self.cached(sql)?.execute(params![
            topic.0,
            reject.id.as_bytes().as_slice(),
            reject.reason.code(),
            reject.peer.as_ref().map(|peer| peer.as_bytes().as_slice()),
            header,
            int(reject.at.as_micros()),
        ])?;
        if added == 0 {
            return Ok(false);
        }
        let count = "INSERT INTO rejected_count VALUES(?1, ?2, 1)
            ON CONFLICT DO UPDATE SET total = total + 1";
        self.cached(count)?
            .execute(params![topic.0, reject.reason.code()])?;
        self.add_rejected(topic, 1, int(header.len() as u64))?;
        self.bound_rejected(topic)?;
        Ok(true)
    }

    /// Keeps evidence of a fork, once per place in the log. Returns whether it is new.
    pub fn add_fork(
        &mut self,
        topic: TopicKey,
        log: LogKey,
        seq: u32,
        headers: (&[u8], &[u8]),
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let count = "SELECT count(*) FROM fork WHERE topic = ?1 AND log = ?2";
        let known: u32 = self
            .cached(count)?
            .query_row(params![topic.0, log.0], |row| row.get(0))?;
        if known >= FORKS_PER_LOG_MAX {
            return Ok(false);
        }
        let sql = "INSERT OR IGNORE INTO fork VALUES(?1, ?2, ?3, ?4, ?5, ?6)";
        let (first, second) = headers;
        let at = int(at.as_micros());
        let added = self
            .cached(sql)?
            .execute(params![topic.0, log.0, seq, first, second, at])?;
        Ok(added > 0)
    }

    /// Takes away the oldest rows beyond the bounds; the counters keep them.
    fn bound_rejected(&mut self, topic: TopicKey) -> Result<(), StoreError> {
        let sizes = "SELECT rejected_rows, rejected_bytes FROM topic WHERE id = ?1";
        let oldest = "SELECT id, length(header) FROM rejected WHERE topic = ?1
            ORDER BY id LIMIT 1";
        loop {
            let (rows, bytes): (i64, i64) = self
                .cached(sizes)?
                .query_row([topic.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            if rows <= int(REJECTED_ROWS_MAX as u64) && bytes <= int(REJECTED_BYTES_MAX as u64) {
                return Ok(());
            }
            let (id, header_bytes): (i64, i64) = self
                .cached(oldest)?
                .query_row([topic.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
            self.cached("DELETE FROM rejected WHERE id = ?1")?
                .execute([id])?;
            self.add_rejected(topic, -1, -header_bytes)?;
        }
    }

    fn add_rejected(&mut self, topic: TopicKey, rows: i64, bytes: i64) -> Result<(), StoreError> {
        let sql = "UPDATE topic SET rejected_rows = rejected_rows + ?2,
            rejected_bytes = rejected_bytes + ?3 WHERE id = ?1";
        self.cached(sql)?.execute(params![topic.0, rows, bytes])?;
        Ok(())
    }
}

impl Reader {
    /// Refused operations of a topic with a row number above `after`, oldest first.
    pub fn rejected_page(
        &self,
        topic: &Topic,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<RejectedRow>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let sql = "SELECT id, hash, reason, peer, header, at FROM rejected
            WHERE topic = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map(params![key, int(after), int(rows_max as u64)], |row| {
            let Blob32(id) = row.get(1)?;
            let peer: Option<Blob32> = row.get(3)?;
            Ok(RejectedRow {
                row: unsigned(row, 0)?,
                id: Hash::from_bytes(id),
                reason: RejectReason::from_code(row.get(2)?),
                peer: peer.map(|Blob32(key)| VerifyingKey::from_bytes_unchecked(key)),
                header: Bytes::from(row.get::<_, Vec<u8>>(4)?),
                at: Timestamp::from_micros(unsigned(row, 5)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The headers that show a peer that a log is forked: those of the stored evidence, the newest
    /// pair first, and that of the head alone where there is none. A pair is complete; none follows
    /// once there are `bytes_max` bytes.
    pub fn shows_fork(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let pairs = "SELECT f.first, f.second FROM fork f
            JOIN log l ON l.id = f.log JOIN author a ON a.id = l.author
            WHERE f.topic = ?1 AND a.key = ?2 ORDER BY f.seq DESC";
        let of = params![key, author.as_bytes().as_slice()];
        let mut statement = snapshot.prepare_cached(pairs)?;
        let mut rows = statement.query(of)?;
        let (mut headers, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let pair: [Vec<u8>; 2] = [row.get(0)?, row.get(1)?];
            bytes += pair.iter().map(Vec::len).sum::<usize>();
            headers.extend(pair.map(Bytes::from));
            if bytes >= bytes_max {
                break;
            }
        }
        if headers.is_empty() {
            let head = "SELECT o.header FROM log l JOIN author a ON a.id = l.author
                JOIN operation o ON o.log = l.id AND o.seq = l.head_seq
                WHERE l.topic = ?1 AND a.key = ?2";
            let mut statement = snapshot.prepare_cached(head)?;
            let mut rows = statement.query(of)?;
            while let Some(row) = rows.next()? {
                headers.push(Bytes::from(row.get::<_, Vec<u8>>(0)?));
            }
        }
        Ok(headers)
    }

    /// Evidence of forks in a topic, at most `rows_max`.
    pub fn forks(&self, topic: &Topic, rows_max: usize) -> Result<Vec<ForkRow>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let sql = "SELECT coalesce(n.author, a.key), f.seq, f.first, f.second, f.at FROM fork f
            JOIN log l ON l.id = f.log JOIN author a ON a.id = l.author
                LEFT JOIN named_log n ON n.label = a.id
            WHERE f.topic = ?1 ORDER BY f.log, f.seq LIMIT ?2";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map(params![key, int(rows_max as u64)], |row| {
            Ok(ForkRow {
                author: verifying_key(row, 0)?,
                seq: row.get(1)?,
                first: Bytes::from(row.get::<_, Vec<u8>>(2)?),
                second: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                at: Timestamp::from_micros(unsigned(row, 4)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_reason_has_a_number_of_its_own() {
        for (reason, code) in CODES {
            assert_eq!(reason.code(), code);
            assert_eq!(RejectReason::from_code(code), Some(reason));
        }
        assert_eq!(RejectReason::from_code(0), None);
    }
}
