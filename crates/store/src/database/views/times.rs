//! Time limits of the statements of a view, by a clock that the test sets
//! (`docs/protocol/views.md`).
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use p2panda_core::Topic;
use p2panda_core::limits::{VIEW_DEFINITION_TIME_MAX, VIEW_ENTRY_TIME_MAX, VIEW_READ_TIME_MAX};

use crate::database::filter::Filter;
use crate::database::views::connection::ViewWriter;
use crate::database::views::scope::Scope;
use crate::database::views::step::StepEnd;
use crate::database::views::{
    OpenedView, Sql, Statement, StopReason, ViewDefinition, ViewError, ViewStep,
};
use crate::database::writer::Database;

/// Long enough for SQLite to inspect the time, which it does now and then.
const LONG: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    SELECT max(i) FROM n";
const TABLE: &str = "CREATE TABLE {view}number(i INTEGER)";
const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    INSERT INTO {view}number SELECT i FROM n";
const ONE: Duration = Duration::from_micros(1);

/// The first look at it says zero, and all later ones what it is set to.
#[derive(Clone, Default)]
struct TestClock {
    later_us: Arc<AtomicU64>,
    looks: Arc<AtomicU64>,
}

impl TestClock {
    fn set(&self, later: Duration) {
        self.later_us
            .store(later.as_micros() as u64, Ordering::Relaxed);
        self.looks.store(0, Ordering::Relaxed);
    }

    fn attach(&self, connection: &mut rusqlite::Connection) -> rusqlite::Result<Arc<Scope>> {
        let clock = self.clone();
        let read = move || match clock.looks.fetch_add(1, Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_micros(clock.later_us.load(Ordering::Relaxed)),
        };
        Scope::attach_at(connection, Box::new(read))
    }
}

/// A database whose views are written by this clock.
fn database(dir: &std::path::Path, clock: &TestClock) -> Database {
    let path = dir.join("p2panda.sqlite");
    let mut database = Database::open(&path).unwrap();
    let attach = |connection: &mut _| clock.attach(connection);
    database.views = Some(ViewWriter::open_with(&path, attach).unwrap());
    database
}

fn definition(name: &str, statements: &[&str]) -> ViewDefinition {
    ViewDefinition {
        name: name.to_owned(),
        version: 1,
        topics: vec![Topic::from_bytes([1; 32])],
        statements: statements.iter().map(ToString::to_string).collect(),
        filter: Filter::default(),
    }
}

fn open(database: &mut Database) -> OpenedView {
    let made = database.open_view(&definition("notes", &[TABLE]));
    made.unwrap().unwrap()
}

#[test]
fn the_tables_of_a_view_are_made_in_one_second_or_not_at_all() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let mut database = database(dir.path(), &clock);
    let long = definition("notes", &[TABLE, "CREATE TABLE {view}more(i INTEGER)"]);
    clock.set(VIEW_DEFINITION_TIME_MAX + ONE);
    let refused = database.open_view(&long).unwrap();
    assert_eq!(refused, Err(ViewError::TooLong));
    let listed = rusqlite::Connection::open(dir.path().join("p2panda.sqlite")).unwrap();
    let tables = || -> i64 {
        let sql = "SELECT count(*) FROM sqlite_master WHERE name GLOB 'v[0-9]*'";
        listed.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(tables(), 0);
    clock.set(VIEW_DEFINITION_TIME_MAX);
    assert!(database.open_view(&long).unwrap().is_ok());
    assert_eq!(tables(), 2);
}

#[test]
fn the_statements_of_a_read_have_ten_seconds_together() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let mut database = database(dir.path(), &TestClock::default());
    open(&mut database);
    let readers = database.readers().views();
    let mut connection = readers
        .open_with(|connection| clock.attach(connection))
        .unwrap();
    for (passed, is_over) in [
        (VIEW_READ_TIME_MAX, false),
        (VIEW_READ_TIME_MAX + ONE, true),
    ] {
        clock.set(Duration::ZERO);
        let read = connection.read("notes", |tables| {
            // The first one takes no time; the second begins when that has passed.
            tables.query(LONG, [])?;
            clock
                .later_us
                .store(passed.as_micros() as u64, Ordering::Relaxed);
            tables.query(LONG, [])
        });
        assert_eq!(read.unwrap().err(), is_over.then_some(ViewError::TooLong));
    }
    // The next read has a time of its own.
    clock.set(VIEW_READ_TIME_MAX);
    let read = connection.read("notes", |tables| tables.query(LONG, []));
    assert!(read.unwrap().is_ok());
}

#[test]
fn the_statements_of_an_entry_have_a_tenth_of_a_second_together() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), TestClock::default());
    let mut database = database(dir.path(), &clock);
    let key = open(&mut database).key;
    let step = |after: u64| {
        let sql = Sql::new(key, None).of(FILL);
        let parameters = Vec::new();
        ViewStep {
            after,
            until: after + 1,
            statements: vec![Statement { sql, parameters }],
            entries: vec![(after + 1, 1)],
        }
    };
    clock.set(VIEW_ENTRY_TIME_MAX);
    assert_eq!(database.step_view(key, &step(0), 0).unwrap(), StepEnd::Done);
    clock.set(VIEW_ENTRY_TIME_MAX + ONE);
    let StepEnd::Stopped(stop) = database.step_view(key, &step(1), 0).unwrap() else {
        panic!("it took too long");
    };
    assert_eq!((stop.reason, stop.offset), (StopReason::TooLong, 2));
}
