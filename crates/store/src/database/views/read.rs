//! Reading: what views are there, how far they are, what is in their tables, and the feed as they read it
//! (`docs/protocol/views.md#4`).

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use p2panda_core::limits::{READER_BUSY_WAIT, VIEW_COUNTED_ENTRIES_MAX, VIEW_READ_TIME_MAX};
use p2panda_core::{Topic, Unreadable};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params, params_from_iter};

use crate::database::error::StoreError;
use crate::database::feed::FeedEntry;
use crate::database::page::PageLimits;
use crate::database::reader::{Reader, Readers, topic_key};
use crate::database::sql::{int, keep_plans, unsigned};
use crate::database::views::connection::role;
use crate::database::views::scope::{Mode, Scope};
use crate::database::views::value::{Row, Value};
use crate::database::views::version::{Asked, refused};
use crate::database::views::{StopReason, ViewError, ViewKey, ViewStop, prefixed};

/// A version of a view, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewRow {
    /// Its row.
    pub key: ViewKey,
    /// Name of the view.
    pub name: String,
    /// Number of the version.
    pub version: u32,
    /// `true` if it answers; otherwise it is built next to the one that does.
    pub answers: bool,
    /// The last offset that it has applied.
    pub position: u64,
    /// Entries that it has applied.
    pub applied: u64,
    /// Entries that were skipped.
    pub skipped: u64,
    /// Entries that the one that answers had applied and its feed lacks, if it has caught up and waits for
    /// that; else 0.
    pub lacks: u64,
    /// Reason why it is stopped, if it does.
    pub stop: Option<ViewStop>,
    /// The last offset in its topics.
    pub end: u64,
    /// Entries behind the position, at most 10 000.
    pub to_come: u64,
}

/// A part of the feeds of several topics, in the order of the offsets.
#[derive(Clone, Debug, Default)]
pub struct MergedPage {
    /// Each with the place of its topic.
    pub entries: Vec<(usize, FeedEntry)>,
    /// Rows that are damaged, each with the place of its topic; they are left out.
    pub unreadable: Vec<(usize, Unreadable)>,
    /// The last offset that was examined: the next page begins behind it.
    pub last_offset: u64,
    /// `true` if there may be more.
    pub more: bool,
}

impl Reader {
    /// All versions of views, by name, that answer or are built.
    pub fn views(&self) -> Result<Vec<ViewRow>, StoreError> {
        let snapshot = self.snapshot()?;
        let sql = "SELECT id, name, version, role, position, applied, skipped, stopped, stopped_at,
                stopped_detail,
                coalesce((SELECT max(old.lost - new.lost - new.accepted, 0) FROM app_view old
                    WHERE new.role = 1 AND old.name = new.name AND old.role = 0), 0)
            FROM app_view new WHERE role < ?1 ORDER BY name, version";
        let mut statement = snapshot.prepare_cached(sql)?;
        let rows = statement.query_map([role::DELETED], |row| {
            let stop = match row.get::<_, Option<i64>>(7)? {
                Some(code) => Some(ViewStop {
                    offset: unsigned(row, 8)?,
                    reason: StopReason::of_code(code),
                    detail: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
                }),
                None => None,
            };
            Ok(ViewRow {
                key: ViewKey(row.get(0)?),
                name: row.get(1)?,
                version: row.get(2)?,
                answers: row.get::<_, i64>(3)? == role::ANSWERS,
                position: unsigned(row, 4)?,
                applied: unsigned(row, 5)?,
                skipped: unsigned(row, 6)?,
                lacks: unsigned(row, 10)?,
                stop,
                end: 0,
                to_come: 0,
            })
        });
        let mut views = rows?.collect::<Result<Vec<_>, _>>()?;
        for view in &mut views {
            let end = "SELECT coalesce(max((SELECT max(o.offset) FROM operation o
                    WHERE o.topic = t.id AND o.offset > 0)), 0)
                FROM view_topic v JOIN topic t ON t.topic = v.topic WHERE v.view = ?1";
            let mut end = snapshot.prepare_cached(end)?;
            view.end = end.query_row([view.key.0], |row| unsigned(row, 0))?;
            let count = "SELECT count(*) FROM (SELECT 1 FROM view_topic v
                JOIN topic t ON t.topic = v.topic
                JOIN operation o ON o.topic = t.id AND o.offset > ?2
                WHERE v.view = ?1 LIMIT ?3)";
            let mut count = snapshot.prepare_cached(count)?;
            let most = int(VIEW_COUNTED_ENTRIES_MAX as u64);
            let counted = params![view.key.0, int(view.position), most];
            view.to_come = count.query_row(counted, |row| unsigned(row, 0))?;
            if view.to_come > 0 {
                view.lacks = 0;
            }
        }
        Ok(views)
    }

    /// The feeds of some topics above an offset, merged. All offsets below the end of the page have
    /// been examined, so that the order is the same however much is read at a time.
    pub fn merged_page(
        &self,
        topics: &[Topic],
        after: u64,
        limits: PageLimits,
    ) -> Result<MergedPage, StoreError> {
        let snapshot = self.snapshot()?;
        let each = PageLimits {
            rows: (limits.rows / topics.len().max(1)).max(1),
            bytes: (limits.bytes / topics.len().max(1)).max(1),
        };
        let mut merged = MergedPage::default();
        let mut until = u64::MAX;
        for (place, topic) in topics.iter().enumerate() {
            let Some(key) = topic_key(&snapshot, topic)? else {
                continue;
            };
            let page = self.feed_page_in(&snapshot, key, after, each, None)?;
            if page.more {
                merged.more = true;
                until = until.min(page.last_offset);
            }
            merged.last_offset = merged.last_offset.max(page.last_offset);
            let unreadable = page.unreadable.into_iter();
            merged.unreadable.extend(unreadable.map(|row| (place, row)));
            let entries = page.entries.into_iter();
            merged.entries.extend(entries.map(|entry| (place, entry)));
        }
        merged.last_offset = merged.last_offset.min(until).max(after);
        merged.entries.retain(|(_, entry)| entry.offset <= until);
        merged.entries.sort_by_key(|(_, entry)| entry.offset);
        Ok(merged)
    }
}

/// Opens connections that read the tables of views.
#[derive(Clone, Debug)]
pub struct ViewReaders {
    path: PathBuf,
}

impl Readers {
    /// Returns what opens connections that read the tables of views.
    pub fn views(&self) -> ViewReaders {
        ViewReaders {
            path: self.path().to_path_buf(),
        }
    }
}

impl ViewReaders {
    /// Opens a connection.
    pub fn open(&self) -> Result<ViewConnection, StoreError> {
        self.open_with(Scope::attach)
    }

    /// The same with a scope that is attached so.
    pub(crate) fn open_with(
        &self,
        attach: impl FnOnce(&mut Connection) -> rusqlite::Result<Arc<Scope>>,
    ) -> Result<ViewConnection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(READER_BUSY_WAIT)?;
        connection.pragma_update(None, "cache_size", -512)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        keep_plans(&connection)?;
        let scope = attach(&mut connection)?;
        Ok(ViewConnection {
            connection,
            scope,
            shown: None,
        })
    }
}

/// A read-only connection that sees the tables of one view at a time.
pub struct ViewConnection {
    connection: Connection,
    scope: Arc<Scope>,
    /// The version whose tables have names without the prefix here, and these.
    shown: Option<(ViewKey, HashSet<String>)>,
}

/// The tables of a view as of one step, while a read runs.
pub struct ViewReader<'a> {
    connection: &'a Connection,
    key: ViewKey,
    version: u32,
    position: u64,
}

impl ViewConnection {
    /// Reads the version of a view that answers.
    pub fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&ViewReader<'_>) -> Result<T, ViewError>,
    ) -> Asked<T> {
        let sql = "SELECT id, version, position FROM app_view WHERE name = ?1 AND role = 0";
        self.read_found(sql, params![name], read)
    }

    /// Reads a version, whether or not it answers.
    pub fn read_version<T>(
        &mut self,
        key: ViewKey,
        read: impl FnOnce(&ViewReader<'_>) -> Result<T, ViewError>,
    ) -> Asked<T> {
        let sql = "SELECT id, version, position FROM app_view WHERE id = ?1 AND role < 2";
        self.read_found(sql, params![key.0], read)
    }

    fn read_found<T>(
        &mut self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&ViewReader<'_>) -> Result<T, ViewError>,
    ) -> Asked<T> {
        let snapshot = self.connection.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(sql)?;
        let found = statement.query_row(parameters, |row| {
            Ok((ViewKey(row.get(0)?), row.get(1)?, unsigned(row, 2)?))
        });
        let found = found.optional()?;
        drop(statement);
        let Some((key, version, position)) = found else {
            return Ok(Err(ViewError::Unknown));
        };
        let shown = match self.shown.take() {
            Some((shown, names)) if shown == key => names,
            before => {
                let before = before.map(|(_, names)| names).unwrap_or_default();
                show(&snapshot, key, &before)?
            }
        };
        self.shown = Some((key, shown.clone()));
        let prefix = key.prefix();
        let entered = self.scope.enter(Mode::Read { prefix, shown });
        self.scope.limit(VIEW_READ_TIME_MAX);
        let answer = read(&ViewReader {
            connection: &snapshot,
            key,
            version,
            position,
        });
        drop(entered);
        // What was given names stays so.
        snapshot.commit()?;
        Ok(answer)
    }
}

/// Gives the tables of a version names without the prefix, on this connection only.
fn show(
    connection: &Connection,
    key: ViewKey,
    before: &HashSet<String>,
) -> rusqlite::Result<HashSet<String>> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    for name in before {
        connection.execute_batch(&format!("DROP VIEW IF EXISTS temp.{}", quoted(name)))?;
    }
    let sql = "SELECT name FROM main.sqlite_master WHERE type = 'table'
        AND substr(name, 1, length(?1)) = ?1";
    let mut statement = connection.prepare(sql)?;
    let prefix = key.prefix();
    let names = statement.query_map([&prefix], |row| row.get::<_, String>(0))?;
    let mut shown = HashSet::new();
    for table in names {
        let table = table?;
        let name = table.get(prefix.len()..).unwrap_or_default();
        connection.execute_batch(&format!(
            "CREATE TEMP VIEW {} AS SELECT * FROM main.{}",
            quoted(name),
            quoted(&table)
        ))?;
        shown.insert(name.to_owned());
    }
    Ok(shown)
}

impl ViewReader<'_> {
    /// The version that answers.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The last offset that is in these tables.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// All rows that a query finds, in memory.
    ///
    /// # Errors
    ///
    /// [`ViewError::Statement`], [`ViewError::Forbidden`], or [`ViewError::TooLong`] when all that was
    /// asked in this read took longer than 10 s.
    pub fn query(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<Row>, ViewError> {
        let mut found = Vec::new();
        self.each(sql, parameters, |row| {
            found.push(row);
            true
        })?;
        Ok(found)
    }

    /// The rows that a query finds, one after the other, until the function says false.
    ///
    /// # Errors
    ///
    /// As [`ViewReader::query`].
    pub fn each(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
        mut row: impl FnMut(Row) -> bool,
    ) -> Result<(), ViewError> {
        let sql = prefixed(sql, self.key, None);
        let read = || {
            let mut statement = self.connection.prepare_cached(&sql)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(parameters))?;
            while let Some(found) = rows.next()? {
                let values = (0..columns).map(|column| Ok(Value::read(found.get_ref(column)?)));
                if !row(Row(values.collect::<rusqlite::Result<_>>()?)) {
                    break;
                }
            }
            Ok::<_, rusqlite::Error>(())
        };
        read().map_err(|error| refused(&error))
    }
}
