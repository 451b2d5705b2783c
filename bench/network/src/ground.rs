//! Namespaces of processes, mounts and networks around the rig itself.
//!
//! The rig starts itself again inside. Anything that it makes there is seen by nobody else, and
//! goes when its process ends, however it ends.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;
use crate::network;

/// Set for the process inside.
const INSIDE: &str = "P2PANDA_NETWORK_RIG_INSIDE";
/// Everything of its own, and the end of it all when the outer process ends.
const UNSHARE: [&str; 6] = [
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];
/// Rights inside for anyone who has none outside.
const AS_ROOT: [&str; 2] = ["--user", "--map-root-user"];
/// Commands that succeed if everything can be made.
const PROBE: &str = "mount -t tmpfs tmpfs /run && mkdir /run/netns && ip netns add probe \
    && ip -n probe link add probe0 type veth peer name probe1 \
    && nsenter --net=/run/netns/probe -- true";

/// Where this process is.
pub enum Ground {
    /// Inside, all made.
    Inside,
    /// Outside; the process inside has ended.
    Ended(ExitCode),
    /// Outside, and namespaces cannot be made.
    Missing(Error),
}

/// Starts this program again inside, unless it is there already.
pub async fn enter() -> Result<Ground, Error> {
    if std::env::var_os(INSIDE).is_some() {
        network::run("mount", &["-t", "tmpfs", "tmpfs", "/run"], "").await?;
        std::fs::create_dir("/run/netns")?;
        tokio::spawn(end_with_the_outer_process());
        return Ok(Ground::Inside);
    }
    let mut flags = UNSHARE.to_vec();
    if let Err(as_is) = probe(&flags).await {
        flags.splice(0..0, AS_ROOT);
        if probe(&flags).await.is_err() {
            return Ok(Ground::Missing(as_is));
        }
    }
    run_inside(&flags).await.map(Ground::Ended)
}

async fn probe(flags: &[&str]) -> Result<(), Error> {
    let arguments = [flags, &["--", "sh", "-c", PROBE]].concat();
    network::run("unshare", &arguments, "").await
}

async fn run_inside(flags: &[&str]) -> Result<ExitCode, Error> {
    let (mut interrupt, mut end) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    // Directories of nodes go with the outer process.
    let dir = tempfile::tempdir()?;
    let mut command = Command::new("unshare");
    command.args(flags).arg("--").arg(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    command.env(INSIDE, "1").env("TMPDIR", dir.path());
    let mut child = command.stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
    // Waiting would close it.
    let _open = child.stdin.take();
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = interrupt.recv() => { child.kill().await?; return Ok(ExitCode::from(130)) }
        _ = end.recv() => { child.kill().await?; return Ok(ExitCode::from(143)) }
    };
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Standard input is the outer process: nothing is ever written, and its end is the end.
async fn end_with_the_outer_process() {
    let mut nothing = [0];
    let _ = tokio::io::stdin().read(&mut nothing).await;
    std::process::exit(1);
}

/// The driver's binary: next to this program unless said.
pub fn driver(said: Option<PathBuf>) -> Result<PathBuf, Error> {
    let path = match said {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("p2panda-driver"),
    };
    Ok(std::fs::canonicalize(path)?)
}
