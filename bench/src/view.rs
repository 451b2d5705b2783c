//! Views: one insert per message, built from what is stored, and while messages come in.

use std::path::Path;

use futures_lite::stream;
use p2panda::{ImportedOperation, Node, View};
use rusqlite::{Connection, params};

use crate::Failure;
use crate::figures::{Row, Stopwatch};
use crate::prepare::{self, Logs, builder, expect_stored, fresh, imported, topic};

const TABLE: &str = "CREATE TABLE {view}note(offset INTEGER PRIMARY KEY, body BLOB NOT NULL)";
const INSERT: &str = "INSERT INTO {view}note VALUES(?1, ?2)";
const BATCH_ROWS: usize = 1_000;

/// A view of everything that is stored, next to the same rows in a database of their own.
pub async fn rebuild(root: &Path, stored: Logs) -> Result<(), Failure> {
    let raw_seconds = raw(root, stored.n, stored.payload_bytes)?;
    let dir = stored.copy(root, "view")?;
    let node = builder(&dir).spawn().await?;
    let watch = Stopwatch::start();
    let view = start(&node).await?;
    view.caught_up().await?;
    let row = Row::new(
        "view-rebuild",
        stored.n,
        stored.payload_bytes,
        watch.seconds(),
    );
    let (row, seconds) = (row.of_process(&watch), watch.seconds());
    expect_stored(stored.n, rows(&view).await?)?;
    node.shutdown().await?;
    row.with("raw_seconds", raw_seconds)
        .with("of_raw", raw_seconds / seconds)
        .print();
    Ok(prepare::remove(&dir)?)
}

/// Messages that are brought while a view follows, until it has applied them, next to the same
/// without one.
pub async fn live(root: &Path, stored: Logs, n: usize) -> Result<(), Failure> {
    let plain_seconds = bring(root, stored, n, false).await?;
    let seconds = bring(root, stored, n, true).await?;
    Row::new("view-live", n, stored.payload_bytes, seconds)
        .with("plain_seconds", plain_seconds)
        .with("of_plain", plain_seconds / seconds)
        .print();
    Ok(())
}

async fn bring(root: &Path, stored: Logs, n: usize, with_view: bool) -> Result<f64, Failure> {
    let dir = stored.copy(root, "view-live")?;
    let operations: Vec<ImportedOperation> = stored
        .operations_after(&dir)?
        .take(n)
        .map(|operation| operation.map(imported))
        .collect::<Result<_, _>>()?;
    let node = builder(&dir).spawn().await?;
    let view = match with_view {
        true => Some(start(&node).await?),
        false => None,
    };
    let watch = Stopwatch::start();
    let report = node.import(topic(0), stream::iter(operations)).await?;
    if let Some(view) = &view {
        view.caught_up().await?;
    }
    let seconds = watch.seconds();
    expect_stored(n, report.stored)?;
    if let Some(view) = &view {
        expect_stored(stored.n + n, rows(view).await?)?;
    }
    node.shutdown().await?;
    prepare::remove(&dir)?;
    Ok(seconds)
}

async fn start(node: &Node) -> Result<View, Failure> {
    let view = node.view("notes", 1).topics([topic(0)]).table(TABLE);
    let view = view.apply(|step, message| {
        let body = message.raw().into();
        step.execute(INSERT, [(message.offset() as i64).into(), body]);
        Ok(())
    });
    Ok(view.start().await?)
}

async fn rows(view: &View) -> Result<usize, Failure> {
    let count = view.read(|tables| tables.query("SELECT count(*) FROM note", []));
    let count = count.await?;
    let count = count.first().and_then(|row| row.integer(0));
    Ok(count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(0))
}

/// The same rows by SQLite alone, in batches.
fn raw(root: &Path, n: usize, payload_bytes: usize) -> Result<f64, Failure> {
    let dir = fresh(root, "view-raw")?;
    std::fs::create_dir_all(&dir)?;
    let mut connection = Connection::open(dir.join("raw.sqlite"))?;
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")?;
    connection.execute_batch(&TABLE.replace("{view}", ""))?;
    let (insert, body) = (INSERT.replace("{view}", ""), vec![2u8; payload_bytes + 2]);
    let numbers: Vec<i64> = (0..n as i64).collect();
    let watch = Stopwatch::start();
    for batch in numbers.chunks(BATCH_ROWS) {
        let tx = connection.transaction()?;
        {
            let mut insert = tx.prepare_cached(&insert)?;
            for number in batch {
                insert.execute(params![number, body])?;
            }
        }
        tx.commit()?;
    }
    let seconds = watch.seconds();
    drop(connection);
    std::fs::remove_dir_all(dir)?;
    Ok(seconds)
}
