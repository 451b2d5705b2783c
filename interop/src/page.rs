//! A page: the package for browsers, in Node, that talks to our daemon. Only the page has its key.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Error, Log, Operation, Peer, driver};

/// Our node as the daemon that pages connect to. Dropping it kills the process.
#[derive(Debug)]
pub struct Daemon {
    _child: Child,
    me: Peer,
    url: String,
}

/// The first line of a daemon.
#[derive(Deserialize)]
struct Started {
    #[serde(with = "hex::serde")]
    id: [u8; 32],
}

impl Daemon {
    /// Starts it on loopback, for pages with any key and topic.
    ///
    /// # Errors
    ///
    /// When it cannot be built or does not start.
    pub async fn start(dir: &Path, network: [u8; 32]) -> Result<Self, Error> {
        let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let rpc = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = dir.join("config.toml");
        let text = format!("[rpc]\nlisten = [\"{rpc}\"]\n[access]\nunknown_keys = \"rooms\"\n");
        std::fs::write(&config, text)?;
        let mut command = Command::new(driver::daemon().await?);
        command
            .args(["node", "run", "--json", "--no-mdns"])
            .args(["--network", &hex::encode(network)])
            .args(["--listen", &addr.to_string()])
            .arg("--config")
            .arg(&config)
            .arg("--home")
            .arg(dir.join("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        for name in ["STATE_HOME", "DATA_HOME", "CONFIG_HOME", "RUNTIME_DIR"] {
            let path = dir.join(name);
            std::fs::create_dir_all(&path)?;
            command.env(format!("XDG_{name}"), path);
        }
        let mut child = command.spawn()?;
        let mut lines = lines(&mut child)?;
        let line = lines.next_line().await?.ok_or(Error::Gone)?;
        let Started { id } = serde_json::from_str(&line)?;
        // A daemon that nobody reads must not stop at a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            _child: child,
            me: Peer { node: id, addr },
            url: format!("ws://{rpc}/rpc"),
        })
    }

    /// The node's id and address, as others need it to dial.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.me
    }
}

/// A page in a topic. Dropping it kills the process.
#[derive(Debug)]
pub struct Page {
    _child: Child,
    input: ChildStdin,
    shown: Log<Operation>,
}

impl Page {
    /// Opens a topic at a daemon, with a new key.
    ///
    /// # Errors
    ///
    /// When Node does not start.
    pub fn open(daemon: &Daemon, topic: [u8; 32]) -> Result<Self, Error> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packages/p2panda");
        let mut child = Command::new("node")
            .args(["test/relay.mjs", &daemon.url, &hex::encode(topic)])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or(Error::Gone)?;
        let shown = Log::default();
        tokio::spawn(listen(lines(&mut child)?, shown.clone()));
        Ok(Self {
            _child: child,
            input,
            shown,
        })
    }

    /// Signs and publishes a text of one line.
    ///
    /// # Errors
    ///
    /// When the page has ended.
    pub async fn publish(&mut self, text: &str) -> Result<(), Error> {
        self.input.write_all(format!("{text}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Waits until the page shows `count` messages, its own among them, in their order there.
    ///
    /// # Errors
    ///
    /// When they do not come.
    pub async fn wait_messages(
        &self,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Operation>, Error> {
        self.shown
            .wait("messages in the page", patience, |shown| {
                (shown.len() >= count).then(|| shown.to_vec())
            })
            .await
    }
}

fn lines(child: &mut Child) -> Result<Lines<BufReader<ChildStdout>>, Error> {
    let output = child.stdout.take().ok_or(Error::Gone)?;
    Ok(BufReader::new(output).lines())
}

async fn listen(mut lines: Lines<BufReader<ChildStdout>>, shown: Log<Operation>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(operation) = serde_json::from_str(&line) {
            shown.push(operation);
        }
    }
}
