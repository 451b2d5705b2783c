//! Workloads of one node without a peer: ingest, import, publish, replay, acknowledgements.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::stream;
use p2panda::{Ack, ImportedOperation, Message, NewMessage, Node, Publisher, StartAt};
use p2panda_core::Operation;
use p2panda_engine::{Engine, Outcome, thread};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Failure;
use crate::figures::{Row, Stopwatch, disk_bytes, percentiles, resident_bytes};
use crate::limits::signature;
use crate::prepare::{self, Logs, builder, content, expect_stored, imported, topic};

/// Number of operations that the engine is handed at once.
const BATCH_OPERATIONS: usize = 500;

/// The engine alone: checked operations of logs that a directory holds the beginning of.
pub fn ingest(root: &Path, stored: Logs, n: usize) -> Result<(), Failure> {
    let dir = stored.copy(root, "ingest")?;
    let operations: Vec<Operation> = stored
        .operations_after(&dir)?
        .take(n)
        .collect::<Result<_, _>>()?;
    let before_bytes = if stored.n > 0 { disk_bytes(&dir)? } else { 0 };
    let engine = Engine::open(&dir, prepare::options(Some(&dir)), thread::system_clock()())?;
    let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
    let (sender, answers) = std::sync::mpsc::channel();
    let batches = operations.chunks(BATCH_OPERATIONS).map(|batch| {
        let sender = sender.clone();
        let reply = move |outcomes: Vec<Outcome>| {
            // The receiver outlives the engine.
            let _ = sender.send(stored_of(&outcomes));
        };
        prepare::ingest(topic(0), batch.to_vec(), Some(Box::new(reply)))
    });
    let batches: Vec<_> = batches.collect();
    drop((sender, operations));
    let watch = Stopwatch::start();
    for batch in batches {
        queue.send(batch)?;
    }
    expect_stored(n, answers.iter().sum())?;
    let row = Row::new("ingest", n, stored.payload_bytes, watch.seconds()).of_process(&watch);
    queue.close()?;
    row.with("stored", stored.n)
        .with("authors", stored.authors)
        .with("disk_bytes", disk_bytes(&dir)?.saturating_sub(before_bytes))
        .print();
    Ok(prepare::remove(&dir)?)
}

/// A node that is handed bytes: decode, verify, store.
pub async fn import(root: &Path, stored: Logs, n: usize) -> Result<(), Failure> {
    let dir = stored.copy(root, "import")?;
    let operations: Vec<ImportedOperation> = stored
        .operations_after(&dir)?
        .take(n)
        .map(|operation| operation.map(imported))
        .collect::<Result<_, _>>()?;
    let content_bytes: usize = operations.iter().map(operation_bytes).sum();
    let node = builder(&dir).spawn().await?;
    let watch = Stopwatch::start();
    let report = node.import(topic(0), stream::iter(operations)).await?;
    let row = Row::new("import", n, stored.payload_bytes, watch.seconds()).of_process(&watch);
    expect_stored(n, report.stored)?;
    node.shutdown().await?;
    row.with("stored", stored.n)
        .with("authors", stored.authors)
        .with("content_bytes", content_bytes)
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    Ok(prepare::remove(&dir)?)
}

/// Own messages, that many at the same time, each awaited until it is on the disk.
pub async fn publish(root: &Path, stored: Logs, n: usize, in_flight: usize) -> Result<(), Failure> {
    let dir = stored.copy(root, "publish")?;
    let node = builder(&dir).spawn().await?;
    let (tx, mut rx) = node.stream(topic(0)).start(StartAt::Now).await?;
    let reader = tokio::spawn(async move { while rx.next().await.is_some() {} });
    let watch = Stopwatch::start();
    let waits_ms = publish_all(&tx, stored.payload_bytes, n, in_flight).await?;
    let row = Row::new("publish", n, stored.payload_bytes, watch.seconds()).of_process(&watch);
    node.shutdown().await?;
    reader.await?;
    row.with("stored", stored.n)
        .with("in_flight", in_flight)
        .with("wait_ms", percentiles(waits_ms))
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    Ok(prepare::remove(&dir)?)
}

/// Own messages, this many of them together, awaited until they are on the disk, next to the rate at
/// which this machine signs in the same process.
pub async fn publish_at_once(
    root: &Path,
    stored: Logs,
    n: usize,
    at_once: usize,
) -> Result<(), Failure> {
    let dir = stored.copy(root, "publish")?;
    let node = builder(&dir).spawn().await?;
    let (tx, mut rx) = node.stream(topic(0)).start(StartAt::Now).await?;
    let reader = tokio::spawn(async move { while rx.next().await.is_some() {} });
    let payload_bytes = stored.payload_bytes;
    let mut lots: Vec<Vec<NewMessage>> = Vec::new();
    for first in (0..n).step_by(at_once.max(1)) {
        let numbers = first..(first + at_once).min(n);
        let lot = numbers.map(|number| NewMessage::from(content(payload_bytes, number as u64)));
        lots.push(lot.collect());
    }
    let signed_seconds = signature::sign(n);
    let watch = Stopwatch::start();
    for lot in lots {
        tx.publish_messages(lot).await?;
    }
    let row = Row::new("publish", n, payload_bytes, watch.seconds()).of_process(&watch);
    let of_signatures = signed_seconds / watch.seconds();
    node.shutdown().await?;
    reader.await?;
    row.with("stored", stored.n)
        .with("at_once", at_once)
        .with("of_signatures", of_signatures)
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    Ok(prepare::remove(&dir)?)
}

/// Publishes `n` messages and gives how long each one took, in milliseconds.
async fn publish_all(
    tx: &Publisher,
    payload_bytes: usize,
    n: usize,
    in_flight: usize,
) -> Result<Vec<f64>, Failure> {
    let mut tasks = JoinSet::new();
    for task in 0..in_flight {
        let tx = tx.clone();
        tasks.spawn(async move {
            let mut waits_ms = Vec::new();
            for number in (task..n).step_by(in_flight) {
                let watch = Stopwatch::start();
                tx.publish(content(payload_bytes, number as u64)).await?;
                waits_ms.push(watch.seconds() * 1e3);
            }
            Ok::<_, Failure>(waits_ms)
        });
    }
    let mut waits_ms = Vec::with_capacity(n);
    while let Some(done) = tasks.join_next().await {
        waits_ms.extend(done??);
    }
    Ok(waits_ms)
}

/// A directory opened, and everything in it read by the application.
pub async fn replay(root: &Path, stored: Logs) -> Result<(), Failure> {
    let dir = stored.copy(root, "replay")?;
    let before_bytes = resident_bytes();
    let watch = Stopwatch::start();
    let node = builder(&dir).spawn().await?;
    let open_seconds = watch.seconds();
    let watch = Stopwatch::start();
    let (_tx, mut rx) = node.stream(topic(0)).start(StartAt::Beginning).await?;
    let mut first_seconds = 0.0;
    for number in 0..stored.n {
        rx.next().await.ok_or(Failure::Ended)?;
        if number == 0 {
            first_seconds = watch.seconds();
        }
    }
    Row::new("replay", stored.n, stored.payload_bytes, watch.seconds())
        .of_process(&watch)
        .with("open_seconds", open_seconds)
        .with("first_seconds", first_seconds)
        .with("rss_before_bytes", before_bytes)
        .with("disk_bytes", disk_bytes(&dir)?)
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

/// A consumer that acknowledges each message by itself, that many at the same time.
pub async fn acks(root: &Path, stored: Logs, in_flight: usize) -> Result<(), Failure> {
    let dir = stored.copy(root, "acks")?;
    let node = builder(&dir).spawn().await?;
    let request = node.stream(topic(0)).start(StartAt::Beginning);
    let (_tx, mut rx) = request.ack(Ack::Explicit).await?;
    let room = Arc::new(Semaphore::new(in_flight));
    let mut tasks = JoinSet::new();
    let watch = Stopwatch::start();
    for _ in 0..stored.n {
        let message = rx.next().await.ok_or(Failure::Ended)?;
        if in_flight == 1 {
            message.ack().await?;
            continue;
        }
        let room = Arc::clone(&room).acquire_owned().await;
        tasks.spawn(async move {
            let _room = room;
            ack(message).await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Row::new("acks", stored.n, stored.payload_bytes, watch.seconds())
        .of_process(&watch)
        .with("in_flight", in_flight)
        .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

/// A node with nobody around, as memory and processor time.
pub async fn idle(root: &Path, stored: Logs, seconds: u64) -> Result<(), Failure> {
    let dir = stored.copy(root, "idle")?;
    let node: Node = builder(&dir).spawn().await?;
    let (_tx, _rx) = node.stream(topic(0)).start(StartAt::Now).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let watch = Stopwatch::start();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    Row::new(
        "idle-alone",
        stored.n,
        stored.payload_bytes,
        watch.seconds(),
    )
    .of_process(&watch)
    .with("of_a_core", watch.cpu_seconds() / watch.seconds())
    .with("rss_bytes", resident_bytes())
    .print();
    node.shutdown().await?;
    Ok(prepare::remove(&dir)?)
}

async fn ack(message: Message) -> Result<(), Failure> {
    Ok(message.ack().await?)
}

fn stored_of(outcomes: &[Outcome]) -> usize {
    let stored = |outcome: &&Outcome| matches!(outcome, Outcome::Stored { .. });
    outcomes.iter().filter(stored).count()
}

fn operation_bytes(operation: &ImportedOperation) -> usize {
    operation.header.len() + operation.body.as_ref().map_or(0, Bytes::len)
}
