//! Promises of `docs/protocol/views.md` that need no node: what a view may do, what becomes of one that
//! does anything else, and what swap and deletion leave.

use std::path::Path;

use p2panda_core::Topic;
use p2panda_core::limits::{
    OPERATION_BYTES_MAX, VIEW_DEFINITION_STATEMENTS_MAX, VIEW_ERROR_BYTES_MAX, VIEW_NAME_BYTES_MAX,
    VIEW_STATEMENT_BYTES_MAX, VIEW_TOPICS_MAX, VIEWS_MAX,
};
use p2panda_store::{
    Database, Durability, Fault, Filter, OpenedView, Row, Sql, Statement, StepEnd, StopReason,
    Swap, Value, ViewDefinition, ViewError, ViewKey, ViewStep, ViewStop,
};

use crate::{Author, TOPIC};

const TABLES: [&str; 2] = [
    "CREATE TABLE {view}note(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE {view}seen(author TEXT, seq INTEGER, PRIMARY KEY(author, seq)) WITHOUT ROWID",
];

fn definition(name: &str, version: u32, statements: &[&str]) -> ViewDefinition {
    ViewDefinition {
        name: name.to_owned(),
        version,
        topics: vec![TOPIC],
        statements: statements.iter().map(ToString::to_string).collect(),
        filter: Filter::default(),
    }
}

fn open(database: &mut Database, version: u32) -> OpenedView {
    let definition = definition("notes", version, &TABLES);
    database.open_view(&definition).unwrap().unwrap()
}

fn database(dir: &Path) -> Database {
    Database::open(&dir.join("p2panda.sqlite")).unwrap()
}

/// One entry per group of statements, from this offset on.
fn step(key: ViewKey, after: u64, first: u64, entries: &[&[&str]]) -> ViewStep {
    let mut sql = Sql::new(key, None);
    let mut step = ViewStep {
        after,
        ..ViewStep::default()
    };
    for (offset, statements) in (first..).zip(entries) {
        step.statements
            .extend(statements.iter().map(|statement| Statement {
                sql: sql.of(statement),
                parameters: Vec::new(),
            }));
        step.entries.push((offset, step.statements.len()));
        step.until = offset;
    }
    step
}

fn run(database: &mut Database, key: ViewKey, first: u64, entries: &[&[&str]]) -> StepEnd {
    let views = database.readers().open().unwrap().views().unwrap();
    let after = views.iter().find(|view| view.key == key);
    let after = after.map_or(0, |view| view.position);
    let step = step(key, after, first, entries);
    let mut applied = 0;
    loop {
        match database.step_view(key, &step, applied).unwrap() {
            StepEnd::Part(more) => applied += more,
            end => return end,
        }
    }
}

fn read(database: &Database, sql: &str) -> Result<Vec<Row>, ViewError> {
    let mut connection = database.readers().views().open().unwrap();
    let read = connection.read("notes", |reader| reader.query(sql, []));
    read.unwrap()
}

fn texts(database: &Database) -> Vec<String> {
    let rows = read(database, "SELECT text FROM note ORDER BY id").unwrap();
    rows.iter()
        .map(|row| row.text(0).unwrap().to_owned())
        .collect()
}

fn position(database: &Database, version: u32) -> u64 {
    let views = database.readers().open().unwrap().views().unwrap();
    views
        .iter()
        .find(|view| view.version == version)
        .unwrap()
        .position
}

const ONE: &[&str] = &["INSERT INTO {view}note VALUES(1, 'one')"];
const TWO: &[&str] = &["INSERT INTO {view}note VALUES(2, 'two')"];

#[test]
fn a_view_keeps_to_its_own_tables() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let other = definition("other", 1, &["CREATE TABLE {view}secret(text TEXT)"]);
    let other = database.open_view(&other).unwrap().unwrap();
    let secret = Sql::new(other.key, None).of("SELECT text FROM {view}secret");
    let theirs = secret.split_whitespace().last().unwrap().to_owned();
    let OpenedView { key, .. } = open(&mut database, 1);
    let before = tables(dir.path());
    let of_another = [
        format!("SELECT text FROM {theirs}"),
        format!("SELECT count(*) FROM {theirs}"),
        format!("INSERT INTO {theirs} VALUES('mine')"),
        format!("DROP TABLE {theirs}"),
    ];
    let forbidden = [
        "SELECT body FROM operation",
        "SELECT count(*) FROM operation",
        "SELECT count(*) FROM main.OPERATION",
        "SELECT sql FROM sqlite_master",
        "SELECT count(*) FROM sqlite_master",
        "SELECT count(*) FROM sqlite_temp_master",
        "INSERT INTO {view}note SELECT 9, hex(value) FROM secret",
        "INSERT INTO {view}note SELECT 9, value FROM meta",
        "INSERT INTO ack VALUES(1, 1, 1)",
        "UPDATE app_view SET position = 9",
        "UPDATE {view}note SET text = (SELECT group_concat(name) FROM consumer)",
        "DELETE FROM topic",
        "DELETE FROM operation WHERE 0",
        "WITH x AS (SELECT body FROM operation) SELECT count(*) FROM x",
        "CREATE TABLE {view}more(a)",
        "CREATE TABLE more(a)",
        "CREATE TEMP TABLE {view}more(a)",
        "CREATE INDEX {view}more ON {view}note(text)",
        "CREATE VIEW {view}more AS SELECT * FROM {view}note",
        "CREATE TRIGGER {view}t AFTER INSERT ON {view}note BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE {view}more USING fts5(a)",
        "DROP TABLE {view}note",
        "ALTER TABLE {view}note RENAME TO {view}other",
        "ALTER TABLE {view}note ADD COLUMN a",
        "REINDEX",
        "ANALYZE",
        "ATTACH 'elsewhere.sqlite' AS elsewhere",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO 'elsewhere.sqlite'",
        "PRAGMA user_version = 1",
        "PRAGMA synchronous = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA wal_checkpoint",
        "SELECT name FROM pragma_table_info('operation')",
        "SELECT count(*) FROM pragma_database_list",
        "SELECT count(*) FROM dbstat",
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "SAVEPOINT a",
        "RELEASE a",
        "ROLLBACK TO a",
        "SELECT load_extension('./evil')",
        "SELECT fts3_tokenizer('simple')",
        "INSERT INTO {view}note VALUES(9, 'nine'); DELETE FROM topic",
    ];
    let forbidden = forbidden.iter().map(ToString::to_string).chain(of_another);
    for sql in forbidden {
        let StepEnd::Stopped(stop) = run(&mut database, key, 1, &[&[&sql]]) else {
            panic!("{sql}");
        };
        let several = sql.contains("; DELETE");
        // VACUUM looks at the transaction before the authorizer is asked.
        let vacuum = sql.starts_with("VACUUM");
        let is_named = [StopReason::Forbidden, StopReason::Statement].contains(&stop.reason);
        assert!(is_named, "{sql}: {stop:?}");
        let forbids = stop.reason == StopReason::Forbidden;
        assert!(forbids || several || vacuum, "{sql}: {stop:?}");
        assert_eq!(tables(dir.path()), before, "{sql}");
        database.resume_view(key, false).unwrap().unwrap();
    }
    assert_eq!(position(&database, 1), 0);
    assert!(texts(&database).is_empty());
    assert!(!dir.path().join("elsewhere.sqlite").exists());
    // The database of the node is as it was.
    let mut tx = database.begin(Durability::Full).unwrap();
    tx.topic(&TOPIC).unwrap();
    tx.commit().unwrap();
}

#[test]
fn a_view_may_change_and_read_its_own_tables_in_any_way() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let OpenedView { key, .. } = open(&mut database, 1);
    let allowed: &[&[&str]] = &[
        ONE,
        TWO,
        &["INSERT INTO {view}note(id, text) VALUES(2, 'zwei')
            ON CONFLICT(id) DO UPDATE SET text = excluded.text || ' '"],
        &[
            "UPDATE {view}note SET text = trim(text)",
            "DELETE FROM {view}note WHERE id = 1",
        ],
        &["INSERT OR IGNORE INTO {view}seen VALUES('ada', 1)"],
        &[
            "WITH x AS (SELECT text FROM {view}note), y(n) AS (SELECT count(*) FROM x)
            INSERT INTO {view}note SELECT 3, 'counted ' || n FROM y",
        ],
        &[
            "WITH RECURSIVE n(i) AS (SELECT 4 UNION ALL SELECT i + 1 FROM n WHERE i < 6)
            INSERT INTO {view}note SELECT i, 'number ' || i FROM n",
        ],
        &["INSERT INTO {view}note SELECT 10 + value, 'json ' || value FROM json_each('[1, 2]')"],
    ];
    assert_eq!(run(&mut database, key, 1, allowed), StepEnd::Done);
    let expected = [
        "zwei",
        "counted 1",
        "number 4",
        "number 5",
        "number 6",
        "json 1",
        "json 2",
    ];
    assert_eq!(texts(&database), expected);
    assert_eq!(position(&database, 1), 8);
}

#[test]
fn only_prefixed_tables_indices_and_triggers_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let before = tables(dir.path());
    for forbidden in [
        "CREATE TABLE note(text)",
        "CREATE TABLE v99_note(text)",
        "CREATE TABLE {view}a AS SELECT * FROM operation",
        "CREATE TABLE {view}a AS SELECT sql FROM sqlite_master",
        "CREATE TEMP TABLE {view}a(text)",
        "CREATE INDEX {view}a ON operation(seq)",
        "CREATE INDEX a ON {view}note(text)",
        "CREATE TRIGGER {view}a AFTER INSERT ON operation BEGIN DELETE FROM {view}note; END",
        "CREATE TRIGGER a AFTER INSERT ON {view}note BEGIN DELETE FROM {view}note; END",
        "CREATE VIEW {view}a AS SELECT * FROM operation",
        "CREATE VIRTUAL TABLE {view}a USING fts5(text)",
        "DROP TABLE operation",
        "ALTER TABLE operation ADD COLUMN more",
        "INSERT INTO {view}note VALUES(1, 'one')",
        "DELETE FROM operation",
        "PRAGMA user_version = 99",
        "ATTACH ':memory:' AS a",
        "BEGIN",
        "COMMIT",
        "SELECT 1",
        "nonsense",
    ] {
        let made = [TABLES[0], forbidden];
        let refused = database.open_view(&definition("notes", 1, &made)).unwrap();
        let refused = refused.unwrap_err();
        let is_named = matches!(refused, ViewError::Forbidden(_) | ViewError::Statement(_));
        assert!(is_named, "{forbidden}: {refused}");
        assert_eq!(tables(dir.path()), before, "{forbidden}");
    }
    let made = [
        TABLES[0],
        "CREATE TABLE {view}log(text TEXT DEFAULT (upper('none')), at INTEGER CHECK(at > 0))",
        "CREATE INDEX {view}by_text ON {view}note(lower(text)) WHERE id > 1",
        "CREATE TRIGGER {view}t AFTER INSERT ON {view}note BEGIN
            INSERT INTO {view}log(text, at) VALUES(new.text, 1); END",
        "CREATE TRIGGER {view}u AFTER DELETE ON {view}note BEGIN DELETE FROM operation; END",
    ];
    let opened = database
        .open_view(&definition("notes", 1, &made))
        .unwrap()
        .unwrap();
    assert_eq!(run(&mut database, opened.key, 1, &[ONE]), StepEnd::Done);
    let rows = read(&database, "SELECT text, at FROM log").unwrap();
    assert_eq!(rows[0].values(), [Value::from("one"), Value::from(1)]);
    // What a trigger does is asked about as well.
    let delete: &[&[&str]] = &[&["DELETE FROM {view}note"]];
    let StepEnd::Stopped(stop) = run(&mut database, opened.key, 2, delete) else {
        panic!("a trigger has written into a table of the node");
    };
    assert_eq!(stop.reason, StopReason::Forbidden);
}

#[test]
fn a_statement_that_ends_the_transaction_stops_the_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let made = [
        TABLES[0],
        "CREATE TRIGGER {view}t BEFORE INSERT ON {view}note WHEN new.id = 13 BEGIN
            SELECT RAISE(ROLLBACK, 'unlucky'); END",
    ];
    let opened = database
        .open_view(&definition("notes", 1, &made))
        .unwrap()
        .unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        INSERT INTO {view}note SELECT i + 100, 'number ' || i FROM n";
    let endless_read = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        INSERT INTO {view}note SELECT 100, max(i) FROM n";
    let cases = [
        (
            "INSERT OR ROLLBACK INTO {view}note VALUES(1, 'again')",
            StopReason::Statement,
        ),
        (
            "INSERT INTO {view}note VALUES(13, 'thirteen')",
            StopReason::Statement,
        ),
        (
            "INSERT OR FAIL INTO {view}note VALUES(14, 'f'), (1, 'again')",
            StopReason::Statement,
        ),
        (
            "INSERT OR REPLACE INTO {view}note VALUES(15, NULL)",
            StopReason::Statement,
        ),
        (
            "INSERT INTO {view}note VALUES(16, zeroblob(1000000000))",
            StopReason::Statement,
        ),
        ("SELECT text FROM {view}note", StopReason::Statement),
        (endless, StopReason::TooLong),
        (endless_read, StopReason::TooLong),
    ];
    assert_eq!(run(&mut database, opened.key, 1, &[ONE]), StepEnd::Done);
    for (number, (sql, reason)) in cases.into_iter().enumerate() {
        let number = number as u64;
        let text = format!(
            "INSERT INTO {{view}}note VALUES({}, 'before {number}')",
            20 + number
        );
        let own = format!(
            "UPDATE {{view}}note SET text = 'undone' WHERE id = {}",
            20 + number
        );
        let first = 10 * (number + 1);
        // Others' work, acknowledged while the view works: it stays no matter what the view does.
        let mut tx = database.begin(Durability::Full).unwrap();
        tx.topic(&Topic::from_bytes([number as u8; 32])).unwrap();
        tx.commit().unwrap();
        let entries: &[&[&str]] = &[&[&text], &[&own, sql], TWO];
        let end = run(&mut database, opened.key, first, entries);
        let StepEnd::Stopped(stop) = end else {
            panic!("{sql}: {end:?}");
        };
        assert_eq!(
            (stop.reason, stop.offset),
            (reason, first + 1),
            "{sql}: {}",
            stop.detail
        );
        assert_eq!(position(&database, 1), first, "{sql}");
        let kept = texts(&database);
        assert_eq!(kept.len(), 2 + number as usize, "{sql}");
        assert_eq!(kept.last().unwrap(), &format!("before {number}"), "{sql}");
        let topics = database
            .readers()
            .open()
            .unwrap()
            .topics(None, 100)
            .unwrap();
        assert_eq!(topics.len(), 1 + number as usize, "{sql}");
        // It stays where it is until it is told otherwise.
        let still = run(&mut database, opened.key, first + 1, &[TWO]);
        assert_eq!(still, StepEnd::Stopped(stop), "{sql}");
        assert_eq!(
            database.resume_view(opened.key, true).unwrap(),
            Ok(first + 1)
        );
    }
}

#[test]
fn a_full_disk_and_a_lock_pass_and_the_step_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let OpenedView { key, .. } = open(&mut database, 1);
    let both = step(key, 0, 1, &[ONE, TWO]);
    for fault in [
        Fault::Busy,
        Fault::Full { after: 0 },
        Fault::Full { after: 1 },
    ] {
        database.set_fault(Some(fault));
        let error = database.step_view(key, &both, 0).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        database.set_fault(None);
        assert!(texts(&database).is_empty());
        assert_eq!(position(&database, 1), 0);
    }
    assert_eq!(database.step_view(key, &both, 0).unwrap(), StepEnd::Done);
    assert_eq!(texts(&database), ["one", "two"]);
    // Of a step that follows on another position nothing is applied.
    let late = step(key, 1, 2, &[TWO]);
    assert_eq!(database.step_view(key, &late, 0).unwrap(), StepEnd::Gone);
    // A broken one stops the view and not who asked.
    database.set_fault(Some(Fault::Broken));
    let end = database
        .step_view(key, &step(key, 2, 3, &[&[]]), 0)
        .unwrap();
    let StepEnd::Stopped(stop) = end else {
        panic!("{end:?}");
    };
    assert_eq!((stop.reason, stop.offset), (StopReason::Storage, 3));
}

#[test]
fn a_read_sees_its_own_tables_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    // Tables with the names of some of the node's.
    let made = [TABLES[0], "CREATE TABLE {view}operation(text TEXT)"];
    let opened = database
        .open_view(&definition("notes", 1, &made))
        .unwrap()
        .unwrap();
    let own: &[&str] = &["INSERT INTO {view}operation VALUES('mine')"];
    assert_eq!(
        run(&mut database, opened.key, 1, &[ONE, own]),
        StepEnd::Done
    );
    let rows = read(&database, "SELECT o.text, count(*) FROM operation o, note").unwrap();
    assert_eq!(rows[0].values(), [Value::from("mine"), Value::from(1)]);
    let rows = read(&database, "SELECT count(*) FROM operation").unwrap();
    assert_eq!(rows[0].integer(0), Some(1));
    for forbidden in [
        "SELECT count(*) FROM main.operation",
        "SELECT body FROM main.operation",
        "SELECT * FROM topic",
        "SELECT count(*) FROM topic",
        "SELECT * FROM app_view",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM temp.sqlite_master",
        "SELECT count(*) FROM sqlite_temp_schema",
        "INSERT INTO note VALUES(2, 'two')",
        "DELETE FROM {view}note",
        "CREATE TEMP TABLE a(b)",
        "DROP VIEW note",
        "PRAGMA query_only = 0",
        "ATTACH ':memory:' AS a",
        "BEGIN",
        "COMMIT",
    ] {
        let refused = read(&database, forbidden);
        assert!(
            matches!(refused, Err(ViewError::Forbidden(_))),
            "{forbidden}: {refused:?}"
        );
    }
    assert!(matches!(
        read(&database, "SELECT nothing"),
        Err(ViewError::Statement(_))
    ));
}

#[test]
fn a_caught_up_version_answers_and_old_tables_go_in_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let old = open(&mut database, 1);
    assert!(old.answers);
    let rows: &[&str] = &[
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
            WHERE i < 3000) INSERT INTO {view}note SELECT i, 'old ' || i FROM n",
        "INSERT INTO {view}seen SELECT text, id FROM {view}note",
    ];
    assert_eq!(run(&mut database, old.key, 1, &[rows, &[]]), StepEnd::Done);
    let new = open(&mut database, 2);
    assert!(!new.answers);
    assert_eq!(run(&mut database, new.key, 1, &[ONE]), StepEnd::Done);
    assert_eq!(texts(&database).len(), 3000);
    assert_eq!(run(&mut database, new.key, 2, &[TWO]), StepEnd::Done);
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Done));
    assert_eq!(texts(&database), ["one", "two"]);
    assert_eq!(run(&mut database, old.key, 3, &[TWO]), StepEnd::Gone);
    let again = database
        .open_view(&definition("notes", 1, &TABLES))
        .unwrap();
    assert_eq!(again, Err(ViewError::Version { stored: 2 }));

    assert!(database.has_old_views());
    let mut steps = 0;
    while database.delete_old_views().unwrap() {
        steps += 1;
    }
    assert!(steps >= 1);
    assert!(
        !tables(dir.path())
            .iter()
            .any(|name| name.starts_with("v1_"))
    );
    assert_eq!(texts(&database), ["one", "two"]);
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Done));
}

#[test]
fn a_version_is_what_it_was_made_as() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let opened = open(&mut database, 3);
    assert_eq!(run(&mut database, opened.key, 1, &[ONE]), StepEnd::Done);
    database.close().unwrap();
    let mut database = self::database(dir.path());
    let again = open(&mut database, 3);
    assert_eq!((again.key, again.position), (opened.key, 1));
    let mut other_topic = definition("notes", 3, &TABLES);
    other_topic.topics.push(Topic::from_bytes([8; 32]));
    for (wrong, error) in [
        (definition("notes", 3, &TABLES[..1]), ViewError::Conflict),
        (other_topic, ViewError::Conflict),
        (
            definition("notes", 2, &TABLES),
            ViewError::Version { stored: 3 },
        ),
        (definition("", 1, &TABLES), ViewError::InvalidName),
        (definition("a\nb", 1, &TABLES), ViewError::InvalidName),
        (
            definition(&"n".repeat(10_000), 1, &TABLES),
            ViewError::InvalidName,
        ),
        (definition("many", 1, &[TABLES[0]; 65]), ViewError::Limit),
        (
            definition("long", 1, &[&" ".repeat(65_537)]),
            ViewError::Limit,
        ),
    ] {
        assert_eq!(database.open_view(&wrong).unwrap(), Err(error));
    }
    let mut nothing = definition("notes", 4, &TABLES);
    nothing.topics.clear();
    assert_eq!(
        database.open_view(&nothing).unwrap(),
        Err(ViewError::Topics)
    );
    assert_eq!(texts(&database), ["one"]);
    assert_eq!(database.delete_view("notes").unwrap(), Ok(()));
    assert_eq!(
        database.delete_view("notes").unwrap(),
        Err(ViewError::Unknown)
    );
    assert_eq!(read(&database, "SELECT 1"), Err(ViewError::Unknown));
}

#[test]
fn a_version_that_is_built_may_take_over_what_the_old_one_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let old = open(&mut database, 1);
    assert_eq!(run(&mut database, old.key, 1, &[ONE]), StepEnd::Done);
    let copy = "INSERT INTO {view}note SELECT * FROM {old}note";
    let migration = |key| {
        let mut step = ViewStep::default();
        let sql = Sql::new(key, Some(old.key)).of(copy);
        step.statements.push(Statement {
            sql,
            parameters: Vec::new(),
        });
        step.entries.push((0, 1));
        step
    };
    assert_eq!(
        database.migrate_view(old.key, &migration(old.key)).unwrap(),
        Err(ViewError::Unknown)
    );
    let new = open(&mut database, 2);
    let StepEnd::Stopped(stop) = database.step_view(new.key, &migration(new.key), 0).unwrap()
    else {
        panic!("a step has read the tables of another version");
    };
    assert_eq!(stop.reason, StopReason::Forbidden);
    database.resume_view(new.key, false).unwrap().unwrap();
    assert_eq!(
        database.migrate_view(new.key, &migration(new.key)).unwrap(),
        Ok(())
    );
    assert_eq!(run(&mut database, new.key, 1, &[&[]]), StepEnd::Done);
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Done));
    assert_eq!(texts(&database), ["one"]);
}

#[test]
fn a_version_behind_by_a_stored_entry_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let mut author = Author::new(1);
    author.write_into(&mut database, &[b"a", b"b", b"c"]);
    let old = open(&mut database, 1);
    let entries: &[&[&str]] = &[&[], &[], &[]];
    assert_eq!(run(&mut database, old.key, 1, entries), StepEnd::Done);
    let new = open(&mut database, 2);
    assert_eq!(run(&mut database, new.key, 1, &entries[..2]), StepEnd::Done);
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Behind));
    assert_eq!(position(&database, 2), 2);
    // Both continue, the old one first again.
    author.write_into(&mut database, &[b"d"]);
    assert_eq!(run(&mut database, old.key, 4, &[&[]]), StepEnd::Done);
    assert_eq!(run(&mut database, new.key, 3, &[&[]]), StepEnd::Done);
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Behind));
    // What left the feed meanwhile is nothing to wait for. It is a loss.
    let mut tx = database.begin(Durability::Full).unwrap();
    let topic = tx.topic(&TOPIC).unwrap();
    let log = tx.log(topic, &author.key()).unwrap().unwrap();
    assert!(tx.drop_body(topic, log.key, 3).unwrap());
    tx.commit().unwrap();
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Lacks(1)));
    database.accept_view_loss(new.key).unwrap().unwrap();
    assert_eq!(database.swap_view(new.key).unwrap(), Ok(Swap::Done));
}

#[test]
fn each_bound_of_a_definition_holds_at_its_value() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    let topics = |count: usize| -> Vec<Topic> {
        let topics = (0..count as u32).map(|number| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            Topic::from_bytes(bytes)
        });
        topics.collect()
    };
    let named = |name: &str| definition(name, 1, &[]);
    let of_topics = |count| ViewDefinition {
        topics: topics(count),
        ..definition("topics", 1, &[])
    };
    let of_statements = |count: usize| {
        let tables = (0..count).map(|number| format!("CREATE TABLE {{view}}t{number}(a)"));
        let tables: Vec<String> = tables.collect();
        let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
        definition("statements", 1, &tables)
    };
    let of_bytes = |bytes: usize| {
        let statement = "CREATE TABLE {view}a(a)";
        let statement = statement.to_owned() + &" ".repeat(bytes - statement.len());
        definition("bytes", 1, &[&statement])
    };
    for (within, beyond, error) in [
        (
            named(&"n".repeat(VIEW_NAME_BYTES_MAX)),
            named(&"n".repeat(VIEW_NAME_BYTES_MAX + 1)),
            ViewError::InvalidName,
        ),
        (
            of_topics(VIEW_TOPICS_MAX),
            of_topics(VIEW_TOPICS_MAX + 1),
            ViewError::Topics,
        ),
        (
            of_statements(VIEW_DEFINITION_STATEMENTS_MAX),
            of_statements(VIEW_DEFINITION_STATEMENTS_MAX + 1),
            ViewError::Limit,
        ),
        (
            of_bytes(VIEW_STATEMENT_BYTES_MAX),
            of_bytes(VIEW_STATEMENT_BYTES_MAX + 1),
            ViewError::Limit,
        ),
    ] {
        assert_eq!(database.open_view(&beyond).unwrap(), Err(error));
        let opened = database.open_view(&within).unwrap();
        assert!(opened.is_ok(), "{opened:?}");
    }
    // Versions of a database: four are there.
    for number in 4..VIEWS_MAX {
        let view = named(&number.to_string());
        assert!(database.open_view(&view).unwrap().is_ok(), "{number}");
    }
    let more = database.open_view(&named("more")).unwrap();
    assert_eq!(more, Err(ViewError::Limit));
    assert_eq!(database.delete_view("5").unwrap(), Ok(()));
    assert!(database.open_view(&named("more")).unwrap().is_ok());
}

#[test]
fn the_bound_of_a_values_bytes_holds() {
    let dir = tempfile::tempdir().unwrap();
    let mut database = database(dir.path());
    open(&mut database, 1);
    let length = |database: &Database, bytes: usize| {
        read(database, &format!("SELECT length(zeroblob({bytes}))"))
    };
    let most = length(&database, OPERATION_BYTES_MAX).unwrap();
    assert_eq!(most[0].integer(0), Some(OPERATION_BYTES_MAX as i64));
    let more = length(&database, OPERATION_BYTES_MAX + 1);
    assert!(matches!(more, Err(ViewError::Statement(_))), "{more:?}");
}

#[test]
fn what_stopped_a_view_is_kept_up_to_its_bound() {
    for (said, kept) in [
        (VIEW_ERROR_BYTES_MAX, VIEW_ERROR_BYTES_MAX),
        (VIEW_ERROR_BYTES_MAX + 1, VIEW_ERROR_BYTES_MAX),
    ] {
        let stop = ViewStop::new(1, StopReason::Refused, "e".repeat(said));
        assert_eq!(stop.detail.len(), kept);
    }
}

/// All tables, indices and triggers.
fn tables(dir: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(dir.join("p2panda.sqlite")).unwrap();
    let sql = "SELECT name || coalesce(sql, '') FROM sqlite_master ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}
