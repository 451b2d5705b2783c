//! A nats-server of our own: on loopback, with a file store in a directory that is removed afterwards.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream::{self, stream};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// The subject that everything is published on.
pub const SUBJECT: &str = "bench";

/// The stream that stores it.
pub const STREAM: &str = "bench";

const CONNECT_ATTEMPTS: u32 = 100;
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// A running server; it ends with this value.
pub struct Server {
    _process: Child,
    _dir: TempDir,
    pub context: jetstream::Context,
    pub stream: stream::Stream,
    /// The version of the server, and whether it syncs each write to the disk.
    pub version: String,
    pub syncs: bool,
}

impl Server {
    /// Starts one with an empty stream below `root`.
    pub async fn start(root: &Path) -> Result<Server> {
        fs::create_dir_all(root)?;
        let dir = tempfile::tempdir_in(root)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let syncing = config(dir.path(), port, true);
        let file = dir.path().join("nats.conf");
        fs::write(&file, &syncing)?;
        // Versions before 2.10 do not know `sync_interval`: they sync every two minutes.
        let syncs = accepts(&file).await?;
        if !syncs {
            fs::write(&file, config(dir.path(), port, false))?;
            ensure!(
                accepts(&file).await?,
                "nats-server refuses its configuration"
            );
        }
        let mut process = Command::new("nats-server");
        process.arg("--config").arg(&file).stderr(Stdio::null());
        let process = process.kill_on_drop(true).spawn()?;
        let client = connect(port).await?;
        let version = client.server_info().version;
        let context = jetstream::new(client);
        let stream = context
            .create_stream(stream::Config {
                name: STREAM.into(),
                subjects: vec![SUBJECT.into()],
                storage: stream::StorageType::File,
                ..Default::default()
            })
            .await?;
        Ok(Server {
            _process: process,
            _dir: dir,
            context,
            stream,
            version,
            syncs,
        })
    }
}

fn config(dir: &Path, port: u16, sync: bool) -> String {
    let store = dir.join("store");
    let sync = if sync { "sync_interval: always" } else { "" };
    let store = store.display();
    format!("host: 127.0.0.1\nport: {port}\njetstream {{ store_dir: \"{store}\"\n{sync}\n}}\n")
}

async fn accepts(config: &Path) -> Result<bool> {
    let mut command = Command::new("nats-server");
    command.arg("-t").arg("--config").arg(config);
    let output = command.output().await;
    let output =
        output.context("nats-server is missing: install the Debian package nats-server")?;
    Ok(output.status.success())
}

async fn connect(port: u16) -> Result<async_nats::Client> {
    for _ in 0..CONNECT_ATTEMPTS {
        if let Ok(client) = async_nats::connect(format!("127.0.0.1:{port}")).await {
            return Ok(client);
        }
        sleep(CONNECT_PAUSE).await;
    }
    bail!("nats-server does not answer on port {port}")
}
