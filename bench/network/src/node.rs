//! A node in a process of its own, the binary `p2panda-driver`, in a namespace.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use p2panda_core::{NetworkId, SigningKey, Topic, VerifyingKey};
use p2panda_rpc::wire::{
    AckMode, Answer, Bootstrap, Call, Content, Deliver, Event, FailureKind, Hex, ImportedOperation,
    Open, Outcome, Output, Reply, Request, StartAt,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::counters::Taken;
use crate::error::Error;
use crate::network::Space;

/// Where every node listens, in its own namespace.
pub const PORT: u16 = 4_000;
/// Time limit of a request that is not a wait.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// Settings of a node to start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The number of its key.
    number: u32,
    bootstrap: Vec<(u32, Ipv4Addr)>,
    dir: Option<PathBuf>,
    operation_bytes_max: Option<u32>,
    low_bandwidth: bool,
}

/// A node's process. It ends when this is dropped.
pub struct Node {
    number: u32,
    pid: u32,
    opened: Instant,
    requests: mpsc::UnboundedSender<String>,
    shared: Arc<Shared>,
    _writing: JoinHandle<()>,
    _reading: JoinHandle<()>,
    child: tokio::sync::Mutex<Child>,
}

#[derive(Default)]
struct Shared {
    next_id: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Outcome>>>,
    seen: watch::Sender<Vec<Seen>>,
}

/// An event and when it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When its line was read.
    pub at: Instant,
    /// Reported event.
    pub event: Event,
}

impl Setup {
    /// A node with the key of a number and a directory that goes with it.
    pub fn new(number: usize) -> Setup {
        Setup {
            number: number as u32,
            bootstrap: Vec::new(),
            dir: None,
            operation_bytes_max: None,
            low_bandwidth: false,
        }
    }

    /// It knows the node of a number at an address.
    pub fn knows(mut self, number: usize, addr: Ipv4Addr) -> Setup {
        self.bootstrap.push((number as u32, addr));
        self
    }

    /// Its directory stays there.
    pub fn dir(mut self, dir: &Path) -> Setup {
        self.dir = Some(dir.to_owned());
        self
    }

    /// It takes operations of that size.
    pub fn operation_bytes_max(mut self, bytes: u32) -> Setup {
        self.operation_bytes_max = Some(bytes);
        self
    }

    /// With the defaults for a slow link.
    pub fn low_bandwidth(mut self, low: bool) -> Self {
        self.low_bandwidth = low;
        self
    }

    fn open(&self) -> Open {
        let contact = |(number, addr): &(u32, Ipv4Addr)| Bootstrap {
            node: key(*number).verifying_key(),
            addr: SocketAddr::from((*addr, PORT)).into(),
        };
        Open {
            dir: self.dir.clone(),
            seed: Some(Hex(seed(self.number).to_vec().into())),
            network: Some(NetworkId::from_bytes([0xaa; 32])),
            bind_v4: Some(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT)),
            bootstrap: self.bootstrap.iter().map(contact).collect(),
            operation_bytes_max: self.operation_bytes_max,
            low_bandwidth: self.low_bandwidth,
            ..Open::default()
        }
    }
}

impl Node {
    /// Starts a node in a namespace and opens it.
    pub async fn start(driver: &Path, space: &Space, setup: Setup) -> Result<Node, Error> {
        let mut command = space.command(driver);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take().ok_or(Error::Ended)?;
        let stdout = child.stdout.take().ok_or(Error::Ended)?;
        let (requests, lines) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let mut node = Node {
            number: setup.number,
            pid: child.id().ok_or(Error::Ended)?,
            opened: Instant::now(),
            requests,
            shared: Arc::clone(&shared),
            _writing: tokio::spawn(write(stdin, lines)),
            _reading: tokio::spawn(read(stdout, shared)),
            child: tokio::sync::Mutex::new(child),
        };
        // An answer to anything means that the process runs.
        let _ = node.call(Request::Peers, ANSWER_WAIT).await?;
        node.opened = Instant::now();
        node.ask(Request::Open(setup.open())).await?;
        Ok(node)
    }

    /// When its process had started and it was asked to open.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Its id.
    pub fn id(&self) -> VerifyingKey {
        key(self.number).verifying_key()
    }

    /// Returns what it has taken so far.
    pub fn taken(&self) -> Result<Taken, Error> {
        Taken::of(self.pid)
    }

    /// Subscribes to a topic from its start.
    pub async fn subscribe(&self, topic: Topic, deliver: Deliver) -> Result<(), Error> {
        let subscribe = Request::Subscribe {
            topic,
            from: StartAt::Start,
            ack: AckMode::Auto,
            deliver,
        };
        self.ask(subscribe).await.map(drop)
    }

    /// Publishes a message this many times. Gives the place of the first in the log.
    pub async fn publish(
        &self,
        topic: Topic,
        content: Content,
        count: Option<u32>,
    ) -> Result<u32, Error> {
        let publish = Request::Publish {
            topic,
            content,
            count,
        };
        match self.ask(publish).await? {
            Reply::Published(published) => Ok(published.seq),
            _ => Err(Error::Answer),
        }
    }

    /// Takes over operations of others, none of which it has.
    pub async fn import(
        &self,
        topic: Topic,
        operations: Vec<ImportedOperation>,
    ) -> Result<(), Error> {
        let all = operations.len() as u64;
        match self.ask(Request::Import { topic, operations }).await? {
            Reply::Imported(imported) if imported.stored == all => Ok(()),
            _ => Err(Error::Answer),
        }
    }

    /// Bytes of headers and bodies of a topic.
    pub async fn stored_bytes(&self, topic: Topic) -> Result<u64, Error> {
        match self.ask(Request::Status { topic }).await? {
            Reply::Status(status) => Ok(status.bytes),
            _ => Err(Error::Answer),
        }
    }

    /// Names a node and an address of it.
    pub async fn add_peer(&self, node: VerifyingKey, addr: Ipv4Addr) -> Result<(), Error> {
        let addr = SocketAddr::from((addr, PORT)).into();
        self.ask(Request::AddPeer { node, addr }).await.map(drop)
    }

    /// Returns `true` if this many operations of a topic are stored within a time.
    pub async fn holds(
        &self,
        topic: Topic,
        operations: u64,
        within: Duration,
    ) -> Result<bool, Error> {
        let wait = Request::Wait {
            topic,
            received: None,
            operations: Some(operations),
            timeout_ms: within.as_millis() as u64,
        };
        match self.call(wait, within + ANSWER_WAIT).await? {
            Outcome::Ok(_) => Ok(true),
            Outcome::Error(failure) if failure.kind == FailureKind::Timeout => Ok(false),
            Outcome::Error(failure) => Err(failure.into()),
        }
    }

    /// Returns `true` if the newest operation of this node in a topic is stored by that many
    /// peers, or sent to one, within a time.
    pub async fn delivered(
        &self,
        topic: Topic,
        stored: Option<u32>,
        within: Duration,
    ) -> Result<bool, Error> {
        let receipt = Request::Receipt {
            topic,
            stored,
            timeout_ms: within.as_millis() as u64,
        };
        match self.call(receipt, within + ANSWER_WAIT).await? {
            Outcome::Ok(_) => Ok(true),
            Outcome::Error(failure) if failure.kind == FailureKind::Timeout => Ok(false),
            Outcome::Error(failure) => Err(failure.into()),
        }
    }

    /// Kills the process.
    pub async fn kill(&self) -> Result<(), Error> {
        Ok(self.child.lock().await.kill().await?)
    }

    /// Waits until the events so far show something, at most a time.
    pub async fn until<T>(
        &self,
        within: Duration,
        mut shown: impl FnMut(&[Seen]) -> Option<T>,
    ) -> Option<T> {
        let mut seen = self.shared.seen.subscribe();
        let mut found = None;
        let waited = seen.wait_for(|seen| {
            found = shown(seen);
            found.is_some()
        });
        let _ = timeout(within, waited).await;
        found
    }

    /// Returns what the events so far show.
    pub fn seen<T>(&self, look: impl FnOnce(&[Seen]) -> T) -> T {
        look(&self.shared.seen.borrow())
    }

    /// Carries out a request.
    pub async fn ask(&self, request: Request) -> Result<Reply, Error> {
        match self.call(request, ANSWER_WAIT).await? {
            Outcome::Ok(reply) => Ok(reply),
            Outcome::Error(failure) => Err(failure.into()),
        }
    }

    /// Closes the node in order and ends the process.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.ask(Request::Shutdown).await?;
        self.child.lock().await.wait().await?;
        Ok(())
    }

    async fn call(&self, request: Request, within: Duration) -> Result<Outcome, Error> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let line = serde_json::to_string(&Call { id, request })? + "\n";
        let (answer, answered) = oneshot::channel();
        self.shared.waiting().insert(id, answer);
        self.requests.send(line).map_err(|_| Error::Ended)?;
        let answered = timeout(within, answered).await;
        let outcome = answered.map_err(|_| Error::Late("an answer"))?;
        outcome.map_err(|_| Error::Ended)
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Outcome>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::UnboundedReceiver<String>) {
    while let Some(line) = lines.recv().await {
        if stdin.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
}

async fn read(stdout: ChildStdout, shared: Arc<Shared>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let at = Instant::now();
        match serde_json::from_str(&line) {
            Ok(Output::Event(event)) => {
                shared
                    .seen
                    .send_modify(|seen| seen.push(Seen { at, event }));
            }
            Ok(Output::Answer(Answer { id, outcome })) => {
                let waiting = id.and_then(|id| shared.waiting().remove(&id));
                if let Some(waiting) = waiting {
                    // Anyone who asked may have given up.
                    let _ = waiting.send(outcome);
                }
            }
            // Events of a newer version.
            Err(_) => {}
        }
    }
    // Anyone who still waits learns that nothing comes.
    shared.waiting().clear();
}

/// The topic with a number.
pub fn topic(number: u32) -> Topic {
    Topic::from_bytes(numbered(1, number))
}

/// The key with a number.
pub fn key(number: u32) -> SigningKey {
    SigningKey::from_bytes(&seed(number))
}

fn seed(number: u32) -> [u8; 32] {
    numbered(7, number)
}

fn numbered(fill: u8, number: u32) -> [u8; 32] {
    let mut bytes = [fill; 32];
    if let Some(first) = bytes.first_chunk_mut() {
        *first = number.to_le_bytes();
    }
    bytes
}
