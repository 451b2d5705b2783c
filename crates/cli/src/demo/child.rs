//! A node of the demo in a process of its own, spoken to in JSON lines.

use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use p2panda::{Topic, VerifyingKey};
use p2panda_rpc::wire::{
    AckMode, Answer, Bootstrap, Call, Content, Deliver, Digest, Event, Message, Open, Outcome,
    Output, Reply, Request, StartAt, TextMessage,
};
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
    messages: mpsc::UnboundedReceiver<TextMessage>,
    node: Option<VerifyingKey>,
    addr: Option<SocketAddrV4>,
}

/// Settings with which a node of the demo starts.
#[derive(Default)]
pub struct Start<'a> {
    near: Option<&'a Child>,
    bind: Option<SocketAddrV4>,
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
    pub fn again(addr: Option<SocketAddrV4>) -> Start<'a> {
        Start {
            near: None,
            bind: addr,
        }
    }
}

/// A reply that has not arrived yet.
pub struct Pending(oneshot::Receiver<Outcome>);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Outcome>>>>;

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
            node: None,
            addr: None,
        })
    }

    /// Opens the durable node in the process, on loopback, without multicast.
    pub async fn open(&mut self, start: Start<'_>) -> Result<(), DemoError> {
        let near = start.near.and_then(|near| near.node.zip(near.addr));
        let open = Open {
            dir: Some(self.dir.join("home")),
            state_dir: Some(self.dir.join("state")),
            bind_v4: start.bind,
            bootstrap: near
                .map(|(node, addr)| Bootstrap {
                    node,
                    addr: SocketAddr::from(addr).into(),
                })
                .into_iter()
                .collect(),
            ..Open::default()
        };
        let Reply::Opened(opened) = self.call(Request::Open(open)).await? else {
            return Err(self.ended());
        };
        self.node = Some(opened.node);
        self.addr = opened.addrs.into_iter().find_map(|addr| match addr {
            SocketAddr::V4(addr) => Some(addr),
            SocketAddr::V6(_) => None,
        });
        Ok(())
    }

    /// The letter that the demo calls this node by.
    pub fn name(&self) -> char {
        self.name
    }

    /// Subscribes after what is acked.
    pub async fn subscribe(&mut self, topic: Topic, ack: AckMode) -> Result<(), DemoError> {
        let request = Request::Subscribe {
            topic,
            from: StartAt::Resume,
            ack,
            deliver: Deliver::Text,
        };
        self.call(request).await.map(drop)
    }

    /// Asks for a line to be published.
    pub async fn publish(&mut self, topic: Topic, line: &str) -> Result<Pending, DemoError> {
        let request = Request::Publish {
            topic,
            content: Content::text(line),
            count: None,
        };
        self.send(request).await
    }

    /// Acks one message.
    pub async fn ack(&mut self, topic: Topic, offset: u64) -> Result<Pending, DemoError> {
        self.send(Request::Ack { topic, offset }).await
    }

    /// The next message that the application of the node gets.
    pub async fn message(&mut self) -> Result<TextMessage, DemoError> {
        self.messages.recv().await.ok_or(self.ended())
    }

    /// Returns a digest of what the node holds of the topic.
    pub async fn digest(&mut self, topic: Topic) -> Result<Digest, DemoError> {
        match self.call(Request::Digest { topic }).await? {
            Reply::Digest(digest) => Ok(digest),
            _ => Err(self.ended()),
        }
    }

    /// Returns the number of operations of the topic that the node has stored.
    pub async fn operations(&mut self, topic: Topic) -> Result<u64, DemoError> {
        match self.call(Request::Status { topic }).await? {
            Reply::Status(status) => Ok(status.operations),
            _ => Err(self.ended()),
        }
    }

    /// Bytes that the node has sent and received so far.
    pub async fn wire_bytes(&mut self) -> Result<u64, DemoError> {
        match self.call(Request::Counters).await? {
            Reply::Counters(counters) => Ok(counters.sent_bytes + counters.received_bytes),
            _ => Err(self.ended()),
        }
    }

    /// Ends the node orderly.
    pub async fn shutdown(&mut self) -> Result<(), DemoError> {
        self.call(Request::Shutdown).await?;
        match self.process.wait().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.ended()),
        }
    }

    /// Ends the process with SIGKILL and returns the address that the node had.
    pub async fn kill(mut self) -> Result<Option<SocketAddrV4>, DemoError> {
        let killed = self.process.kill().await;
        killed.map_err(|_| self.ended())?;
        Ok(self.addr)
    }

    /// Waits for a reply.
    pub async fn reply(&self, pending: Pending) -> Result<Reply, DemoError> {
        match pending.0.await {
            Ok(Outcome::Ok(reply)) => Ok(reply),
            Ok(Outcome::Error(failure)) => Err(DemoError::Refused {
                node: self.name,
                message: failure.message,
            }),
            Err(_) => Err(self.ended()),
        }
    }

    async fn call(&mut self, request: Request) -> Result<Reply, DemoError> {
        let pending = self.send(request).await?;
        self.reply(pending).await
    }

    async fn send(&mut self, request: Request) -> Result<Pending, DemoError> {
        self.next_id += 1;
        let id = self.next_id;
        let call = Call { id, request };
        // A path that is no Unicode is the only thing that JSON does not take.
        let mut line = serde_json::to_vec(&call).map_err(|error| DemoError::Refused {
            node: self.name,
            message: error.to_string(),
        })?;
        line.push(b'\n');
        let (sender, receiver) = oneshot::channel();
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, sender);
        let written = self.requests.write_all(&line).await;
        written.map_err(|_| self.ended())?;
        Ok(Pending(receiver))
    }

    fn ended(&self) -> DemoError {
        DemoError::Ended { node: self.name }
    }
}

/// Hands replies and messages on until the process ends; anyone who waits then sees the end.
async fn read(lines: ChildStdout, waiting: Waiting, messages: mpsc::UnboundedSender<TextMessage>) {
    let mut lines = BufReader::new(lines).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Output::Answer(Answer {
                id: Some(id),
                outcome,
            })) => {
                let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(waiter) = waiting.remove(&id) {
                    // A waiter that has gone needs no reply.
                    let _ = waiter.send(outcome);
                }
            }
            Ok(Output::Event(Event::Message(Message::Text(message)))) => {
                if messages.send(message).is_err() {
                    break;
                }
            }
            // Other events, and what a newer process may say.
            Ok(_) | Err(_) => {}
        }
    }
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}
