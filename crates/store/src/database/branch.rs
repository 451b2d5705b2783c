//! Our own logs that a copy of the directory published to as well: where the branches part, and the
//! operations of ours that were given up (`docs/protocol/streams.md#16`).

use bytes::Bytes;
use p2panda_core::{Hash, Header, LogId, LogName, Topic, VerifyingKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::log_name::author_of;
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, optional_seq, seq_or_none, unsigned, verifying_key};
use crate::database::tx::{LogKey, TopicKey, Tx};
use crate::database::writer::{Database, Durability};

/// State of the fork of one of our own logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFork {
    /// The first place at which the branches differ, once it was found.
    pub parted: Option<u32>,
    /// The height that peers are told until then, so that they send the other branch from there on.
    pub told: Option<u32>,
    /// `true` if a peer is known to hold our branch.
    pub held: bool,
}

/// An operation of ours on a branch that was given up, or that stayed behind with an old key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Number of the row, ascending in the order of the log.
    pub row: u64,
    /// Its author: this node, or its key of then.
    pub author: VerifyingKey,
    /// Its place in the log.
    pub seq: u32,
    /// Header bytes as they were signed.
    pub header: Bytes,
    /// The body, unless there is none.
    pub body: Option<Bytes>,
    /// `true` if its content was published again.
    pub again: bool,
}

/// One log of ours that is forked.
struct Forked {
    topic: i64,
    log: i64,
    author: i64,
    first_seq: u32,
    parted: Option<u32>,
    log_id: LogId,
}

impl Forked {
    /// Returns the seq at which our own branch begins; while that is unknown, the first one of the log.
    fn from(&self) -> u32 {
        self.parted.unwrap_or(0).max(self.first_seq)
    }
}

impl Tx<'_> {
    /// Returns the state of the fork of a log, if it is one of ours and forked.
    pub fn own_fork(&self, log: LogKey) -> Result<Option<OwnFork>, StoreError> {
        let sql = "SELECT parted, told, held FROM own_fork WHERE log = ?1";
        let mut statement = self.cached(sql)?;
        let found = statement.query_row([log.0], |row| {
            Ok(OwnFork {
                parted: row.get(0)?,
                told: optional_seq(row, 1)?,
                held: row.get(2)?,
            })
        });
        Ok(found.optional()?)
    }

    /// Notes what is known of the fork of a log of ours.
    pub fn set_own_fork(&mut self, log: LogKey, fork: &OwnFork) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO own_fork VALUES(?1, ?2, ?3, ?4)";
        let told = seq_or_none(fork.told);
        self.cached(sql)?
            .execute(params![log.0, fork.parted, told, fork.held])?;
        Ok(())
    }

    /// Returns `true` if an operation is of a branch that was given up.
    pub fn is_given_up(&self, topic: TopicKey, id: &Hash) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM given_up WHERE topic = ?1 AND hash = ?2";
        let id = id.as_bytes().as_slice();
        Ok(self.cached(sql)?.exists(params![topic.0, id])?)
    }

    /// An operation that was given up is in the log again: it was of both branches.
    pub fn took_back(&mut self, topic: TopicKey, id: &Hash) -> Result<(), StoreError> {
        let sql = "DELETE FROM given_up WHERE topic = ?1 AND hash = ?2";
        let id = id.as_bytes().as_slice();
        self.cached(sql)?.execute(params![topic.0, id])?;
        Ok(())
    }

    /// The height that the log of an author must reach before it is published to; none if it is not
    /// pulled.
    pub fn pulled_until(
        &self,
        topic: TopicKey,
        author: &VerifyingKey,
    ) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT until FROM pulled WHERE topic = ?1 AND author = ?2";
        let of = params![topic.0, author.as_bytes().as_slice()];
        Ok(self
            .cached(sql)?
            .query_row(of, |row| row.get(0))
            .optional()?)
    }

    /// The log of an author is back.
    pub fn pulled(&mut self, topic: TopicKey, author: &VerifyingKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM pulled WHERE topic = ?1 AND author = ?2";
        let of = params![topic.0, author.as_bytes().as_slice()];
        self.cached(sql)?.execute(of)?;
        Ok(())
    }

    /// The next bodies of a topic that were given up and are not published again: a number of the row,
    /// the name of the log if it has one, and the body. None follows once there are `bytes_max` bytes.
    pub fn bodies_given_up(
        &self,
        topic: TopicKey,
        rows_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(u64, Option<LogName>, Bytes)>, StoreError> {
        let sql = "SELECT g.id, g.body, n.name FROM given_up g
                LEFT JOIN author a ON a.key = g.author LEFT JOIN named_log n ON n.label = a.id
            WHERE g.topic = ?1 AND g.again = 0 AND g.body IS NOT NULL ORDER BY g.id LIMIT ?2";
        let mut statement = self.cached(sql)?;
        let mut rows = statement.query(params![topic.0, int(rows_max as u64)])?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(1)?;
            bytes += body.len();
            let name: Option<Blob32> = row.get(2)?;
            let name = name.map(|Blob32(name)| LogName::from_bytes(name));
            found.push((unsigned(row, 0)?, name, Bytes::from(body)));
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(found)
    }

    /// The body of a row is published again.
    pub fn published_again(&mut self, row: u64) -> Result<(), StoreError> {
        let sql = "UPDATE given_up SET again = 1 WHERE id = ?1";
        self.cached(sql)?.execute([int(row)])?;
        Ok(())
    }

    /// Puts the operations of a log from `from` on aside.
    fn set_aside(&mut self, forked: &Forked) -> Result<(), StoreError> {
        let sql =
            "SELECT seq, header, body FROM operation WHERE log = ?1 AND seq >= ?2 ORDER BY seq";
        let add = "INSERT OR IGNORE INTO given_up(topic, author, seq, hash, header, body, again)
            VALUES(?1, (SELECT key FROM author WHERE id = ?2), ?3, ?4, ?5, ?6, 0)";
        let mut statement = self.cached(sql)?;
        let mut add = self.cached(add)?;
        let mut rows = statement.query(params![forked.log, forked.from()])?;
        while let Some(row) = rows.next()? {
            let seq: u32 = row.get(0)?;
            let header = Bytes::copy_from_slice(row.get_ref(1)?.as_blob().unwrap_or_default());
            let body: Option<Vec<u8>> = row.get(2)?;
            // An unreadable operation cannot be published again.
            let Ok(known) = Header::decode_unverified(header.clone()) else {
                continue;
            };
            let id = known.id();
            let hash = id.as_bytes().as_slice();
            add.execute(params![
                forked.topic,
                forked.author,
                seq,
                hash,
                header.as_ref(),
                body
            ])?;
        }
        Ok(())
    }

    /// Takes the operations of a log from `from` on out of it.
    fn cut(&mut self, forked: &Forked) -> Result<(), StoreError> {
        let (log, from) = (forked.log, forked.from());
        self.leave_views(LogKey(log), (from, u32::MAX), true)?;
        let missing = "DELETE FROM missing WHERE arrival IN
            (SELECT arrival FROM operation WHERE log = ?1 AND seq >= ?2)";
        self.cached(missing)?.execute(params![log, from])?;
        self.forget_moves(LogKey(log), (from, u32::MAX))?;
        let wanted = "DELETE FROM wanted WHERE topic = ?1 AND log = ?2 AND seq >= ?3";
        self.cached(wanted)?
            .execute(params![forked.topic, log, from])?;
        for table in ["dropped", "keyed_publish"] {
            let sql = format!("DELETE FROM {table} WHERE log = ?1 AND seq >= ?2");
            self.cached(&sql)?.execute(params![log, from])?;
        }
        let bytes = "SELECT bytes_before FROM operation WHERE log = ?1 AND seq = ?2";
        let bytes: Option<i64> = self
            .cached(bytes)?
            .query_row(params![log, from], |row| row.get(0))
            .optional()?;
        let rest = match from > forked.first_seq {
            true => self.id_at(log, from - 1)?,
            false => None,
        };
        let Some(head_id) = rest else {
            return self.forget_log(log);
        };
        let operations = "DELETE FROM operation WHERE log = ?1 AND seq >= ?2";
        self.cached(operations)?.execute(params![log, from])?;
        let cut = "UPDATE log SET head_seq = ?2, head_id = ?3, bytes = coalesce(?4, bytes),
            ordered_seq = min(ordered_seq, ?2) WHERE id = ?1";
        let id = head_id.as_bytes().as_slice();
        self.cached(cut)?
            .execute(params![log, from - 1, id, bytes])?;
        Ok(())
    }

    /// Returns the height of the other branch, according to the evidence. Evidence about a branch
    /// that was given up does not count.
    fn seen_elsewhere(&self, forked: &Forked) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT second FROM fork WHERE topic = ?1 AND log = ?2";
        let mut statement = self.cached(sql)?;
        let mut rows = statement.query(params![forked.topic, forked.log])?;
        let mut seen = None;
        while let Some(row) = rows.next()? {
            let second = Bytes::from(row.get::<_, Vec<u8>>(0)?);
            let Ok(second) = Header::decode_unverified(second) else {
                continue;
            };
            if !self.is_given_up(TopicKey(forked.topic), &second.id())? {
                seen = seen.max(Some(second.seq()));
            }
        }
        Ok(seen)
    }

    fn id_at(&self, log: i64, seq: u32) -> Result<Option<Hash>, StoreError> {
        let stored = self.operation(LogKey(log), seq)?;
        let header = stored.and_then(|stored| Header::decode_unverified(stored.header).ok());
        Ok(header.map(|header| header.id()))
    }

    /// Nothing of a log is left.
    fn forget_log(&mut self, log: i64) -> Result<(), StoreError> {
        // Its bytes stop counting as kept: the trigger follows changes of the row.
        self.cached("UPDATE log SET bytes = 0, pruned_bytes = 0 WHERE id = ?1")?
            .execute([log])?;
        for table in ["operation", "dropped", "garbage", "fork", "keyed_publish"] {
            let sql = format!("DELETE FROM {table} WHERE log = ?1");
            self.cached(&sql)?.execute([log])?;
        }
        self.cached(
            "DELETE FROM wanted WHERE topic = (SELECT topic FROM log WHERE id = ?1) AND log = ?1",
        )?
        .execute([log])?;
        self.cached("DELETE FROM log WHERE id = ?1")?
            .execute([log])?;
        Ok(())
    }
}

impl Database {
    /// Returns `true` if a log of an author was closed because a copy published to it, or is
    /// pulled since.
    pub(crate) fn is_forked(&self, author: &VerifyingKey) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM log l JOIN author a ON a.id = l.author
                LEFT JOIN named_log n ON n.label = a.id
                WHERE coalesce(n.author, a.key) = ?1 AND l.stopped = 1)
            OR EXISTS (SELECT 1 FROM pulled p LEFT JOIN author a ON a.key = p.author
                LEFT JOIN named_log n ON n.label = a.id
                WHERE coalesce(n.author, p.author) = ?1)";
        let key = author.as_bytes().as_slice();
        Ok(self.connection.query_row(sql, [key], |row| row.get(0))?)
    }

    /// Keeps what only we have of the closed logs of an author, so that it can be published again with
    /// another key. The logs stay as they are, for reading.
    pub(crate) fn leave_branches(&mut self, author: &VerifyingKey) -> Result<(), StoreError> {
        let mut tx = self.begin(Durability::Full)?;
        for forked in forked_logs(&tx, author, false)? {
            tx.set_aside(&forked)?;
            // Nobody is told anything of it but what is there.
            let sql = "UPDATE own_fork SET parted = coalesce(parted, ?2) WHERE log = ?1";
            tx.cached(sql)?
                .execute(params![forked.log, forked.from()])?;
        }
        tx.commit()
    }

    /// Gives up our branch of each closed log of which no peer is known to hold it, so that the other
    /// branch can be pulled. Returns the logs.
    pub(crate) fn give_up_branches(
        &mut self,
        author: &VerifyingKey,
    ) -> Result<Vec<LogId>, StoreError> {
        let mut tx = self.begin(Durability::Full)?;
        let mut logs = Vec::new();
        for forked in forked_logs(&tx, author, true)? {
            tx.set_aside(&forked)?;
            let until = tx.seen_elsewhere(&forked)?.unwrap_or(forked.from());
            let pulled = "INSERT OR REPLACE INTO pulled
                VALUES(?1, (SELECT key FROM author WHERE id = ?2), ?3)";
            tx.cached(pulled)?
                .execute(params![forked.topic, forked.author, until])?;
            tx.cached("DELETE FROM own_fork WHERE log = ?1")?
                .execute([forked.log])?;
            tx.cut(&forked)?;
            logs.push(forked.log_id);
        }
        tx.commit()?;
        Ok(logs)
    }
}

/// The closed logs of an author.
fn forked_logs(
    tx: &Tx<'_>,
    author: &VerifyingKey,
    but_held: bool,
) -> Result<Vec<Forked>, StoreError> {
    let sql = "SELECT l.topic, l.id, l.author, l.first_seq, o.parted, t.topic, n.log_id
        FROM author a JOIN log l ON l.author = a.id JOIN topic t ON t.id = l.topic
            LEFT JOIN named_log n ON n.label = a.id
            LEFT JOIN own_fork o ON o.log = l.id
            LEFT JOIN pulled p ON p.topic = l.topic AND p.author = a.key
        WHERE coalesce(n.author, a.key) = ?1 AND l.stopped = 1 AND (o.log IS NOT NULL OR p.topic IS NULL)
            AND NOT (?2 AND coalesce(o.held, 0))
        ORDER BY l.id";
    let mut statement = tx.cached(sql)?;
    let of = params![author.as_bytes().as_slice(), but_held];
    let rows = statement.query_map(of, |row| {
        let Blob32(topic) = row.get(5)?;
        let named: Option<Blob32> = row.get(6)?;
        let named = named.map(|Blob32(id)| LogId::from_bytes(id));
        Ok(Forked {
            topic: row.get(0)?,
            log: row.get(1)?,
            author: row.get(2)?,
            first_seq: row.get(3)?,
            parted: row.get(4)?,
            log_id: named.unwrap_or_else(|| Topic::from_bytes(topic).log_id()),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the heights of our own logs that peers are told while the branching point is unknown.
pub(crate) fn told_instead(
    snapshot: &Connection,
    topic: i64,
) -> rusqlite::Result<Vec<(VerifyingKey, Option<u32>)>> {
    // In this order: the first table is empty or as good as that.
    let sql = "SELECT a.key, o.told FROM own_fork o CROSS JOIN log l ON l.id = o.log
            CROSS JOIN author a ON a.id = l.author
        WHERE l.topic = ?1 AND o.parted IS NULL";
    let mut statement = snapshot.prepare_cached(sql)?;
    let told = |row: &rusqlite::Row<'_>| Ok((verifying_key(row, 0)?, optional_seq(row, 1)?));
    statement.query_map([topic], told)?.collect()
}

/// Returns `true` if an own log of a topic is closed.
pub(crate) fn has_closed_own_log(snapshot: &Connection, topic: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM own_fork o CROSS JOIN log l ON l.id = o.log
        WHERE l.topic = ?1 AND l.stopped = 1";
    snapshot.prepare_cached(sql)?.exists([topic])
}

impl Reader {
    /// Returns the state of the fork of an author's log in a topic, if it is one of ours and
    /// closed.
    pub fn own_fork(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
    ) -> Result<Option<OwnFork>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(None);
        };
        let sql = "SELECT o.parted, o.told, o.held FROM author a
            JOIN log l ON l.topic = ?1 AND l.author = a.id JOIN own_fork o ON o.log = l.id
            WHERE a.key = ?2 AND l.stopped = 1";
        let mut statement = snapshot.prepare_cached(sql)?;
        let of = params![key, author.as_bytes().as_slice()];
        let found = statement.query_row(of, |row| {
            Ok(OwnFork {
                parted: row.get(0)?,
                told: optional_seq(row, 1)?,
                held: row.get(2)?,
            })
        });
        Ok(found.optional()?)
    }

    /// The same for all logs of an author in a topic, with the names of those that have one.
    pub fn own_forks(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
    ) -> Result<Vec<(Option<LogName>, OwnFork)>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let sql = "SELECT o.parted, o.told, o.held, n.name FROM own_fork o
            CROSS JOIN log l ON l.id = o.log JOIN author a ON a.id = l.author
            LEFT JOIN named_log n ON n.label = a.id
            WHERE l.topic = ?1 AND coalesce(n.author, a.key) = ?2 AND l.stopped = 1
            ORDER BY n.name";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map(params![key, author.as_bytes().as_slice()], |row| {
            let name: Option<Blob32> = row.get(3)?;
            let fork = OwnFork {
                parted: row.get(0)?,
                told: optional_seq(row, 1)?,
                held: row.get(2)?,
            };
            Ok((name.map(|Blob32(name)| LogName::from_bytes(name)), fork))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Operations of ours in a topic that were given up, behind a row, at most that many.
    pub fn given_up(
        &self,
        topic: &Topic,
        after: u64,
        rows_max: usize,
    ) -> Result<Vec<GivenUp>, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Vec::new());
        };
        let sql = "SELECT id, author, seq, header, body, again FROM given_up
            WHERE topic = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
        let mut statement = snapshot.prepare_cached(sql)?;
        let of = params![key, int(after), int(rows_max as u64)];
        let rows = statement.query_map(of, |row| {
            Ok(GivenUp {
                row: unsigned(row, 0)?,
                author: author_of(&snapshot, verifying_key(row, 1)?)?,
                seq: row.get(2)?,
                header: Bytes::from(row.get::<_, Vec<u8>>(3)?),
                body: row.get::<_, Option<Vec<u8>>>(4)?.map(Bytes::from),
                again: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The topics with bodies that were given up and are not published again.
    pub fn topics_given_up(&self) -> Result<Vec<Topic>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT topic FROM topic WHERE id IN
            (SELECT topic FROM given_up WHERE again = 0 AND body IS NOT NULL)";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            row.get(0).map(|Blob32(topic)| Topic::from_bytes(topic))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
