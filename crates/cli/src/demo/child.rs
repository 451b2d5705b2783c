//! A node of the demo in a process of its own, spoken to in JSON lines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use p2panda::Topic;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};

use super::DemoError;

/// A running node. Killed when dropped.
pub struct Child {
    name: char,
    dir: PathBuf,
    process: tokio::process::Child,
    requests: ChildStdin,
    next_id: u64,
    waiting: Waiting,
    messages: mpsc::UnboundedReceiver<Message>,
    node: String,
    addr: Option<SocketAddr>,
}

/// How a node of the demo starts.
#[derive(Default)]
pub struct Start<'a> {
    near: Option<&'a Child>,
    bind: Option<SocketAddr>,
}

impl<'a> Start<'a> {
    /// With another node as its only contact.
    pub fn near(child: &'a Child) -> Start<'a> {
        Start {
            near: Some(child),
            bind: None,
        }
    }

    /// At the address that it had before.
    pub fn again(addr: Option<SocketAddr>) -> Start<'a> {
        Start {
            near: None,
            bind: addr,
        }
    }
}

/// A line that the application of a node got.
#[derive(Debug, Deserialize)]
pub struct Message {
    pub seq: u32,
    pub offset: u64,
    pub text: String,
}

/// What a node holds of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Digest {
    pub operations: u64,
    /// Header and body bytes.
    pub bytes: u64,
    /// BLAKE3 over the hashes of header and body, by author and seq.
    pub digest: String,
}

/// A reply that has not come yet.
pub struct Pending(oneshot::Receiver<Reply>);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

/// One line from the process: a reply, or an event by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Reply(Reply),
    Message(Message),
    Other {},
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    ok: Option<Value>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Child {
    /// Starts the process; the node in it is not open yet.
    pub fn spawn(name: char, dir: &Path) -> Result<Child, DemoError> {
        let failed = |source| DemoError::Start { node: name, source };
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg("demo-node")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C goes to the demo, which ends its nodes by itself.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn().map_err(failed)?;
        let (Some(requests), Some(lines)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(DemoError::Ended { node: name });
        };
        let (sender, messages) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        tokio::spawn(read(lines, Arc::clone(&waiting), sender));
        Ok(Child {
            name,
            dir: dir.to_owned(),
            process,
            requests,
            next_id: 0,
            waiting,
            messages,
            node: String::new(),
            addr: None,
        })
    }

    /// Opens the durable node in the process, on loopback, without multicast.
    pub async fn open(&mut self, start: Start<'_>) -> Result<(), DemoError> {
        let bootstrap: Vec<Value> = start
            .near
            .and_then(|near| Some(json!({ "node": near.node, "addr": near.addr? })))
            .into_iter()
            .collect();
        let opened = self
            .call(json!({
                "op": "open",
                "dir": self.dir.join("home"),
                "state_dir": self.dir.join("state"),
                "bind_v4": start.bind,
                "bootstrap": bootstrap,
            }))
            .await?;
        #[derive(Deserialize)]
        struct Opened {
            node: String,
            addrs: Vec<SocketAddr>,
        }
        let opened: Opened = self.parse(opened)?;
        self.node = opened.node;
        self.addr = opened.addrs.into_iter().find(SocketAddr::is_ipv4);
        Ok(())
    }

    /// The letter that the demo calls this node by.
    pub fn name(&self) -> char {
        self.name
    }

    /// Subscribes after what is acked; `ack` is `auto` or `explicit`.
    pub async fn subscribe(&mut self, topic: Topic, ack: &str) -> Result<(), DemoError> {
        let request = json!({ "op": "subscribe", "topic": topic, "ack": ack, "deliver": "text" });
        self.call(request).await.map(drop)
    }

    /// Asks for a line to be published.
    pub async fn publish(&mut self, topic: Topic, line: &str) -> Result<Pending, DemoError> {
        self.send(json!({ "op": "publish", "topic": topic, "text": line }))
            .await
    }

    /// Acks one message.
    pub async fn ack(&mut self, topic: Topic, offset: u64) -> Result<Pending, DemoError> {
        self.send(json!({ "op": "ack", "topic": topic, "offset": offset }))
            .await
    }

    /// The next message that the application of the node gets.
    pub async fn message(&mut self) -> Result<Message, DemoError> {
        self.messages
            .recv()
            .await
            .ok_or(DemoError::Ended { node: self.name })
    }

    /// What the node holds of the topic.
    pub async fn digest(&mut self, topic: Topic) -> Result<Digest, DemoError> {
        let digest = self.call(json!({ "op": "digest", "topic": topic })).await?;
        self.parse(digest)
    }

    /// How many operations of the topic the node has stored.
    pub async fn operations(&mut self, topic: Topic) -> Result<u64, DemoError> {
        #[derive(Deserialize)]
        struct Status {
            operations: u64,
        }
        let status = self.call(json!({ "op": "status", "topic": topic })).await?;
        self.parse(status).map(|status: Status| status.operations)
    }

    /// Bytes that the node has sent and received so far.
    pub async fn wire_bytes(&mut self) -> Result<u64, DemoError> {
        #[derive(Deserialize)]
        struct Counters {
            sent_bytes: u64,
            received_bytes: u64,
        }
        let counters = self.call(json!({ "op": "counters" })).await?;
        let Counters {
            sent_bytes,
            received_bytes,
        } = self.parse(counters)?;
        Ok(sent_bytes + received_bytes)
    }

    /// Ends the node orderly.
    pub async fn shutdown(&mut self) -> Result<(), DemoError> {
        self.call(json!({ "op": "shutdown" })).await?;
        match self.process.wait().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(DemoError::Ended { node: self.name }),
        }
    }

    /// Ends the process with SIGKILL and returns the address that the node had.
    pub async fn kill(mut self) -> Result<Option<SocketAddr>, DemoError> {
        let killed = self.process.kill().await;
        killed.map_err(|_| DemoError::Ended { node: self.name })?;
        Ok(self.addr)
    }

    /// Waits for a reply.
    pub async fn reply(&self, pending: Pending) -> Result<Value, DemoError> {
        match pending.0.await {
            Ok(Reply {
                ok: Some(value), ..
            }) => Ok(value),
            Ok(Reply {
                error: Some(Refusal { message }),
                ..
            }) => Err(DemoError::Refused {
                node: self.name,
                message,
            }),
            _ => Err(DemoError::Ended { node: self.name }),
        }
    }

    async fn call(&mut self, request: Value) -> Result<Value, DemoError> {
        let pending = self.send(request).await?;
        self.reply(pending).await
    }

    async fn send(&mut self, mut request: Value) -> Result<Pending, DemoError> {
        self.next_id += 1;
        if let Some(fields) = request.as_object_mut() {
            fields.insert("id".to_owned(), self.next_id.into());
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.next_id, sender);
        let line = format!("{request}\n");
        let written = self.requests.write_all(line.as_bytes()).await;
        written.map_err(|_| DemoError::Ended { node: self.name })?;
        Ok(Pending(receiver))
    }

    fn parse<T: for<'de> Deserialize<'de>>(&self, value: Value) -> Result<T, DemoError> {
        serde_json::from_value(value).map_err(|_| DemoError::Ended { node: self.name })
    }
}

/// Hands replies and messages on until the process ends; whoever waits then sees the end.
async fn read(lines: ChildStdout, waiting: Waiting, messages: mpsc::UnboundedSender<Message>) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Line::Reply(reply)) => {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(waiter) = waiting.remove(&reply.id) {
                    // A waiter that has gone needs no reply.
                    let _ = waiter.send(reply);
                }
            }
            Ok(Line::Message(message)) => {
                if messages.send(message).is_err() {
                    break;
                }
            }
            Ok(Line::Other {}) | Err(_) => {}
        }
    }
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}
