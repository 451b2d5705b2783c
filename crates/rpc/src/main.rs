//! One node per process: requests on standard input, replies and events on standard output.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(io::stderr)
        .init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("p2panda-driver: threads cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let served = runtime.block_on(p2panda_rpc::lines::serve(
        tokio::io::stdin(),
        tokio::io::stdout(),
    ));
    // Standard input is read on a thread that cannot be interrupted.
    runtime.shutdown_background();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("p2panda-driver: {error}");
            ExitCode::FAILURE
        }
    }
}
