use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{Hash, LogId, Topic, VerifyingKey};
use rusqlite::{OptionalExtension, Row, ToSql, params};

use crate::database::content::Ready;
use crate::database::error::StoreError;
use crate::database::large;
use crate::database::meta::{Counters, save_counters};
use crate::database::sql::{Blob32, int, optional_seq, seq_or_none, unsigned, verifying_key};
use crate::database::writer::{Database, Durability};

/// The row of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicKey(pub(crate) i64);

/// The row of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogKey(pub(crate) i64);

/// The row of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerKey(pub(crate) i64);

/// The row of a named consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedKey(pub(crate) i64);

/// State of one log next to its operations.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// Its row.
    pub key: LogKey,
    /// Oldest sequence number stored; what lies below was pruned.
    pub first_seq: u32,
    /// Newest operation stored.
    pub head: Head,
    /// Highest sequence number that passed the order stage.
    pub ordered_seq: Option<u32>,
    /// Order number of that, 0: none.
    pub ordered_at: u64,
    /// Header and payload bytes of the whole log, those of pruned operations included.
    pub bytes: u64,
    /// Header and payload bytes of the pruned operations.
    pub pruned_bytes: u64,
    /// Nothing is published to it any more, because it was found forked.
    pub stopped: bool,
}

/// An operation to store.
#[derive(Clone, Copy, Debug)]
pub struct NewOperation<'a> {
    /// Its arrival number, from [`Tx::next_arrival`].
    pub arrival: u64,
    /// Topic in which it is stored.
    pub topic: TopicKey,
    /// Log that it is appended to.
    pub log: LogKey,
    /// Its sequence number.
    pub seq: u32,
    /// Its place in the feed, from [`Tx::next_offset`], if it has one by now.
    pub offset: Option<u64>,
    /// Content that is shown there.
    pub ready: &'a Ready,
    /// [`Log::bytes`] before this operation.
    pub bytes_before: u64,
    /// The header as received.
    pub header: &'a [u8],
    /// The body, if it has come.
    pub body: Option<&'a [u8]>,
}

/// A stored operation without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredOperation {
    /// Its arrival number.
    pub arrival: u64,
    /// The header as received.
    pub header: Bytes,
    /// `true` if its body is stored.
    pub has_body: bool,
    /// Its place in the feed, if it has one.
    pub offset: Option<u64>,
    /// [`Log::bytes`] before this operation.
    pub bytes_before: u64,
}

/// The newest ordered operation of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecentHead {
    /// Author of the log.
    pub author: VerifyingKey,
    /// The id of the log, if it has a name.
    pub log_id: Option<LogId>,
    /// Row of the log.
    pub log: LogKey,
    /// Sequence number of the operation.
    pub seq: u32,
    /// Its id, if it is also the newest stored one.
    pub id: Option<Hash>,
}

/// A write transaction. It sees its own writes; nobody else does before [`Tx::commit`].
pub struct Tx<'s> {
    database: &'s mut Database,
    counters: Counters,
    /// There are pruned operations that are still to be deleted.
    pub(crate) garbage: bool,
    open: bool,
}

/// Of heads that were ordered after a number: those of our own logs are left out.
macro_rules! recent_heads {
    ($implied:literal) => {
        concat!(
            "SELECT coalesce(n.author, a.key), l.id, l.ordered_seq, l.head_seq, l.head_id, n.log_id
            FROM log l JOIN author a ON a.id = l.author
                LEFT JOIN named_log n ON n.label = l.author
            WHERE l.topic = ?1 AND l.ordered_at > ",
            $implied,
            " AND coalesce(n.author, a.key) <> ?2 ORDER BY l.ordered_at DESC LIMIT ?3"
        )
    };
}

impl Database {
    /// Begins the next transaction. Dropping it rolls everything back.
    pub fn begin(&mut self, durability: Durability) -> Result<Tx<'_>, StoreError> {
        self.faults.begin()?;
        self.set_durability(durability)?;
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")?
            .execute([])?;
        let (counters, garbage) = (self.counters, self.garbage);
        Ok(Tx {
            database: self,
            counters,
            garbage,
            open: true,
        })
    }
}

impl Tx<'_> {
    /// Makes everything in the transaction visible, and durable as far as was asked for.
    ///
    /// # Errors
    ///
    /// Nothing of it is stored then.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.database.presence.check()?;
        let mut reserved = self.database.reserved;
        if self.counters.exceed(&reserved) {
            reserved = self.counters.ahead();
            save_counters(&self.database.connection, reserved)?;
        }
        self.cached("COMMIT")?.execute([])?;
        self.open = false;
        self.database.counters = self.counters;
        self.database.reserved = reserved;
        self.database.garbage = self.garbage;
        self.database.watch_journal();
        Ok(())
    }

    /// The next arrival number, above all that were ever handed out.
    pub fn next_arrival(&mut self) -> u64 {
        self.counters.arrival += 1;
        self.counters.arrival
    }

    /// The next feed offset, above all that were ever handed out.
    pub fn next_offset(&mut self) -> u64 {
        self.counters.offset += 1;
        self.counters.offset
    }

    /// The next order number.
    pub fn next_order(&mut self) -> u64 {
        self.counters.order += 1;
        self.counters.order
    }

    /// The last order number.
    pub fn last_order(&self) -> u64 {
        self.counters.order
    }

    /// The row of a topic, made if there is none.
    pub fn topic(&mut self, topic: &Topic) -> Result<TopicKey, StoreError> {
        let bytes = topic.as_bytes().as_slice();
        self.row_of(
            "SELECT id FROM topic WHERE topic = ?1",
            "INSERT INTO topic(topic) VALUES(?1)",
            &bytes,
        )
        .map(TopicKey)
    }

    /// Sets whether the node is interested in a topic from its open on, from now on.
    pub fn keep_topic(&mut self, topic: &Topic, keep: bool) -> Result<(), StoreError> {
        let sql = match keep {
            true => "INSERT OR IGNORE INTO kept_topic VALUES(?1)",
            false => "DELETE FROM kept_topic WHERE topic = ?1",
        };
        self.cached(sql)?.execute([topic.as_bytes().as_slice()])?;
        Ok(())
    }

    /// All topics with operations that wait for their order.
    pub fn waiting_topics(&self) -> Result<Vec<Topic>, StoreError> {
        let sql = "SELECT topic FROM topic WHERE id IN
            (SELECT DISTINCT topic FROM log WHERE ordered_seq < head_seq)";
        self.rows(sql, [], |row| {
            row.get(0).map(|Blob32(topic)| Topic::from_bytes(topic))
        })
    }

    /// Labels of the logs of the topic that hold operations which wait for their order.
    pub fn waiting_logs(&self, topic: TopicKey) -> Result<Vec<VerifyingKey>, StoreError> {
        let sql = "SELECT a.key FROM log l JOIN author a ON a.id = l.author
            WHERE l.topic = ?1 AND l.ordered_seq < l.head_seq ORDER BY l.id";
        self.rows(sql, [topic.0], |row| verifying_key(row, 0))
    }

    /// A log of a topic, by its label.
    pub fn log(&self, topic: TopicKey, author: &VerifyingKey) -> Result<Option<Log>, StoreError> {
        let sql = "SELECT id, first_seq, head_seq, head_id, ordered_seq, ordered_at, bytes,
                pruned_bytes, stopped
            FROM log WHERE topic = ?1 AND author = (SELECT id FROM author WHERE key = ?2)";
        let parameters = params![topic.0, author.as_bytes().as_slice()];
        Ok(self.cached(sql)?.query_row(parameters, log_of).optional()?)
    }

    /// Makes the row of a log whose first operation is about to be stored.
    pub fn create_log(
        &mut self,
        topic: TopicKey,
        label: &VerifyingKey,
        first: Head,
    ) -> Result<Log, StoreError> {
        let author = self.author(label)?;
        let sql = "INSERT INTO log(topic, author, first_seq, head_seq, head_id, ordered_seq,
                ordered_at, bytes, pruned_bytes, stopped)
            VALUES(?1, ?2, ?3, ?3, ?4, ?5, 0, 0, 0, 0)";
        let ordered_seq = first.seq.checked_sub(1);
        let id = first.id.as_bytes().as_slice();
        let ordered = seq_or_none(ordered_seq);
        self.cached(sql)?
            .execute(params![topic.0, author, first.seq, id, ordered])?;
        let key = LogKey(self.database.connection.last_insert_rowid());
        Ok(Log {
            key,
            first_seq: first.seq,
            head: first,
            ordered_seq,
            ordered_at: 0,
            bytes: 0,
            pruned_bytes: 0,
            stopped: false,
        })
    }

    /// The row of an author, or of a label, made if there is none.
    pub(crate) fn author(&self, label: &VerifyingKey) -> Result<i64, StoreError> {
        let bytes = label.as_bytes().as_slice();
        self.row_of(
            "SELECT id FROM author WHERE key = ?1",
            "INSERT INTO author(key) VALUES(?1)",
            &bytes,
        )
    }

    /// Writes everything but the operations of a log.
    pub fn save_log(&mut self, log: &Log) -> Result<(), StoreError> {
        let sql = "UPDATE log SET first_seq = ?2, head_seq = ?3, head_id = ?4, ordered_seq = ?5,
            ordered_at = ?6, bytes = ?7, pruned_bytes = ?8, stopped = ?9 WHERE id = ?1";
        self.cached(sql)?.execute(params![
            log.key.0,
            log.first_seq,
            log.head.seq,
            log.head.id.as_bytes().as_slice(),
            seq_or_none(log.ordered_seq),
            int(log.ordered_at),
            int(log.bytes),
            int(log.pruned_bytes),
            log.stopped,
        ])?;
        Ok(())
    }

    /// Stores an operation.
    pub fn add_operation(&mut self, operation: &NewOperation<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO operation(arrival, topic, log, seq, offset, bytes_before, header,
            body, content, opened, opened_by) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let plaintext = operation.ready.plaintext();
        let opened = self.database.sealing.stored(operation.header, plaintext);
        self.cached(sql)?.execute(params![
            int(operation.arrival),
            operation.topic.0,
            operation.log.0,
            operation.seq,
            operation.offset.map(int),
            int(operation.bytes_before),
            operation.header,
            large::placed(operation.body),
            operation.ready.code(),
            opened.bytes,
            opened.code,
        ])?;
        large::write(&self.database.connection, operation.arrival, operation.body)?;
        let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
        let body_bytes = bytes(operation.body) + bytes(plaintext);
        self.written(operation.header.len() + body_bytes);
        Ok(())
    }

    /// Counts bytes that went into the write-ahead log.
    pub(crate) fn written(&mut self, bytes: usize) {
        self.database.written_bytes += bytes as u64;
    }

    /// The stored operation of a log at a sequence number.
    pub fn operation(&self, log: LogKey, seq: u32) -> Result<Option<StoredOperation>, StoreError> {
        if self.is_garbage(log, seq)? {
            return Ok(None);
        }
        let sql = "SELECT arrival, header, body IS NOT NULL, offset, bytes_before FROM operation
            WHERE log = ?1 AND seq = ?2";
        let row = self.cached(sql)?.query_row(params![log.0, seq], |row| {
            // A header that is not even bytes is as unreadable as an empty one.
            let header = row.get_ref(1)?.as_blob().unwrap_or_default();
            Ok(StoredOperation {
                arrival: unsigned(row, 0)?,
                header: Bytes::copy_from_slice(header),
                has_body: row.get(2)?,
                offset: row
                    .get::<_, Option<i64>>(3)?
                    .and_then(|offset| offset.try_into().ok()),
                bytes_before: unsigned(row, 4)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The most recently ordered heads of all logs of a topic but our own, ordered after what the
    /// newest operation of our log with this label implies; newest first.
    pub fn recent_heads(
        &self,
        topic: TopicKey,
        own: &VerifyingKey,
        label: &VerifyingKey,
        limit: usize,
    ) -> Result<Vec<RecentHead>, StoreError> {
        let sql = match own == label {
            true => recent_heads!("(SELECT implied FROM topic WHERE id = ?1)"),
            false => recent_heads!(
                "coalesce((SELECT implied FROM named_log
                    WHERE label = (SELECT id FROM author WHERE key = ?4)), 0)"
            ),
        };
        let (own_bytes, limit) = (own.as_bytes().as_slice(), int(limit as u64));
        let label_bytes = (own != label).then(|| label.as_bytes().as_slice());
        let mut parameters: Vec<&dyn ToSql> = vec![&topic.0, &own_bytes, &limit];
        parameters.extend(label_bytes.as_ref().map(|label| label as &dyn ToSql));
        let heads = self.rows(sql, parameters.as_slice(), |row| {
            let ordered: Option<u32> = optional_seq(row, 2)?;
            let head: u32 = row.get(3)?;
            let Blob32(id) = row.get(4)?;
            let Some(seq) = ordered else { return Ok(None) };
            let id = (seq == head).then(|| Hash::from_bytes(id));
            let named: Option<Blob32> = row.get(5)?;
            Ok(Some(RecentHead {
                author: verifying_key(row, 0)?,
                log_id: named.map(|Blob32(id)| LogId::from_bytes(id)),
                log: LogKey(row.get(1)?),
                seq,
                id,
            }))
        })?;
        Ok(heads.into_iter().flatten().collect())
    }

    /// Our newest operation in the topic implies everything ordered so far.
    pub fn set_implied(&mut self, topic: TopicKey, order: u64) -> Result<(), StoreError> {
        let sql = "UPDATE topic SET implied = ?2 WHERE id = ?1";
        self.cached(sql)?.execute(params![topic.0, int(order)])?;
        Ok(())
    }

    /// Remembers a record of the address book.
    pub fn put_address(&mut self, node: &VerifyingKey, record: &[u8]) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO address VALUES(?1, ?2)";
        self.cached(sql)?
            .execute(params![node.as_bytes().as_slice(), record])?;
        Ok(())
    }

    /// Forgets a record of the address book.
    pub fn remove_address(&mut self, node: &VerifyingKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM address WHERE node = ?1";
        self.cached(sql)?.execute([node.as_bytes().as_slice()])?;
        Ok(())
    }

    /// Every offset of before this open is below it, if the process before was not ended cleanly; else 0.
    pub fn torn_until(&self) -> u64 {
        self.database.torn_until
    }

    pub(crate) fn database(&self) -> &Database {
        self.database
    }

    pub(crate) fn cached(
        &self,
        sql: &str,
    ) -> Result<rusqlite::CachedStatement<'_>, rusqlite::Error> {
        self.database.faults.statement()?;
        self.database.connection.prepare_cached(sql)
    }

    /// The id of a row, made if there is none.
    pub(crate) fn row_of(
        &self,
        select: &str,
        insert: &str,
        value: &dyn ToSql,
    ) -> Result<i64, StoreError> {
        let found = self
            .cached(select)?
            .query_row([value], |row| row.get(0))
            .optional()?;
        if let Some(id) = found {
            return Ok(id);
        }
        self.cached(insert)?.execute([value])?;
        Ok(self.database.connection.last_insert_rowid())
    }

    /// Returns `true` if there are views.
    pub(crate) fn has_views(&self) -> bool {
        self.database.has_views
    }

    /// Returns `true` if what a log has at a place was pruned.
    pub(crate) fn is_garbage(&self, log: LogKey, seq: u32) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM garbage WHERE log = ?1 AND below > ?2";
        Ok(self.garbage && self.cached(sql)?.exists(params![log.0, seq])?)
    }

    pub(crate) fn rows<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.cached(sql)?;
        let rows = statement.query_map(parameters, read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.open && !self.database.connection.is_autocommit() {
            // If even this fails, the next BEGIN does and says so.
            let _ = self.database.connection.execute_batch("ROLLBACK");
        }
    }
}

fn log_of(row: &Row<'_>) -> rusqlite::Result<Log> {
    let Blob32(id) = row.get(3)?;
    Ok(Log {
        key: LogKey(row.get(0)?),
        first_seq: row.get(1)?,
        head: Head {
            seq: row.get(2)?,
            id: Hash::from_bytes(id),
        },
        ordered_seq: optional_seq(row, 4)?,
        ordered_at: unsigned(row, 5)?,
        bytes: unsigned(row, 6)?,
        pruned_bytes: unsigned(row, 7)?,
        stopped: row.get(8)?,
    })
}
