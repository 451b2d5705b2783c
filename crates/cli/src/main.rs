//! `panda`: p2panda on the command line.
#![forbid(unsafe_code)]

mod args;
mod command;
mod contexts;
mod demo;
mod face;
mod failure;
mod home;
mod input;
mod interrupt;
mod open;
mod output;
mod parse;
mod passphrase;
mod progress;
mod remote;
mod serve;
mod service;
mod settings;
#[cfg_attr(not(unix), allow(dead_code))]
mod socket;
mod usage;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Cli, Command, NodeCommand, TopicCommand};
use failure::{Failure, Outcome};

/// Exit code of a command line that cannot be used as given.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let args = std::env::args_os()
                .skip(1)
                .map(|arg| arg.to_string_lossy().into_owned());
            return fail(&usage::one_line(&error, args), USAGE);
        }
        Err(help) => {
            // Nobody reads the help to its end through a closed pipe.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    log_to_stderr();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads: {error}; close other programs"), 10),
    };
    let result = runtime.block_on(run(cli));
    // Standard input is read on a thread that cannot be interrupted.
    runtime.shutdown_background();
    match result {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => fail(&failure.to_string(), failure.exit_code()),
    }
}

async fn run(mut cli: Cli) -> Result<Outcome, Failure> {
    cli.command = cli.command.short();
    usage::check(&cli)?;
    let named = cli.command.topics().into_iter();
    cli.node.tickets = named
        .filter_map(|one| one.ticket.as_deref().cloned())
        .collect();
    if let Command::Device(device) = &cli.command {
        cli.node.tickets.extend(device.ticket().cloned());
    }
    let node = &cli.node;
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Pub(args) => command::publish::run(node, args).await,
        Command::Sync(args) => command::sync::run(node, args).await,
        Command::Sub(args) => {
            command::subscribe::run(node, args, command::subscribe::Of::Topic).await
        }
        Command::Chat(args) => command::chat::run(node, args).await,
        Command::Join(args) => command::join::run(node, args).await,
        Command::Node(NodeCommand::Run(args)) => command::node::run(node, &args).await,
        Command::Node(NodeCommand::Ui(args)) => command::ui::run(node, args).await,
        Command::Node(NodeCommand::AtRest(args)) => command::at_rest::run(node, args).await,
        Command::Node(NodeCommand::Invite(args)) => command::access::invite(node, args).await,
        Command::Node(NodeCommand::Invites { json }) => command::access::list(node, json).await,
        Command::Node(NodeCommand::Revoke { name, json }) => {
            command::access::revoke(node, name, json).await
        }
        Command::Top(args) => command::top::run(node, args).await,
        Command::Doctor(args) => command::doctor::run(node, args).await,
        Command::Config(args) => command::config::run(node, args),
        Command::Help { subject } => command::help::run(subject.as_deref()),
        Command::Completions(args) => command::completions::run(&args),
        Command::Man(args) => command::man::run(&args),
        Command::Topic(TopicCommand::Invite(args)) => command::invite::run(node, args).await,
        Command::Events(args) => command::events::run(node, args).await,
        Command::Context(args) => command::context::run(args),
        Command::Id(args) => command::id::run(node, args).await,
        // They have their short names by now.
        Command::Topic(
            TopicCommand::Pub(_)
            | TopicCommand::Sub(_)
            | TopicCommand::Sync(_)
            | TopicCommand::Chat(_)
            | TopicCommand::Join(_),
        ) => Ok(Outcome::Done),
        Command::Topic(TopicCommand::New { json }) => command::topic::new(json),
        Command::Topic(TopicCommand::Ls { json }) => command::topic::list(node, json).await,
        Command::Topic(TopicCommand::Status(args)) => command::status::run(node, args, false).await,
        Command::Topic(TopicCommand::Keep(args)) => command::topic::keep(node, args).await,
        Command::Space(args) => command::space::run(node, args).await,
        Command::Team(args) => command::team::run(node, args).await,
        Command::Device(args) => command::device::run(&mut cli.node, args).await,
        Command::View(args) => command::view::run(node, args).await,
        Command::Consumer(args) => command::consumer::run(node, args).await,
        Command::Status(args) => command::status::run(node, args, true).await,
        Command::Trace(args) => command::trace::run(node, args).await,
        Command::Bench(bench) => command::bench::run(&bench).await,
        Command::Compact(args) => command::compact::run(node, &args),
        Command::Peers(args) => command::peers::run(node, args).await,
        Command::DemoNode => demo::node().await,
    }
}

fn fail(line: &str, code: u8) -> ExitCode {
    output::note(&format!("panda: {line}"));
    ExitCode::from(code)
}

/// Quiet unless `RUST_LOG` asks for more.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
}
