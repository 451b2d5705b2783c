//! An author who prunes a large log, which every author may: what it costs its readers.

use std::path::Path;
use std::time::Duration;

use p2panda::Topic;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::attacker::key;
use crate::error::Error;
use crate::flood::{new_network, topic};
use crate::report::{Broken, Latencies, Margin};
use crate::victim::Victim;
use crate::wire::{self, Log};

/// The measured publishes, on another topic.
const PROBE_EVERY: Duration = Duration::from_millis(20);
/// Interval at which the files are checked.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time that a prune may add to a publish on another topic.
const PUBLISH_ADDED: Duration = Duration::from_millis(20);
/// The share of the bytes that is given back.
const GIVEN_BACK: f64 = 0.95;

/// Times of a run: how long a log is pruned, and how long giving its bytes back may take.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Operations of the log.
    pub operations: usize,
    /// Maximum time for which the node is watched.
    pub watch: Duration,
    /// Time for which it is watched before.
    pub calm: Duration,
}

/// Cost of a prune.
#[derive(Clone, Copy, Debug)]
pub struct Pruned {
    /// Plan of the run.
    pub plan: Plan,
    /// Publishes on another topic before.
    pub calm: Latencies,
    /// Publishes on another topic while the log was pruned.
    pub pruning: Latencies,
    /// Bytes on disk with the log, beyond those of the empty directory.
    pub held_bytes: u64,
    /// Bytes that are left of them.
    pub left_bytes: u64,
    /// The most on disk meanwhile.
    pub peak_bytes: u64,
    /// Until most of the bytes were given back, if they were.
    pub took: Option<Duration>,
    /// Operations of the log in the end.
    pub operations: u64,
    /// The most resident memory, in KiB.
    pub peak_kib: u64,
}

/// Imports a log, prunes it by one operation, and watches.
///
/// # Errors
/// When the run could not be carried out.
pub async fn run(program: &Path, plan: Plan) -> Result<Pruned, Error> {
    let dir = tempfile::tempdir()?;
    let files = tempfile::tempdir()?;
    let network = new_network();
    let (large, other) = (topic(network, 1), topic(network, 2));
    let topics = [large, other];
    let mut victim = Victim::start(program, dir.path(), network, &topics, &[]).await?;
    let empty = victim.disk();
    let (log, prune) = write_log(&files, large, plan.operations)?;
    victim.import(large, &log).await?;
    victim.probe(other, PROBE_EVERY).await?;
    sleep(plan.calm / 2).await;
    victim.latencies().await?;
    sleep(plan.calm).await;
    let calm = Latencies::of(victim.latencies().await?);
    let held_bytes = victim.disk().saturating_sub(empty);
    let begun = Instant::now();
    victim.import(large, &prune).await?;
    let enough = empty + (held_bytes as f64 * (1.0 - GIVEN_BACK)) as u64;
    let (mut took, mut peak_bytes) = (None, 0);
    while took.is_none() && begun.elapsed() < plan.watch {
        let disk = victim.disk();
        peak_bytes = peak_bytes.max(disk);
        took = (disk <= enough).then(|| begun.elapsed());
        sleep(LOOK_EVERY).await;
    }
    let pruning = Latencies::of(victim.latencies().await?);
    let pruned = Pruned {
        plan,
        calm,
        pruning,
        held_bytes,
        left_bytes: victim.disk().saturating_sub(empty),
        peak_bytes,
        took,
        operations: victim.counts(large).await?.operations,
        peak_kib: victim.memory()?.peak_kib,
    };
    victim.kill().await?;
    Ok(pruned)
}

/// A file with the log, and one with the operation that prunes it.
fn write_log(
    files: &TempDir,
    topic: Topic,
    operations: usize,
) -> Result<(std::path::PathBuf, std::path::PathBuf), Error> {
    let mut log = Log::new(key("prune", 0), topic);
    let mut frames = Vec::new();
    for number in 0..operations {
        let body = wire::text(&format!("entry {number} {}", "x".repeat(100)));
        let operation = log.append(Some(&body), false, &[]).ok_or(Error::Refused)?;
        frames.extend_from_slice(&wire::operation(&operation));
    }
    let snapshot = wire::text("all that matters");
    let prune = log.append(Some(&snapshot), true, &[]);
    let prune = wire::operation(&prune.ok_or(Error::Refused)?);
    let paths = (files.path().join("log"), files.path().join("prune"));
    std::fs::write(&paths.0, frames)?;
    std::fs::write(&paths.1, prune)?;
    Ok(paths)
}

impl Pruned {
    /// The promises that this run breaks.
    pub fn broken(&self, margin: Margin) -> Vec<Broken> {
        let mut broken = Vec::new();
        let added = match margin {
            Margin::Exact => PUBLISH_ADDED,
            Margin::Tenfold => PUBLISH_ADDED * 10,
        };
        if self.pruning.p99 > self.calm.p99 + added {
            broken.push(Broken {
                what: "publishes on another topic, p99",
                measured: format!("{:?} after {:?}", self.pruning.p99, self.calm.p99),
            });
        }
        if self.left_bytes as f64 > self.held_bytes as f64 * (1.0 - GIVEN_BACK) {
            broken.push(Broken {
                what: "bytes given back",
                measured: format!("{} of {} left", self.left_bytes, self.held_bytes),
            });
        }
        if self.operations != 1 {
            broken.push(Broken {
                what: "operations left",
                measured: format!("{}, one is right", self.operations),
            });
        }
        broken
    }

    /// One row of a markdown table under [`HEAD`].
    pub fn row(&self) -> String {
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
        let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        let took = self.took.map(|took| format!("{:.1}", took.as_secs_f64()));
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.plan.operations,
            ms(self.calm.p99),
            ms(self.pruning.p99),
            ms(self.pruning.longest),
            mb(self.held_bytes),
            mb(self.peak_bytes),
            mb(self.left_bytes),
            took.unwrap_or_else(|| "never".to_owned()),
            self.peak_kib / 1_024,
        )
    }
}

/// The columns of [`Pruned::row`].
pub const HEAD: &str = "\
| operations | publish p99, ms | while pruning | longest | disk before, MB | most | after \
| given back after, s | peak memory, MiB |
|---|---|---|---|---|---|---|---|---|";
