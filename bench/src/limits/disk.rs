//! SQLite, and the disk below it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use p2panda::Hash;
use rusqlite::{Connection, params};

use crate::Failure;
use crate::figures::{Row, Stopwatch, percentiles};
use crate::prepare::fresh;

/// A rowid table: without one, rows of 1 KiB spill to overflow pages.
const SCHEMA: &str = "
    CREATE TABLE operation (
        id BLOB NOT NULL, author INTEGER NOT NULL, seq INTEGER NOT NULL,
        header BLOB NOT NULL, body BLOB
    );
    CREATE UNIQUE INDEX operation_by_log ON operation (author, seq);
    CREATE UNIQUE INDEX operation_by_id ON operation (id);";
const INSERT: &str = "INSERT OR IGNORE INTO operation VALUES (?, 1, ?, ?, ?)";
const HEADER_BYTES: usize = 220;
const BATCH_ROWS: usize = 1_000;
/// Bytes of one write to a file.
const BLOCK_BYTES: usize = 4_096;

/// Rows found by id and by place in the log: inserted in batches, then read in order.
pub fn rows(root: &Path, n: usize, payload_bytes: usize) -> Result<(), Failure> {
    let dir = fresh(root, "limit")?;
    let mut connection = open(&dir, "NORMAL")?;
    let (header, body) = (vec![1u8; HEADER_BYTES], vec![2u8; payload_bytes]);
    let ids: Vec<_> = (0..n).map(id).collect();
    let watch = Stopwatch::start();
    for (batch, ids) in ids.chunks(BATCH_ROWS).enumerate() {
        let tx = connection.transaction()?;
        {
            let mut insert = tx.prepare_cached(INSERT)?;
            for (row, id) in ids.iter().enumerate() {
                let seq = (batch * BATCH_ROWS + row) as i64;
                insert.execute(params![id.as_bytes(), seq, header, body])?;
            }
        }
        tx.commit()?;
    }
    Row::new("limit-sqlite-insert", n, payload_bytes, watch.seconds()).print();

    let watch = Stopwatch::start();
    let sql = "SELECT id, header, body FROM operation WHERE author = 1 ORDER BY seq";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let header = row.get_ref(1)?.as_blob().map_or(0, <[u8]>::len);
        bytes += header + row.get_ref(2)?.as_blob().map_or(0, <[u8]>::len);
    }
    Row::new("limit-sqlite-read", n, payload_bytes, watch.seconds())
        .with("bytes", bytes)
        .print();
    Ok(std::fs::remove_dir_all(dir)?)
}

/// A commit per row that a power cut does not undo, and a bare write and sync.
pub fn commits(root: &Path, n: usize) -> Result<(), Failure> {
    let dir = fresh(root, "limit")?;
    commit_rows(&dir, n, "limit-commit", || ())?;
    let mut file = File::create(dir.join("blocks"))?;
    let watch = Stopwatch::start();
    for _ in 0..n {
        file.write_all(&[0; BLOCK_BYTES])?;
        file.sync_data()?;
    }
    Row::new("limit-fsync", n, BLOCK_BYTES, watch.seconds()).print();
    Ok(std::fs::remove_dir_all(dir)?)
}

/// Measures how long this many such commits take.
pub fn commit_seconds(root: &Path, n: usize) -> Result<f64, Failure> {
    let dir = fresh(root, "limit")?;
    let seconds = commit_rows(&dir, n, "limit-commit", || ())?;
    std::fs::remove_dir_all(dir)?;
    Ok(seconds)
}

/// The same commits with time in between, in which disk and processor fall idle.
pub fn paced_commits(root: &Path, n: usize, interval: Duration) -> Result<(), Failure> {
    let dir = fresh(root, "limit")?;
    let mut next = Instant::now();
    commit_rows(&dir, n, "limit-commit-paced", || {
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    })?;
    Ok(std::fs::remove_dir_all(dir)?)
}

fn commit_rows(
    dir: &Path,
    n: usize,
    name: &str,
    mut before_each: impl FnMut(),
) -> Result<f64, Failure> {
    let connection = open(dir, "FULL")?;
    let (header, body) = (vec![1u8; HEADER_BYTES], vec![2u8; 100]);
    let mut waits_ms = Vec::with_capacity(n);
    let watch = Stopwatch::start();
    for number in 0..n {
        before_each();
        let started = Stopwatch::start();
        let mut insert = connection.prepare_cached(INSERT)?;
        insert.execute(params![id(number).as_bytes(), number as i64, header, body])?;
        waits_ms.push(started.seconds() * 1e3);
    }
    let seconds = watch.seconds();
    Row::new(name, n, 100, seconds)
        .with("wait_ms", percentiles(waits_ms))
        .print();
    Ok(seconds)
}

fn open(dir: &Path, synchronous: &str) -> Result<Connection, Failure> {
    std::fs::create_dir_all(dir)?;
    let connection = Connection::open(dir.join("limit.sqlite"))?;
    connection.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         PRAGMA cache_size = -65536;"
    ))?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

fn id(number: usize) -> Hash {
    Hash::digest(&(number as u64).to_le_bytes())
}
