//! The feed of a topic: what is shown of its operations, by offset (`docs/protocol/streams.md#9`).
//!
//! An operation has one place in the feed at most. What becomes ready late, or stands differently
//! later, gets the next offset and leaves the place it had ([`Tx::place`]).

use bytes::Bytes;
use p2panda_core::{Dependency, Hash, Header, Topic, Unreadable};
use rusqlite::types::ValueRef::Null;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::database::content::{Content, Ready, code};
use crate::database::error::StoreError;
use crate::database::filter::{Filter, Shown};
use crate::database::log_name;
use crate::database::moved;
use crate::database::neighbour::has_garbage;
use crate::database::page::{COLUMN_BODY, Fill, PageLimits, RawRow, body_column};
use crate::database::reader::{Reader, topic_key};
use crate::database::sql::{Blob32, int, unsigned, verifying_key};
use crate::database::tx::Tx;

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its place in the feed.
    pub offset: u64,
    /// The arrival number of the operation.
    pub arrival: u64,
    /// The header of the operation. Its signature was verified on the way in.
    pub header: Header,
    /// Content that the entry shows.
    pub content: Content,
    /// Dependencies that had not arrived when waiting for them was over.
    pub missing: Vec<Dependency>,
    /// The first place in the feed that the operation had, if it had another one before. It is empty.
    pub first: Option<u64>,
}

/// Entries that a page of the feed leaves out: those that a consumer has acknowledged, up to an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipAcked<'a> {
    /// Name of the consumer.
    pub consumer: &'a str,
    /// Entries above it are not left out.
    pub until: u64,
}

/// A page of the feed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FeedPage {
    /// By ascending offset.
    pub entries: Vec<FeedEntry>,
    /// Rows that are damaged; they are left out.
    pub unreadable: Vec<Unreadable>,
    /// Offset of the last row examined: the next page begins after it. 0 if there was none.
    pub last_offset: u64,
    /// `true` if there may be more: the page was full, or many pruned rows that are still to be
    /// deleted were skipped. In that case it may have no entries.
    pub more: bool,
    /// The last offset that the feed had when the page was read, or where the page ends.
    pub feed_end: u64,
    /// Offsets that the operations of its entries have left.
    pub left: Vec<u64>,
}

impl FeedEntry {
    /// Header and content bytes.
    pub fn bytes(&self) -> usize {
        self.header.as_bytes().len() + self.content.bytes().map_or(0, Bytes::len)
    }
}

impl Tx<'_> {
    /// Gives a stored operation this place in the feed. The place that it had, if any, is empty from
    /// now on.
    pub fn place(&mut self, arrival: u64, offset: u64, ready: &Ready) -> Result<(), StoreError> {
        self.note_move(arrival)?;
        let plaintext = ready.plaintext();
        let header = match plaintext {
            Some(_) => self.header_at(arrival)?,
            None => Vec::new(),
        };
        let opened = self.database().sealing.stored(&header, plaintext);
        let sql = "UPDATE operation SET offset = ?2, content = ?3, opened = coalesce(?4, opened),
                opened_by = CASE WHEN ?4 IS NULL THEN opened_by ELSE ?5 END
            WHERE arrival = ?1";
        let (arrival, offset) = (int(arrival), int(offset));
        self.cached(sql)?.execute(params![
            arrival,
            offset,
            ready.code(),
            opened.bytes,
            opened.code
        ])?;
        self.written(plaintext.map_or(0, <[u8]>::len));
        Ok(())
    }

    /// Records the missing dependencies of a delivered operation.
    pub fn add_missing(&mut self, arrival: u64, missing: &[Dependency]) -> Result<(), StoreError> {
        let sql = "INSERT OR IGNORE INTO missing VALUES(?1, ?2, ?3, ?4)";
        for dependency in missing {
            let label = dependency.label();
            let author = label.as_bytes().as_slice();
            let id = dependency.id.as_bytes().as_slice();
            self.cached(sql)?
                .execute(params![int(arrival), author, dependency.seq, id])?;
        }
        Ok(())
    }
}

/// The columns of a [`RawRow`], what the feed shows, and what the body was opened to.
const PLAIN: &str = concat!(
    "SELECT o.arrival, o.seq, o.header, ",
    body_column!(),
    ", o.log, o.offset, 0, o.content, o.opened, o.opened_by
    FROM operation o INDEXED BY operation_feed
    WHERE o.topic = ?1 AND o.offset > ?2 AND (o.offset > ?4 OR NOT EXISTS (
        SELECT 1 FROM ack WHERE consumer = ?3 AND topic = ?1 AND offset = o.offset))
    ORDER BY o.offset"
);

const COLUMN_OPENED: usize = 8;
const COLUMN_OPENED_BY: usize = 9;

/// The same, with whether the row was pruned.
const BESIDE_GARBAGE: &str = concat!(
    "SELECT o.arrival, o.seq, o.header, ",
    body_column!(),
    ", o.log, o.offset,
        EXISTS(SELECT 1 FROM garbage WHERE log = o.log AND below > o.seq), o.content, o.opened, o.opened_by
    FROM operation o INDEXED BY operation_feed
    WHERE o.topic = ?1 AND o.offset > ?2 AND (o.offset > ?4 OR NOT EXISTS (
        SELECT 1 FROM ack WHERE consumer = ?3 AND topic = ?1 AND offset = o.offset))
    ORDER BY o.offset"
);

impl Filter {
    /// Returns `true` if an entry passes. A change passes as its operation does, no matter what
    /// kinds are asked for.
    pub fn admits(&self, entry: &FeedEntry) -> bool {
        let shown = match entry.content {
            Content::Body(_) => Shown::Body,
            Content::Opened(_) => Shown::Opened,
            Content::Change(_) => Shown::Change,
        };
        self.admits_parts(shown, &entry.header)
    }
}

impl Reader {
    /// The last offset in the feed of a topic, 0: none. It may be that of a pruned operation which
    /// is still to be deleted.
    pub fn last_offset(&self, topic: &Topic) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        let Some(key) = topic_key(&snapshot, topic)? else {
            return Ok(0);
        };
        Ok(feed_end(&snapshot, key)?)
    }

    /// The feed of a topic above the offset `after`.
    pub fn feed_page(
        &self,
        topic: &Topic,
        after: u64,
        limits: PageLimits,
        skip_acked: Option<SkipAcked<'_>>,
    ) -> Result<FeedPage, StoreError> {
        let snapshot = self.snapshot()?;
        match topic_key(&snapshot, topic)? {
            Some(key) => self.feed_page_in(&snapshot, key, after, limits, skip_acked),
            None => Ok(FeedPage::default()),
        }
    }

    /// The same in a transaction that has begun.
    pub(crate) fn feed_page_in(
        &self,
        snapshot: &Connection,
        key: i64,
        after: u64,
        limits: PageLimits,
        skip_acked: Option<SkipAcked<'_>>,
    ) -> Result<FeedPage, StoreError> {
        let consumer = match skip_acked {
            Some(skip) => consumer_key(snapshot, skip.consumer)?,
            None => None,
        };
        let until = skip_acked.map_or(0, |skip| skip.until);
        let after = match consumer {
            Some(consumer) => after.max(prefix(snapshot, consumer, key)?.min(until)),
            None => after,
        };
        let sql = match has_garbage(snapshot)? {
            false => PLAIN,
            true => BESIDE_GARBAGE,
        };
        let mut statement = snapshot.prepare_cached(sql)?;
        let mut rows = statement.query(params![key, int(after), consumer, int(until)])?;
        let (mut page, mut fill) = (FeedPage::default(), Fill::new(limits));
        while let Some(row) = rows.next()? {
            if row.get(6)? {
                page.last_offset = unsigned(row, 5)?;
                if fill.pass() {
                    continue;
                }
                page.more = true;
                break;
            }
            if !self.add_entry(&mut page, &mut fill, row)? {
                page.more = true;
                break;
            }
        }
        add_missing(snapshot, &mut page.entries)?;
        page.feed_end = match page.more {
            true => feed_end(snapshot, key)?,
            false => page.last_offset.max(after),
        };
        if moved::is_any(snapshot)? {
            add_moves(snapshot, &mut page)?;
        }
        Ok(page)
    }

    /// Adds a row to a page; false if it does not fit any more.
    fn add_entry(
        &self,
        page: &mut FeedPage,
        fill: &mut Fill,
        row: &Row<'_>,
    ) -> rusqlite::Result<bool> {
        // A code that is not a number is as damaged as one that is not known.
        let kind = row.get_ref(7)?.as_i64_or_null().unwrap_or(Some(0));
        let shown = match kind {
            None => Some(COLUMN_BODY),
            Some(code::OPENED) => Some(COLUMN_OPENED),
            Some(_) => None,
        };
        let is_sealed = shown == Some(COLUMN_OPENED) && row.get_ref(COLUMN_OPENED_BY)? != Null;
        let mut row = RawRow::read(row, shown, |log| self.author(log))?;
        if !fill.take(row.bytes) {
            return Ok(false);
        }
        row.load(&self.connection, &self.large)?;
        page.last_offset = row.offset;
        let (offset, arrival, unreadable) = (row.offset, row.arrival, row.unreadable());
        let shown = row.content.and_then(|(header, mut shown)| {
            if is_sealed {
                shown = Some(self.sealing.open(&header.id(), &shown?)?);
            }
            Some((header, Content::read(kind, shown)?))
        });
        match shown {
            Some((header, content)) => page.entries.push(FeedEntry {
                offset,
                arrival,
                header,
                content,
                missing: Vec::new(),
                first: None,
            }),
            None => page.unreadable.push(unreadable),
        }
        Ok(true)
    }

    /// The position of a consumer: everything of the topic at or below it is acknowledged.
    pub fn consumer_prefix(&self, name: &str, topic: &Topic) -> Result<u64, StoreError> {
        let snapshot = self.snapshot()?;
        match (consumer_key(&snapshot, name)?, topic_key(&snapshot, topic)?) {
            (Some(consumer), Some(topic)) => Ok(prefix(&snapshot, consumer, topic)?),
            _ => Ok(0),
        }
    }
}

fn feed_end(snapshot: &Connection, topic: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT offset FROM operation WHERE topic = ?1 AND offset > 0
        ORDER BY offset DESC LIMIT 1";
    let mut statement = snapshot.prepare_cached(sql)?;
    let last = statement.query_row([topic], |row| unsigned(row, 0));
    Ok(last.optional()?.unwrap_or(0))
}

/// Fills in where the operations of a page stood before.
fn add_moves(snapshot: &Connection, page: &mut FeedPage) -> rusqlite::Result<()> {
    for entry in &mut page.entries {
        let places = moved::places(snapshot, entry.arrival)?;
        entry.first = places.first().copied();
        page.left.extend(places);
    }
    Ok(())
}

/// Fills in what the entries of a page were delivered without, which few were.
fn add_missing(snapshot: &Connection, entries: &mut [FeedEntry]) -> rusqlite::Result<()> {
    let arrivals = || entries.iter().map(|entry| int(entry.arrival));
    let (Some(first), Some(last)) = (arrivals().min(), arrivals().max()) else {
        return Ok(());
    };
    let sql = "SELECT 1 FROM missing WHERE arrival BETWEEN ?1 AND ?2 LIMIT 1";
    if !snapshot.prepare_cached(sql)?.exists([first, last])? {
        return Ok(());
    }
    let sql = "SELECT author, seq, id FROM missing WHERE arrival = ?1 ORDER BY author, seq";
    let mut statement = snapshot.prepare_cached(sql)?;
    for entry in entries {
        let rows = statement.query_map([int(entry.arrival)], |row| {
            let Blob32(id) = row.get(2)?;
            Ok(Dependency {
                author: verifying_key(row, 0)?,
                log: None,
                seq: row.get(1)?,
                id: Hash::from_bytes(id),
            })
        })?;
        entry.missing = rows.collect::<Result<_, _>>()?;
        log_name::restore(&mut entry.missing, &entry.header);
    }
    Ok(())
}

fn consumer_key(snapshot: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    let mut statement = snapshot.prepare_cached("SELECT id FROM consumer WHERE name = ?1")?;
    statement.query_row([name], |row| row.get(0)).optional()
}

fn prefix(snapshot: &Connection, consumer: i64, topic: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT prefix FROM consumer_topic WHERE consumer = ?1 AND topic = ?2";
    let mut statement = snapshot.prepare_cached(sql)?;
    let row = statement
        .query_row([consumer, topic], |row| unsigned(row, 0))
        .optional()?;
    Ok(row.unwrap_or(0))
}
