//! A prune of everything that is stored, while the node publishes to another topic.

use std::path::Path;
use std::time::Duration;

use futures_lite::stream;
use p2panda::{Publisher, StartAt};
use serde_json::Value;
use tokio::time::MissedTickBehavior;

use crate::Failure;
use crate::figures::{Row, Stopwatch, disk_bytes, percentiles};
use crate::prepare::{self, Logs, builder, content, imported, topic};

/// Maximum time of deleting.
const DELETED_WITHIN: Duration = Duration::from_secs(600);

/// Pace at which the other messages are published.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Messages before the prune.
    pub n: usize,
    /// Time from one to the next.
    pub interval: Duration,
}

/// Publishes for a while, prunes, and publishes on until 95 % of the bytes are given back.
pub async fn run(root: &Path, stored: Logs, pace: Pace) -> Result<(), Failure> {
    let dir = stored.copy(root, "prune")?;
    let point = stored.operations_after(&dir)?.prune_point()?;
    let database = dir.join("p2panda.sqlite");
    let before_bytes = std::fs::metadata(&database)?.len();
    let node = builder(&dir).spawn().await?;
    let (tx, mut rx) = node.stream(topic(1)).start(StartAt::Now).await?;
    let reader = tokio::spawn(async move { while rx.next().await.is_some() {} });
    let mut beside = Beside::new(tx, stored.payload_bytes, pace.interval);
    while beside.waits_ms.len() < pace.n {
        beside.publish().await?;
    }
    let normal = percentiles(std::mem::take(&mut beside.waits_ms));
    let watch = Stopwatch::start();
    let imported = stream::iter([imported(point)]);
    let import = async { Ok::<_, Failure>(node.import(topic(0), imported).await?) };
    let (report, first) = futures_lite::future::zip(import, beside.publish()).await;
    first?;
    prepare::expect_stored(1, report?.stored)?;
    let import_seconds = watch.seconds();
    let (mut journal_bytes, mut left_bytes) = (0, before_bytes);
    while left_bytes * 20 > before_bytes && watch.seconds() < DELETED_WITHIN.as_secs_f64() {
        beside.publish().await?;
        let journal = std::fs::metadata(database.with_extension("sqlite-wal"));
        journal_bytes = journal_bytes.max(journal.map_or(0, |file| file.len()));
        left_bytes = std::fs::metadata(&database)?.len();
    }
    let seconds = watch.seconds();
    let pruned = percentiles(beside.waits_ms);
    node.shutdown().await?;
    reader.await?;
    let p99 = |waits: &Value| waits.get("p99").and_then(Value::as_f64).unwrap_or_default();
    Row::new("prune", stored.n, stored.payload_bytes, seconds)
        .of_process(&watch)
        .with("import_seconds", import_seconds)
        .with("p99_above_ms", p99(&pruned) - p99(&normal))
        .with("wait_before_ms", normal)
        .with("wait_ms", pruned)
        .with("journal_bytes_max", journal_bytes)
        .with("database_before_bytes", before_bytes)
        .with("disk_bytes", disk_bytes(&dir)?)
        .with("given_back", 1.0 - left_bytes as f64 / before_bytes as f64)
        .print();
    Ok(prepare::remove(&dir)?)
}

/// A publisher with a pace.
struct Beside {
    tx: Publisher,
    payload_bytes: usize,
    interval: tokio::time::Interval,
    waits_ms: Vec<f64>,
}

impl Beside {
    fn new(tx: Publisher, payload_bytes: usize, interval: Duration) -> Beside {
        let mut interval = tokio::time::interval(interval);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Beside {
            tx,
            payload_bytes,
            interval,
            waits_ms: Vec::new(),
        }
    }

    async fn publish(&mut self) -> Result<(), Failure> {
        self.interval.tick().await;
        let number = self.waits_ms.len() as u64;
        let watch = Stopwatch::start();
        self.tx.publish(content(self.payload_bytes, number)).await?;
        self.waits_ms.push(watch.seconds() * 1e3);
        Ok(())
    }
}
