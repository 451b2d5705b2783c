//! The connection of the views, and its transactions (`docs/protocol/views.md#2`).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use p2panda_core::limits::{VIEW_ENTRY_TIME_MAX, VIEW_STATEMENTS_KNOWN_MAX, VIEW_STEP_TIME_MAX};
use rusqlite::{
    CachedStatement, Connection, ErrorCode, OpenFlags, OptionalExtension, params, params_from_iter,
};

use crate::database::connection;
use crate::database::error::StoreError;
use crate::database::fault::Faults;
use crate::database::presence::Presence;
use crate::database::sql::{int, unsigned};
use crate::database::views::scope::{Mode, Scope};
use crate::database::views::{Statement, StopReason, ViewKey, ViewStep, ViewStop};

/// Roles of a version.
pub(crate) mod role {
    pub(crate) const ANSWERS: i64 = 0;
    pub(crate) const BUILT: i64 = 1;
    pub(crate) const DELETED: i64 = 2;
}

/// The connection through which applications write.
pub(crate) struct ViewWriter {
    connection: Connection,
    scope: Arc<Scope>,
    /// Statements that were run once: each of them is one and no more.
    known: HashSet<Arc<str>>,
    synced: Option<bool>,
}

/// A transaction of views. What it did is undone when it is dropped.
pub(crate) struct ViewTx<'d> {
    pub(crate) writer: &'d mut ViewWriter,
    pub(crate) presence: &'d mut Presence,
    pub(crate) faults: &'d Faults,
    pub(crate) written_bytes: &'d mut u64,
}

impl ViewWriter {
    pub(crate) fn open(path: &Path) -> rusqlite::Result<ViewWriter> {
        ViewWriter::open_with(path, Scope::attach)
    }

    /// The same with a scope that is attached so.
    pub(crate) fn open_with(
        path: &Path,
        attach: impl FnOnce(&mut Connection) -> rusqlite::Result<Arc<Scope>>,
    ) -> rusqlite::Result<ViewWriter> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection::prepare_for_views(&connection)?;
        let scope = attach(&mut connection)?;
        Ok(ViewWriter {
            connection,
            scope,
            known: HashSet::new(),
            synced: None,
        })
    }

    /// Begins a transaction, which is synced to disk or not.
    pub(crate) fn begin(&mut self, synced: bool) -> rusqlite::Result<()> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        if self.synced != Some(synced) {
            let mode = if synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", mode)?;
            self.synced = Some(synced);
        }
        let mut begin = self.connection.prepare_cached("BEGIN IMMEDIATE")?;
        begin.execute([])?;
        Ok(())
    }
}

/// Runs the statements of an application, one after the other, in its scope.
struct Runner<'w> {
    connection: &'w Connection,
    known: &'w mut HashSet<Arc<str>>,
    /// The one that ran last: most often the next one is the same.
    last: Option<(Arc<str>, CachedStatement<'w>)>,
}

impl Runner<'_> {
    fn run(&mut self, statement: &Statement) -> rusqlite::Result<()> {
        let (sql, parameters) = (&statement.sql, params_from_iter(&statement.parameters));
        if let Some((last, prepared)) = &mut self.last
            && Arc::ptr_eq(last, sql)
        {
            prepared.execute(parameters)?;
            return Ok(());
        }
        self.last = None;
        if self.known.contains(sql) {
            let mut prepared = self.connection.prepare_cached(sql)?;
            prepared.execute(parameters)?;
            self.last = Some((Arc::clone(sql), prepared));
            return Ok(());
        }
        // This looks whether there is more than one.
        self.connection.execute(sql, parameters)?;
        if self.known.len() >= VIEW_STATEMENTS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(Arc::clone(sql));
        Ok(())
    }
}

impl ViewTx<'_> {
    pub(crate) fn connection(&self) -> &Connection {
        &self.writer.connection
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.writer.scope
    }

    /// The position of a version, if it is there, and whether it is stopped.
    pub(crate) fn state(
        &self,
        key: ViewKey,
    ) -> Result<Option<(u64, Option<ViewStop>)>, StoreError> {
        let sql = "SELECT stopped, stopped_at, stopped_detail, position FROM app_view
            WHERE id = ?1 AND role < ?2";
        let mut statement = self.writer.connection.prepare_cached(sql)?;
        let row = statement.query_row(params![key.0, role::DELETED], |row| {
            let Some(code) = row.get::<_, Option<i64>>(0)? else {
                return Ok((unsigned(row, 3)?, None));
            };
            let stop = ViewStop {
                offset: unsigned(row, 1)?,
                reason: StopReason::of_code(code),
                detail: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
            };
            Ok((unsigned(row, 3)?, Some(stop)))
        });
        Ok(row.optional()?)
    }

    /// Runs the statements of entries; how many entries, and what stopped it. What passes is an error.
    pub(crate) fn apply(
        &mut self,
        step: &ViewStep,
        from: usize,
        entries_max: usize,
        mode: Mode,
    ) -> Result<(usize, Option<ViewStop>), StoreError> {
        let writer = &mut *self.writer;
        let scope = Arc::clone(&writer.scope);
        // One look at the clock for each statement: it costs a tenth of what a small one does.
        let mut now = scope.now();
        let until = now + VIEW_STEP_TIME_MAX;
        let _entered = scope.enter(mode);
        let mut runner = Runner {
            connection: &writer.connection,
            known: &mut writer.known,
            last: None,
        };
        let before = from
            .checked_sub(1)
            .and_then(|before| step.entries.get(before));
        let mut next = before.map_or(0, |(_, end)| *end);
        let mut applied = 0;
        for (offset, end) in step.entries.iter().skip(from).take(entries_max) {
            if *end > next {
                scope.limit_from(now, VIEW_ENTRY_TIME_MAX);
            }
            for statement in step.statements.get(next..*end).unwrap_or_default() {
                let stop = |reason, detail: &dyn ToString| {
                    ViewStop::new(*offset, reason, detail.to_string())
                };
                let ran = match self.faults.statement() {
                    Ok(()) => runner.run(statement),
                    failed => failed,
                };
                now = scope.now();
                match ran {
                    Err(error) if is_passing(&error) => return Err(error.into()),
                    Err(error) => return Ok((applied, Some(stop(reason_of(&error), &error)))),
                    Ok(()) if runner.connection.is_autocommit() => {
                        let reason = StopReason::EndedTransaction;
                        return Ok((applied, Some(stop(reason, &"it ended its transaction"))));
                    }
                    Ok(()) if scope.is_over_at(now) => {
                        let reason = StopReason::TooLong;
                        return Ok((applied, Some(stop(reason, &"its statements took too long"))));
                    }
                    Ok(()) => {}
                }
            }
            (next, applied) = (*end, applied + 1);
            if now > until {
                break;
            }
        }
        Ok((applied, None))
    }

    pub(crate) fn advance(
        &self,
        key: ViewKey,
        position: u64,
        applied: usize,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE app_view SET position = max(position, ?2), applied = applied + ?3
            WHERE id = ?1";
        let mut statement = self.writer.connection.prepare_cached(sql)?;
        statement.execute(params![key.0, int(position), int(applied as u64)])?;
        Ok(())
    }

    /// Makes it visible.
    pub(crate) fn commit(self) -> Result<(), StoreError> {
        self.presence.check()?;
        let mut commit = self.writer.connection.prepare_cached("COMMIT")?;
        commit.execute([])?;
        drop(commit);
        // A page or two of bookkeeping.
        *self.written_bytes += 4_096;
        Ok(())
    }
}

impl Drop for ViewTx<'_> {
    fn drop(&mut self) {
        if !self.writer.connection.is_autocommit() {
            // If even this fails, the next one begins with it and says so.
            let _ = self.writer.connection.execute_batch("ROLLBACK");
        }
    }
}

/// Returns whether there are views, and old versions that are still to be deleted.
pub(crate) fn stored_views(connection: &Connection) -> rusqlite::Result<(bool, bool)> {
    let sql = "SELECT EXISTS(SELECT 1 FROM app_view),
        EXISTS(SELECT 1 FROM app_view WHERE role = 2)";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Returns `true` if an error may be over later: another process is in the way, or there is no
/// room.
pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DiskFull)
    )
}

/// Returns why a statement failed.
pub(crate) fn reason_of(error: &rusqlite::Error) -> StopReason {
    match error.sqlite_error_code() {
        Some(ErrorCode::AuthorizationForStatementDenied) => StopReason::Forbidden,
        Some(ErrorCode::OperationInterrupted) => StopReason::TooLong,
        Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ReadOnly
            | ErrorCode::OutOfMemory,
        ) => StopReason::Storage,
        // Of a function, SQLite says so in the text only.
        _ if error.to_string().starts_with("not authorized") => StopReason::Forbidden,
        _ => StopReason::Statement,
    }
}
