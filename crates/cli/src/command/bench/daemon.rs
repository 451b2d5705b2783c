//! Cost of `panda node run` as a process: until it is ready, while nothing happens, and until it
//! has ended with streams open. Measured on Linux only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use p2panda::{Mdns, NetworkId, Topic};
use p2panda_rpc::api::{self, Start, SubscribeParams};
use p2panda_rpc::client::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{publish_since, resident_kib};
use crate::args::BenchArgs;
use crate::failure::Failure;

/// Live streams when the node is asked to end.
const STREAMS: usize = 100;

/// Length of the time in which nothing happens.
const IDLE: Duration = Duration::from_secs(60);

/// Seconds without work after which a start is over.
const QUIET: u32 = 2;

/// Time limit for that.
const SETTLED: Duration = Duration::from_secs(40);

/// The start is not over before this: threads that it used end when they have been idle for 10 s.
const THREADS_END: Duration = Duration::from_secs(15);

/// Wake-ups of each thread.
type Wakeups = BTreeMap<OsString, u64>;

/// Measurements of one run.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From the start of the process until it says that it is ready.
    pub ready: Duration,
    pub resident_kib: u64,
    /// Wake-ups of its threads per second, once the start is over and while nothing happens.
    pub wakeups_per_second: f64,
    /// From SIGTERM to the exit, with streams open.
    pub ended: Duration,
}

/// A home with the messages, and a process on it. `None` where the system does not tell.
pub async fn run(args: &BenchArgs) -> Result<Option<Measured>, Failure> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    let dir = tempfile::tempdir().map_err(Failure::Measured)?;
    let home = dir.path().join("home");
    let (network, topic) = (p2panda::random_topic()?, p2panda::random_topic()?);
    fill(&home, network, topic, args).await?;
    let began = Instant::now();
    let mut child = start(dir.path(), network)?;
    let Some(out) = child.stdout.take() else {
        return Ok(None);
    };
    let mut lines = BufReader::new(out).lines();
    let line = lines.next_line().await.map_err(Failure::Measured)?;
    let ready = began.elapsed();
    let socket = line.as_deref().and_then(socket_of);
    let (Some(socket), Some(id)) = (socket, child.id()) else {
        return Err(Failure::Node(p2panda::Error::Closed));
    };
    settle(id).await;
    let before = wakeups(id);
    tokio::time::sleep(IDLE).await;
    let woken = woken_since(&before, &wakeups(id));
    let resident_kib = resident_kib(&format!("/proc/{id}/status"));
    let client = Client::unix(&socket).await?;
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let params = SubscribeParams {
            topics: vec![topic.to_string()],
            start: Some(Start::Now),
            ..SubscribeParams::default()
        };
        streams.push(client.messages(params).await?);
    }
    client.call::<api::NodeStatus>(&api::Empty {}).await?;
    let asked = Instant::now();
    let id = id.to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await;
    killed.map_err(Failure::Measured)?;
    child.wait().await.map_err(Failure::Measured)?;
    Ok(Some(Measured {
        ready,
        resident_kib: resident_kib.unwrap_or_default(),
        wakeups_per_second: woken as f64 / IDLE.as_secs_f64(),
        ended: asked.elapsed(),
    }))
}

async fn fill(home: &Path, network: Topic, topic: Topic, args: &BenchArgs) -> Result<(), Failure> {
    let builder = p2panda::builder().data_dir(home).state_dir(None);
    let builder = builder.network_id(NetworkId::from_bytes(*network.as_bytes()));
    let node = builder.mdns(Mdns::Off).spawn().await?;
    let publisher = node.publisher(topic).await?;
    publish_since(&publisher, args, Instant::now()).await?;
    node.topic(topic).keep(true).await?;
    node.shutdown().await?;
    Ok(())
}

fn start(dir: &Path, network: Topic) -> Result<Child, Failure> {
    let panda = std::env::current_exe().map_err(Failure::Measured)?;
    let mut command = Command::new(panda);
    command.args(["node", "run", "--json", "--no-mdns"]);
    command.args(["--listen", "127.0.0.1:0", "--network", &network.to_string()]);
    command.arg("--home").arg(dir.join("home"));
    // Its socket, and the file against copies, go with the directory.
    for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
        command.env(name, dir);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().map_err(Failure::Measured)
}

/// Of the line that says that the node is ready.
fn socket_of(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(line.get("socket")?.as_str()?.to_owned())
}

/// Counts how often all threads of a process gave the processor away and were woken again.
fn wakeups(process: u32) -> Wakeups {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Wakeups::new();
    };
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?;
        let status = std::fs::read_to_string(task.path().join("status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches:"))?;
        let woken = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
        Some((task.file_name(), woken))
    };
    tasks.filter_map(of_task).collect()
}

/// Wake-ups between two counts; a new thread counts with all of its wake-ups.
fn woken_since(before: &Wakeups, now: &Wakeups) -> u64 {
    let of = |(task, woken): (&OsString, &u64)| {
        woken.saturating_sub(before.get(task).copied().unwrap_or_default())
    };
    now.iter().map(of).sum()
}

/// Waits until a start is over: its threads have ended, and two seconds had almost no wake-ups.
async fn settle(process: u32) {
    let (began, mut quiet) = (Instant::now(), 0);
    let mut before = wakeups(process);
    while began.elapsed() < THREADS_END || quiet < QUIET && began.elapsed() < SETTLED {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = wakeups(process);
        quiet = if woken_since(&before, &now) <= 1 {
            quiet + 1
        } else {
            0
        };
        before = now;
    }
}
