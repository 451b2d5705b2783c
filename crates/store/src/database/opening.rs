//! Look-ups of the stages that open operations of spaces (`docs/protocol/streams.md#7`): control
//! operations that passed, by their ids, and content that waits for a secret.

use bytes::Bytes;
use p2panda_core::{Hash, LogName, VerifyingKey};
use rusqlite::{OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::{LogKey, TopicKey, Tx};

/// A stored operation that is to be opened, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealedOperation {
    /// Its arrival number.
    pub arrival: u64,
    /// The header as received.
    pub header: Bytes,
    /// The sealed body as received.
    pub body: Bytes,
    /// `true` if its entry in the feed shows what it was opened to.
    pub is_shown: bool,
}

impl SealedOperation {
    /// Of header and body.
    pub fn bytes(&self) -> usize {
        self.header.len() + self.body.len()
    }
}

impl Tx<'_> {
    /// Notes that a control operation passed.
    pub fn add_control(
        &mut self,
        topic: TopicKey,
        id: &Hash,
        (author, seq): (&VerifyingKey, u32),
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO control(topic, hash, author, seq) VALUES(?1, ?2, ?3, ?4)";
        let (id, author) = (id.as_bytes().as_slice(), author.as_bytes().as_slice());
        self.cached(sql)?
            .execute(params![topic.0, id, author, seq])?;
        Ok(())
    }

    /// Author and place of a control operation that passed.
    pub fn control(
        &self,
        topic: TopicKey,
        id: &Hash,
    ) -> Result<Option<(VerifyingKey, u32)>, StoreError> {
        let sql = "SELECT author, seq FROM control WHERE topic = ?1 AND hash = ?2";
        let mut statement = self.cached(sql)?;
        let of = params![topic.0, id.as_bytes().as_slice()];
        let found = statement.query_row(of, |row| Ok((verifying_key(row, 0)?, row.get(1)?)));
        Ok(found.optional()?)
    }

    /// Notes that content waits for a secret.
    pub fn park(
        &mut self,
        topic: TopicKey,
        secret: &[u8; 32],
        arrival: u64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO parked(topic, secret, arrival) VALUES(?1, ?2, ?3)";
        self.cached(sql)?
            .execute(params![topic.0, secret.as_slice(), int(arrival)])?;
        Ok(())
    }

    /// It waits no longer.
    pub fn unpark(
        &mut self,
        topic: TopicKey,
        secret: &[u8; 32],
        arrival: u64,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM parked WHERE topic = ?1 AND secret = ?2 AND arrival = ?3";
        self.cached(sql)?
            .execute(params![topic.0, secret.as_slice(), int(arrival)])?;
        Ok(())
    }

    /// Secrets for which content of a topic waits.
    pub fn parked_secrets(&self, topic: TopicKey) -> Result<Vec<[u8; 32]>, StoreError> {
        let sql = "SELECT DISTINCT secret FROM parked WHERE topic = ?1";
        self.rows(sql, [topic.0], |row| {
            row.get(0).map(|Blob32(secret)| secret)
        })
    }

    /// The next operations that wait for a secret, in order of arrival and so in that of each log, at most
    /// that many, and none once they have so many bytes.
    pub fn parked(
        &self,
        topic: TopicKey,
        secret: &[u8; 32],
        (rows_max, bytes_max): (usize, usize),
    ) -> Result<Vec<(u64, Option<SealedOperation>)>, StoreError> {
        let sql = "SELECT p.arrival, o.header, o.body, o.offset IS NOT NULL AND o.content = 1
            FROM parked p LEFT JOIN operation o ON o.arrival = p.arrival
            WHERE p.topic = ?1 AND p.secret = ?2 ORDER BY p.arrival LIMIT ?3";
        let of = params![topic.0, secret.as_slice(), int(rows_max as u64)];
        let mut statement = self.cached(sql)?;
        let mut rows = statement.query(of)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            let arrival = unsigned(row, 0)?;
            let (header, body): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(1)?, row.get(2)?);
            let is_shown = row.get::<_, Option<bool>>(3)?.unwrap_or(false);
            let operation = header.zip(body).map(|(header, body)| SealedOperation {
                arrival,
                header: header.into(),
                body: body.into(),
                is_shown,
            });
            bytes += operation.as_ref().map_or(0, SealedOperation::bytes);
            found.push((arrival, operation));
        }
        Ok(found)
    }

    /// The next operations of a log that have bodies, from a place on and below another, at most
    /// that many, and none once they have so many bytes.
    pub fn sealed_range(
        &self,
        log: LogKey,
        (from, below): (u32, u32),
        (rows_max, bytes_max): (usize, usize),
    ) -> Result<Vec<(u32, SealedOperation)>, StoreError> {
        let sql = "SELECT seq, arrival, header, body, offset IS NOT NULL AND content IS 1
            FROM operation
            WHERE log = ?1 AND seq >= ?2 AND seq < ?3 AND body IS NOT NULL ORDER BY seq LIMIT ?4";
        let mut statement = self.cached(sql)?;
        let mut rows = statement.query(params![log.0, from, below, int(rows_max as u64)])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            let (header, body): (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
            let operation = SealedOperation {
                arrival: unsigned(row, 1)?,
                header: header.into(),
                body: body.into(),
                is_shown: row.get(4)?,
            };
            bytes += operation.bytes();
            found.push((row.get(0)?, operation));
        }
        Ok(found)
    }

    /// Labels of the logs of a topic that have this name, in the order in which they became known.
    pub fn logs_named(
        &self,
        topic: TopicKey,
        name: &LogName,
    ) -> Result<Vec<VerifyingKey>, StoreError> {
        let sql = "SELECT a.key FROM log l JOIN named_log n ON n.label = l.author
            JOIN author a ON a.id = l.author WHERE l.topic = ?1 AND n.name = ?2 ORDER BY l.id";
        let of = params![topic.0, name.as_bytes().as_slice()];
        self.rows(sql, of, |row| verifying_key(row, 0))
    }

    /// The logs of a topic that have none of these names.
    pub fn logs_not_named(
        &self,
        topic: TopicKey,
        [one, other]: [LogName; 2],
    ) -> Result<Vec<LogKey>, StoreError> {
        let sql = "SELECT l.id FROM log l LEFT JOIN named_log n ON n.label = l.author
            WHERE l.topic = ?1 AND (n.name IS NULL OR n.name NOT IN (?2, ?3)) ORDER BY l.id";
        let (one, other) = (one.as_bytes().as_slice(), other.as_bytes().as_slice());
        self.rows(sql, params![topic.0, one, other], |row| {
            Ok(LogKey(row.get(0)?))
        })
    }

    /// The operations of a log leave the feed. They pass the stages again if the log is looked at.
    pub fn leave_feed(&mut self, log: LogKey) -> Result<(), StoreError> {
        let sql = "UPDATE operation SET offset = NULL, content = NULL, opened = NULL
            WHERE log = ?1";
        self.cached(sql)?.execute([log.0])?;
        Ok(())
    }

    /// The body of a stored operation.
    pub fn body(&self, arrival: u64) -> Result<Option<Bytes>, StoreError> {
        let sql = "SELECT body FROM operation WHERE arrival = ?1";
        let mut statement = self.cached(sql)?;
        let body = statement.query_row([int(arrival)], |row| row.get::<_, Option<Vec<u8>>>(0));
        Ok(body.optional()?.flatten().map(Bytes::from))
    }
}
