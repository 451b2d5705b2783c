//! `panda config`

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::args::{ConfigCommand, NodeArgs};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Written};
use crate::settings::{self, Settings};

/// Writes, prints and checks settings.
pub fn run(args: &NodeArgs, command: ConfigCommand) -> Result<Outcome, Failure> {
    match command {
        ConfigCommand::Init { file, force } => init(file.or_else(|| args.config.clone()), force),
        ConfigCommand::Show { origin, json } => show(&Settings::load(args)?, origin, json),
        ConfigCommand::Check { json } => check(args, &Settings::load(args)?, json),
        ConfigCommand::Schema => {
            let schema = serde_json::to_string_pretty(&settings::schema());
            print(&schema.map_err(|error| Failure::Stdout(error.into()))?)
        }
    }
    .map(|_| Outcome::Done)
}

fn print(text: &str) -> Result<Written, Failure> {
    output::line(text).map_err(Failure::Stdout)
}

fn init(file: Option<PathBuf>, force: bool) -> Result<Written, Failure> {
    let template = settings::template();
    if file.as_deref() == Some(Path::new("-")) {
        return print(template.trim_end());
    }
    let path = file
        .or_else(settings::default_file)
        .ok_or(Failure::NoConfigFile)?;
    if path.exists() && !force {
        return Err(Failure::ConfigExists { path });
    }
    if let Err(source) = write(&path, &template) {
        return Err(Failure::WriteFile { path, source });
    }
    print(&path.display().to_string())
}

/// Topics may come into it, so that nobody else may read it.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// A setting as `panda config show --json` prints it.
#[derive(Serialize)]
struct SettingLine {
    key: String,
    value: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

fn show(settings: &Settings, origin: bool, json: bool) -> Result<Written, Failure> {
    for (key, value) in settings.values() {
        let origin = origin.then(|| settings.origin(&key).to_string());
        let written = match (json, origin) {
            (true, origin) => output::json(&SettingLine {
                value: serde_json::to_value(&value).unwrap_or_default(),
                key,
                origin,
            }),
            (false, Some(origin)) => output::line(&format!("{key} = {value}  # {origin}")),
            (false, None) => output::line(&format!("{key} = {value}")),
        };
        if written.map_err(Failure::Stdout)? == Written::Closed {
            return Ok(Written::Closed);
        }
    }
    Ok(Written::Yes)
}

/// Output of `panda config check --json`.
#[derive(Serialize)]
struct CheckLine {
    file: Option<String>,
    valid: bool,
}

/// Prints that the settings, and the files that they name, are valid: faults are reported when they are
/// read.
fn check(args: &NodeArgs, settings: &Settings, json: bool) -> Result<Written, Failure> {
    crate::open::check(args, &settings.resolved)?;
    let file = settings
        .file
        .as_ref()
        .map(|file| file.display().to_string());
    if json {
        return output::json(&CheckLine { file, valid: true }).map_err(Failure::Stdout);
    }
    print(&match file {
        Some(file) => format!("{file} is valid"),
        None => {
            "there is no configuration file; flags, environment and defaults are valid".to_owned()
        }
    })
}
