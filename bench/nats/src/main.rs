//! Durable streaming of a p2panda node next to a nats-server with JetStream: both do the same work
//! in turns, on the same disk, and a table of medians is printed. See docs/performance.md for what
//! each guarantees.
//!
//! Usage: p2panda-bench-nats P2PANDA_BENCH DIRECTORY [TURNS]

mod server;
mod work;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::server::Server;
use crate::work::Work;

const TURNS: usize = 5;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let usage = "usage: p2panda-bench-nats P2PANDA_BENCH DIRECTORY [TURNS]";
    let bench: PathBuf = args.next().context(usage)?.into();
    let root: PathBuf = args.next().context(usage)?.into();
    let turns = args.next().and_then(|text| text.into_string().ok());
    let turns: usize = turns.map_or(Ok(TURNS), |text| text.parse())?;

    let probe = Server::start(&root).await?;
    let sync = if probe.syncs {
        "each write synced"
    } else {
        "synced every two minutes"
    };
    println!("nats-server {}, {sync}\n", probe.version);
    drop(probe);
    println!("| work | unit | p2panda | nats-server | ratio |");
    println!("|---|---|---|---|---|");
    for work in Work::ALL {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            ours.push(work.ours(&bench, &root).await?);
            theirs.push(work.theirs(&Server::start(&root).await?).await?);
        }
        let (ours, theirs) = (Spread::of(ours), Spread::of(theirs));
        let ratio = ours.median / theirs.median;
        println!("| {} | /s | {ours} | {theirs} | {ratio:.2} |", work.name());
    }
    Ok(())
}

/// The middle, the smallest and the largest of some rates.
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    fn of(mut rates: Vec<f64>) -> Spread {
        rates.sort_by(f64::total_cmp);
        let at = |index: usize| rates.get(index).copied().unwrap_or(f64::NAN);
        Spread {
            median: at(rates.len() / 2),
            least: at(0),
            most: at(rates.len().saturating_sub(1)),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} ({:.0} to {:.0})",
            self.median, self.least, self.most
        )
    }
}
