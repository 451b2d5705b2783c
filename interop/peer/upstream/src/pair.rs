//! Two node processes on loopback, each knowing the other's address.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt;
use p2panda::EndpointAddr;
use p2panda::streams::{StreamEvent, StreamPublisher, StreamSubscription};
use p2panda_net::AddressBook;
use p2panda_net::addrs::{NodeInfo, TrustedTransportInfo};
use p2panda_net::utils::from_verifying_key;
use p2panda_store::sqlite::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::alone::{NODE, node};
use crate::figures::{
    Row, cpu_seconds, disk_bytes, loopback_bytes, memory_bytes, now_ns, percentiles,
};
use crate::prepare::{Message, content, filled, key, operations, topic};

const PORTS: [u16; 2] = [41001, 41002];
/// How long both are left alone before live messages, or before idling counts.
const SETTLE: Duration = Duration::from_millis(1500);

/// What the two processes do.
#[derive(Clone, Debug, clap::Args, Serialize, Deserialize)]
pub struct Plan {
    /// Operations that the first node holds.
    #[arg(long, default_value_t = 1_000)]
    pub n: usize,
    /// Bytes of content.
    #[arg(long = "payload", default_value_t = 100)]
    pub payload_bytes: usize,
    /// Authors.
    #[arg(long, default_value_t = 1)]
    pub authors: usize,
    /// How many of the last operations the second node lacks; all by default.
    #[arg(long)]
    pub lacks: Option<usize>,
    /// Live messages, once both have caught up.
    #[arg(long, default_value_t = 0)]
    pub live: usize,
    /// One live message every so many microseconds; 0 for as fast as it goes.
    #[arg(long, default_value_t = 0)]
    pub interval_us: u64,
    /// Seconds of doing nothing, once both have caught up.
    #[arg(long, default_value_t = 0)]
    pub idle_seconds: u64,
    /// Seconds after which a run is cut off.
    #[arg(long, default_value_t = 60.0)]
    pub limit_seconds: f64,
    /// Seconds without an event after which a run counts as hanging.
    #[arg(long, default_value_t = 20.0)]
    pub silence_seconds: f64,
}

/// One of the two processes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    plan: Plan,
    second: bool,
    database: PathBuf,
    started_ns: u64,
}

impl Plan {
    fn lacking(&self) -> usize {
        self.lacks.unwrap_or(self.n).min(self.n)
    }

    fn workload(&self) -> &'static str {
        match (self.live, self.idle_seconds, self.lacking()) {
            (1.., _, _) => "live",
            (_, 1.., _) => "idle",
            (_, _, 0) => "no-op",
            _ => "catch-up",
        }
    }
}

/// Starts both, the first one earlier, and prints what became of it.
pub async fn run(dir: &Path, plan: Plan) -> Result<()> {
    let all = operations(plan.n, plan.authors, plan.payload_bytes)?;
    let held = plan.n - plan.lacking();
    let databases = [dir.join("a"), dir.join("b")];
    filled(&databases[0], &all).await?.pool().close().await;
    let store = filled(&databases[1], &all[..held]).await?;
    bootstrap(&store).await?;
    store.pool().close().await;
    let content_bytes: usize = all
        .iter()
        .map(|operation| {
            let body = operation
                .body
                .as_ref()
                .map_or(0, |body| body.to_bytes().len());
            operation.header.encode().len() + body
        })
        .sum();
    drop(all);

    let (mut a, mut a_lines) = start(&plan, false, &databases[0])?;
    a_lines.next_line().await?.context("the first node ended")?;
    let (_b, mut b_lines) = start(&plan, true, &databases[1])?;
    let mut line = b_lines
        .next_line()
        .await?
        .context("the second node ended")?;
    if line == "synced" {
        tell(&mut a, "live").await?;
        line = b_lines
            .next_line()
            .await?
            .context("the second node ended")?;
    }
    tell(&mut a, "end").await?;
    let waited = tokio::time::timeout(Duration::from_secs(10), a_lines.next_line()).await;
    let a: Value = match waited {
        Ok(Ok(Some(line))) => serde_json::from_str(&line)?,
        _ => Value::Null,
    };
    let b: Value = serde_json::from_str(&line)?;

    let seconds = b["seconds"].as_f64().unwrap_or(f64::NAN);
    let cpu = [&a, &b].map(|side| side["cpu_seconds"].as_f64().unwrap_or(0.0));
    let mut row = Row::new(plan.workload(), plan.n, plan.payload_bytes, seconds)
        .with("authors", plan.authors)
        .with("lacks", plan.lacking())
        .with("interval_us", plan.interval_us)
        .with("content_bytes", content_bytes)
        .with("cpu_seconds", cpu[0] + cpu[1])
        .with("sender_peak_rss_bytes", a["peak_rss_bytes"].clone())
        .with("sender_above_idle_bytes", above_idle(&a))
        .with("above_idle_bytes", above_idle(&b))
        .with("publish_ms", a["publish_ms"].clone())
        .with("disk_bytes", disk_bytes(&databases[1]));
    for (name, value) in b.as_object().into_iter().flatten() {
        if name != "cpu_seconds" {
            row = row.with(name, value.clone());
        }
    }
    let processed = match plan.workload() {
        "live" => plan.live,
        _ => plan.lacking(),
    };
    row.with("operations_per_s", processed as f64 / seconds)
        .print();
    Ok(())
}

fn above_idle(side: &Value) -> u64 {
    let peak = side["peak_rss_bytes"].as_u64().unwrap_or(0);
    peak.saturating_sub(side["ready_rss_bytes"].as_u64().unwrap_or(0))
}

/// The second node knows the first one; the first one learns of it when it connects.
async fn bootstrap(store: &SqliteStore) -> Result<()> {
    let book = AddressBook::builder().store(store.clone()).spawn().await?;
    let id = node_key(false).verifying_key();
    let addr = EndpointAddr::new(from_verifying_key(id));
    let addr = addr.with_ip_addr(([127, 0, 0, 1], PORTS[0]).into());
    let mut info = NodeInfo::new(id).bootstrap();
    info.update_transports(TrustedTransportInfo::from(addr).into())?;
    book.insert_node_info(info).await?;
    Ok(())
}

fn node_key(second: bool) -> p2panda::SigningKey {
    key(NODE + 1 + u32::from(second))
}

type Answers = Lines<BufReader<ChildStdout>>;

fn start(plan: &Plan, second: bool, database: &Path) -> Result<(Child, Answers)> {
    let spec = Spec {
        plan: plan.clone(),
        second,
        database: database.to_path_buf(),
        started_ns: now_ns(),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("side")
        .arg(serde_json::to_string(&spec)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let answers = child.stdout.take().context("standard output")?;
    Ok((child, BufReader::new(answers).lines()))
}

async fn tell(child: &mut Child, word: &str) -> Result<()> {
    let stdin = child.stdin.as_mut().context("standard input")?;
    Ok(stdin.write_all(format!("{word}\n").as_bytes()).await?)
}

/// Runs one of the two nodes.
pub async fn side(spec: Spec) -> Result<()> {
    let sent_before = loopback_bytes();
    let node = node(
        &spec.database,
        node_key(spec.second),
        PORTS[usize::from(spec.second)],
    )
    .await?;
    let (tx, rx) = node.stream::<Message>(topic()?).await?;
    let ready_rss_bytes = memory_bytes("VmRSS:");
    let mut line = if spec.second {
        second(&spec, rx, sent_before).await?
    } else {
        first(&spec.plan, tx, rx).await?
    };
    line["ready_rss_bytes"] = ready_rss_bytes.into();
    line["cpu_seconds"] = cpu_seconds().into();
    line["peak_rss_bytes"] = memory_bytes("VmHWM:").into();
    println!("{line}");
    Ok(())
}

/// The node that holds everything and publishes.
async fn first(
    plan: &Plan,
    tx: StreamPublisher<Message>,
    mut rx: StreamSubscription<Message>,
) -> Result<Value> {
    println!("ready");
    tokio::spawn(async move { while rx.next().await.is_some() {} });
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut waits_ms = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if line != "live" {
            break;
        }
        let mut tick = tokio::time::interval(Duration::from_micros(plan.interval_us.max(1)));
        for _ in 0..plan.live {
            if plan.interval_us > 0 {
                tick.tick().await;
            }
            let now = now_ns();
            let content = content(plan.payload_bytes.max(8), now);
            tx.publish(Message::from(content)).await?;
            waits_ms.push((now_ns() - now) as f64 / 1e6);
        }
    }
    Ok(json!({ "publish_ms": percentiles(waits_ms) }))
}

/// What the second node sees.
#[derive(Default)]
struct Seen {
    processed: usize,
    failed: usize,
    failure: String,
    first_ns: u64,
    last_ns: u64,
    caught_up_ns: u64,
    session_ns: u64,
    done_ns: u64,
    wire_bytes: u64,
    idle_cpu_seconds: f64,
    latencies_ms: Vec<f64>,
    first_live_ns: u64,
}

/// The node that catches up and listens.
async fn second(
    spec: &Spec,
    mut rx: StreamSubscription<Message>,
    sent_before: u64,
) -> Result<Value> {
    let plan = &spec.plan;
    let ready_ns = now_ns();
    let (lacks, mut seen, mut settled) = (plan.lacking(), Seen::default(), false);
    let silence = Duration::from_secs_f64(plan.silence_seconds);
    let limit_ns = spec.started_ns + (plan.limit_seconds * 1e9) as u64;
    let mut finished = false;
    while now_ns() < limit_ns {
        let Ok(Some(event)) = tokio::time::timeout(silence, rx.next()).await else {
            break;
        };
        seen.event(event, lacks)?;
        let synced = seen.done_ns > 0 && seen.processed >= lacks;
        if synced && !settled {
            settled = true;
            seen.wire_bytes = loopback_bytes() - sent_before;
            seen.settle(plan).await;
        }
        if synced && seen.processed >= lacks + plan.live {
            finished = true;
            break;
        }
    }
    let since = |ns: u64| ns.saturating_sub(spec.started_ns) as f64 / 1e9;
    let seconds = match plan.workload() {
        "live" => seen.last_ns.saturating_sub(seen.first_live_ns) as f64 / 1e9,
        "idle" => plan.idle_seconds as f64,
        "no-op" => since(seen.done_ns),
        _ => since(seen.last_ns),
    };
    Ok(json!({
        "seconds": seconds,
        "finished": finished,
        "processed": seen.processed,
        "failed": seen.failed,
        "failure": seen.failure,
        "ready_seconds": since(ready_ns),
        "first_seconds": since(seen.first_ns),
        "last_seconds": since(seen.last_ns),
        "session_seconds": since(seen.session_ns),
        "ready_to_done_seconds": seen.done_ns.saturating_sub(ready_ns) as f64 / 1e9,
        "wire_bytes": seen.wire_bytes,
        "idle_cpu_seconds": seen.idle_cpu_seconds,
        "rss_bytes": memory_bytes("VmRSS:"),
        "latency_ms": percentiles(seen.latencies_ms),
    }))
}

impl Seen {
    fn event(&mut self, event: StreamEvent<Message>, lacks: usize) -> Result<()> {
        match event {
            StreamEvent::Processed { operation, .. } => {
                self.last_ns = now_ns();
                if self.processed == 0 {
                    self.first_ns = self.last_ns;
                }
                self.processed += 1;
                if self.processed == lacks {
                    self.caught_up_ns = self.last_ns;
                }
                if self.processed > lacks {
                    let sent = operation.message().get(..8).context("a live message")?;
                    let sent_ns = u64::from_le_bytes(sent.try_into()?);
                    if self.first_live_ns == 0 {
                        self.first_live_ns = sent_ns;
                    }
                    let latency_ms = self.last_ns.saturating_sub(sent_ns) as f64 / 1e6;
                    self.latencies_ms.push(latency_ms);
                }
            }
            StreamEvent::ProcessingFailed { error, .. } => {
                if self.failed == 0 {
                    self.failure = error.to_string();
                }
                self.failed += 1;
            }
            StreamEvent::SyncStarted { .. } if self.session_ns == 0 => self.session_ns = now_ns(),
            StreamEvent::SyncEnded { .. } if self.done_ns == 0 => self.done_ns = now_ns(),
            _ => {}
        }
        Ok(())
    }

    /// Lets the rest of the start pass, idles if that is what is measured, and lets the first
    /// node publish.
    async fn settle(&mut self, plan: &Plan) {
        if plan.live == 0 && plan.idle_seconds == 0 {
            return;
        }
        tokio::time::sleep(SETTLE).await;
        let before = cpu_seconds();
        tokio::time::sleep(Duration::from_secs(plan.idle_seconds)).await;
        self.idle_cpu_seconds = cpu_seconds() - before;
        if plan.live > 0 {
            println!("synced");
        }
    }
}
