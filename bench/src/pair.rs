//! Workloads of several nodes, each a process of its own, over QUIC on loopback.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Failure;
use crate::figures::{Row, monotonic_ns};
use crate::prepare::{self, Logs, NODE_KEY};
use crate::side::{Peer, Request, Spec};

/// Longest wait for one answer.
const ANSWER_SECONDS: u64 = 600;
/// Time for which a node is left alone before its memory counts as idle.
const SETTLE: Duration = Duration::from_secs(2);

/// Parameters of a catch-up.
#[derive(Clone, Copy, Debug)]
pub struct CatchUp {
    /// Logs of the first node.
    pub logs: Logs,
    /// Number of the last operations that the second node lacks.
    pub lacks: usize,
    /// `true` if the second node holds as much by others that the first one lacks.
    pub both: bool,
    /// `true` if they speak the protocol of 0.7.1 only.
    pub log_sync: bool,
    /// `true` if both idle for a while before they meet, so that memory above idle shows.
    pub settle: bool,
}

/// The second node starts and catches up with the first one.
pub async fn catch_up(root: &Path, plan: CatchUp) -> Result<(), Failure> {
    let CatchUp { logs, lacks, .. } = plan;
    let held = if plan.both {
        Logs {
            first_author: logs.first_author + logs.authors as u32,
            ..logs
        }
    } else {
        Logs {
            n: logs.n - lacks,
            ..logs
        }
    };
    let a_dir = logs.copy(root, "a")?;
    let b_dir = held.copy(root, "b")?;
    let expected = if plan.both { logs.n } else { lacks };
    let (mut a, mut b) = start_two(&a_dir, &b_dir, &plan, held.n == 0).await?;

    let idle = (a.ready_rss_bytes, b.ready_rss_bytes);
    let received = b.ask(Request::Received(expected)).await?;
    if plan.both {
        a.ask(Request::Received(expected)).await?;
    }
    let caught_up = (
        a.ask(Request::CaughtUp(1)).await?,
        b.ask(Request::CaughtUp(1)).await?,
    );
    let (started_ns, ready_ns) = (b.started_ns, b.ready_ns);
    let done_ns = number(&caught_up.0, "ns").max(number(&caught_up.1, "ns"));
    let last_ns = match expected {
        0 => done_ns,
        _ => number(&received, "last_ns"),
    };
    let connected = number(&caught_up.0, "connected_ns").min(number(&caught_up.1, "connected_ns"));
    let session = number(&caught_up.0, "started_ns").min(number(&caught_up.1, "started_ns"));
    let figures = (a.figures().await?, b.figures().await?);
    let content = b.ask(Request::Content).await?;
    let disk = (a.end().await?, b.end().await?);

    let name = match (plan.both, lacks) {
        (true, _) => "catch-up-both-ways",
        (false, 0) => "no-op",
        _ => "catch-up",
    };
    let n = if plan.both { 2 * logs.n } else { logs.n };
    let moved = if plan.both { n } else { lacks };
    let row = Row::new(name, n, logs.payload_bytes, seconds(started_ns, last_ns));
    both(row, &figures, idle)
        .with(
            "operations_per_s",
            moved as f64 / seconds(started_ns, last_ns),
        )
        .with("authors", logs.authors)
        .with("lacks", lacks)
        .with("ready_seconds", seconds(started_ns, ready_ns))
        .with("connected_seconds", seconds(started_ns, connected))
        .with("session_seconds", seconds(started_ns, session))
        .with(
            "first_seconds",
            seconds(started_ns, number(&received, "first_ns")),
        )
        .with("connection_to_done_seconds", seconds(connected, done_ns))
        .with("session_to_done_seconds", seconds(session, done_ns))
        .with("content_bytes", number(&content, "bytes"))
        .with("disk_bytes", disk.1)
        .print();
    clear(&[a_dir, b_dir])
}

/// The first node publishes to the others, which are live.
pub async fn live(root: &Path, nodes: u32, plan: Live) -> Result<(), Failure> {
    let a_dir = prepare::fresh(root, "a")?;
    let mut a = Process::start(&spec(&a_dir, 0)).await?;
    let mut others = Vec::new();
    let mut dirs = vec![a_dir];
    for number in 1..=nodes {
        let dir = prepare::fresh(root, &format!("node-{number}"))?;
        let mut spec = spec(&dir, number);
        spec.bootstrap = Some(a.peer);
        dirs.push(dir);
        others.push(Process::start(&spec).await?);
    }
    a.ask(Request::CaughtUp(nodes as usize)).await?;
    for other in &mut others {
        other.ask(Request::CaughtUp(1)).await?;
        other.ask(Request::Live).await?;
    }
    tokio::time::sleep(SETTLE).await;

    let before = a.figures().await?;
    let published = a.ask(plan.request()).await?;
    let mut last_ns = 0;
    let mut latencies = Vec::new();
    for other in &mut others {
        let received = other.ask(Request::Received(plan.n)).await?;
        last_ns = last_ns.max(number(&received, "last_ns"));
        latencies.push(received.get("latency_ms").cloned().unwrap_or_default());
    }
    let figures = a.figures().await?;
    let name = if nodes == 1 { "live" } else { "fan-out" };
    let whole = seconds(number(&published, "started_ns"), last_ns);
    let mut row = Row::new(name, plan.n, plan.payload_bytes, whole)
        .with("nodes", nodes)
        .with("in_flight", plan.in_flight)
        .with("interval_us", plan.interval_us)
        .with(
            "publish_ms",
            published.get("wait_ms").cloned().unwrap_or_default(),
        );
    row = match latencies.as_slice() {
        [only] => row.with("latency_ms", only.clone()),
        _ => row.with("latencies_ms", latencies),
    };
    let cpu = float(&figures, "cpu_seconds") - float(&before, "cpu_seconds");
    let wire = number(&figures, "udp_sent_bytes") - number(&before, "udp_sent_bytes");
    row.with("sender_cpu_seconds", cpu)
        .with("sender_wire_bytes", wire)
        .with("peak_rss_bytes", number(&figures, "peak_rss_bytes"))
        .print();
    a.end().await?;
    for other in others {
        other.end().await?;
    }
    clear(&dirs)
}

/// Messages to a live peer.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// Number of messages.
    pub n: usize,
    /// Bytes of content.
    pub payload_bytes: usize,
    /// Number of messages at the same time.
    pub in_flight: usize,
    /// One every this many microseconds; 0 for as fast as it goes.
    pub interval_us: u64,
}

impl Live {
    fn request(&self) -> Request {
        Request::Publish {
            n: self.n,
            payload_bytes: self.payload_bytes,
            in_flight: self.in_flight,
            interval_us: self.interval_us,
        }
    }
}

/// A node with a directory starts, and a peer that runs already dials it at once.
pub async fn open(root: &Path, logs: Logs) -> Result<(), Failure> {
    let a_dir = prepare::fresh(root, "a")?;
    let b_dir = logs.copy(root, "b")?;
    let mut a = Process::start(&spec(&a_dir, 0)).await?;
    let mut b = Process::start(&Spec {
        resume: false,
        ..spec(&b_dir, 1)
    })
    .await?;
    a.ask(Request::Dial(b.peer)).await?;
    let compared = a.ask(Request::Compared(1)).await?;
    let figures = b.figures().await?;
    let heights = seconds(b.started_ns, number(&compared, "ns"));
    Row::new("open", logs.n, logs.payload_bytes, heights)
        .with("open_seconds", seconds(b.main_ns, b.opened_ns))
        .with("main_seconds", seconds(b.started_ns, b.main_ns))
        .with("opened_seconds", seconds(b.started_ns, b.opened_ns))
        .with("ready_seconds", seconds(b.started_ns, b.ready_ns))
        .with(
            "session_seconds",
            seconds(b.started_ns, number(&compared, "started_ns")),
        )
        .with("heights_seconds", heights)
        .with("cpu_seconds", float(&figures, "cpu_seconds"))
        .with("peak_rss_bytes", number(&figures, "peak_rss_bytes"))
        .print();
    a.kill().await?;
    b.kill().await?;
    clear(&[a_dir, b_dir])
}

/// Two live nodes that have nothing to tell each other.
pub async fn idle(root: &Path, logs: Logs, idle_seconds: u64) -> Result<(), Failure> {
    let a_dir = logs.copy(root, "a")?;
    let b_dir = logs.copy(root, "b")?;
    let plan = CatchUp {
        logs,
        lacks: 0,
        both: false,
        log_sync: false,
        settle: false,
    };
    let (a, mut b) = start_two(&a_dir, &b_dir, &plan, false).await?;
    b.ask(Request::CaughtUp(1)).await?;
    tokio::time::sleep(SETTLE).await;
    let before = b.figures().await?;
    let from_ns = monotonic_ns();
    tokio::time::sleep(Duration::from_secs(idle_seconds)).await;
    let after = b.figures().await?;
    let whole = seconds(from_ns, monotonic_ns());
    let cpu = float(&after, "cpu_seconds") - float(&before, "cpu_seconds");
    let wire = number(&after, "udp_sent_bytes") - number(&before, "udp_sent_bytes");
    Row::new("idle", logs.n, logs.payload_bytes, whole)
        .with("cpu_seconds", cpu)
        .with("of_a_core", cpu / whole)
        .with("sent_bytes_per_s", wire as f64 / whole)
        .with("rss_bytes", number(&after, "rss_bytes"))
        .with("peak_rss_bytes", number(&after, "peak_rss_bytes"))
        .print();
    a.end().await?;
    b.end().await?;
    clear(&[a_dir, b_dir])
}

/// A second node joins many topics, each with a few operations.
pub async fn topics(root: &Path, logs: Logs) -> Result<(), Failure> {
    let a_dir = logs.copy(root, "a")?;
    let b_dir = prepare::fresh(root, "b")?;
    let mut a = Process::start(&Spec {
        topics: logs.topics,
        resume: false,
        ..spec(&a_dir, 0)
    })
    .await?;
    let mut b = Process::start(&Spec {
        topics: logs.topics,
        bootstrap: Some(a.peer),
        ..spec(&b_dir, 1)
    })
    .await?;
    let expected = logs.n * logs.topics as usize;
    let received = b.ask(Request::Received(expected)).await?;
    let whole = seconds(b.started_ns, number(&received, "last_ns"));
    let figures = (a.figures().await?, b.figures().await?);
    let idle = (a.ready_rss_bytes, b.ready_rss_bytes);
    both(
        Row::new("topics", expected, logs.payload_bytes, whole),
        &figures,
        idle,
    )
    .with("topics", logs.topics)
    .with("ready_seconds", seconds(b.started_ns, b.ready_ns))
    .print();
    a.end().await?;
    b.end().await?;
    clear(&[a_dir, b_dir])
}

/// Starts both, the second with the first as its bootstrap.
async fn start_two(
    a_dir: &Path,
    b_dir: &Path,
    plan: &CatchUp,
    resume: bool,
) -> Result<(Process, Process), Failure> {
    let mut a = Process::start(&Spec {
        resume: false,
        state_digest: !plan.log_sync,
        ..spec(a_dir, 0)
    })
    .await?;
    let mut b_spec = Spec {
        resume,
        state_digest: !plan.log_sync,
        ..spec(b_dir, 1)
    };
    if plan.settle {
        let mut b = Process::start(&b_spec).await?;
        tokio::time::sleep(SETTLE).await;
        a.ready_rss_bytes = number(&a.figures().await?, "rss_bytes");
        b.ready_rss_bytes = number(&b.figures().await?, "rss_bytes");
        b.started_ns = monotonic_ns();
        b.ask(Request::Dial(a.peer)).await?;
        return Ok((a, b));
    }
    b_spec.bootstrap = Some(a.peer);
    let b = Process::start(&b_spec).await?;
    Ok((a, b))
}

fn spec(dir: &Path, number: u32) -> Spec {
    Spec {
        dir: dir.to_path_buf(),
        key: NODE_KEY + number,
        topics: 1,
        bootstrap: None,
        resume: true,
        state_digest: true,
    }
}

/// Combines the figures of both processes. The first one is the sender.
fn both(row: Row, (a, b): &(Value, Value), idle: (u64, u64)) -> Row {
    let above = |figures, idle| number(figures, "peak_rss_bytes").saturating_sub(idle);
    let sum = |name| number(a, name) + number(b, name);
    row.with(
        "cpu_seconds",
        float(a, "cpu_seconds") + float(b, "cpu_seconds"),
    )
    .with("sender_cpu_seconds", float(a, "cpu_seconds"))
    .with("receiver_cpu_seconds", float(b, "cpu_seconds"))
    .with("wire_bytes", sum("udp_sent_bytes"))
    .with("stream_bytes", sum("sync_sent_bytes"))
    .with("peak_rss_bytes", number(b, "peak_rss_bytes"))
    .with("sender_peak_rss_bytes", number(a, "peak_rss_bytes"))
    .with("above_idle_bytes", above(b, idle.1))
    .with("sender_above_idle_bytes", above(a, idle.0))
}

/// A node's process.
struct Process {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    peer: Peer,
    started_ns: u64,
    main_ns: u64,
    opened_ns: u64,
    ready_ns: u64,
    ready_rss_bytes: u64,
}

impl Process {
    /// Starts a node and waits until it has joined its topics.
    async fn start(spec: &Spec) -> Result<Process, Failure> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        command.arg("side").arg(serde_json::to_string(spec)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.kill_on_drop(true);
        let started_ns = monotonic_ns();
        let mut child = command.spawn()?;
        let requests = child.stdin.take().ok_or(Failure::Ended)?;
        let answers = child.stdout.take().ok_or(Failure::Ended)?;
        let mut answers = BufReader::new(answers).lines();
        let ready = next(&mut answers, "start").await?;
        let peer = ready.get("peer").cloned().unwrap_or_default();
        Ok(Process {
            child,
            requests,
            answers,
            peer: serde_json::from_value(peer)?,
            started_ns,
            main_ns: number(&ready, "main_ns"),
            opened_ns: number(&ready, "opened_ns"),
            ready_ns: number(&ready, "ready_ns"),
            ready_rss_bytes: number(&ready, "rss_bytes"),
        })
    }

    async fn ask(&mut self, request: Request) -> Result<Value, Failure> {
        let name = match request {
            Request::Received(_) => "received",
            Request::Compared(_) => "compared",
            Request::CaughtUp(_) => "caught up",
            Request::Publish { .. } => "publish",
            _ => "a request",
        };
        let line = serde_json::to_string(&request)? + "\n";
        self.requests.write_all(line.as_bytes()).await?;
        next(&mut self.answers, name).await
    }

    async fn figures(&mut self) -> Result<Value, Failure> {
        self.ask(Request::Figures).await
    }

    /// Closes the node in order and gives the bytes of its directory.
    async fn end(mut self) -> Result<u64, Failure> {
        let ended = self.ask(Request::End).await?;
        self.child.wait().await?;
        Ok(number(&ended, "disk_bytes"))
    }

    async fn kill(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }
}

async fn next(
    answers: &mut Lines<BufReader<ChildStdout>>,
    request: &'static str,
) -> Result<Value, Failure> {
    let limit = Duration::from_secs(ANSWER_SECONDS);
    let line = tokio::time::timeout(limit, answers.next_line()).await;
    let line = line.map_err(|_| Failure::Late {
        seconds: ANSWER_SECONDS,
        request,
    })??;
    Ok(serde_json::from_str(&line.ok_or(Failure::Ended)?)?)
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn float(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn seconds(from_ns: u64, until_ns: u64) -> f64 {
    until_ns.saturating_sub(from_ns) as f64 / 1e9
}

fn clear(dirs: &[PathBuf]) -> Result<(), Failure> {
    for dir in dirs {
        prepare::remove(dir)?;
        prepare::remove(&dir.with_extension("guard"))?;
    }
    Ok(())
}
