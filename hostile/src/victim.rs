//! The attacked node, in a process of its own.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use p2panda::{NetworkId, Topic};
use p2panda_core::limits;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::attacker::Contact;
use crate::error::Error;
use crate::process;
use crate::requests::{Line, Open, Request};
use crate::shown::Shown;

/// Time limit of any request. A prune or an import takes longest.
const REPLY_WAIT: Duration = Duration::from_secs(600);

/// A running process with a node. Killed when dropped.
#[derive(Debug)]
pub struct Victim {
    child: Child,
    stdin: ChildStdin,
    replies: mpsc::Receiver<Line>,
    dir: PathBuf,
    pub(crate) shown: Shown,
    pub(crate) contact: Contact,
}

/// Content of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations.
    pub operations: u64,
    /// Bytes of headers and payloads.
    pub bytes: u64,
    /// Logs.
    pub logs: u64,
    /// Operations ever refused.
    pub rejected: u64,
}

/// Counters of a node's network.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// All of it, for people.
    pub text: String,
    /// Bytes that peers may make the node hold.
    pub budget_bytes: u64,
    /// The most that they made it hold.
    pub budget_peak_bytes: u64,
}

impl Victim {
    /// Starts `program victim` and opens the node of a directory. Port 0 is any free one.
    ///
    /// # Errors
    /// When the process does not start or the directory does not open.
    pub async fn start(
        program: &Path,
        dir: &Path,
        network: NetworkId,
        topics: &[Topic],
        ephemeral: &[Topic],
    ) -> Result<Victim, Error> {
        let budget_bytes = limits::BUDGET_BYTES_DEFAULT;
        let bind = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let open = Open {
            dir: dir.to_path_buf(),
            network,
            bind,
            budget_bytes,
            topics: topics.to_vec(),
            ephemeral: ephemeral.to_vec(),
        };
        Victim::open(program, open).await
    }

    /// The same with a budget of its own.
    pub(crate) async fn open(program: &Path, open: Open) -> Result<Victim, Error> {
        let mut child = Command::new(program)
            .arg("victim")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or(Error::Ended)?;
        let stdout = child.stdout.take().ok_or(Error::Ended)?;
        let shown = Shown::default();
        let (lines, mut replies) = mpsc::channel(16);
        tokio::spawn(read(BufReader::new(stdout), shown.clone(), lines));
        let dir = open.dir.clone();
        match ask(&mut stdin, &mut replies, &Request::Open(open)).await? {
            Line::Opened { node, addr } => Ok(Victim {
                child,
                stdin,
                replies,
                dir,
                shown,
                contact: Contact { node, addr },
            }),
            _ => Err(Error::Refused),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Result<u32, Error> {
        self.child.id().ok_or(Error::Ended)
    }

    pub(crate) fn memory(&self) -> Result<process::Memory, Error> {
        process::memory(self.pid()?)
    }

    pub(crate) fn processor(&self) -> Result<Duration, Error> {
        process::processor(self.pid()?)
    }

    pub(crate) fn disk(&self) -> u64 {
        process::disk(&self.dir)
    }

    /// Publishes every so often from now on.
    pub(crate) async fn probe(&mut self, topic: Topic, every: Duration) -> Result<(), Error> {
        let every_ms = every.as_millis() as u64;
        self.done(Request::Probe { topic, every_ms }).await
    }

    /// Returns how long the publishes took that ended since this was last asked, and how long
    /// those in progress have taken.
    pub(crate) async fn latencies(&mut self) -> Result<Vec<Duration>, Error> {
        match self.ask(Request::Latencies).await? {
            Line::Latencies { micros } => {
                Ok(micros.into_iter().map(Duration::from_micros).collect())
            }
            _ => Err(Error::Refused),
        }
    }

    /// Imports a file of frames. Returns how many operations were stored.
    pub(crate) async fn import(&mut self, topic: Topic, file: &Path) -> Result<u64, Error> {
        let file = file.to_path_buf();
        match self.ask(Request::Import { topic, file }).await? {
            Line::Imported { stored, .. } => Ok(stored),
            _ => Err(Error::Refused),
        }
    }

    /// Returns the content of a topic.
    ///
    /// # Errors
    /// When the process has ended.
    pub async fn counts(&mut self, topic: Topic) -> Result<Counts, Error> {
        match self.ask(Request::Status { topic }).await? {
            Line::Status {
                operations,
                bytes,
                logs,
                rejected,
            } => Ok(Counts {
                operations,
                bytes,
                logs,
                rejected,
            }),
            _ => Err(Error::Refused),
        }
    }

    /// Returns the counters of its network.
    ///
    /// # Errors
    /// When the process has ended.
    pub async fn counters(&mut self) -> Result<Counters, Error> {
        match self.ask(Request::Counters).await? {
            Line::Counters {
                text,
                budget_bytes,
                budget_peak_bytes,
            } => Ok(Counters {
                text,
                budget_bytes,
                budget_peak_bytes,
            }),
            _ => Err(Error::Refused),
        }
    }

    /// Ends it in the middle of its work.
    pub(crate) async fn kill(mut self) -> Result<(), Error> {
        self.kill_now().await
    }

    /// The same for one that is replaced.
    pub(crate) async fn kill_now(&mut self) -> Result<(), Error> {
        Ok(self.child.kill().await?)
    }

    async fn done(&mut self, request: Request) -> Result<(), Error> {
        match self.ask(request).await? {
            Line::Done => Ok(()),
            _ => Err(Error::Refused),
        }
    }

    async fn ask(&mut self, request: Request) -> Result<Line, Error> {
        ask(&mut self.stdin, &mut self.replies, &request).await
    }
}

async fn ask(
    stdin: &mut ChildStdin,
    replies: &mut mpsc::Receiver<Line>,
    request: &Request,
) -> Result<Line, Error> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stdin.write_all(&line).await?;
    stdin.flush().await?;
    let reply = timeout(REPLY_WAIT, replies.recv()).await;
    let reply = reply.map_err(|_| Error::Late("a reply of the node's process"))?;
    reply.ok_or(Error::Ended)
}

async fn read(
    stdout: BufReader<tokio::process::ChildStdout>,
    shown: Shown,
    replies: mpsc::Sender<Line>,
) -> Result<(), Error> {
    let mut lines = stdout.lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line)? {
            Line::Message { topic, text } => shown.add(topic, text),
            reply => {
                if replies.send(reply).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}
