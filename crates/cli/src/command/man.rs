//! `panda man`

use std::path::Path;

use clap::CommandFactory;

use crate::args::{Cli, ManArgs};
use crate::failure::{Failure, Outcome};
use crate::output;

/// Prints the manual page of a command, or writes all of them.
pub fn run(args: &ManArgs) -> Result<Outcome, Failure> {
    match &args.dir {
        Some(dir) => write_all(dir),
        None => print(&args.command),
    }
}

fn write_all(dir: &Path) -> Result<Outcome, Failure> {
    let written =
        std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|source| Failure::WriteFile {
        path: dir.to_owned(),
        source,
    })?;
    Ok(Outcome::Done)
}

fn print(words: &[String]) -> Result<Outcome, Failure> {
    let mut root = Cli::command();
    root.build();
    let mut command = &root;
    for word in words {
        let below = command.find_subcommand(word);
        command = below.ok_or_else(|| Failure::NoCommand {
            command: words.join(" "),
        })?;
    }
    let mut page = Vec::new();
    // Writing into memory does not fail.
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page);
    rendered.map_err(Failure::Stdout)?;
    let page = String::from_utf8_lossy(&page);
    let _ = output::line(page.trim_end()).map_err(Failure::Stdout)?;
    Ok(Outcome::Done)
}
