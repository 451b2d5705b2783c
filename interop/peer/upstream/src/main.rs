//! The workloads of `p2panda-bench` on the published p2panda crates 0.7.1: one workload, one line
//! of JSON with the same fields. A run that hangs is cut off and says so (`finished`).
#![forbid(unsafe_code)]

mod alone;
mod figures;
mod operations;
mod pair;
mod prepare;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
struct Cli {
    /// Where databases are made; it decides which disk is measured.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Args)]
struct Alone {
    #[arg(long, default_value_t = 200)]
    n: usize,
    #[arg(long = "payload", default_value_t = 100)]
    payload_bytes: usize,
    #[arg(long, default_value_t = 1)]
    authors: usize,
    #[arg(long, default_value_t = 0)]
    stored: usize,
    #[arg(long, default_value_t = 60.0)]
    limit_seconds: f64,
}

#[derive(Subcommand)]
enum Workload {
    /// Create, decode and verify operations.
    Core(Alone),
    /// Store operations, the store alone.
    Ingest(Alone),
    /// Verify and store operations, a whole node, until the application has them.
    Import(Alone),
    /// Publish messages one by one.
    Publish(Alone),
    /// Hand everything that is stored to the application.
    Replay(Alone),
    /// A node starts and catches up with another one; then live messages, or nothing.
    CatchUp(pair::Plan),
    /// One of two nodes.
    #[command(hide = true)]
    Side { spec: String },
}

impl Alone {
    fn plan(&self) -> alone::Plan {
        alone::Plan {
            n: self.n,
            payload_bytes: self.payload_bytes,
            authors: self.authors,
            stored: self.stored,
            limit_seconds: self.limit_seconds,
        }
    }
}

fn main() -> ! {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let result = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(Cli::parse())));
    let failed = result.is_err();
    if let Err(error) = result {
        eprintln!("error: {error:?}");
    }
    // Threads of a node do not all stop by themselves.
    std::process::exit(i32::from(failed))
}

async fn run(cli: Cli) -> Result<()> {
    let default = || std::env::temp_dir().join("p2panda-peer");
    let dir = cli.dir.unwrap_or_else(default);
    match cli.workload {
        Workload::Core(core) => operations::run(core.n, core.payload_bytes),
        Workload::Ingest(ingest) => alone::ingest(&dir.join("ingest"), ingest.plan()).await,
        Workload::Import(import) => alone::import(&dir.join("import"), import.plan()).await,
        Workload::Publish(publish) => alone::publish(&dir.join("publish"), publish.plan()).await,
        Workload::Replay(replay) => alone::replay(&dir.join("replay"), replay.plan()).await,
        Workload::CatchUp(plan) => pair::run(&dir, plan).await,
        Workload::Side { spec } => pair::side(serde_json::from_str(&spec)?).await,
    }
}
