//! Settings of a node: flag, environment, file, default, in this order.

mod access;
pub mod at_rest;
mod config;
mod file;
mod pages;
mod resolve;
mod rpc;
mod seed;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use thiserror::Error;
use toml::{Table, Value};

use crate::args::NodeArgs;

pub use access::TokensError;
pub use at_rest::AtRestSetting;
pub use config::{Config, schema};
pub use resolve::Resolved;
#[cfg(unix)]
pub use rpc::SocketSetting;
pub use seed::{from_hex, seed};
pub use template::template;

/// Prefix of the environment variables.
const ENVIRONMENT: &str = "PANDA";

/// Source of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was not set.
    Default,
    /// A line of the configuration file.
    File { path: PathBuf, line: usize },
    /// A variable of the environment.
    Environment(String),
    /// An option on the command line.
    Flag,
}

/// All settings, and where each comes from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As they were written.
    pub config: Config,
    /// The same as values that can be used.
    pub resolved: Resolved,
    /// By key, for example `network.listen`; what is not here is the default.
    origins: BTreeMap<String, Origin>,
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
}

/// Reason why a setting cannot be used.
#[derive(Debug, Error)]
pub enum SettingsError {
    #[error("{} cannot be read: {source}; name another file with --config FILE", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{origin}: {what}")]
    Wrong { origin: Origin, what: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag => f.write_str("command line"),
        }
    }
}

impl Settings {
    /// Reads all layers.
    pub fn load(args: &NodeArgs) -> Result<Settings, SettingsError> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Settings::of(args, environment)
    }

    fn of(
        args: &NodeArgs,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Settings, SettingsError> {
        let mut layers = Layers::default();
        let file = file(args);
        if let Some(path) = &file {
            for (key, line, value) in file::read(path)? {
                let path = path.clone();
                layers.set(&key, value, Origin::File { path, line });
            }
        }
        for (key, name, value) in file::environment(environment)? {
            layers.set(&key, value, Origin::Environment(name));
        }
        for (key, value) in flags(args) {
            layers.set(key, value, Origin::Flag);
        }
        layers.settings(file)
    }

    /// All settings that have a value, in the order of the file.
    pub fn values(&self) -> Vec<(String, Value)> {
        let table = Table::try_from(&self.config).unwrap_or_default();
        let keys = config::keys().into_iter();
        let values = keys.filter_map(|key| {
            let value = table.get(&key.section)?.get(&key.name)?;
            Some((key.path(), value.clone()))
        });
        values.collect()
    }

    /// Returns the source of a setting.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

/// Settings as they come together.
#[derive(Default)]
struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// A later layer takes the place of an earlier one.
    fn set(&mut self, key: &str, value: Value, origin: Origin) {
        let Some((section, name)) = key.split_once('.') else {
            return;
        };
        let section = self
            .table
            .entry(section)
            .or_insert_with(|| Table::new().into());
        if let Value::Table(section) = section {
            section.insert(name.to_owned(), value);
        }
        self.origins.insert(key.to_owned(), origin);
    }

    fn settings(self, file: Option<PathBuf>) -> Result<Settings, SettingsError> {
        let Layers { table, origins } = self;
        let wrong = |key: &str, what: String| SettingsError::Wrong {
            origin: origins.get(key).cloned().unwrap_or(Origin::Default),
            what,
        };
        let config = Config::try_from(table).map_err(|(key, what)| wrong(&key, what))?;
        let resolved = Resolved::of(&config).map_err(|(key, what)| wrong(key, what))?;
        Ok(Settings {
            config,
            resolved,
            origins,
            file,
        })
    }
}

/// The file to read: the one that was named, or the usual one if it is there.
fn file(args: &NodeArgs) -> Option<PathBuf> {
    let usual = || default_file().filter(|path| path.exists());
    args.config.clone().or_else(usual)
}

/// `panda/config.toml` in the XDG configuration directory.
pub fn default_file() -> Option<PathBuf> {
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.config_dir().join("panda").join("config.toml"))
}

/// Collects the values that the command line sets.
fn flags(args: &NodeArgs) -> Vec<(&'static str, Value)> {
    let text = |path: &Path| Value::from(path.to_string_lossy().into_owned());
    let mut set = Vec::new();
    if let Some(home) = &args.home {
        set.push(("node.home", text(home)));
    }
    if !args.bootstrap.is_empty() {
        let peers = args
            .bootstrap
            .iter()
            .map(|peer| Value::from(peer.to_string()));
        set.push(("network.peers", Value::Array(peers.collect())));
    }
    if let Some(listen) = args.listen {
        set.push(("network.listen", Value::from(vec![listen.to_string()])));
    }
    if let Some(network) = args.network {
        set.push(("network.id", network.to_string().into()));
    }
    if args.no_mdns {
        set.push(("network.mdns", "off".into()));
    }
    if args.server {
        set.push((
            "network.budget_mib",
            i64::from(resolve::SERVER_BUDGET_MIB).into(),
        ));
    }
    if args.low_bandwidth {
        set.push(("network.low_bandwidth", true.into()));
    }
    if let Some(mib) = args.operation_mib {
        set.push(("node.operation_mib", i64::from(mib).into()));
    }
    set
}

#[cfg(test)]
mod tests;
