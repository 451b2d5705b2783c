//! Scenario benchmarks of a p2panda node: each workload prints one line of JSON.
//!
//! ```text
//! cargo build --release --workspace --bin p2panda-bench
//! p2panda-bench catch-up --n 100000
//! ```
//!
//! `seconds` is wall time: of workloads with two processes, from the start of the later one to the
//! last message at its application. `wire_bytes` is UDP payload, both ways, each datagram once, at
//! its sender. Memory is resident memory, page cache that is mapped included. Directories that a
//! workload begins with are made through the engine once and kept below `--dir`.
#![forbid(unsafe_code)]

mod alone;
mod consumers;
mod failure;
mod figures;
mod limits;
mod operations;
mod pair;
mod prepare;
mod prune;
mod side;
mod spaces;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use failure::Failure;
use pair::{CatchUp, Live};
use prepare::Logs;

#[derive(Parser)]
#[command(about = "Scenario benchmarks of a p2panda node: one workload, one line of JSON")]
struct Cli {
    /// Where directories are made and kept; it decides which disk is measured.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Args, Clone, Copy)]
struct Payload {
    /// Bytes of content of a message; the body is a CBOR byte string of it.
    #[arg(long = "payload", default_value_t = 100)]
    bytes: usize,
    /// Authors of what is there before, or of what is caught up with.
    #[arg(long, default_value_t = 1)]
    authors: usize,
}

#[derive(Subcommand)]
enum Workload {
    /// Create, decode and verify operations, next to the signature library alone.
    Core {
        #[arg(long, default_value_t = 10_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Store checked operations, the engine alone.
    Ingest {
        #[arg(long, default_value_t = 20_000)]
        n: usize,
        #[arg(long, default_value_t = 0)]
        stored: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Decode, verify and store operations, a whole node.
    Import {
        #[arg(long, default_value_t = 20_000)]
        n: usize,
        #[arg(long, default_value_t = 0)]
        stored: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Publish messages, awaited until they are on the disk.
    Publish {
        #[arg(long, default_value_t = 2_000)]
        n: usize,
        #[arg(long, default_value_t = 10_000)]
        stored: usize,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// Messages that are published together, all or nothing, awaited one such lot after the other.
        #[arg(long, default_value_t = 1, conflicts_with = "in_flight")]
        at_once: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Hand everything that is stored to the application.
    Replay {
        #[arg(long, default_value_t = 100_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Build a view with one insert per message from what is stored.
    View {
        #[arg(long, default_value_t = 100_000)]
        n: usize,
        /// Bring this many more messages while it follows, instead.
        #[arg(long)]
        live: Option<usize>,
        #[command(flatten)]
        payload: Payload,
    },
    /// Acknowledge each message by itself.
    Acks {
        #[arg(long, default_value_t = 2_000)]
        n: usize,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Acknowledge each message of a named consumer by itself, next to the commits of this machine.
    ConsumerAcks {
        #[arg(long, default_value_t = 2_000)]
        n: usize,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Hand everything that is stored to named consumers, next to as many plain reads of the feed.
    ConsumerReplay {
        #[arg(long, default_value_t = 100_000)]
        n: usize,
        #[arg(long, default_value_t = 1)]
        consumers: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Open a named consumer that exists.
    ConsumerOpen {
        #[arg(long, default_value_t = 10_000)]
        n: usize,
        #[arg(long, default_value_t = 1)]
        topics: u32,
        #[command(flatten)]
        payload: Payload,
    },
    /// A node starts and catches up with another one.
    CatchUp {
        #[arg(long, default_value_t = 10_000)]
        n: usize,
        /// How many of the last operations are missing; all if not said, 0 for equal nodes.
        #[arg(long)]
        lacks: Option<usize>,
        /// Both nodes hold as much that the other one lacks.
        #[arg(long, conflicts_with = "lacks")]
        both: bool,
        /// Speak the sync protocol of 0.7.1 only.
        #[arg(long)]
        log_sync: bool,
        /// Both idle before they meet: time counts from the meeting, memory from idle.
        #[arg(long)]
        settle: bool,
        #[command(flatten)]
        payload: Payload,
    },
    /// Publish to a peer that is live: latency, and rate without an interval.
    Live {
        #[arg(long, default_value_t = 1_000)]
        n: usize,
        #[arg(long, default_value_t = 10_000)]
        interval_us: u64,
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Publish to several live peers.
    FanOut {
        #[arg(long, default_value_t = 2_000)]
        n: usize,
        #[arg(long, default_value_t = 8)]
        nodes: u32,
        #[arg(long, default_value_t = 64)]
        in_flight: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Prune everything that is stored, while publishing to another topic: how long a publish
    /// waits, before the prune and from then on until 95 % of the bytes are given back.
    Prune {
        #[arg(long, default_value_t = 1_000_000)]
        n: usize,
        /// Messages published before the prune.
        #[arg(long, default_value_t = 2_000)]
        publishes: usize,
        #[arg(long, default_value_t = 5_000)]
        interval_us: u64,
        #[command(flatten)]
        payload: Payload,
    },
    /// Open a directory, and be dialled by a peer that runs already.
    Open {
        #[arg(long, default_value_t = 1_000_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Do nothing, with one peer.
    Idle {
        #[arg(long, default_value_t = 1_000)]
        n: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Without a peer.
        #[arg(long)]
        alone: bool,
        #[command(flatten)]
        payload: Payload,
    },
    /// Join many topics and catch up with all of them.
    Topics {
        /// Operations of each topic.
        #[arg(long, default_value_t = 1)]
        n: usize,
        #[arg(long, default_value_t = 1_000)]
        topics: u32,
        #[command(flatten)]
        payload: Payload,
    },
    /// Members come to an encrypted space, go and are healed, while the node publishes to another topic.
    SpaceMembers {
        /// Members.
        #[arg(long, default_value_t = 128)]
        n: usize,
    },
    /// Publish to an encrypted space, next to a plain topic in the same run.
    SpacePublish {
        #[arg(long, default_value_t = 4_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Receive what a member of an encrypted space wrote, next to a plain topic in the same run.
    SpaceReceive {
        #[arg(long, default_value_t = 20_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Come into an encrypted space of which all messages are here.
    SpaceJoin {
        #[arg(long, default_value_t = 100_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// Open a directory with many encrypted spaces, next to one without.
    SpaceOpen {
        #[arg(long, default_value_t = 1_000)]
        spaces: u32,
        /// Only make the directory.
        #[arg(long, hide = true)]
        prepare: bool,
    },
    /// What the machine does at most: signatures and hashes.
    LimitCrypto {
        #[arg(long, default_value_t = 8_192)]
        n: usize,
    },
    /// What the machine does at most: SQLite in batches.
    LimitSqlite {
        #[arg(long, default_value_t = 100_000)]
        n: usize,
        #[command(flatten)]
        payload: Payload,
    },
    /// What the machine does at most: commits that are synced to disk.
    LimitCommit {
        #[arg(long, default_value_t = 1_000)]
        n: usize,
        /// One every this many microseconds; 0 for one after the other.
        #[arg(long, default_value_t = 0)]
        interval_us: u64,
    },
    /// What the machine does at most: one QUIC connection.
    LimitQuic {
        #[arg(long, default_value_t = 128)]
        mib: usize,
        /// A question every this many microseconds; 0 for one after the other.
        #[arg(long, default_value_t = 0)]
        interval_us: u64,
    },
    /// One node of a workload with several.
    #[command(hide = true)]
    Side { spec: String },
}

impl Payload {
    fn logs(self, n: usize) -> Logs {
        Logs {
            authors: self.authors.clamp(1, n.max(1)),
            ..Logs::one(n, self.bytes)
        }
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let default = || std::env::temp_dir().join("p2panda-bench");
    let root = cli.dir.unwrap_or_else(default);
    match cli.workload {
        Workload::Core { n, payload } => operations::run(n, payload.bytes),
        Workload::Ingest { n, stored, payload } => alone::ingest(&root, payload.logs(stored), n),
        Workload::LimitCrypto { n } => limits::signature::run(n),
        Workload::LimitSqlite { n, payload } => limits::disk::rows(&root, n, payload.bytes),
        Workload::LimitCommit { n, interval_us: 0 } => limits::disk::commits(&root, n),
        Workload::LimitCommit { n, interval_us } => {
            limits::disk::paced_commits(&root, n, Duration::from_micros(interval_us))
        }
        Workload::SpaceOpen {
            spaces: n,
            prepare: false,
        } => spaces::open(&root, n),
        workload => {
            let runtime = tokio::runtime::Runtime::new()?;
            let result = runtime.block_on(run_node(root, workload));
            // Standard input is read on a thread that cannot be interrupted.
            runtime.shutdown_background();
            result
        }
    }
}

async fn run_node(root: PathBuf, workload: Workload) -> Result<(), Failure> {
    match workload {
        // These need no runtime.
        Workload::Core { .. }
        | Workload::Ingest { .. }
        | Workload::LimitCrypto { .. }
        | Workload::LimitSqlite { .. }
        | Workload::LimitCommit { .. } => Ok(()),
        Workload::LimitQuic { mib, interval_us } => {
            limits::quic::run(mib, Duration::from_micros(interval_us)).await
        }
        Workload::Import { n, stored, payload } => {
            alone::import(&root, payload.logs(stored), n).await
        }
        Workload::Publish {
            n,
            stored,
            in_flight,
            at_once: 1,
            payload,
        } => alone::publish(&root, payload.logs(stored), n, in_flight).await,
        Workload::Publish {
            n,
            stored,
            at_once,
            payload,
            ..
        } => alone::publish_at_once(&root, payload.logs(stored), n, at_once).await,
        Workload::Replay { n, payload } => alone::replay(&root, payload.logs(n)).await,
        Workload::View {
            n,
            live: None,
            payload,
        } => view::rebuild(&root, payload.logs(n)).await,
        Workload::View {
            n,
            live: Some(more),
            payload,
        } => view::live(&root, payload.logs(n), more).await,
        Workload::Acks {
            n,
            in_flight,
            payload,
        } => alone::acks(&root, payload.logs(n), in_flight).await,
        Workload::ConsumerAcks {
            n,
            in_flight,
            payload,
        } => consumers::acks(&root, payload.logs(n), in_flight).await,
        Workload::ConsumerReplay {
            n,
            consumers,
            payload,
        } => consumers::replay(&root, payload.logs(n), consumers).await,
        Workload::ConsumerOpen { n, topics, payload } => {
            consumers::open(&root, payload.logs(n), topics).await
        }
        Workload::CatchUp {
            n,
            lacks,
            both,
            log_sync,
            settle,
            payload,
        } => {
            let plan = CatchUp {
                logs: payload.logs(n),
                lacks: lacks.unwrap_or(n).min(n),
                both,
                log_sync,
                settle,
            };
            pair::catch_up(&root, plan).await
        }
        Workload::Live {
            n,
            interval_us,
            in_flight,
            payload,
        } => {
            let plan = Live {
                n,
                payload_bytes: payload.bytes,
                in_flight,
                interval_us,
            };
            pair::live(&root, 1, plan).await
        }
        Workload::FanOut {
            n,
            nodes,
            in_flight,
            payload,
        } => {
            let plan = Live {
                n,
                payload_bytes: payload.bytes,
                in_flight,
                interval_us: 0,
            };
            pair::live(&root, nodes, plan).await
        }
        Workload::Prune {
            n,
            publishes,
            interval_us,
            payload,
        } => {
            let pace = prune::Pace {
                n: publishes,
                interval: Duration::from_micros(interval_us),
            };
            prune::run(&root, payload.logs(n), pace).await
        }
        Workload::Open { n, payload } => pair::open(&root, payload.logs(n)).await,
        Workload::Idle {
            n,
            seconds,
            alone,
            payload,
        } => match alone {
            true => alone::idle(&root, payload.logs(n), seconds).await,
            false => pair::idle(&root, payload.logs(n), seconds).await,
        },
        Workload::Topics { n, topics, payload } => {
            let logs = Logs {
                topics,
                ..payload.logs(n)
            };
            pair::topics(&root, logs).await
        }
        Workload::SpaceMembers { n } => spaces::members(&root, n).await,
        Workload::SpacePublish { n, payload } => spaces::publish(&root, n, payload.bytes).await,
        Workload::SpaceReceive { n, payload } => spaces::receive(&root, n, payload.bytes).await,
        Workload::SpaceJoin { n, payload } => spaces::join(&root, n, payload.bytes).await,
        Workload::SpaceOpen { spaces: n, .. } => spaces::prepare_open(&root, n).await,
        Workload::Side { spec } => side::run(serde_json::from_str(&spec)?).await,
    }
}
