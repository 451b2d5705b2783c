//! Builds our programs, once per test process.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::Error;

/// Names a driver that is built already, for runs that must not call cargo.
pub const DRIVER_VARIABLE: &str = "P2PANDA_DRIVER";

/// The same for the command `panda`.
pub const DAEMON_VARIABLE: &str = "P2PANDA_DAEMON";

/// The path of our node's driver, built by cargo in the workspace above this one.
///
/// `CARGO_TARGET_DIR` holds for that build as well. [`DRIVER_VARIABLE`] replaces the build.
///
/// # Errors
///
/// [`Error::Build`] when cargo fails, [`Error::Io`] when it cannot be started.
pub async fn path() -> Result<PathBuf, Error> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || find_or_build("p2panda-driver", DRIVER_VARIABLE);
    BUILT.get_or_try_init(build).await.cloned()
}

/// The path of the command `panda`, as [`path`] finds it; [`DAEMON_VARIABLE`] replaces the build.
///
/// # Errors
///
/// Those of [`path`].
pub async fn daemon() -> Result<PathBuf, Error> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || find_or_build("panda", DAEMON_VARIABLE);
    BUILT.get_or_try_init(build).await.cloned()
}

async fn find_or_build(program: &str, variable: &str) -> Result<PathBuf, Error> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    // The checkout that is tested; the build may be one that another checkout left in a shared directory.
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let workspace = Path::new(&package).join("..");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args([
            "build",
            "--workspace",
            "--bin",
            program,
            "--message-format=json-render-diagnostics",
        ])
        .current_dir(&workspace)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What cargo tells this package's tests about themselves would only make it rebuild.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    let output = build.output().await?;
    output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .find_map(|artifact| executable(&artifact, program))
        .filter(|_| output.status.success())
        .ok_or(Error::Build(workspace))
}

/// The path in cargo's message about the binary of a program.
fn executable(message: &Value, program: &str) -> Option<PathBuf> {
    let name = message.get("target")?.get("name")?.as_str()?;
    let path = message.get("executable")?.as_str()?;
    (name == program).then(|| path.into())
}
