use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use p2panda_core::{Absent, Entry, LogRange, Page, Read, Timestamp, Topic, VerifyingKey, limits};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};

use crate::database::error::StoreError;
use crate::database::large::LargeBodies;
use crate::database::neighbour::has_garbage;
use crate::database::obstacle;
use crate::database::page::{COLUMN_BODY, Fill, PageLimits, RawRow, body_column};
use crate::database::sealing::Sealing;
use crate::database::sql::{Blob32, int, keep_plans, seq_or_none, unsigned, verifying_key};

/// Opens readers of one database.
#[derive(Clone, Debug)]
pub struct Readers {
    path: PathBuf,
    /// Nobody writes it, so that SQLite needs no file next to it.
    frozen: bool,
    large: LargeBodies,
    sealing: Sealing,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Readers {
        Readers {
            path,
            frozen: false,
            large: LargeBodies::default(),
            sealing: Sealing::default(),
        }
    }

    pub(crate) fn with(self, sealing: Sealing) -> Readers {
        Readers { sealing, ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Of a database that nobody can write, and whose write-ahead log is empty.
    pub(crate) fn frozen(self) -> Readers {
        Readers {
            frozen: true,
            ..self
        }
    }

    /// Opens a reader with a connection of its own.
    pub fn open(&self) -> Result<Reader, StoreError> {
        let opened = self.try_open();
        opened.map_err(|error| obstacle::named(error, &self.path, true))
    }

    fn try_open(&self) -> Result<Reader, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.frozen {
            false => Connection::open_with_flags(&self.path, flags)?,
            true => {
                let flags = flags | OpenFlags::SQLITE_OPEN_URI;
                Connection::open_with_flags(immutable(&self.path), flags)?
            }
        };
        connection.busy_timeout(limits::READER_BUSY_WAIT)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "cache_size", -512)?;
        keep_plans(&connection)?;
        Ok(Reader {
            connection,
            large: self.large.clone(),
            sealing: self.sealing.clone(),
            authors: RefCell::default(),
        })
    }
}

/// As a URI that says that nobody writes the file.
fn immutable(path: &Path) -> String {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri + "?immutable=1"
}

/// Reads what is committed, never waits for the writer, and holds a snapshot only while one of
/// its methods runs. For one thread at a time.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) large: LargeBodies,
    /// Opens plaintext that is sealed.
    pub(crate) sealing: Sealing,
    /// Authors of the logs of the last pages. The row of a log never changes its author.
    authors: RefCell<HashMap<i64, VerifyingKey>>,
}

impl Reader {
    /// Checks the whole database with SQLite. Returns `None`, or the first damage.
    pub fn check(&self) -> Result<Option<String>, StoreError> {
        let sql = "PRAGMA quick_check(1)";
        let found: String = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok((found != "ok").then_some(found))
    }

    /// Returns the number of the source that opens the sealed rows of the newest identity, if any
    /// (`docs/protocol/at-rest.md#2`).
    pub fn sealed_by(&self) -> Result<Option<u8>, StoreError> {
        let sql = "SELECT substr(wrapped, 2, 1) FROM sealed_key ORDER BY id DESC LIMIT 1";
        let found = self.connection.query_row(sql, [], |row| row.get(0));
        let found: Option<Vec<u8>> = found.optional()?;
        Ok(found.and_then(|source| source.first().copied()))
    }

    /// The version of the schema.
    pub(crate) fn schema(&self) -> Result<u32, StoreError> {
        let version = "PRAGMA user_version";
        Ok(self.connection.query_row(version, [], |row| row.get(0))?)
    }

    /// The topics of which something is stored, and those that this node keeps, at most that many,
    /// behind `after`.
    pub fn topics(&self, after: Option<&Topic>, rows_max: usize) -> Result<Vec<Topic>, StoreError> {
        let sql = "SELECT topic FROM topic WHERE topic > ?1
            UNION SELECT topic FROM kept_topic WHERE topic > ?1 ORDER BY topic LIMIT ?2";
        self.topics_by(sql, after, rows_max)
    }

    /// The topics that this node keeps, whether or not anybody reads them, at most that many,
    /// behind `after`.
    pub fn kept_topics(
        &self,
        after: Option<&Topic>,
        rows_max: usize,
    ) -> Result<Vec<Topic>, StoreError> {
        let sql = "SELECT topic FROM kept_topic WHERE topic > ?1 ORDER BY topic LIMIT ?2";
        self.topics_by(sql, after, rows_max)
    }

    fn topics_by(
        &self,
        sql: &str,
        after: Option<&Topic>,
        rows_max: usize,
    ) -> Result<Vec<Topic>, StoreError> {
        let snapshot = self.snapshot()?;
        let mut statement = snapshot.prepare_cached(sql)?;
        let after = after.map_or(&[][..], |topic| topic.as_bytes().as_slice());
        let rows = statement.query_map(params![after, int(rows_max as u64)], |row| {
            row.get(0).map(|Blob32(topic)| Topic::from_bytes(topic))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The last arrival number in a topic, 0: none.
    pub fn last_arrival(&self, topic: &Topic) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        match topic_key(&snapshot, topic)? {
            Some(key) => Ok(last_arrival(&snapshot, key)?),
            None => Ok(0),
        }
    }

    /// The page that a session asks for, with at most that many rows. The time decides whose body
    /// is overdue.
    pub fn page(
        &self,
        topic: &Topic,
        read: &Read,
        rows_max: usize,
        now: Timestamp,
    ) -> Result<Page, StoreError> {
        let limits = |bytes| PageLimits {
            rows: rows_max,
            bytes,
        };
        let mut page = match read {
            Read::Logs { ranges, bytes_max } => {
                self.logs_page(topic, ranges, limits(*bytes_max))?
            }
            Read::Arrivals { after, bytes_max } => {
                self.arrivals_page(topic, *after, limits(*bytes_max))?
            }
        };
        for entry in &mut page.entries {
            entry.absent = entry.absent.map(|absent| absent.at(now));
        }
        Ok(page)
    }

    /// Operations of some logs, one log after the other: short logs share a page.
    pub fn logs_page(
        &self,
        topic: &Topic,
        ranges: &[LogRange],
        limits: PageLimits,
    ) -> Result<Page, StoreError> {
        let snapshot = self.snapshot()?;
        let (mut page, mut fill) = (Page::default(), Fill::new(limits));
        let Some(key) = topic_key(&snapshot, topic)? else {
            page.ranges = ranges.len();
            return Ok(page);
        };
        let sql = concat!(
            "SELECT o.arrival, o.seq, o.header, ",
            body_column!(),
            ", o.log, 0, 0
            FROM log l CROSS JOIN operation o ON o.log = l.id
            WHERE l.topic = ?1 AND l.author = (SELECT id FROM author WHERE key = ?2)
            AND o.seq > max(?3, l.first_seq - 1) AND o.seq <= ?4 ORDER BY o.seq"
        );
        let mut statement = snapshot.prepare_cached(sql)?;
        for range in ranges {
            let author = range.author.as_bytes().as_slice();
            let after = seq_or_none(range.after);
            let rows = statement.query(params![key, author, after, range.until])?;
            let author_of = |_| Ok(range.author);
            self.add_rows(&mut page, &mut fill, rows, author_of, true)?;
            if page.more {
                break;
            }
            page.ranges += 1;
        }
        Ok(page)
    }

    /// Operations of one log with `after < seq <= until`, by sequence number.
    pub fn log_page(
        &self,
        topic: &Topic,
        author: &VerifyingKey,
        after: Option<u32>,
        until: u32,
        limits: PageLimits,
    ) -> Result<Page, StoreError> {
        let range = LogRange {
            author: *author,
            log: topic.log_id(),
            after,
            until,
        };
        self.logs_page(topic, &[range], limits)
    }

    /// Operations of a topic with an arrival number above `after`, in order of arrival.
    pub fn arrivals_page(
        &self,
        topic: &Topic,
        after: u64,
        limits: PageLimits,
    ) -> Result<Page, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(Page::default());
        };
        let sql = match has_garbage(&snapshot)? {
            false => {
                concat!(
                    "SELECT o.arrival, o.seq, o.header, ",
                    body_column!(),
                    ", o.log, 0, 0
                FROM operation o INDEXED BY operation_topic
                WHERE o.topic = ?1 AND o.arrival > ?2 ORDER BY o.arrival"
                )
            }
            true => {
                concat!(
                    "SELECT o.arrival, o.seq, o.header, ",
                    body_column!(),
                    ", o.log, 0,
                    EXISTS(SELECT 1 FROM garbage WHERE log = o.log AND below > o.seq)
                FROM operation o INDEXED BY operation_topic
                WHERE o.topic = ?1 AND o.arrival > ?2 ORDER BY o.arrival"
                )
            }
        };
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query(params![key, int(after)])?;
        let (mut page, mut fill) = (Page::default(), Fill::new(limits));
        let author_of = |log| self.author(log);
        self.add_rows(&mut page, &mut fill, rows, author_of, false)?;
        Ok(page)
    }

    /// A page of the address book: what follows the node `after`, in the order of the keys, up to
    /// [`limits::BOOK_PAGE_ROWS_MAX`] entries and [`limits::BOOK_PAGE_BYTES_MAX`], one entry at
    /// least. Nothing follows an empty page.
    pub fn addresses(
        &self,
        after: Option<&VerifyingKey>,
    ) -> Result<Vec<(VerifyingKey, Bytes)>, StoreError> {
        let sql = "SELECT node, record FROM address WHERE node > ?1 ORDER BY node LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let after: &[u8] = after.map_or(&[], |after| after.as_bytes());
        let mut rows = statement.query(params![after, int(limits::BOOK_PAGE_ROWS_MAX as u64)])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < limits::BOOK_PAGE_BYTES_MAX
            && let Some(row) = rows.next()?
        {
            let record = Bytes::from(row.get::<_, Vec<u8>>(1)?);
            bytes += record.len();
            page.push((verifying_key(row, 0)?, record));
        }
        Ok(page)
    }

    /// Returns the author of the log of this row.
    pub(crate) fn author(&self, log: i64) -> rusqlite::Result<VerifyingKey> {
        let mut authors = self.authors.borrow_mut();
        if let Some(author) = authors.get(&log) {
            return Ok(*author);
        }
        let sql = "SELECT a.key FROM log l JOIN author a ON a.id = l.author WHERE l.id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let author = statement.query_row([log], |row| verifying_key(row, 0))?;
        if authors.len() >= limits::READER_AUTHORS_MAX {
            authors.clear();
        }
        authors.insert(log, author);
        Ok(author)
    }

    fn add_rows(
        &self,
        page: &mut Page,
        fill: &mut Fill,
        mut rows: rusqlite::Rows<'_>,
        author_of: impl Fn(i64) -> rusqlite::Result<VerifyingKey>,
        ends_at_damage: bool,
    ) -> Result<(), StoreError> {
        while let Some(row) = rows.next()? {
            if row.get(6)? {
                page.last_arrival = unsigned(row, 0)?;
                if fill.pass() {
                    continue;
                }
                page.more = true;
                break;
            }
            let mut row = RawRow::read(row, Some(COLUMN_BODY), &author_of)?;
            if !fill.take(row.bytes) {
                page.more = true;
                break;
            }
            row.load(&self.connection, &self.large)?;
            page.last_arrival = row.arrival;
            let unreadable = row.unreadable();
            match row.content {
                Some((header, body)) => {
                    let lacks = body.is_none() && header.payload_size() > 0;
                    let absent = match lacks {
                        true => Some(self.absent(row.log, row.seq)?),
                        false => None,
                    };
                    page.entries.push(Entry {
                        arrival: row.arrival,
                        header,
                        body,
                        absent,
                    });
                }
                None => {
                    page.unreadable.push(unreadable);
                    if ends_at_damage {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns why an operation is stored without its body.
    fn absent(&self, log: i64, seq: u32) -> rusqlite::Result<Absent> {
        let sql = "SELECT 1 FROM dropped WHERE log = ?1 AND seq = ?2";
        if self
            .connection
            .prepare_cached(sql)?
            .exists(params![log, seq])?
        {
            return Ok(Absent::Dropped);
        }
        let sql = "SELECT since FROM wanted WHERE topic = (SELECT topic FROM log WHERE id = ?1)
            AND log = ?1 AND seq = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let since = statement
            .query_row(params![log, seq], |row| unsigned(row, 0))
            .optional()?;
        let since = since.filter(|since| *since > 0).map(Timestamp::from_micros);
        Ok(Absent::Wanted { since })
    }

    /// The read transaction of one method, over when it is dropped.
    pub(crate) fn snapshot(&self) -> Result<Transaction<'_>, StoreError> {
        Ok(self.connection.unchecked_transaction()?)
    }
}

pub(crate) fn topic_key(snapshot: &Connection, topic: &Topic) -> rusqlite::Result<Option<i64>> {
    let mut statement = snapshot.prepare_cached("SELECT id FROM topic WHERE topic = ?1")?;
    statement
        .query_row([topic.as_bytes().as_slice()], |row| row.get(0))
        .optional()
}

pub(crate) fn last_arrival(snapshot: &Connection, topic: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT arrival FROM operation WHERE topic = ?1 ORDER BY arrival DESC LIMIT 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    Ok(statement
        .query_row([topic], |row| unsigned(row, 0))
        .optional()?
        .unwrap_or(0))
}
