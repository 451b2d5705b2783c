//! Counts the instructions of the hot paths under callgrind and holds them against the figures in
//! `bench/instructions.json`: more than 10 % above fails with the name of the path.
//!
//! ```text
//! cargo run --release -p p2panda-instructions              # checks all paths
//! cargo run --release -p p2panda-instructions -- --update  # writes the figures again
//! cargo run --release -p p2panda-instructions -- run NAME  # one path, for a profiler
//! ```
//!
//! Counts do not depend on how busy a machine is. They do depend on the compiler, and on the
//! processor as far as code chooses instructions when it starts; valgrind shows it the same one
//! on every machine with AVX2.
#![forbid(unsafe_code)]

mod paths;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use thiserror::Error;

/// Committed figures: instructions of one operation, by name of the path.
type Figures = BTreeMap<String, u64>;

/// Factor by which a count may exceed its figure.
const ABOVE_MAX: f64 = 1.10;
/// The figures.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions.json");
/// Only what runs inside of this function is counted.
const COUNTED: &str = "*p2panda_instructions*counted*";

/// Why the counts are not what they should be.
#[derive(Debug, Error)]
enum Failure {
    #[error("usage: p2panda-instructions [--update | run NAME]")]
    Usage,
    #[error("there is no path {0}")]
    NoPath(String),
    #[error("{path} takes {count} instructions, {figure} are committed: {above:.1} % more")]
    Above {
        path: String,
        count: u64,
        figure: u64,
        above: f64,
    },
    #[error("{paths} paths take more instructions than committed")]
    SomeAbove { paths: usize },
    #[error("{path} has no figure: commit one with --update")]
    NoFigure { path: String },
    #[error("valgrind cannot be started: {0}")]
    NoValgrind(std::io::Error),
    #[error("{path} failed under valgrind: {output}")]
    Valgrind { path: String, output: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{FILE}: {0}")]
    Figures(#[from] serde_json::Error),
    #[error(transparent)]
    Path(#[from] paths::Failure),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        [] => check(),
        ["--update"] => update(),
        ["run", name] => run(name),
        _ => Err(Failure::Usage),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a path, for callgrind or a profiler.
fn run(name: &str) -> Result<(), Failure> {
    let path = paths::ALL.iter().find(|path| path.name == name);
    let path = path.ok_or_else(|| Failure::NoPath(name.to_owned()))?;
    Ok((path.run)()?)
}

fn check() -> Result<(), Failure> {
    let figures: Figures = serde_json::from_str(&std::fs::read_to_string(FILE)?)?;
    let mut above = 0;
    for path in paths::ALL {
        let count = count(path)?;
        let verdict = judge(path.name, count, &figures);
        let figure = figures.get(path.name).copied().unwrap_or(0);
        let change = (count as f64 / figure.max(1) as f64 - 1.0) * 100.0;
        println!("{:28} {count:>10} {change:>+7.1} %", path.name);
        if let Err(failure) = verdict {
            eprintln!("error: {failure}");
            above += 1;
        }
    }
    match above {
        0 => Ok(()),
        paths => Err(Failure::SomeAbove { paths }),
    }
}

fn update() -> Result<(), Failure> {
    let mut figures = Figures::new();
    for path in paths::ALL {
        let count = count(path)?;
        println!("{:28} {count:>10}", path.name);
        figures.insert(path.name.to_owned(), count);
    }
    let text = serde_json::to_string_pretty(&figures)?;
    Ok(std::fs::write(FILE, text + "\n")?)
}

fn judge(path: &str, count: u64, figures: &Figures) -> Result<(), Failure> {
    let path = path.to_owned();
    let Some(&figure) = figures.get(&path) else {
        return Err(Failure::NoFigure { path });
    };
    if count as f64 <= figure as f64 * ABOVE_MAX {
        return Ok(());
    }
    let above = (count as f64 / figure as f64 - 1.0) * 100.0;
    Err(Failure::Above {
        path,
        count,
        figure,
        above,
    })
}

/// Instructions of one operation of a path.
fn count(path: &paths::Path) -> Result<u64, Failure> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("callgrind.out");
    let program: PathBuf = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--collect-atstart=no")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args(["run", path.name])
        // What is chosen by the environment is the same everywhere.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .map_err(Failure::NoValgrind)?;
    let total = output.status.success().then(|| total(&out)).flatten();
    let total = total.ok_or_else(|| Failure::Valgrind {
        path: path.name.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })?;
    Ok(total / path.operations)
}

/// The total of a callgrind profile, unless nothing was counted.
fn total(out: &Path) -> Option<u64> {
    let profile = std::fs::read_to_string(out).ok()?;
    let totals = profile
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = totals?.trim().parse().ok()?;
    (total > 0).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fails_above_ten_percent_and_without_a_figure() {
        let figures = Figures::from([("path".to_owned(), 1_000)]);
        assert!(judge("path", 500, &figures).is_ok());
        assert!(judge("path", 1_100, &figures).is_ok());
        let above = judge("path", 1_101, &figures);
        assert!(matches!(above, Err(Failure::Above { path, .. }) if path == "path"));
        let unknown = judge("other", 1, &figures);
        assert!(matches!(unknown, Err(Failure::NoFigure { .. })));
    }
}
