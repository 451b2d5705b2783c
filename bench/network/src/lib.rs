//! Real nodes in network namespaces with shaped links: what the network does, measured from
//! outside. `docs/performance/network.md` says what the figures mean.
//!
//! ```text
//! cargo build --release -p p2panda-rpc -p p2panda-network-rig
//! p2panda-network-rig star --clients 40
//! ```
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod counters;
mod crowd;
mod error;
mod gossip;
mod ground;
mod network;
mod node;
mod operations;
mod pair;
mod plan;
mod report;
mod router;
mod scenarios;
mod shape;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crowd::Rig;
use error::Error;
use ground::Ground;
use plan::{Plan, Set};
use report::TABLE_HEAD;

/// A bar was missed.
const MISSED: u8 = 3;

#[derive(Parser)]
#[command(about = "Real nodes in network namespaces with shaped links, measured from outside")]
struct Cli {
    /// The binary of a node; `p2panda-driver` next to this program unless said.
    #[arg(long, global = true)]
    driver: Option<PathBuf>,
    /// Exit with 3 when a bar is missed.
    #[arg(long, global = true)]
    bar: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    One(Plan),
    /// Everything small, within three minutes; what is known to hold must hold.
    Small,
    /// Everything, one after the other.
    All,
    /// A router's process.
    #[command(hide = true)]
    Router,
    /// A process with iroh-gossip.
    #[command(hide = true)]
    Gossiper(gossip::Identity),
}

/// Runs what the arguments of the process ask for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Router = cli.command {
        return ended(router::serve().map(|()| ExitCode::SUCCESS));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(error.into())),
    };
    let result = runtime.block_on(carry_out(cli));
    // Standard input is read on a thread that cannot be interrupted.
    runtime.shutdown_background();
    ended(result)
}

fn ended(result: Result<ExitCode, Error>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn carry_out(cli: Cli) -> Result<ExitCode, Error> {
    let set = match cli.command {
        Command::One(plan) => Set::one(plan, cli.bar),
        Command::Small => Set::small(cli.bar),
        Command::All => Set::all(cli.bar),
        Command::Gossiper(identity) => {
            gossip::serve(identity).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Router => return Ok(ExitCode::SUCCESS),
    };
    match ground::enter().await? {
        Ground::Ended(code) => Ok(code),
        Ground::Missing(error) => {
            println!(
                "skipped: {} scenario(s), namespaces cannot be made: {error}",
                set.plans.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Ground::Inside => {
            let driver = ground::driver(cli.driver)?;
            run_set(&Rig { driver }, set).await
        }
    }
}

/// One after the other, then the table. A scenario that fails is an error at the end.
async fn run_set(rig: &Rig, set: Set) -> Result<ExitCode, Error> {
    let mut rows = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for (plan, held) in set.plans {
        match plan.run(rig).await {
            Ok(report) => {
                rows.extend(report.rows());
                if held && !report.met() {
                    code = ExitCode::from(MISSED);
                }
            }
            Err(error) => {
                eprintln!("error: {plan:?}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    println!("\n{TABLE_HEAD}\n{}", rows.join("\n"));
    Ok(code)
}
