//! The versions of a view: made, swapped, deleted (`docs/protocol/views.md#3`).

use std::collections::BTreeSet;
use std::time::Instant;

use p2panda_core::Hash;
use p2panda_core::limits::{
    VIEW_DEFINITION_STATEMENTS_MAX, VIEW_DEFINITION_TIME_MAX, VIEW_DELETED_ROWS_MAX,
    VIEW_NAME_BYTES_MAX, VIEW_STATEMENT_BYTES_MAX, VIEW_STEP_TIME_MAX, VIEW_TOPICS_MAX, VIEWS_MAX,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::error::StoreError;
use crate::database::sql::{int, unsigned};
use crate::database::views::connection::{is_passing, reason_of, role};
use crate::database::views::scope::{Mode, Scope};
use crate::database::views::{
    OpenedView, StopReason, ViewDefinition, ViewError, ViewKey, ViewStop, prefixed,
};
use crate::database::writer::{Database, Durability};

/// A request of the application: it was carried out, or it cannot be. What is neither is a fault of
/// the storage.
pub type Asked<T> = Result<Result<T, ViewError>, StoreError>;

/// A version that is stored.
struct Stored {
    key: ViewKey,
    version: u32,
    role: i64,
    definition: Vec<u8>,
    position: u64,
}

/// Outcome for a version that has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// It answers from now on, and the one before is being deleted.
    Done,
    /// The one before has applied more by now.
    Behind,
    /// The feed lacks this many entries that the one before had applied.
    Lacks(u64),
}

impl Database {
    /// Opens a version of a view, makes its tables if it is new.
    pub fn open_view(&mut self, definition: &ViewDefinition) -> Asked<OpenedView> {
        if let Err(refused) = check(definition) {
            return Ok(Err(refused));
        }
        let transaction = self.begin_views(Durability::Full)?;
        let (connection, scope) = (transaction.connection(), transaction.scope());
        let stored = stored(connection, &definition.name)?;
        let (opened, abandoned) = match decide(&stored, definition) {
            Ok(Decision::Open(opened)) => return Ok(Ok(opened)),
            Ok(Decision::Make { role, abandon }) => {
                let count = "SELECT count(*) FROM app_view WHERE role < 2";
                if connection.query_row(count, [], |row| unsigned(row, 0))? >= VIEWS_MAX as u64 {
                    return Ok(Err(ViewError::Limit));
                }
                if let Some(abandoned) = abandon {
                    mark_deleted(connection, abandoned)?;
                }
                match make(connection, scope, definition, role)? {
                    Ok(opened) => (opened, abandon.is_some()),
                    Err(refused) => return Ok(Err(refused)),
                }
            }
            Err(refused) => return Ok(Err(refused)),
        };
        transaction.commit()?;
        self.has_views = true;
        self.has_old_views |= abandoned;
        Ok(Ok(opened))
    }

    /// Lets a version answer that has caught up with the one that does.
    pub fn swap_view(&mut self, key: ViewKey) -> Asked<Swap> {
        let transaction = self.begin_views(Durability::Normal)?;
        let connection = transaction.connection();
        let new = "SELECT name, role, position, lost, accepted FROM app_view WHERE id = ?1";
        let new = connection.prepare_cached(new)?.query_row([key.0], |row| {
            let name: String = row.get(0)?;
            let role: i64 = row.get(1)?;
            Ok((
                name,
                role,
                unsigned(row, 2)?,
                unsigned(row, 3)?,
                unsigned(row, 4)?,
            ))
        });
        let Some((name, role, position, lost, accepted)) = new.optional()? else {
            return Ok(Err(ViewError::Unknown));
        };
        match role {
            role::ANSWERS => return Ok(Ok(Swap::Done)),
            role::BUILT => {}
            _ => return Ok(Err(ViewError::Unknown)),
        }
        let old = "SELECT id, position, lost FROM app_view WHERE name = ?1 AND role = 0";
        let old = connection.prepare_cached(old)?.query_row([&name], |row| {
            Ok((ViewKey(row.get(0)?), unsigned(row, 1)?, unsigned(row, 2)?))
        });
        if let Some((old, reached, gone)) = old.optional()? {
            // What has left the feed since is no reason to wait.
            let sql = "SELECT EXISTS(SELECT 1 FROM view_topic v JOIN topic t ON t.topic = v.topic
                JOIN operation o ON o.topic = t.id AND o.offset > ?2 AND o.offset <= ?3
                WHERE v.view = ?1)";
            let between = params![key.0, int(position), int(reached)];
            let mut statement = connection.prepare_cached(sql)?;
            if reached > position && statement.query_row(between, |row| row.get(0))? {
                return Ok(Ok(Swap::Behind));
            }
            drop(statement);
            let lacks = gone.saturating_sub(lost).saturating_sub(accepted);
            if lacks > 0 {
                return Ok(Ok(Swap::Lacks(lacks)));
            }
            mark_deleted(connection, old)?;
        }
        let answers = "UPDATE app_view SET role = 0 WHERE id = ?1";
        connection.prepare_cached(answers)?.execute([key.0])?;
        transaction.commit()?;
        self.has_old_views = true;
        Ok(Ok(Swap::Done))
    }

    /// Accepts that the feed lacks something by now of what the version before had applied.
    pub fn accept_view_loss(&mut self, key: ViewKey) -> Asked<()> {
        let sql = "UPDATE app_view SET accepted = max(accepted, (SELECT old.lost FROM app_view old
                WHERE old.name = app_view.name AND old.role = 0) - lost)
            WHERE id = ?1 AND role = 1";
        self.change_view(sql, params![key.0], ViewError::Unknown)
    }

    /// A view is stopped, for a reason that lies outside of the database.
    pub fn stop_view(&mut self, key: ViewKey, stop: &ViewStop) -> Asked<()> {
        let transaction = self.begin_views(Durability::Normal)?;
        let changed = mark_stopped(transaction.connection(), key, stop)?;
        transaction.commit()?;
        Ok(changed.then_some(()).ok_or(ViewError::Unknown))
    }

    /// A view that is stopped continues, with the entry at which it stopped or behind it.
    pub fn resume_view(&mut self, key: ViewKey, skip: bool) -> Asked<u64> {
        let sql = match skip {
            false => "UPDATE app_view SET stopped = NULL WHERE id = ?1 AND stopped IS NOT NULL",
            true => {
                "UPDATE app_view SET stopped = NULL, skipped = skipped + 1,
                    position = max(position, stopped_at)
                WHERE id = ?1 AND stopped IS NOT NULL"
            }
        };
        let transaction = self.begin_views(Durability::Full)?;
        let connection = transaction.connection();
        if connection.execute(sql, params![key.0])? == 0 {
            return Ok(Err(ViewError::NotStopped));
        }
        let sql = "SELECT position FROM app_view WHERE id = ?1";
        let position = connection.query_row(sql, [key.0], |row| unsigned(row, 0))?;
        transaction.commit()?;
        Ok(Ok(position))
    }

    /// Deletes all versions of a view, their tables in steps.
    pub fn delete_view(&mut self, name: &str) -> Asked<()> {
        let sql = "UPDATE app_view SET role = 2 WHERE name = ?1 AND role < 2";
        let deleted = self.change_view(sql, params![name], ViewError::Unknown)?;
        self.has_old_views |= deleted.is_ok();
        Ok(deleted)
    }

    /// Returns `true` if tables of old versions are still to be deleted.
    pub fn has_old_views(&self) -> bool {
        self.has_old_views
    }

    /// Deletes a part of the tables of old versions; whether there is more.
    pub fn delete_old_views(&mut self) -> Result<bool, StoreError> {
        let transaction = self.begin_views(Durability::Step)?;
        let connection = transaction.connection();
        let sql = "SELECT id FROM app_view WHERE role = 2 ORDER BY id LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        let old = statement.query_row([], |row| row.get(0).map(ViewKey));
        let old = old.optional()?;
        drop(statement);
        if let Some(old) = old
            && delete_tables(connection, old)?
        {
            connection.execute("DELETE FROM view_topic WHERE view = ?1", [old.0])?;
            connection.execute("DELETE FROM view_filter WHERE view = ?1", [old.0])?;
            connection.execute("DELETE FROM app_view WHERE id = ?1", [old.0])?;
        }
        let sql = "SELECT count(*) FROM app_view";
        let left = connection.query_row(sql, [], |row| unsigned(row, 0))?;
        transaction.commit()?;
        self.has_views = left > 0;
        self.has_old_views = old.is_some();
        Ok(self.has_old_views)
    }

    fn change_view(
        &mut self,
        sql: &str,
        parameters: impl rusqlite::Params,
        refused: ViewError,
    ) -> Asked<()> {
        let transaction = self.begin_views(Durability::Full)?;
        let changed = transaction.connection().execute(sql, parameters)?;
        transaction.commit()?;
        Ok((changed > 0).then_some(()).ok_or(refused))
    }
}

enum Decision {
    Open(OpenedView),
    Make { role: i64, abandon: Option<ViewKey> },
}

fn check(definition: &ViewDefinition) -> Result<(), ViewError> {
    let name = &definition.name;
    if name.is_empty() || name.len() > VIEW_NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(ViewError::InvalidName);
    }
    if !(1..=VIEW_TOPICS_MAX).contains(&definition.topics.len()) {
        return Err(ViewError::Topics);
    }
    let is_long = |statement: &String| statement.len() > VIEW_STATEMENT_BYTES_MAX;
    let statements = &definition.statements;
    match statements.len() > VIEW_DEFINITION_STATEMENTS_MAX || statements.iter().any(is_long) {
        true => Err(ViewError::Limit),
        false => Ok(()),
    }
}

fn digest(definition: &ViewDefinition) -> Hash {
    let mut bytes = Vec::new();
    let topics: BTreeSet<_> = definition.topics.iter().collect();
    for topic in topics {
        bytes.extend_from_slice(topic.as_bytes());
    }
    for statement in &definition.statements {
        bytes.push(0);
        bytes.extend_from_slice(statement.as_bytes());
    }
    let filter = definition.filter.encode();
    if !filter.is_empty() {
        bytes.push(1);
        bytes.extend_from_slice(&filter);
    }
    Hash::digest(&bytes)
}

fn stored(connection: &Connection, name: &str) -> rusqlite::Result<Vec<Stored>> {
    let sql = "SELECT id, version, role, definition, position FROM app_view
        WHERE name = ?1 AND role < 2 ORDER BY role";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([name], |row| {
        Ok(Stored {
            key: ViewKey(row.get(0)?),
            version: row.get(1)?,
            role: row.get(2)?,
            definition: row.get(3)?,
            position: unsigned(row, 4)?,
        })
    })?;
    rows.collect()
}

/// The first version answers at once. One that is built goes when a higher one takes its place.
fn decide(stored: &[Stored], definition: &ViewDefinition) -> Result<Decision, ViewError> {
    let version = definition.version;
    if let Some(same) = stored.iter().find(|stored| stored.version == version) {
        if same.definition != digest(definition).as_bytes() {
            return Err(ViewError::Conflict);
        }
        return Ok(Decision::Open(OpenedView {
            key: same.key,
            position: same.position,
            answers: same.role == role::ANSWERS,
        }));
    }
    match stored.iter().map(|stored| stored.version).max() {
        Some(stored) if stored > version => Err(ViewError::Version { stored }),
        highest => Ok(Decision::Make {
            role: highest.map_or(role::ANSWERS, |_| role::BUILT),
            abandon: stored
                .iter()
                .find(|stored| stored.role == role::BUILT)
                .map(|stored| stored.key),
        }),
    }
}

fn make(
    connection: &Connection,
    scope: &Scope,
    definition: &ViewDefinition,
    role: i64,
) -> Asked<OpenedView> {
    let sql = "INSERT INTO app_view(name, version, role, definition, position, applied, skipped,
            lost, accepted)
        VALUES(?1, ?2, ?3, ?4, 0, 0, 0, 0, 0)";
    let digest = digest(definition);
    let (name, version) = (&definition.name, definition.version);
    let row = params![name, version, role, digest.as_bytes().as_slice()];
    connection.execute(sql, row)?;
    let key = ViewKey(connection.last_insert_rowid());
    for topic in &definition.topics {
        let sql = "INSERT OR IGNORE INTO view_topic VALUES(?1, ?2)";
        connection.execute(sql, params![key.0, topic.as_bytes().as_slice()])?;
    }
    let filter = definition.filter.encode();
    if !filter.is_empty() {
        let sql = "INSERT OR REPLACE INTO view_filter VALUES(?1, ?2)";
        connection.execute(sql, params![key.0, filter])?;
    }
    let prefix = key.prefix();
    let entered = scope.enter(Mode::Define { prefix });
    scope.limit(VIEW_DEFINITION_TIME_MAX);
    for statement in &definition.statements {
        let sql = prefixed(statement, key, None);
        match connection.execute(&sql, []) {
            Err(error) if scope.is_over() || !is_passing(&error) => {
                return Ok(Err(refused(&error)));
            }
            made => made?,
        };
        // SQLite looks at the time now and then: many short statements are not interrupted.
        if scope.is_over() {
            return Ok(Err(ViewError::TooLong));
        }
    }
    drop(entered);
    Ok(Ok(OpenedView {
        key,
        position: 0,
        answers: role == role::ANSWERS,
    }))
}

/// Converts the error of a statement for a request.
pub(crate) fn refused(error: &rusqlite::Error) -> ViewError {
    match reason_of(error) {
        StopReason::Forbidden => ViewError::Forbidden(error.to_string()),
        StopReason::TooLong => ViewError::TooLong,
        _ => ViewError::Statement(error.to_string()),
    }
}

fn mark_deleted(connection: &Connection, key: ViewKey) -> rusqlite::Result<()> {
    connection.execute("UPDATE app_view SET role = 2 WHERE id = ?1", [key.0])?;
    Ok(())
}

pub(crate) fn mark_stopped(
    connection: &Connection,
    key: ViewKey,
    stop: &ViewStop,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE app_view SET stopped = ?2, stopped_at = ?3, stopped_detail = ?4
        WHERE id = ?1 AND role < 2";
    let reason = stop.reason.code();
    let row = params![key.0, reason, int(stop.offset), stop.detail];
    Ok(connection.prepare_cached(sql)?.execute(row)? > 0)
}

/// Deletes from the tables of a version for a while; whether nothing is left of them. Triggers go
/// first, tables when they are empty, since to drop a full one takes as long as it is large.
fn delete_tables(connection: &Connection, key: ViewKey) -> rusqlite::Result<bool> {
    let start = Instant::now();
    let sql = "SELECT type, name FROM sqlite_master WHERE substr(name, 1, length(?1)) = ?1
        AND type IN ('table', 'trigger') ORDER BY type DESC, name";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([key.prefix()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = found.collect::<Result<Vec<(String, String)>, _>>()?;
    drop(statement);
    for (kind, name) in found {
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        if kind == "table" {
            let delete = delete_some(connection, &name)?;
            while connection.execute(&delete, [])? > 0 {
                if start.elapsed() > VIEW_STEP_TIME_MAX {
                    return Ok(false);
                }
            }
        }
        connection.execute(&format!("DROP {kind} {name}"), [])?;
    }
    Ok(true)
}

/// Returns the statement that deletes a few rows of a table. A table without row ids has a primary
/// key.
fn delete_some(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    let rowid = format!("SELECT rowid FROM {name} LIMIT 0");
    if connection.prepare(&rowid).is_ok() {
        let rows = format!("SELECT rowid FROM {name} LIMIT {VIEW_DELETED_ROWS_MAX}");
        return Ok(format!("DELETE FROM {name} WHERE rowid IN ({rows})"));
    }
    let mut statement = connection.prepare(&format!("PRAGMA table_info({name})"))?;
    let keys = statement.query_map([], |row| {
        Ok((row.get::<_, i64>(5)?, row.get::<_, String>(1)?))
    })?;
    let mut keys = keys.collect::<Result<Vec<_>, _>>()?;
    keys.retain(|(place, _)| *place > 0);
    let keys: Vec<String> = keys
        .into_iter()
        .map(|(_, column)| format!("\"{}\"", column.replace('"', "\"\"")))
        .collect();
    let keys = keys.join(", ");
    let rows = format!("SELECT {keys} FROM {name} LIMIT {VIEW_DELETED_ROWS_MAX}");
    Ok(format!("DELETE FROM {name} WHERE ({keys}) IN ({rows})"))
}
