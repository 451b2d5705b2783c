//! Our node, as a process of its own that is spoken to in JSON lines.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::{Error, Log, Operation, Peer, driver};

/// How long our node may take to answer a request that waits for nothing.
const REPLY: Duration = Duration::from_secs(60);

/// How our node is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The data directory; a temporary one without it.
    pub dir: Option<PathBuf>,
    /// The signing key; the directory's own without it.
    pub seed: Option<[u8; 32]>,
    /// The network, which each case has for itself.
    pub network: [u8; 32],
    /// Where it listens; on loopback, at a port of its own choice, without it.
    pub listen: Option<SocketAddr>,
    /// The nodes it knows from the beginning.
    pub bootstrap: Vec<Peer>,
    /// Whether it announces itself and looks for others in the local network.
    pub mdns: bool,
}

/// What our node reports without being asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A message of a subscription.
    Message {
        /// Its topic.
        topic: [u8; 32],
        /// The operation that carries it.
        operation: Operation,
        /// How many operations it depends on never came.
        missing: usize,
    },
    /// An ephemeral message.
    Ephemeral {
        /// Its topic.
        topic: [u8; 32],
        /// The key that signed it.
        author: [u8; 32],
        /// The message, one CBOR item.
        body: Vec<u8>,
    },
    /// A step of a sync session.
    Sync {
        /// Its topic.
        topic: [u8; 32],
        /// The node at the other end.
        peer: [u8; 32],
        /// The step.
        step: Step,
    },
    /// Anything else, as it came.
    Other(Value),
}

/// The steps of a sync session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Both sides have said what they hold.
    Started,
    /// Both sides have sent what the other lacked; the session is live.
    CaughtUp,
    /// The session is over.
    Ended,
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Imported {
    /// New and valid.
    pub stored: u64,
    /// There already.
    pub duplicates: u64,
    /// Invalid.
    pub rejected: u64,
    /// Waiting for an operation before them.
    pub early: u64,
}

/// Our node. Dropping it kills the process; [`Ours::close`] ends it in order.
#[derive(Debug)]
pub struct Ours {
    child: Child,
    requests: AsyncMutex<ChildStdin>,
    replies: Replies,
    next_id: AtomicU64,
    events: Log<Event>,
    me: Peer,
}

/// Who waits for which reply. `None` once the process has closed its output.
type Replies = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>>;

impl Ours {
    /// Starts the process and opens the node.
    ///
    /// # Errors
    ///
    /// Those of [`driver::path`], and what our node refuses.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let mut child = Command::new(driver::path().await?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let requests = child.stdin.take().ok_or(Error::Gone)?;
        let output = child.stdout.take().ok_or(Error::Gone)?;
        let (replies, events) = (Replies::default(), Log::default());
        *lock(&replies) = Some(HashMap::new());
        tokio::spawn(listen(output, replies.clone(), events.clone()));
        let mut ours = Self {
            child,
            requests: AsyncMutex::new(requests),
            replies,
            next_id: AtomicU64::new(0),
            events,
            me: Peer::unknown(),
        };
        ours.me = ours.open_node(&options).await?;
        Ok(ours)
    }

    /// The node's id and address, as others need it to dial.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.me
    }

    /// Everything our node has reported.
    #[must_use]
    pub fn events(&self) -> &Log<Event> {
        &self.events
    }

    /// Reads `topic` from its beginning and acknowledges by itself.
    ///
    /// # Errors
    ///
    /// Anything that our node refuses; the same holds for every request below.
    pub async fn subscribe(&self, topic: [u8; 32]) -> Result<(), Error> {
        self.ask(
            "subscribe",
            json!({"topic": hex::encode(topic), "from": "start"}),
        )
        .await
        .map(drop)
    }

    /// Publishes `text` and says at which place in our log it stands.
    pub async fn publish_text(&self, topic: [u8; 32], text: &str) -> Result<u64, Error> {
        let published = self.ask(
            "publish",
            json!({"topic": hex::encode(topic), "text": text}),
        );
        number(&published.await?, "seq")
    }

    /// Publishes `bytes` as one CBOR byte string and says at which place in our log it stands.
    pub async fn publish_bytes(&self, topic: [u8; 32], bytes: &[u8]) -> Result<u64, Error> {
        let request = json!({"topic": hex::encode(topic), "bytes": hex::encode(bytes)});
        number(&self.ask("publish", request).await?, "seq")
    }

    /// Lets everything of our own log before this operation go.
    pub async fn prune(&self, topic: [u8; 32], text: Option<&str>) -> Result<u64, Error> {
        let mut request = json!({"topic": hex::encode(topic)});
        if let (Some(text), Some(request)) = (text, request.as_object_mut()) {
            request.insert("text".into(), text.into());
        }
        number(&self.ask("prune", request).await?, "seq")
    }

    /// Hands operations over that came from elsewhere.
    pub async fn import(
        &self,
        topic: [u8; 32],
        operations: &[Operation],
    ) -> Result<Imported, Error> {
        let request = json!({"topic": hex::encode(topic), "operations": operations});
        let imported = self.ask("import", request).await?;
        Ok(serde_json::from_value(imported)?)
    }

    /// Listens to the ephemeral messages of `topic`.
    pub async fn ephemeral(&self, topic: [u8; 32]) -> Result<(), Error> {
        self.ask("ephemeral", json!({"topic": hex::encode(topic)}))
            .await
            .map(drop)
    }

    /// Sends an ephemeral message, `body` being one CBOR item.
    pub async fn ephemeral_publish(&self, topic: [u8; 32], body: &[u8]) -> Result<(), Error> {
        let request = json!({"topic": hex::encode(topic), "body": hex::encode(body)});
        self.ask("ephemeral_publish", request).await.map(drop)
    }

    /// Creates an encrypted space in `topic`, which our node owns.
    pub async fn create_space(&self, topic: [u8; 32]) -> Result<(), Error> {
        let request = json!({"topic": hex::encode(topic)});
        self.ask("space_create", request).await.map(drop)
    }

    /// Follows the space of `topic`, so that its owner can add our node.
    pub async fn follow_space(&self, topic: [u8; 32]) -> Result<(), Error> {
        let request = json!({"topic": hex::encode(topic)});
        self.ask("space_follow", request).await.map(drop)
    }

    /// Makes a node an editor of the space of `topic`.
    pub async fn add_to_space(&self, topic: [u8; 32], member: [u8; 32]) -> Result<(), Error> {
        let request = json!({"topic": hex::encode(topic), "member": hex::encode(member)});
        self.ask("space_add", request).await.map(drop)
    }

    /// Waits until the space of `topic` has `count` members, all of which have what they need.
    pub async fn wait_members(
        &self,
        topic: [u8; 32],
        count: usize,
        patience: Duration,
    ) -> Result<(), Error> {
        let request = json!({
            "topic": hex::encode(topic),
            "members": count,
            "timeout_ms": patience.as_millis() as u64,
        });
        self.ask_within("space_wait", request, patience + REPLY)
            .await
            .map(drop)
    }

    /// Waits until `count` operations of `topic` are stored.
    pub async fn wait_stored(
        &self,
        topic: [u8; 32],
        count: usize,
        patience: Duration,
    ) -> Result<(), Error> {
        let request = json!({
            "topic": hex::encode(topic),
            "operations": count,
            "timeout_ms": patience.as_millis() as u64,
        });
        self.ask_within("wait", request, patience + REPLY)
            .await
            .map(drop)
    }

    /// Everything stored of `topic`, by author and place in the log. Several logs of an author are
    /// mixed.
    pub async fn dump(&self, topic: [u8; 32]) -> Result<Vec<Operation>, Error> {
        let mut dump = self
            .ask("dump", json!({"topic": hex::encode(topic)}))
            .await?;
        let operations = dump.get_mut("operations").map(Value::take);
        Ok(serde_json::from_value(operations.unwrap_or_default())?)
    }

    /// What [`digest`](crate::digest) makes of everything stored of `topic`.
    pub async fn digest(&self, topic: [u8; 32]) -> Result<String, Error> {
        let digest = self
            .ask("digest", json!({"topic": hex::encode(topic)}))
            .await?;
        Ok(text(&digest, "digest"))
    }

    /// The counters of `topic`, as our node names them.
    pub async fn status(&self, topic: [u8; 32]) -> Result<Value, Error> {
        self.ask("status", json!({"topic": hex::encode(topic)}))
            .await
    }

    /// Waits for `count` messages of `topic` and gives the operations in the order of delivery.
    pub async fn wait_messages(
        &self,
        topic: [u8; 32],
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Operation>, Error> {
        let (mut looked_at, mut found) = (0, 0);
        self.events
            .wait("messages at our node", patience, |events| {
                let new = events.iter().skip(looked_at);
                found += new.filter(|event| is_message(event, topic)).count();
                looked_at = events.len();
                (found >= count).then(|| messages(events, topic))
            })
            .await
    }

    /// What was delivered of `topic` so far, in order.
    #[must_use]
    pub fn messages(&self, topic: [u8; 32]) -> Vec<Operation> {
        self.events.read(|events| messages(events, topic))
    }

    /// Waits for a step of a session with `peer`.
    pub async fn wait_step(
        &self,
        topic: [u8; 32],
        peer: [u8; 32],
        step: Step,
        patience: Duration,
    ) -> Result<(), Error> {
        let wanted = Event::Sync { topic, peer, step };
        self.events
            .wait("a sync session's step at our node", patience, |events| {
                events.contains(&wanted).then_some(())
            })
            .await
    }

    /// Ends the node and its process in order.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the process is still there after a while.
    pub async fn close(mut self) -> Result<(), Error> {
        self.ask("shutdown", json!({})).await?;
        tokio::time::timeout(REPLY, self.child.wait())
            .await
            .map_err(|_| Error::Timeout("the end of our node's process"))??;
        Ok(())
    }

    /// Any request of the driver's protocol.
    pub async fn ask(&self, op: &'static str, request: Value) -> Result<Value, Error> {
        self.ask_within(op, request, REPLY).await
    }

    async fn ask_within(
        &self,
        op: &'static str,
        mut request: Value,
        patience: Duration,
    ) -> Result<Value, Error> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if let Some(request) = request.as_object_mut() {
            request.insert("id".into(), id.into());
            request.insert("op".into(), op.into());
        }
        let (sender, reply) = oneshot::channel();
        match lock(&self.replies).as_mut() {
            Some(waiting) => waiting.insert(id, sender),
            None => return Err(Error::Gone),
        };
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        let exchange = async {
            self.requests.lock().await.write_all(&line).await?;
            reply.await.map_err(|_| Error::Gone)
        };
        let mut reply = tokio::time::timeout(patience, exchange)
            .await
            .map_err(|_| Error::Timeout(op))??;
        match reply.get_mut("error") {
            Some(error) => Err(Error::Refused {
                kind: text(error, "kind"),
                message: text(error, "message"),
            }),
            None => Ok(reply.get_mut("ok").map(Value::take).unwrap_or_default()),
        }
    }

    async fn open_node(&self, options: &Options) -> Result<Peer, Error> {
        let mut request = Map::new();
        request.insert("network".into(), hex::encode(options.network).into());
        let listen = options.listen.map(|addr| addr.to_string());
        let listen = listen.unwrap_or_else(|| "127.0.0.1:0".to_owned());
        request.insert("bind_v4".into(), listen.into());
        request.insert(
            "mdns".into(),
            if options.mdns { "active" } else { "off" }.into(),
        );
        let bootstrap = options
            .bootstrap
            .iter()
            .map(|peer| json!({"node": hex::encode(peer.node), "addr": peer.addr}));
        request.insert("bootstrap".into(), bootstrap.collect());
        if let Some(dir) = &options.dir {
            request.insert("dir".into(), path_text(dir).into());
        }
        if let Some(seed) = options.seed {
            request.insert("seed".into(), hex::encode(seed).into());
        }
        let opened: Opened = serde_json::from_value(self.ask("open", request.into()).await?)?;
        let addr = opened.addrs.into_iter().find(SocketAddr::is_ipv4);
        Ok(Peer {
            node: opened.node,
            addr: addr.ok_or(Error::Gone)?,
        })
    }
}

/// The reply to `open`.
#[derive(Deserialize)]
struct Opened {
    #[serde(with = "hex::serde")]
    node: [u8; 32],
    addrs: Vec<SocketAddr>,
}

/// Sorts what the process says into replies and events, until it closes its output.
async fn listen(output: ChildStdout, replies: Replies, events: Log<Event>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(said) = serde_json::from_str::<Value>(&line) else {
            events.push(Event::Other(line.into()));
            continue;
        };
        let waiting = said.get("id").and_then(Value::as_u64);
        match waiting.filter(|_| said.get("event").is_none()) {
            Some(id) => {
                let sender = lock(&replies).as_mut().and_then(|all| all.remove(&id));
                // Anyone who asked may have given up meanwhile.
                let _ = sender.map(|sender| sender.send(said));
            }
            None => events.push(event(said)),
        }
    }
    lock(&replies).take();
}

fn event(said: Value) -> Event {
    known_event(&said).unwrap_or(Event::Other(said))
}

fn known_event(said: &Value) -> Option<Event> {
    let topic = array(said, "topic")?;
    match said.get("event")?.as_str()? {
        "message" => Some(Event::Message {
            topic,
            operation: Operation::deserialize(said).ok()?,
            missing: said
                .get("missing")
                .and_then(Value::as_array)
                .map_or(0, Vec::len),
        }),
        "ephemeral" => Some(Event::Ephemeral {
            topic,
            author: array(said, "author")?,
            body: hex::decode(said.get("body")?.as_str()?).ok()?,
        }),
        "sync" => Some(Event::Sync {
            topic,
            peer: array(said, "peer")?,
            step: Step::deserialize(said.get("kind")?).ok()?,
        }),
        _ => None,
    }
}

fn is_message(event: &Event, wanted: [u8; 32]) -> bool {
    matches!(event, Event::Message { topic, .. } if *topic == wanted)
}

fn messages(events: &[Event], wanted: [u8; 32]) -> Vec<Operation> {
    let messages = events.iter().filter_map(|event| match event {
        Event::Message {
            topic, operation, ..
        } if *topic == wanted => Some(operation.clone()),
        _ => None,
    });
    messages.collect()
}

fn array(said: &Value, name: &str) -> Option<[u8; 32]> {
    hex::decode(said.get(name)?.as_str()?).ok()?.try_into().ok()
}

fn text(said: &Value, name: &str) -> String {
    let text = said.get(name).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn number(said: &Value, name: &str) -> Result<u64, Error> {
    Ok(u64::deserialize(said.get(name).unwrap_or(&Value::Null))?)
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
