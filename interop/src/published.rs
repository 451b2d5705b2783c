//! A node of the published crates, inside this process.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt;
use p2panda::network::MdnsDiscoveryMode;
use p2panda::operation::{Extensions, LogId};
use p2panda::streams::{
    EphemeralStreamPublisher, EphemeralStreamSubscription, Source, StreamEvent, StreamFrom,
    StreamPublisher, StreamSubscription, SystemEvent,
};
use p2panda::{EndpointAddr, Node};
use p2panda_core::logs::LogHeights;
use p2panda_core::{Body, Cursor, Header, SigningKey, Topic, VerifyingKey};
use p2panda_net::addrs::{NodeInfo, TrustedTransportInfo};
use p2panda_net::discovery::DiscoveryEvent;
use p2panda_net::utils::from_verifying_key;
use p2panda_store::address_book::AddressBookStore;
use p2panda_store::cursors::CursorStore;
use p2panda_store::logs::LogStore;
use p2panda_store::operations::OperationStore;
use p2panda_store::topics::TopicStore;
use p2panda_store::{SqliteStore, SqliteStoreBuilder, Transaction};
use tokio::task::JoinHandle;

use crate::{Error, Log, Message, Operation, Peer, sorted};

type Stored = p2panda_core::Operation<Extensions>;

/// How a published node is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where its database lies.
    pub dir: PathBuf,
    /// Its signing key.
    pub seed: [u8; 32],
    /// The network, which each case has for itself.
    pub network: [u8; 32],
    /// The nodes it knows from the beginning.
    pub bootstrap: Vec<Peer>,
    /// What its database holds from the beginning, read by its application already.
    pub stored: Vec<([u8; 32], Vec<Operation>)>,
    /// The same for logs of a topic whose log id is that of another topic, which is named second.
    pub stored_beside: Vec<([u8; 32], [u8; 32], Vec<Operation>)>,
    /// Whether it announces itself and looks for others in the local network.
    pub mdns: bool,
    /// Where it listens, of version 4 alone if that is not [`Ipv4Addr::LOCALHOST`].
    pub ip: Ipv4Addr,
}

impl Setup {
    /// A node that knows nothing and nobody.
    #[must_use]
    pub fn new(dir: &Path, seed: [u8; 32], network: [u8; 32]) -> Self {
        Self {
            dir: dir.to_owned(),
            seed,
            network,
            bootstrap: Vec::new(),
            stored: Vec::new(),
            stored_beside: Vec::new(),
            mdns: false,
            ip: Ipv4Addr::LOCALHOST,
        }
    }
}

/// What a published node reports about a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An operation with a message it could read.
    Operation {
        /// The operation.
        operation: Operation,
        /// The node that sent it; none for its own.
        from: Option<[u8; 32]>,
    },
    /// An operation it could not use, with its reason.
    Refused(Operation, String),
    /// Both sides of a session have said how much they will send.
    SyncStarted([u8; 32]),
    /// A session has caught up, or failed.
    SyncEnded([u8; 32], Option<String>),
    /// Replays and imports, which no case uses.
    Other,
}

/// A published node. Drop its streams first and it last, as it has no call for an orderly end.
#[derive(Debug)]
pub struct Published {
    node: Node,
    me: Peer,
    store: SqliteStore,
    met: Log<[u8; 32]>,
    _listening: Reading,
}

impl Published {
    /// Prepares the database and starts the node on loopback.
    ///
    /// # Errors
    ///
    /// Anything that the published crates refuse; the same holds for everything below.
    pub async fn start(setup: Setup) -> Result<Self, Error> {
        let database = format!("sqlite://{}", setup.dir.join("published.sqlite").display());
        let store = open_store(&database).await?;
        for peer in &setup.bootstrap {
            seed_peer(&store, peer).await?;
        }
        for (topic, operations) in &setup.stored {
            let topic = (*topic).into();
            seed_operations(&store, topic, LogId::from_topic(topic), operations).await?;
        }
        for (topic, other, operations) in &setup.stored_beside {
            let log_id = LogId::from_topic((*other).into());
            seed_operations(&store, (*topic).into(), log_id, operations).await?;
        }
        let key = SigningKey::from_bytes(&setup.seed);
        let addr = free_port(setup.ip.into())?;
        let mut builder = p2panda::builder()
            .database_pool(store.pool().clone())
            .signing_key(key.clone())
            .network_id(setup.network)
            .bind_ip_v4(setup.ip)
            .bind_port_v4(addr.port())
            .mdns_mode(match setup.mdns {
                true => MdnsDiscoveryMode::Active,
                false => MdnsDiscoveryMode::Disabled,
            });
        // Some containers have no loopback of version 6.
        let v6 = free_port(Ipv6Addr::LOCALHOST.into());
        if let (Ok(v6), Ipv4Addr::LOCALHOST) = (v6, setup.ip) {
            builder = builder
                .bind_ip_v6(Ipv6Addr::LOCALHOST)
                .bind_port_v6(v6.port());
        }
        let node = builder.spawn().await.map_err(Error::published)?;
        let (met, listening) = watch_discovery(&node).await?;
        Ok(Self {
            node,
            me: Peer {
                node: *key.verifying_key().as_bytes(),
                addr,
            },
            store,
            met,
            _listening: listening,
        })
    }

    /// The node's id and address, as others need it to dial.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.me
    }

    /// Opens a topic: from here on the node syncs it.
    pub async fn stream(&self, topic: [u8; 32]) -> Result<PublishedStream, Error> {
        let (publisher, subscription) = self
            .node
            .stream_from(Topic::from(topic), StreamFrom::Frontier)
            .await
            .map_err(Error::published)?;
        let heard = Log::default();
        let reading = Reading(tokio::spawn(read(subscription, heard.clone())));
        Ok(PublishedStream {
            publisher,
            heard,
            _reading: reading,
        })
    }

    /// Opens a topic for ephemeral messages.
    pub async fn ephemeral(&self, topic: [u8; 32]) -> Result<PublishedEphemeral, Error> {
        let (publisher, subscription) = self
            .node
            .ephemeral_stream(Topic::from(topic))
            .await
            .map_err(Error::published)?;
        let heard = Log::default();
        let reading = Reading(tokio::spawn(read_ephemeral(subscription, heard.clone())));
        Ok(PublishedEphemeral {
            publisher,
            heard,
            _reading: reading,
        })
    }

    /// Waits for a discovery session with `peer` that ended well.
    pub async fn wait_met(&self, peer: [u8; 32], patience: Duration) -> Result<(), Error> {
        let what = "discovery at the published node";
        self.met
            .wait(what, patience, |met| met.contains(&peer).then_some(()))
            .await
    }

    /// Everything stored of `topic`, by author and place in the log, with the headers as stored.
    pub async fn dump(&self, topic: [u8; 32]) -> Result<Vec<Operation>, Error> {
        let topic = Topic::from(topic);
        let logs = TopicStore::<Topic, VerifyingKey, LogId>::resolve(&self.store, &topic).await;
        let mut operations = Vec::new();
        for (author, log_ids) in logs.map_err(Error::published)? {
            for log_id in log_ids {
                let entries: Option<Vec<(Stored, Vec<u8>)>> =
                    LogStore::get_log_entries(&self.store, &author, &log_id, None, None)
                        .await
                        .map_err(Error::published)?;
                let entries = entries.unwrap_or_default().into_iter();
                operations.extend(entries.map(|(operation, header)| Operation {
                    header,
                    ..bytes_of(&operation)
                }));
            }
        }
        Ok(sorted(operations))
    }
}

/// A topic at a published node. Dropping it leaves the topic.
#[derive(Debug)]
pub struct PublishedStream {
    publisher: StreamPublisher<Message>,
    heard: Log<Heard>,
    _reading: Reading,
}

impl PublishedStream {
    /// Everything the node has reported about the topic.
    #[must_use]
    pub fn heard(&self) -> &Log<Heard> {
        &self.heard
    }

    /// Publishes and waits until the node has processed it; gives the operation's id.
    pub async fn publish(&self, message: impl Into<Message>) -> Result<[u8; 32], Error> {
        let processing = self.publisher.publish(message.into()).await;
        let processing = processing.map_err(Error::published)?;
        let id = *processing.hash().as_bytes();
        processing.await.map_err(Error::published)?;
        Ok(id)
    }

    /// Lets everything before this operation go.
    pub async fn prune(&self, message: Option<Message>) -> Result<[u8; 32], Error> {
        let processing = self.publisher.prune(message).await;
        let processing = processing.map_err(Error::published)?;
        let id = *processing.hash().as_bytes();
        processing.await.map_err(Error::published)?;
        Ok(id)
    }

    /// Waits for `count` operations, its own among them, in the order of delivery.
    pub async fn wait_operations(
        &self,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<Operation>, Error> {
        let (mut looked_at, mut found) = (0, 0);
        self.heard
            .wait("operations at the published node", patience, |heard| {
                let new = heard.iter().skip(looked_at);
                found += new.filter(|heard| is_operation(heard)).count();
                looked_at = heard.len();
                (found >= count).then(|| operations(heard))
            })
            .await
    }

    /// What was delivered so far, in order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.heard.read(operations)
    }

    /// The operations it could not use, with its reasons.
    #[must_use]
    pub fn refused(&self) -> Vec<(Operation, String)> {
        self.heard.read(|heard| {
            let refused = heard.iter().filter_map(|heard| match heard {
                Heard::Refused(operation, reason) => Some((operation.clone(), reason.clone())),
                _ => None,
            });
            refused.collect()
        })
    }

    /// Waits until a session with `peer` has caught up without an error.
    pub async fn wait_caught_up(&self, peer: [u8; 32], patience: Duration) -> Result<(), Error> {
        let wanted = Heard::SyncEnded(peer, None);
        self.heard
            .wait("a sync session at the published node", patience, |heard| {
                heard.contains(&wanted).then_some(())
            })
            .await
    }
}

/// A topic for ephemeral messages at a published node. Dropping it leaves the topic.
#[derive(Debug)]
pub struct PublishedEphemeral {
    publisher: EphemeralStreamPublisher<Message>,
    heard: Log<([u8; 32], Message)>,
    _reading: Reading,
}

impl PublishedEphemeral {
    /// The authors and messages that came, in order.
    #[must_use]
    pub fn heard(&self) -> &Log<([u8; 32], Message)> {
        &self.heard
    }

    /// Sends to anyone who listens now.
    pub async fn publish(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.publisher
            .publish(message.into())
            .await
            .map_err(Error::published)
    }
}

/// A task that ends with its owner, and with it the subscription that it reads.
#[derive(Debug)]
struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads without a pause: a subscription that nobody reads stalls its publisher.
async fn read(mut subscription: StreamSubscription<Message>, heard: Log<Heard>) {
    while let Some(event) = subscription.next().await {
        heard.push(match event {
            StreamEvent::Processed { operation, source } => Heard::Operation {
                operation: bytes_of_event(operation.processed()),
                from: match source {
                    Source::SyncSession { remote_node_id, .. } => Some(*remote_node_id.as_bytes()),
                    _ => None,
                },
            },
            StreamEvent::ProcessingFailed { event, error, .. } => {
                Heard::Refused(bytes_of_event(&event), error.to_string())
            }
            StreamEvent::DecodeFailed { event, error } => {
                Heard::Refused(bytes_of_event(&event), error.to_string())
            }
            StreamEvent::AckFailed { event, error } => {
                Heard::Refused(bytes_of_event(&event), error.to_string())
            }
            StreamEvent::SyncStarted { remote_node_id, .. } => {
                Heard::SyncStarted(*remote_node_id.as_bytes())
            }
            StreamEvent::SyncEnded {
                remote_node_id,
                error,
                ..
            } => {
                let error = error.map(|error| error.to_string());
                Heard::SyncEnded(*remote_node_id.as_bytes(), error)
            }
            _ => Heard::Other,
        });
    }
}

async fn read_ephemeral(
    mut subscription: EphemeralStreamSubscription<Message>,
    heard: Log<([u8; 32], Message)>,
) {
    while let Some(message) = subscription.next().await {
        heard.push((*message.author().as_bytes(), message.body().clone()));
    }
}

async fn watch_discovery(node: &Node) -> Result<(Log<[u8; 32]>, Reading), Error> {
    let mut events = node.event_stream().await.map_err(Error::published)?;
    let met = Log::default();
    let log = met.clone();
    let reading = tokio::spawn(async move {
        while let Some(SystemEvent::Discovery(event)) = events.next().await {
            if let DiscoveryEvent::SessionEnded { remote_node_id, .. } = event {
                log.push(*remote_node_id.as_bytes());
            }
        }
    });
    Ok((met, Reading(reading)))
}

/// One connection for all: with several, a transaction that has read and then writes fails with
/// "database is locked" whenever another connection writes at that moment.
async fn open_store(database: &str) -> Result<SqliteStore, Error> {
    let builder = SqliteStoreBuilder::new().database_url(database);
    let store = builder.min_connections(1).max_connections(1).build();
    store.await.map_err(Error::published)
}

/// Makes the node know `peer`, which its builder has no call for. The address is as old as can be, so
/// that the record that the peer signs wins over it.
async fn seed_peer(store: &SqliteStore, peer: &Peer) -> Result<(), Error> {
    let node = VerifyingKey::from_bytes(&peer.node).map_err(Error::published)?;
    let addr = EndpointAddr::new(from_verifying_key(node)).with_ip_addr(peer.addr);
    let mut transports = TrustedTransportInfo::from(addr);
    transports.timestamp = 0.into();
    let mut info = NodeInfo::new(node).bootstrap();
    info.update_transports(transports.into())
        .map_err(Error::published)?;
    let permit = store.begin().await.map_err(Error::published)?;
    AddressBookStore::insert_node_info(store, info)
        .await
        .map_err(Error::published)?;
    store.commit(permit).await.map_err(Error::published)
}

/// Writes operations past the node's own pipeline, which takes a time that grows with the square of
/// their number, and marks them as read.
async fn seed_operations(
    store: &SqliteStore,
    topic: Topic,
    log_id: LogId,
    operations: &[Operation],
) -> Result<(), Error> {
    let mut heights = LogHeights::<VerifyingKey, LogId>::default();
    let permit = store.begin().await.map_err(Error::published)?;
    for operation in operations {
        let header = Header::<Extensions>::decode(&operation.header).map_err(Error::published)?;
        let author = header.verifying_key;
        let stored = Stored::from_parts(header, operation.body.clone().map(Body::from));
        OperationStore::insert_operation(store, &stored.hash, &stored, &log_id)
            .await
            .map_err(Error::published)?;
        let logs = heights.entry(author).or_default();
        if logs.insert(log_id, operation.seq).is_none() {
            TopicStore::associate(store, &topic, &author, &log_id)
                .await
                .map_err(Error::published)?;
        }
    }
    let read = Cursor::new(topic.to_string(), heights);
    CursorStore::set_cursor(store, &read)
        .await
        .map_err(Error::published)?;
    store.commit(permit).await.map_err(Error::published)
}

fn is_operation(heard: &Heard) -> bool {
    matches!(heard, Heard::Operation { .. })
}

fn operations(heard: &[Heard]) -> Vec<Operation> {
    let operations = heard.iter().filter_map(|heard| match heard {
        Heard::Operation { operation, .. } => Some(operation.clone()),
        _ => None,
    });
    operations.collect()
}

fn bytes_of_event(event: &p2panda::processor::Event<LogId, Extensions, Topic>) -> Operation {
    bytes_of_parts(event.header(), event.body())
}

fn bytes_of(operation: &Stored) -> Operation {
    bytes_of_parts(&operation.header, operation.body.as_ref())
}

fn bytes_of_parts(header: &Header<Extensions>, body: Option<&Body>) -> Operation {
    Operation {
        author: *header.verifying_key.as_bytes(),
        seq: header.seq_num,
        id: *header.hash().as_bytes(),
        header: header.encode(),
        body: body.map(Body::to_bytes),
    }
}

/// A port of `ip` that was free a moment ago: the published node has to be told one.
fn free_port(ip: std::net::IpAddr) -> Result<SocketAddr, Error> {
    Ok(UdpSocket::bind((ip, 0))?.local_addr()?)
}
