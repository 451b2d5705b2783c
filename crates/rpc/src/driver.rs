//! Carries out the requests, in order. Whatever may take long goes on beside the next ones.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future::poll_once;
use futures_lite::stream;
use p2panda::{Body, EphemeralPublisher, EphemeralSubscription, Node, SigningKey, Topic};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::dump;
use crate::event::{self, DriverError, Opened, line, reply};
use crate::hex::Hex;
use crate::request::{Content, ImportedOperation, Mdns, Op, Open, Request};
use crate::topic::{OpenTopic, publish};

/// How often a wait for operations looks again, besides whenever a message came: operations
/// without a body bring no message.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long `open` waits for the first address.
const ADDRESSES_WAIT: Duration = Duration::from_secs(3);

/// Whether there is more to serve.
pub enum Next {
    Serve,
    End,
}

/// The node of this process and what it is subscribed to.
pub struct Driver {
    lines: mpsc::Sender<String>,
    node: Option<Node>,
    topics: HashMap<Topic, OpenTopic>,
    ephemeral: HashMap<Topic, EphemeralPublisher>,
}

impl Driver {
    /// Says everything through `lines`.
    pub fn new(lines: mpsc::Sender<String>) -> Driver {
        Driver {
            lines,
            node: None,
            topics: HashMap::new(),
            ephemeral: HashMap::new(),
        }
    }

    /// Carries out one request.
    pub async fn handle(&mut self, text: &str) -> Next {
        let Request { id, op } = match serde_json::from_str(text) {
            Ok(request) => request,
            Err(error) => {
                self.reply(None, Err(DriverError::Request(error))).await;
                return Next::Serve;
            }
        };
        match op {
            Op::Publish {
                topic,
                content,
                count,
            } => {
                let prepared = self
                    .topic(&topic)
                    .and_then(|open| Ok((open.publisher(), body(content)?)));
                let published = async move {
                    let (publisher, body) = prepared?;
                    let range = publish(publisher, body, count.unwrap_or(1)).await?;
                    Ok(json!({
                        "id": range.first.id(),
                        "seq": range.first.seq(),
                        "last_seq": range.last.seq(),
                    }))
                };
                self.beside(id, Box::pin(published)).await;
            }
            Op::Ack { topic, offset } => {
                let message = self.topic(&topic).map(|open| open.take_unacked(offset));
                let acked = async move {
                    message?.ok_or(DriverError::NotWaiting)?.ack().await?;
                    Ok(json!({}))
                };
                self.beside(id, Box::pin(acked)).await;
            }
            Op::Wait {
                topic,
                received,
                operations,
                timeout_ms,
            } => {
                let waited = self.wait(topic, received, operations, timeout_ms);
                match waited {
                    Ok(waited) => self.beside(id, waited).await,
                    Err(error) => self.reply(Some(id), Err(error)).await,
                }
            }
            Op::Shutdown => {
                let closed = self.shutdown().await;
                self.reply(Some(id), closed.map(|()| json!({}))).await;
                return Next::End;
            }
            op => {
                let result = self.carry_out(op).await;
                self.reply(Some(id), result).await;
            }
        }
        Next::Serve
    }

    /// Ends what is still open.
    pub async fn close(mut self) {
        if let Err(error) = self.shutdown().await {
            tracing::error!(%error, "the node did not shut down in order");
        }
    }

    async fn shutdown(&mut self) -> Result<(), DriverError> {
        let closed = match self.node.take() {
            Some(node) => node.shutdown().await,
            None => Ok(()),
        };
        self.topics.clear();
        self.ephemeral.clear();
        Ok(closed?)
    }

    /// The requests that the next one waits for.
    async fn carry_out(&mut self, op: Op) -> Result<Value, DriverError> {
        match op {
            Op::Open(open) => self.open(open).await,
            Op::Subscribe {
                topic,
                from,
                ack,
                deliver,
            } => {
                let how = (from, ack, deliver);
                let open = OpenTopic::open(self.node()?, topic, how, self.lines.clone()).await?;
                self.topics.insert(topic, open);
                Ok(json!({}))
            }
            Op::Prune { topic, text } => {
                let message = text.as_deref().map(Body::from);
                let receipt = self.topic(&topic)?.publisher().prune(message).await?;
                Ok(json!({ "id": receipt.id(), "seq": receipt.seq() }))
            }
            Op::Import { topic, operations } => self.import(topic, operations).await,
            Op::Ephemeral { topic } => self.ephemeral(topic).await,
            Op::EphemeralPublish { topic, content } => {
                let publisher = self
                    .ephemeral
                    .get(&topic)
                    .ok_or(DriverError::NotSubscribed)?;
                publisher.publish(body(content)?).await?;
                Ok(json!({}))
            }
            Op::Status { topic } => self.status(topic).await,
            Op::Dump { topic } => dump::operations(self.node()?, topic).await,
            Op::Digest { topic } => dump::digest(self.node()?, topic).await,
            Op::Peers => self.peers(),
            Op::AddPeer { node, addr } => {
                self.node()?.net().add_peer(node, addr);
                Ok(json!({}))
            }
            Op::Leave { topic } => {
                self.topics.remove(&topic);
                self.node()?.topic(topic).leave().await;
                Ok(json!({}))
            }
            Op::Counters => {
                let counters = self.node()?.net().counters();
                Ok(json!({
                    "sent_bytes": counters.udp_sent_bytes,
                    "received_bytes": counters.udp_received_bytes,
                }))
            }
            Op::Publish { .. } | Op::Ack { .. } | Op::Wait { .. } | Op::Shutdown => {
                unreachable!("handled before")
            }
        }
    }
}

type Beside = Pin<Box<dyn Future<Output = Result<Value, DriverError>> + Send>>;

impl Driver {
    async fn open(&mut self, open: Open) -> Result<Value, DriverError> {
        if self.node.is_some() {
            return Err(DriverError::Open);
        }
        let node = builder(open)?.spawn().await?;
        let addrs = listening(&node).await;
        tokio::spawn(sync_events(node.clone(), self.lines.clone()));
        let opened = Opened {
            node: node.id(),
            addrs,
        };
        self.node = Some(node);
        Ok(json!(opened))
    }

    async fn import(
        &self,
        topic: Topic,
        operations: Vec<ImportedOperation>,
    ) -> Result<Value, DriverError> {
        let operations = operations
            .into_iter()
            .map(|operation| p2panda::ImportedOperation {
                header: operation.header.0,
                body: operation.body.map(|Hex(body)| body),
            });
        let report = self.node()?.import(topic, stream::iter(operations)).await?;
        Ok(json!({
            "stored": report.stored,
            "duplicates": report.duplicates,
            "rejected": report.rejected,
            "early": report.early,
        }))
    }

    async fn ephemeral(&mut self, topic: Topic) -> Result<Value, DriverError> {
        let (publisher, subscription) = self.node()?.ephemeral(topic).await?;
        tokio::spawn(ephemeral_events(topic, subscription, self.lines.clone()));
        self.ephemeral.insert(topic, publisher);
        Ok(json!({}))
    }

    async fn status(&self, topic: Topic) -> Result<Value, DriverError> {
        let node = self.node()?;
        let status = node.topic(topic).status().await?;
        let rejected: serde_json::Map<String, Value> = status
            .rejected
            .iter()
            .map(|(reason, count)| (format!("{reason:?}"), json!(count)))
            .collect();
        let peers = node.net().peers();
        let sessions = peers.iter().flat_map(|peer| &peer.sessions);
        let received = self
            .topics
            .get(&topic)
            .map_or(0, |open| *open.received().borrow());
        Ok(json!({
            "operations": status.totals.operations,
            "bytes": status.totals.bytes,
            "logs": status.logs,
            "received": received,
            "rejected": rejected,
            "forks": status.forks,
            "sessions": sessions.filter(|session| session.topic == topic).count(),
            "waiting": status.waiting,
        }))
    }

    fn peers(&self) -> Result<Value, DriverError> {
        let peers: Vec<Value> = self
            .node()?
            .net()
            .peers()
            .iter()
            .map(|peer| {
                json!({
                    "node": peer.id,
                    "addrs": peer.addrs,
                    "connected": peer.connected,
                    "topics_shared": peer.topics_shared,
                })
            })
            .collect();
        Ok(json!({ "peers": peers }))
    }

    fn wait(
        &self,
        topic: Topic,
        received: Option<u64>,
        operations: Option<u64>,
        timeout_ms: u64,
    ) -> Result<Beside, DriverError> {
        let counts = self.topic(&topic)?.received();
        let node = self.node()?.clone();
        let reached = async move {
            let mut seen = counts.clone();
            if let Some(received) = received {
                let all = seen.wait_for(|seen| *seen >= received).await;
                drop(all.map_err(|_| DriverError::NotSubscribed)?);
            }
            if let Some(operations) = operations {
                stored(&node, topic, operations, counts).await?;
            }
            Ok(json!({}))
        };
        Ok(Box::pin(async move {
            let reached = timeout(Duration::from_millis(timeout_ms), reached).await;
            reached.map_err(|_| DriverError::Timeout)?
        }))
    }

    /// Starts a request at once, and replies whenever it is done.
    async fn beside(&self, id: u64, mut work: Beside) {
        if let Some(result) = poll_once(&mut work).await {
            return self.reply(Some(id), result).await;
        }
        let lines = self.lines.clone();
        tokio::spawn(async move {
            // The process ends when nobody reads any more.
            let _ = lines.send(reply(Some(id), work.await)).await;
        });
    }

    async fn reply(&self, id: Option<u64>, result: Result<Value, DriverError>) {
        // The process ends when nobody reads any more.
        let _ = self.lines.send(reply(id, result)).await;
    }

    fn node(&self) -> Result<&Node, DriverError> {
        self.node.as_ref().ok_or(DriverError::NotOpen)
    }

    fn topic(&self, topic: &Topic) -> Result<&OpenTopic, DriverError> {
        self.topics.get(topic).ok_or(DriverError::NotSubscribed)
    }
}

fn builder(open: Open) -> Result<p2panda::Builder, DriverError> {
    let v4 = open
        .bind_v4
        .unwrap_or(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let mut builder = p2panda::builder()
        .bind(v4, open.bind_v6)
        .state_dir(open.state_dir)
        .mdns(match open.mdns {
            Mdns::Off => p2panda::Mdns::Off,
            Mdns::Listen => p2panda::Mdns::Listen,
            Mdns::Active => p2panda::Mdns::Active,
        });
    builder = match open.dir {
        Some(dir) => builder.data_dir(dir),
        None => builder.temporary(),
    };
    if let Some(Hex(seed)) = open.seed {
        let seed = <[u8; 32]>::try_from(&seed[..]).map_err(|_| DriverError::Seed)?;
        builder = builder.signing_key(SigningKey::from_bytes(&seed));
    }
    if let Some(network) = open.network {
        builder = builder.network_id(network);
    }
    for contact in open.bootstrap {
        builder = builder.bootstrap(contact.node, contact.addr);
    }
    if let Some(bytes) = open.operation_bytes_max {
        builder = builder.operation_bytes_max(bytes);
    }
    if let Some(compare) = open.state_digest {
        builder = builder.state_digest(compare);
    }
    Ok(builder)
}

/// The addresses of a node, once it knows them.
async fn listening(node: &Node) -> Vec<SocketAddr> {
    let mut events = node.events();
    let known = async { while node.net().addr().is_empty() && events.next().await.is_some() {} };
    // A machine without any network has no address to name.
    let _ = timeout(ADDRESSES_WAIT, known).await;
    node.net().addr()
}

fn body(content: Content) -> Result<Body, DriverError> {
    match content {
        Content {
            text: Some(text),
            bytes: None,
            body: None,
            size: None,
        } => Ok(Body::from(text.as_str())),
        Content {
            text: None,
            bytes: Some(Hex(bytes)),
            body: None,
            size: None,
        } => Ok(Body::from(&bytes[..])),
        Content {
            text: None,
            bytes: None,
            body: Some(Hex(item)),
            size: None,
        } => Ok(Body::from_cbor(item)?),
        Content {
            text: None,
            bytes: None,
            body: None,
            size: Some(size),
        } => {
            let bytes: Vec<u8> = (0..size).map(|index| index as u8).collect();
            Ok(Body::from(bytes))
        }
        _ => Err(DriverError::Content),
    }
}

/// Waits until so many operations of a topic are stored.
async fn stored(
    node: &Node,
    topic: Topic,
    operations: u64,
    mut received: watch::Receiver<u64>,
) -> Result<(), DriverError> {
    while node.topic(topic).status().await?.totals.operations < operations {
        let changed = timeout(LOOK_AGAIN, received.changed()).await;
        if let Ok(Err(_)) = changed {
            return Err(DriverError::NotSubscribed);
        }
    }
    Ok(())
}

async fn sync_events(node: Node, lines: mpsc::Sender<String>) {
    let mut events = node.events();
    // The task must not keep the node.
    drop(node);
    while let Some(event) = events.next().await {
        let Some(line) = event::sync(&event) else {
            continue;
        };
        if lines.send(line).await.is_err() {
            break;
        }
    }
}

async fn ephemeral_events(
    topic: Topic,
    mut subscription: EphemeralSubscription,
    lines: mpsc::Sender<String>,
) {
    while let Some(message) = subscription.next().await {
        let event = json!({
            "event": "ephemeral",
            "topic": topic,
            "author": message.author(),
            "timestamp": message.timestamp().to_string(),
            "body": Hex(Bytes::copy_from_slice(message.raw())),
        });
        if lines.send(line(&event)).await.is_err() {
            break;
        }
    }
}
