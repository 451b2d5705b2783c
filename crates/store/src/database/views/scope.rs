//! Permissions of the SQL of an application: SQLite asks an authorizer about each action of a
//! statement when it is prepared, and looks at the time while it runs
//! (`docs/protocol/views.md#2`).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use p2panda_core::limits::{OPERATION_BYTES_MAX, VIEW_STATEMENT_BYTES_MAX};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

/// Steps of SQLite's machine between two looks at the time.
const LOOK_STEPS: i32 = 1_000;

/// Table-valued functions that read nothing but their arguments.
const FUNCTIONS: [&str; 2] = ["json_each", "json_tree"];

/// Functions that reach out of the database.
const FORBIDDEN_FUNCTIONS: [&str; 2] = ["load_extension", "fts3_tokenizer"];

/// Kind of the statements that a connection runs at the moment.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    /// Those of this crate.
    Node,
    /// Those that make the tables of a view.
    Define { prefix: String },
    /// Those that follow from an entry. A migration reads the tables of the version before.
    Step { prefix: String, old: Option<String> },
    /// Those that read, by the names of the tables without the prefix.
    Read {
        prefix: String,
        shown: HashSet<String>,
    },
}

/// Time that passes.
pub(crate) type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// The mode and the time limit of a connection.
pub(crate) struct Scope {
    mode: Mutex<Mode>,
    /// Tables that are none of a view, in lower case.
    others: Mutex<HashSet<String>>,
    clock: Clock,
    /// In microseconds by the clock.
    deadline_us: AtomicU64,
}

/// Back to the statements of this crate when it is dropped.
pub(crate) struct Entered<'s>(&'s Scope);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        *lock(&self.0.mode) = Mode::Node;
        self.0.deadline_us.store(u64::MAX, Ordering::Relaxed);
    }
}

impl Scope {
    /// Puts a connection under a scope, for as long as it lives.
    pub(crate) fn attach(connection: &mut Connection) -> rusqlite::Result<Arc<Scope>> {
        let start = Instant::now();
        Scope::attach_at(connection, Box::new(move || start.elapsed()))
    }

    /// The same by another clock.
    pub(crate) fn attach_at(
        connection: &mut Connection,
        clock: Clock,
    ) -> rusqlite::Result<Arc<Scope>> {
        let scope = Arc::new(Scope {
            mode: Mutex::new(Mode::Node),
            others: Mutex::default(),
            clock,
            deadline_us: AtomicU64::new(u64::MAX),
        });
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_ATTACHED, 0),
            (Limit::SQLITE_LIMIT_LENGTH, OPERATION_BYTES_MAX as i32),
            (
                Limit::SQLITE_LIMIT_SQL_LENGTH,
                2 * VIEW_STATEMENT_BYTES_MAX as i32,
            ),
        ] {
            connection.set_limit(limit, value).done()?;
        }
        scope.learn_others(connection)?;
        let asked = Arc::clone(&scope);
        let authorizer = move |context: AuthContext<'_>| match asked.allows(&context) {
            true => Authorization::Allow,
            false => Authorization::Deny,
        };
        connection.authorizer(Some(authorizer)).done()?;
        let timed = Arc::clone(&scope);
        let is_over = move || timed.is_over();
        connection
            .progress_handler(LOOK_STEPS, Some(is_over))
            .done()?;
        Ok(scope)
    }

    /// Until the answer is dropped, the connection runs the statements of an application.
    pub(crate) fn enter(&self, mode: Mode) -> Entered<'_> {
        *lock(&self.mode) = mode;
        Entered(self)
    }

    /// The time that limits are compared with.
    pub(crate) fn now(&self) -> Duration {
        (self.clock)()
    }

    /// Statements are interrupted when so much time has passed from now on.
    pub(crate) fn limit(&self, time: Duration) {
        self.limit_from(self.now(), time);
    }

    /// The same, counted from a moment.
    pub(crate) fn limit_from(&self, now: Duration, time: Duration) {
        let end = now.saturating_add(time);
        let end_us = u64::try_from(end.as_micros()).unwrap_or(u64::MAX);
        self.deadline_us.store(end_us, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over_at(self.now())
    }

    pub(crate) fn is_over_at(&self, now: Duration) -> bool {
        let deadline_us = self.deadline_us.load(Ordering::Relaxed);
        deadline_us != u64::MAX && now.as_micros() > u128::from(deadline_us)
    }

    fn learn_others(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT lower(name) FROM sqlite_master WHERE type = 'table'";
        let mut statement = connection.prepare(sql)?;
        let names = statement.query_map([], |row| row.get(0))?;
        let mut others = names.collect::<Result<HashSet<String>, _>>()?;
        others.retain(|name| !is_of_a_view(name));
        *lock(&self.others) = others;
        Ok(())
    }

    fn allows(&self, context: &AuthContext<'_>) -> bool {
        match &*lock(&self.mode) {
            Mode::Node => true,
            Mode::Define { prefix } => may_define(context, prefix),
            Mode::Step { prefix, old } => {
                let reads = |table: &str| {
                    table.starts_with(prefix.as_str())
                        || old
                            .as_ref()
                            .is_some_and(|old| table.starts_with(old.as_str()))
                };
                let writes = |table: &str| table.starts_with(prefix.as_str());
                in_main(context) && self.may_run(context, &reads, &writes)
            }
            Mode::Read { prefix, shown } => {
                let in_main = context.database_name == Some("main");
                let reads = |table: &str| {
                    table.starts_with(prefix.as_str()) || (!in_main && shown.contains(table))
                };
                self.may_run(context, &reads, &|_| false)
            }
        }
    }

    fn may_run(
        &self,
        context: &AuthContext<'_>,
        reads: &dyn Fn(&str) -> bool,
        writes: &dyn Fn(&str) -> bool,
    ) -> bool {
        match context.action {
            AuthAction::Select | AuthAction::Recursive => true,
            AuthAction::Function { function_name } => {
                !FORBIDDEN_FUNCTIONS.contains(&function_name.to_ascii_lowercase().as_str())
            }
            AuthAction::Read {
                table_name,
                column_name,
            } => {
                reads(table_name)
                    || FUNCTIONS.contains(&table_name)
                    || (column_name.is_empty() && self.is_no_table(context, table_name))
            }
            AuthAction::Insert { table_name }
            | AuthAction::Update { table_name, .. }
            | AuthAction::Delete { table_name } => writes(table_name),
            _ => false,
        }
    }

    /// A statement that reads no column of a table names it as it is written there: what has the name
    /// of no table is a part of the statement.
    fn is_no_table(&self, context: &AuthContext<'_>, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let is_system = ["sqlite_", "pragma_", "dbstat", "bytecode", "tables_used"]
            .iter()
            .any(|system| name.starts_with(system));
        context.database_name.is_none()
            && !is_system
            && !is_of_a_view(&name)
            && !lock(&self.others).contains(&name)
    }
}

/// The tables of a view begin with `v`, a number and `_`.
pub(crate) fn is_of_a_view(name: &str) -> bool {
    let number = name.strip_prefix('v').and_then(|rest| rest.split_once('_'));
    number.is_some_and(|(number, _)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn in_main(context: &AuthContext<'_>) -> bool {
    context
        .database_name
        .is_none_or(|database| database == "main")
}

/// To make a table, SQLite writes the row of its schema.
fn may_define(context: &AuthContext<'_>, prefix: &str) -> bool {
    const SCHEMA: &str = "sqlite_master";
    let is_own = |name: &str| name.starts_with(prefix);
    let is_automatic = |index: &str| {
        let of = index.strip_prefix("sqlite_autoindex_");
        of.is_some_and(is_own)
    };
    in_main(context)
        && match context.action {
            AuthAction::CreateTable { table_name } => is_own(table_name),
            AuthAction::CreateIndex {
                index_name,
                table_name,
            } => is_own(table_name) && (is_own(index_name) || is_automatic(index_name)),
            AuthAction::CreateTrigger {
                trigger_name,
                table_name,
            } => is_own(table_name) && is_own(trigger_name),
            AuthAction::Insert { table_name } | AuthAction::Update { table_name, .. } => {
                table_name == SCHEMA
            }
            AuthAction::Read { table_name, .. } => table_name == SCHEMA || is_own(table_name),
            AuthAction::Reindex { index_name } => is_own(index_name),
            AuthAction::Function { function_name } => {
                !FORBIDDEN_FUNCTIONS.contains(&function_name.to_ascii_lowercase().as_str())
            }
            _ => false,
        }
}

/// Answers in which the versions of rusqlite that this crate takes differ.
trait Outcome {
    fn done(self) -> rusqlite::Result<()>;
}

impl Outcome for () {
    fn done(self) -> rusqlite::Result<()> {
        Ok(())
    }
}

impl Outcome for i32 {
    fn done(self) -> rusqlite::Result<()> {
        Ok(())
    }
}

#[doc(hidden)]
impl<T> Outcome for rusqlite::Result<T> {
    fn done(self) -> rusqlite::Result<()> {
        self.map(drop)
    }
}

/// A lock is never held while something can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
