//! `panda completions`

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Prints the script of a shell.
pub fn run(args: &CompletionsArgs) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "panda", &mut script);
    let script = String::from_utf8_lossy(&script);
    // Whether somebody reads it to its end makes no difference.
    let _ = output::line(script.trim_end()).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}
