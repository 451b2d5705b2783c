//! One promise per row of what a node may be made to pay, with the node in a process of its own.
//!
//! Bytes, counts and order are held exactly; times tenfold, since other tests run meanwhile. The
//! exact times are those of `hostile --full` (docs/reliability.md).
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod budget;
mod links;
mod liveness;
mod loss;
mod pruning;

use std::path::Path;
use std::time::Duration;

use p2panda_core::limits;
use p2panda_hostile::{Behaviour, Margin, Measured, Place, Plan, Scale, flood};
use tokio::sync::Semaphore;

/// Tests that use the machine at the same time; those that only wait do not count.
static ROOM: Semaphore = Semaphore::const_new(2);

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hostile"))
}

/// An attack of some seconds by this many identities, in prefixes of all kinds.
fn plan(behaviour: Behaviour, identities: usize, seconds: u64) -> Plan {
    Plan {
        behaviour,
        scale: Scale::Short,
        identities,
        place: if identities == 1 {
            Place::Same
        } else {
            Place::Both
        },
        topics: 1,
        budget_bytes: limits::BUDGET_BYTES_DEFAULT,
        attack: Duration::from_secs(seconds),
        calm: Duration::from_secs(2),
    }
}

async fn run(plan: Plan) -> Measured {
    let measured = flood::run(program(), plan).await.unwrap();
    println!("{}", measured.row());
    println!("{}", measured.counters.text);
    measured
}

/// Runs a plan and holds it to everything that is promised.
async fn holds(plan: Plan) {
    let _room = ROOM.acquire().await.unwrap();
    let broken = run(plan).await.broken(Margin::Tenfold);
    let lines: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{plan:?}\n{}", lines.join("\n"));
}
