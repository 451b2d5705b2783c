//! `hostile --full` runs every attack and prints what the node paid; `hostile victim` is the node.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use p2panda_hostile::loss::{self, Bringer};
use p2panda_hostile::report::HEAD;
use p2panda_hostile::{Behaviour, Error, Margin, Place, Plan, Scale, flood, pruning};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Misbehaving peers against a p2panda node, on loopback.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run everything: all attacks, 1, 64 and 512 identities, with the bars themselves.
    #[arg(long)]
    full: bool,
    /// Only attacks whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Only this number of identities.
    #[arg(long)]
    identities: Option<usize>,
    /// Only attackers here: `same`, `other` or `both` prefixes, or at `one` address.
    #[arg(long)]
    place: Option<String>,
    /// The node's budget, in MiB.
    #[arg(long, default_value_t = 64)]
    budget: usize,
    /// As much as in the suite of every change.
    #[arg(long)]
    short: bool,
    /// Begin nothing more after this many minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The node's process, which the runs start themselves.
    Victim,
}

fn main() -> ExitCode {
    // Attackers vanish without a word, which the libraries report as errors.
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::OFF.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("hostile: threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = match &arguments.command {
        Some(Command::Victim) => runtime.block_on(p2panda_hostile::serve()).map(|()| true),
        None => runtime.block_on(run(&arguments)),
    };
    // Standard input is read on a thread that cannot be interrupted.
    runtime.shutdown_background();
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("hostile: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for. Returns whether every promise was kept.
async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let program = std::env::current_exe()?;
    let last = Instant::now() + Duration::from_secs(arguments.minutes * 60);
    let mut kept = true;
    println!("{HEAD}");
    for plan in plans(arguments) {
        if Instant::now() > last {
            println!("\nThe time is over; what is missing was not run.");
            return Ok(false);
        }
        kept &= flood(&program, plan).await;
    }
    if "withheld".contains(&arguments.only) {
        kept &= withheld(&program).await;
    }
    if "prune".contains(&arguments.only) {
        kept &= prune(&program, arguments).await;
    }
    Ok(kept)
}

async fn flood(program: &Path, plan: Plan) -> bool {
    match flood::run(program, plan).await {
        Ok(measured) => {
            println!("{}", measured.row());
            let broken = measured.broken(Margin::Exact);
            for promise in &broken {
                eprintln!("  broken by {}: {promise}", plan.behaviour.name());
            }
            let open = measured.open.as_secs_f64();
            let (to, reflected) = (measured.reflected_to, measured.reflected_bytes);
            let control = measured.control.p99.as_secs_f64() * 1_000.0;
            eprintln!(
                "  disk {control:.1} ms, open {open:.1} s, reflected {reflected} bytes to {to}, strangers first {}, \
                 logs {}, rejected {}, {}",
                measured.strangers_first, measured.logs, measured.rejected, measured.counters.text
            );
            broken.is_empty()
        }
        Err(error) => {
            eprintln!("  {} failed: {error}", plan.behaviour.name());
            false
        }
    }
}

/// All combinations, or those that were asked for.
fn plans(arguments: &Arguments) -> Vec<Plan> {
    let all = [
        (1, Place::Other),
        (64, Place::Same),
        (64, Place::Other),
        (512, Place::Both),
    ];
    let wanted = |(identities, place): &(usize, Place)| {
        let few = arguments.full || *identities == 1;
        let asked = arguments.place.as_deref();
        few && asked.is_none_or(|asked| asked == place.name())
    };
    let mut crowds: Vec<(usize, Place)> = all.into_iter().filter(wanted).collect();
    if let Some(identities) = arguments.identities {
        let places = [Place::Same, Place::Other, Place::Both, Place::One];
        let asked = arguments.place.as_deref().unwrap_or("other");
        crowds = places
            .into_iter()
            .filter(|place| place.name() == asked)
            .map(|place| (identities, place))
            .collect();
    }
    let named = |behaviour: &Behaviour| behaviour.name().contains(&arguments.only);
    let behaviours = Behaviour::ALL.into_iter().filter(named);
    behaviours
        .flat_map(|behaviour| {
            let crowds = crowds.iter();
            crowds.map(move |(identities, place)| (behaviour, *identities, *place))
        })
        .map(|(behaviour, identities, place)| plan(arguments, behaviour, identities, place))
        .collect()
}

fn plan(arguments: &Arguments, behaviour: Behaviour, identities: usize, place: Place) -> Plan {
    let (scale, calm) = match arguments.short {
        true => (Scale::Short, Duration::from_secs(2)),
        false => (Scale::Full, Duration::from_secs(5)),
    };
    Plan {
        behaviour,
        scale,
        identities,
        place,
        // Many identities spread over several topics.
        topics: if identities > 100 { 4 } else { 1 },
        budget_bytes: arguments.budget * 1024 * 1024,
        attack: seconds(behaviour, arguments.short),
        calm,
    }
}

fn seconds(behaviour: Behaviour, short: bool) -> Duration {
    Duration::from_secs(match behaviour {
        Behaviour::SilentPair => 70,
        Behaviour::Drip
        | Behaviour::UnfinishedFrames
        | Behaviour::UnfinishedPieces
        | Behaviour::StalledRanges => 50,
        _ if short => 10,
        _ => 22,
    })
}

async fn withheld(program: &Path) -> bool {
    println!("\n| headers without bodies, brought by | written | shown | shown behind | s |");
    println!("|---|---|---|---|---|");
    let mut kept = true;
    for (name, bringer) in [
        ("an import", Bringer::Import),
        ("1 peer", Bringer::Peers(1)),
        ("64 peers", Bringer::Peers(64)),
    ] {
        match loss::withheld_bodies(program, bringer).await {
            Ok(found) => {
                let took = found.took.as_secs_f64();
                let (written, shown, behind) = (found.written, found.shown, found.shown_behind);
                println!("| {name} | {written} | {shown} | {behind} | {took:.1} |");
                kept &= shown == written && behind == written;
            }
            Err(error) => {
                eprintln!("  {name}: {error}");
                kept = false;
            }
        }
    }
    match loss::withheld_snapshot(program).await {
        Ok(found) => {
            let (below, shown) = (found.below, found.shown_without);
            let later = if found.shown { "yes" } else { "no" };
            println!(
                "\nSnapshot kept back: {shown} of {below} below it shown; later itself: {later}."
            );
            kept & (shown == below) & found.shown
        }
        Err(error) => {
            eprintln!("  snapshot: {error}");
            false
        }
    }
}

async fn prune(program: &Path, arguments: &Arguments) -> bool {
    println!("\n{}", pruning::HEAD);
    let (operations, watch) = match arguments.short {
        true => (60_000, 30),
        false => (1_000_000, 300),
    };
    let plan = pruning::Plan {
        operations,
        watch: Duration::from_secs(watch),
        calm: Duration::from_secs(10),
    };
    match pruning::run(program, plan).await {
        Ok(pruned) => {
            println!("{}", pruned.row());
            let broken = pruned.broken(Margin::Exact);
            broken
                .iter()
                .for_each(|promise| eprintln!("  broken: {promise}"));
            broken.is_empty()
        }
        Err(error) => {
            eprintln!("  prune: {error}");
            false
        }
    }
}
