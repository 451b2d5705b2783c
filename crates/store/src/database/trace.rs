//! Traces of operations (`docs/guide/observe.md`).

use p2panda_core::{Dependency, Hash, Header, Timestamp, Topic, VerifyingKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::evidence::{RejectReason, RejectedRow};
use crate::database::log_name;
use crate::database::reader::Reader;
use crate::database::sql::{Blob32, int, optional_seq, unsigned, verifying_key};

/// A stored operation, and how far it has come on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredTrace {
    /// The topic that this is about.
    pub topic: Topic,
    /// Header of the operation.
    pub header: Header,
    /// Its arrival number.
    pub arrival: u64,
    /// Progress of the operation through the stages.
    pub progress: Progress,
    /// The durable consumers that have a position in the topic, by name.
    pub consumers: Vec<ConsumerTrace>,
}

/// Progress of a stored operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// It waits for its causal order: the operation of its log at `front`, itself or one before it,
    /// depends on others that have not passed.
    Waiting {
        /// Sequence number of the first operation of the log that waits.
        front: u32,
        /// Dependencies that the front waits for.
        missing: Vec<Dependency>,
    },
    /// It passed the causal order. Its body has not arrived.
    WantsBody {
        /// Time since which it waits; none: since before this version of the database.
        since: Option<Timestamp>,
    },
    /// It passed the causal order and has no body, or lost it on purpose: there is no message.
    NoMessage,
    /// It passed the causal order, and is sealed under a secret of its space that is not here. It is shown once
    /// a member that has the secret gives it to this node.
    Sealed {
        /// Name of the secret.
        secret: [u8; 32],
    },
    /// It passed the causal order, and is shown once what it depends on can be.
    Ordered,
    /// It is in the feed.
    InFeed {
        /// Offset of its entry in the feed.
        offset: u64,
        /// Dependencies that had not arrived when waiting for them was over.
        missing: Vec<Dependency>,
    },
}

/// State of an entry at a durable consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerTrace {
    /// Name of the consumer.
    pub consumer: String,
    /// `true` if it has acknowledged the entry; one that it settled in another way counts as well.
    pub acknowledged: bool,
}

impl Reader {
    /// Looks for an operation among the newest of all topics. Reads this many headers at most.
    pub fn trace(&self, id: &Hash, rows_max: usize) -> Result<Option<StoredTrace>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT arrival, header FROM operation ORDER BY arrival DESC LIMIT ?1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query([int(rows_max as u64)])?;
        while let Some(row) = rows.next()? {
            // A damaged header is not an operation with this id.
            let header = row.get_ref(1)?.as_blob().unwrap_or_default();
            if Hash::digest(header) != *id {
                continue;
            }
            let arrival = unsigned(row, 0)?;
            return Ok(stored(&snapshot, arrival)?);
        }
        Ok(None)
    }

    /// The row of a refused operation, with its topic, while it is kept.
    pub fn refused(&self, id: &Hash) -> Result<Option<(Topic, RejectedRow)>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT t.topic, r.id, r.reason, r.peer, r.at
            FROM topic t JOIN rejected r ON r.topic = t.id AND r.hash = ?1 LIMIT 1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let row = statement.query_row([id.as_bytes().as_slice()], |row| {
            let Blob32(topic) = row.get(0)?;
            let peer: Option<Blob32> = row.get(3)?;
            let refused = RejectedRow {
                row: unsigned(row, 1)?,
                id: *id,
                reason: RejectReason::from_code(row.get(2)?),
                peer: peer.map(|Blob32(key)| VerifyingKey::from_bytes_unchecked(key)),
                header: bytes::Bytes::new(),
                at: Timestamp::from_micros(unsigned(row, 4)?),
            };
            Ok((Topic::from_bytes(topic), refused))
        });
        Ok(row.optional()?)
    }
}

/// Reads the rest of the trace of an operation by its arrival number.
fn stored(snapshot: &Connection, arrival: u64) -> rusqlite::Result<Option<StoredTrace>> {
    let sql = "SELECT t.topic, o.header, o.topic, o.log, o.seq, o.offset, l.ordered_seq,
            o.body IS NOT NULL
        FROM operation o JOIN topic t ON t.id = o.topic JOIN log l ON l.id = o.log
        WHERE o.arrival = ?1 AND o.seq >= l.first_seq";
    let mut statement = snapshot.prepare_cached(sql)?;
    let mut rows = statement.query([int(arrival)])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let Blob32(topic) = row.get(0)?;
    let Ok(header) = Header::decode_unverified(row.get::<_, Vec<u8>>(1)?.into()) else {
        return Ok(None);
    };
    let (key, log, seq): (i64, i64, u32) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let offset = row.get::<_, Option<i64>>(5)?;
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    let ordered = optional_seq(row, 6)?;
    let progress = match offset.filter(|offset| *offset > 0) {
        _ if ordered < Some(seq) => {
            let front = ordered.map_or(0, |ordered| ordered.saturating_add(1));
            let missing = missing_before(snapshot, key, log, front)?;
            Progress::Waiting { front, missing }
        }
        Some(offset) => Progress::InFeed {
            offset,
            missing: delivered_without(snapshot, arrival, &header)?,
        },
        None if row.get(7)? => match secret_of(snapshot, key, arrival)? {
            Some(secret) => Progress::Sealed { secret },
            None => Progress::Ordered,
        },
        None => without_body(snapshot, (key, log, seq))?,
    };
    let consumers = match progress {
        Progress::InFeed { offset, .. } => consumers(snapshot, key, offset)?,
        _ => Vec::new(),
    };
    Ok(Some(StoredTrace {
        topic: Topic::from_bytes(topic),
        header,
        arrival,
        progress,
        consumers,
    }))
}

/// Returns the name of the secret that an operation waits for.
fn secret_of(
    snapshot: &Connection,
    topic: i64,
    arrival: u64,
) -> rusqlite::Result<Option<[u8; 32]>> {
    let sql = "SELECT secret FROM parked WHERE topic = ?1 AND arrival = ?2 LIMIT 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    let secret = statement.query_row(params![topic, int(arrival)], |row| {
        row.get(0).map(|Blob32(secret)| secret)
    });
    secret.optional()
}

fn without_body(
    snapshot: &Connection,
    (topic, log, seq): (i64, i64, u32),
) -> rusqlite::Result<Progress> {
    let sql = "SELECT since FROM wanted WHERE topic = ?1 AND log = ?2 AND seq = ?3";
    let mut statement = snapshot.prepare_cached(sql)?;
    let since = statement
        .query_row(params![topic, log, seq], |row| unsigned(row, 0))
        .optional()?;
    Ok(match since {
        Some(since) => Progress::WantsBody {
            since: (since > 0).then(|| Timestamp::from_micros(since)),
        },
        None => Progress::NoMessage,
    })
}

/// Returns dependencies of the operation at `front` that have not passed the order stage.
fn missing_before(
    snapshot: &Connection,
    topic: i64,
    log: i64,
    front: u32,
) -> rusqlite::Result<Vec<Dependency>> {
    let sql = "SELECT header FROM operation WHERE log = ?1 AND seq = ?2";
    let mut statement = snapshot.prepare_cached(sql)?;
    let header = statement
        .query_row(params![log, front], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    let header = header.and_then(|header| Header::decode_unverified(header.into()).ok());
    let Some((header, extensions)) = header.and_then(|header| {
        let extensions = header.node_extensions().ok()?;
        Some((header, extensions))
    }) else {
        return Ok(Vec::new());
    };
    let sql = "SELECT l.ordered_seq FROM log l JOIN author a ON a.id = l.author
        WHERE l.topic = ?1 AND a.key = ?2";
    let mut statement = snapshot.prepare_cached(sql)?;
    let mut missing = Vec::new();
    let own = header.label();
    let others = |dependency: &Dependency| dependency.label() != own;
    for dependency in extensions.deps.into_iter().filter(others) {
        let label = dependency.label();
        let author = label.as_bytes().as_slice();
        let ordered = statement
            .query_row(params![topic, author], |row| optional_seq(row, 0))
            .optional()?;
        if ordered.flatten() < Some(dependency.seq) {
            missing.push(dependency);
        }
    }
    Ok(missing)
}

fn delivered_without(
    snapshot: &Connection,
    arrival: u64,
    header: &Header,
) -> rusqlite::Result<Vec<Dependency>> {
    let sql = "SELECT author, seq, id FROM missing WHERE arrival = ?1 ORDER BY author, seq";
    let mut statement = snapshot.prepare_cached(sql)?;
    let rows = statement.query_map([int(arrival)], |row| {
        let Blob32(id) = row.get(2)?;
        Ok(Dependency {
            author: verifying_key(row, 0)?,
            log: None,
            seq: row.get(1)?,
            id: Hash::from_bytes(id),
        })
    })?;
    let mut missing = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    log_name::restore(&mut missing, header);
    Ok(missing)
}

fn consumers(
    snapshot: &Connection,
    topic: i64,
    offset: u64,
) -> rusqlite::Result<Vec<ConsumerTrace>> {
    let sql = "SELECT c.name, p.prefix >= ?2 OR EXISTS (SELECT 1 FROM ack a
            WHERE a.consumer = p.consumer AND a.topic = p.topic AND a.offset = ?2)
        FROM consumer_topic p JOIN consumer c ON c.id = p.consumer WHERE p.topic = ?1
        UNION ALL SELECT c.name, p.position >= ?2 AND NOT EXISTS (SELECT 1 FROM open o
            WHERE o.consumer = p.consumer AND o.topic = p.topic AND o.offset = ?2)
        FROM place p JOIN named_consumer c ON c.id = p.consumer WHERE p.topic = ?1
        ORDER BY 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    let rows = statement.query_map(params![topic, int(offset)], |row| {
        Ok(ConsumerTrace {
            consumer: row.get(0)?,
            acknowledged: row.get(1)?,
        })
    })?;
    rows.collect()
}
