//! A running node.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use p2panda_core::budget::Budget;
use p2panda_core::{Hash, NetworkId, Topic, VerifyingKey, limits};
use p2panda_engine::{Authors, Engine, Quotas, SpaceCommand, thread};
use p2panda_net::Net;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use crate::at_rest::state_dir;
use crate::builder::{Builder, GuardDir, Place};
use crate::consumer::ConsumerRequest;
use crate::consumer_handle::{self, ConsumerInfo};
use crate::ended::Ended;
use crate::ephemeral::EphemeralRequest;
use crate::event::{EventSender, Events};
use crate::health::{self, Health, HealthSender};
use crate::inner::blocking;
use crate::inner::commits::run;
use crate::inner::group_sync::GroupSync;
use crate::inner::hops::Hops;
use crate::inner::levels::Levels;
use crate::inner::named::Registry;
use crate::inner::new_logs::NewLogs;
use crate::inner::queue::Queue;
use crate::inner::serve::{Responder, serve};
use crate::inner::space_topics::SpaceTopics;
use crate::inner::storage::Storage;
use crate::inner::topic::{TopicState, Topics};
use crate::inner::views::Views;
use crate::metrics::{Metrics, Tally};
use crate::person::Person;
use crate::spaces::Spaces;
use crate::stream::{PublisherRequest, StreamRequest};
use crate::subscription::CaughtUp;
use crate::teams::Teams;
use crate::topic_handle::TopicHandle;
use crate::trace::Trace;
use crate::view::{ViewRequest, ViewStatus};
use crate::{Error, peers};

/// A running node. Cheap to clone: all clones are the same node.
///
/// It stops with [`Node::shutdown`]. When the last clone and everything made from it is dropped it
/// stops as well, without waiting for peers.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    id: VerifyingKey,
    authors: Authors,
    network_id: NetworkId,
    dir: PathBuf,
    temporary: Mutex<Option<TempDir>>,
    storage: Storage,
    queue: Queue,
    topics: Topics,
    consumers: Registry,
    net: Net,
    events: EventSender,
    hops: Arc<Hops>,
    tally: Arc<Tally>,
    health: watch::Receiver<Health>,
    views: Views,
    closed: AtomicBool,
    imports: AtomicU64,
    journal: GroupSync,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.0.id)
            .field("dir", &self.0.dir)
            .finish()
    }
}

pub(crate) async fn start(builder: Builder) -> Result<Node, Error> {
    let network_id = builder.network_id;
    let (dir, temporary) = match &builder.place {
        Place::Unknown => return Err(Error::NoDirectory),
        Place::Directory(dir) => (dir.clone(), None),
        Place::Temporary => {
            let made = temporary_dir().map_err(Error::Temporary)?;
            (made.path().to_path_buf(), Some(made))
        }
    };
    let budget = Budget::new(builder.budget_bytes, builder.operation_bytes_max as usize);
    let options = engine_options(&builder, temporary.is_some(), budget.clone());
    let (opened_dir, is_temporary) = (dir.clone(), temporary.is_some());
    let opened = tokio::task::spawn_blocking(move || {
        let now = thread::system_clock()();
        let engine = Engine::open(&opened_dir, options, now)?;
        if is_temporary {
            clean_up(&opened_dir).map_err(Error::Temporary)?;
        }
        Ok::<_, Error>(engine)
    });
    let engine = opened.await.map_err(|_| Error::Closed)??;

    let signing_key = engine.signing_key().clone();
    let storage = Storage::new(engine.readers());
    let journal = engine.journal();
    let levels = Levels::new(storage.clone(), journal.clone());
    let authors = engine.authors().clone();
    let topics = Topics::new(authors.clone(), levels.clone());
    let events = EventSender::new();
    let (sender, health) = HealthSender::new();
    let tally = Arc::default();
    let consumers = Registry::new(events.clone());
    let views = Views::default();
    let readers = (&topics, &consumers, &views);
    let (followed, follow) = mpsc::unbounded_channel();
    let spaces = Arc::<SpaceTopics>::default();
    let told = (Arc::clone(&spaces), followed);
    let engine = run(engine, readers, (&events, told), (&sender, &tally));
    let queue = Queue::new(engine, health.clone(), spaces);

    let new_logs = NewLogs::new(
        builder.new_logs,
        builder.budget_bytes,
        topics.heads().clone(),
    );
    let (requests, incoming) = mpsc::channel(limits::NETWORK_REQUESTS_MAX);
    let quotas = builder.quotas;
    let mut config = net_config(builder, signing_key.clone(), &storage).await?;
    config.budget = budget;
    let net = match p2panda_net::spawn(config, requests).await {
        Ok(net) => net,
        Err(error) => {
            close(queue).await;
            return Err(error.into());
        }
    };
    let hops = Arc::default();
    let responder = Responder {
        id: signing_key.verifying_key(),
        levels,
        storage: storage.clone(),
        queue: queue.clone(),
        topics: topics.clone(),
        new_logs,
        blame: Arc::default(),
        known: Arc::default(),
        hops: Arc::clone(&hops),
        events: events.clone(),
    };
    tokio::spawn(serve(incoming, responder));
    blocking::start(topics.clone(), storage.clone(), quotas);
    tokio::spawn(consumers.clone().end_idle(queue.clone()));
    let open = (topics.clone(), consumers.clone(), views.clone());
    let end = end_when_stopped(health.clone(), open, storage.clone(), net.clone());
    tokio::spawn(end);
    let node = Node(Arc::new(Inner {
        id: signing_key.verifying_key(),
        authors,
        network_id,
        dir,
        temporary: Mutex::new(temporary),
        storage,
        queue,
        topics,
        consumers,
        net,
        events,
        hops,
        tally,
        health,
        views,
        closed: AtomicBool::new(false),
        imports: AtomicU64::new(0),
        journal: GroupSync::new(move || journal.sync()),
    }));
    tokio::spawn(join_followed(Arc::downgrade(&node.0), follow));
    if let Err(error) = node.join_kept().await {
        // Why it could not be opened is what counts.
        let _ = node.shutdown().await;
        return Err(error);
    }
    Ok(node)
}

/// The engine follows spaces by itself, of which other devices of the person told it, and keeps their
/// topics: the node is interested in them at once.
async fn join_followed(node: Weak<Inner>, mut follow: mpsc::UnboundedReceiver<Topic>) {
    while let Some(topic) = follow.recv().await {
        let Some(node) = node.upgrade().map(Node) else {
            return;
        };
        // A topic that is kept is joined at the next start as well.
        let _ = node.join(topic).await;
    }
}

/// Prefix of the names of temporary directories.
const TEMPORARY_PREFIX: &str = "p2panda-";

/// Marks an open temporary directory, and removes those that killed processes left.
fn clean_up(dir: &Path) -> std::io::Result<()> {
    p2panda_store::mark_temporary(dir)?;
    if let Some(parent) = dir.parent() {
        p2panda_store::sweep_temporary(parent, TEMPORARY_PREFIX, dir);
    }
    Ok(())
}

fn temporary_dir() -> std::io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir()
}

/// A node whose engine has stopped must not look alive: everything of it ends.
async fn end_when_stopped(
    health: watch::Receiver<Health>,
    (topics, consumers, views): (Topics, Registry, Views),
    storage: Storage,
    net: Net,
) {
    if health::stopped(health).await.is_some() {
        views.leave();
        storage.close();
        topics.leave_all();
        consumers.close();
        // Anything that does not answer in time is cut.
        let _ = tokio::time::timeout(limits::SHUTDOWN_LEAVE_WAIT, net.shutdown()).await;
    }
}

pub(crate) fn engine_options(
    builder: &Builder,
    temporary: bool,
    budget: Budget,
) -> p2panda_engine::Options {
    let guard_dir = match &builder.guard_dir {
        _ if temporary => None,
        GuardDir::None => None,
        GuardDir::At(dir) => Some(dir.clone()),
        GuardDir::Default => state_dir(),
    };
    p2panda_engine::Options {
        key: builder.signing_key.clone(),
        key_elsewhere: builder.key_elsewhere,
        guard_dir,
        restored: builder.restored,
        causal_wait: builder.causal_wait,
        causal_wait_max: builder.causal_wait_max,
        idempotency_window: builder.idempotency_window,
        operation_bytes_max: builder.operation_bytes_max as usize,
        plaintext_kept: builder.plaintext_kept,
        quotas: builder.quotas,
        retention: builder.retention.clone(),
        budget: Some(budget),
        at_rest: builder.at_rest.clone(),
        at_rest_before: builder.at_rest_before.clone(),
        seal_messages: builder.seal_messages,
        ..p2panda_engine::Options::default()
    }
}

async fn net_config(
    builder: Builder,
    signing_key: p2panda_core::SigningKey,
    storage: &Storage,
) -> Result<p2panda_net::Config, Error> {
    let mut config = p2panda_net::Config::new(signing_key);
    if builder.low_bandwidth {
        config.low_bandwidth();
    }
    config.network_id = builder.network_id;
    config.bind_v4 = builder.bind_v4;
    config.bind_v6 = builder.bind_v6;
    config.relays = builder.relays;
    config.bootstrap = builder.bootstrap;
    config.hosts = builder.hosts;
    config.mdns = builder.mdns;
    config.limits.operation_bytes_max = builder.operation_bytes_max;
    config.state_digest = builder.state_digest;
    config.sessions_sought = builder.sessions_sought;
    config.gossip_neighbours_max = builder.gossip_neighbours_max;
    let mut last = None;
    loop {
        let page = storage.read(move |reader| reader.addresses(last.as_ref()));
        let page = page.await?;
        let Some((node, _)) = page.last() else {
            return Ok(config);
        };
        last = Some(*node);
        for (node, stored) in page {
            config.known.add(node, stored);
        }
    }
}

impl Node {
    /// The network that this node is in.
    pub fn network_id(&self) -> NetworkId {
        self.0.network_id
    }

    /// The node id: the public key that verifies this node's operations and identifies it to peers.
    pub fn id(&self) -> VerifyingKey {
        self.0.id
    }

    /// The directory with key, database and lock.
    pub fn data_dir(&self) -> &Path {
        &self.0.dir
    }

    /// Returns `true` if only this user may read and change the data directory; `true` where files
    /// have no mode bits. The files of the node are private either way
    /// (`docs/protocol/streams.md#1`).
    pub fn data_dir_is_private(&self) -> bool {
        !p2panda_store::others_may_enter(&self.0.dir)
    }

    /// Opens a topic. When awaited, returns its publisher and a subscription.
    ///
    /// From then on the node is interested in the topic, until [`TopicHandle::leave`] or shutdown:
    /// it finds other nodes and syncs with them, even if no handle is kept.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let topic = p2panda::random_topic()?;
    /// let node = p2panda::spawn().await?;
    /// let (tx, mut rx) = node.stream(topic).await?;
    /// tx.publish("Hello, Panda!").await?;
    /// while let Some(message) = rx.next().await {
    ///     println!("{}: {}", message.author(), message.text()?);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn stream(&self, topic: Topic) -> StreamRequest {
        StreamRequest::new(self.clone(), topic)
    }

    /// Opens a topic only for writing. When awaited, returns its publisher.
    ///
    /// The node is interested in the topic from then on, as with [`Node::stream`]. Nothing counts as read:
    /// the first stream of the topic begins with the oldest message.
    ///
    /// ```no_run
    /// # async fn example(node: p2panda::Node, topic: p2panda::Topic) -> Result<(), p2panda::Error> {
    /// let tx = node.publisher(topic).await?;
    /// tx.publish("23.4 degrees").await?;
    /// # Ok(()) }
    /// ```
    pub fn publisher(&self, topic: Topic) -> PublisherRequest {
        PublisherRequest::new(self.clone(), topic)
    }

    /// Encrypted spaces: topics whose content only members can read.
    pub fn spaces(&self) -> Spaces {
        Spaces::new(self.clone())
    }

    /// Teams: groups of persons and devices that are one member of spaces.
    pub fn teams(&self) -> Teams {
        Teams::new(self.clone())
    }

    /// The person whose device this node is: several devices that are one member of spaces.
    pub fn person(&self) -> Person {
        Person::new(self.clone())
    }

    /// The topics that are kept ([`TopicHandle::keep`]), in their order, at most 1 000 behind `after`;
    /// empty at the end.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn kept_topics(&self, after: Option<Topic>) -> Result<Vec<Topic>, Error> {
        let read = move |reader: &p2panda_store::Reader| {
            reader.kept_topics(after.as_ref(), limits::TOPICS_PAGE_ROWS)
        };
        self.storage().read(read).await
    }

    /// Tables of the application, derived from the messages of topics: each message takes effect in
    /// them exactly once, and a higher version is built while the other one answers
    /// (`docs/protocol/views.md`).
    ///
    /// ```no_run
    /// # async fn example(node: p2panda::Node, topic: p2panda::Topic)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let notes = node
    ///     .view("notes", 1)
    ///     .topics([topic])
    ///     .table("CREATE TABLE {view}note(text TEXT NOT NULL)")
    ///     .apply(|step, message| {
    ///         step.execute("INSERT INTO {view}note VALUES(?1)", [message.text()?.into()]);
    ///         Ok(())
    ///     })
    ///     .start()
    ///     .await?;
    /// notes.caught_up().await?;
    /// let rows = notes.read(|tables| tables.query("SELECT count(*) FROM note", [])).await?;
    /// println!("{:?} notes", rows.first().and_then(|row| row.integer(0)));
    /// # Ok(()) }
    /// ```
    pub fn view(&self, name: &str, version: u32) -> ViewRequest {
        ViewRequest::new(self.clone(), name, version)
    }

    /// All stored views, by name and version, whether or not this process has started them.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn views(&self) -> Result<Vec<ViewStatus>, Error> {
        let rows = self.0.storage.read(|reader| reader.views()).await?;
        Ok(rows.into_iter().map(ViewStatus::of).collect())
    }

    /// Deletes a view with all versions, started or not. Its tables are deleted in the background.
    ///
    /// # Errors
    /// [`p2panda_store::ViewError::Unknown`] when there is none; [`Error::Closed`] after shutdown.
    pub async fn delete_view(&self, name: &str) -> Result<(), Error> {
        crate::view::delete(self, name).await
    }

    /// As [`crate::View::accept_loss`] for the version of a view that is built, started or not: one
    /// that is started later takes the place of the one before without what the feed lacks now.
    ///
    /// # Errors
    /// [`p2panda_store::ViewError::Unknown`] when none is built; [`Error::Closed`] after shutdown.
    pub async fn accept_view_loss(&self, name: &str) -> Result<(), Error> {
        crate::view::accept_loss(self, name).await
    }

    /// Messages to the nodes that are connected right now; they are never stored. While the topic carries a
    /// space they are sealed for its members.
    pub fn ephemeral(&self, topic: Topic) -> EphemeralRequest {
        EphemeralRequest::new(self.clone(), topic)
    }

    /// A named durable consumer, to open or to inspect (`docs/protocol/consumers.md`).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let topic = p2panda::random_topic()?;
    /// let node = p2panda::open("./app").await?;
    /// let mut consumer = node.consumer("search").topics([topic]).deliveries_max(5).open().await?;
    /// while let Some(delivery) = consumer.next().await {
    ///     println!("{}", delivery.text()?);
    ///     delivery.ack().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn consumer(&self, name: impl Into<String>) -> ConsumerRequest {
        ConsumerRequest::new(self.clone(), name.into())
    }

    /// All named consumers, in the order of their names, at most 1 000 behind the name `after`.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn consumers(&self, after: Option<&str>) -> Result<Vec<ConsumerInfo>, Error> {
        consumer_handle::list(self, after.map(str::to_owned)).await
    }

    /// Status, evidence and settings of one topic.
    pub fn topic(&self, topic: Topic) -> TopicHandle {
        TopicHandle::new(self.clone(), topic)
    }

    /// Publishes again, at the end of this node's logs, the content that was given up with a branch of
    /// them ([`crate::Restored::PullOwnLog`]) or that only this directory had under the key that a new
    /// one took the place of ([`crate::Restored::NewIdentity`]), in all topics. Returns how many
    /// messages. They are new operations, with new ids and times; calling it again publishes nothing
    /// twice.
    ///
    /// # Errors
    /// As [`crate::Publisher::publish`]; what was published before it counts. A log that is still being
    /// pulled is an error of kind [`crate::ErrorKind::Restored`] that is retryable: it can be called
    /// again after [`crate::Event::OwnLogPulled`].
    pub async fn republish(&self) -> Result<u64, Error> {
        let topics = self.storage().read(|reader| reader.topics_given_up());
        let mut all = 0;
        for topic in topics.await? {
            loop {
                match self.queue().republish(topic).await? {
                    0 => break,
                    published => all += published,
                }
            }
        }
        Ok(all)
    }

    /// Returns the events on this node. A listener that falls behind loses the oldest events and
    /// is told how many; messages are never among them.
    pub fn events(&self) -> Events {
        Events::new(
            self.0.events.listen(),
            self.0.net.events(),
            self.0.topics.clone(),
        )
    }

    /// Metrics since the node was opened, typed and as Prometheus text (`docs/guide/observe.md`).
    pub fn metrics(&self) -> Metrics {
        let topics = self.0.topics.all();
        let blocked = topics.iter().map(|state| state.blocked()).sum();
        let health = self.0.health.borrow();
        let network = self.0.net.counters();
        let tally = &self.0.tally;
        Metrics {
            heads_bytes: self.0.topics.heads().bytes() as u64,
            ..tally.metrics(&health, (topics.len(), blocked), network)
        }
    }

    /// Stored header and payload bytes of this node and others. `None` without quotas
    /// ([`Builder::quotas`](crate::Builder::quotas)): nothing is counted then.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn kept_bytes(&self) -> Result<Option<u64>, Error> {
        let read = move |reader: &p2panda_store::Reader| reader.kept_bytes(None);
        self.storage().read(read).await
    }

    /// Keeps so many header and payload bytes of others at most from now on, in place of
    /// [`Builder::quotas`](crate::Builder::quotas). Logs for which there is room now continue at once.
    /// Nothing that is kept is deleted (`docs/protocol/streams.md#21`).
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown.
    pub async fn set_quotas(&self, quotas: Quotas) -> Result<(), Error> {
        self.queue().set_quotas(quotas).await?;
        let topics = self.topics().all();
        let topics = topics.iter().map(|state| state.topic());
        self.topics().blocking().set_quotas(quotas, topics);
        Ok(())
    }

    /// The network: peers, addresses, counters.
    pub fn net(&self) -> peers::Network {
        peers::Network::new(self.0.net.clone())
    }

    /// Looks up an operation on this node: where it is, from whom it came, what it waits for, who
    /// has it; `None`: it is not known here (`docs/guide/observe.md`). Looks at the headers of up
    /// to 100 000 operations.
    ///
    /// # Errors
    /// [`Error::Closed`] after shutdown, [`Error::Store`] when the store cannot be read.
    pub async fn trace(&self, id: Hash) -> Result<Option<Trace>, Error> {
        crate::trace::trace(self, id).await
    }

    /// Returns the ability of the node to store: it can, it waits until it can again, or it has
    /// stopped (`docs/protocol/streams.md#18`). Each change is an event.
    pub fn health(&self) -> Health {
        self.0.health.borrow().clone()
    }

    /// Waits until the node stops by itself, and returns why; after [`Node::shutdown`] it never does.
    /// Cancel safe.
    pub async fn stopped(&self) -> Arc<Error> {
        match health::stopped(self.0.health.clone()).await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops the node within a second: live sessions are ended cleanly, acknowledgements are
    /// stored, the directory is closed. Every clone is closed afterwards.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the node had stopped by itself, or when something in progress could
    /// not be stored. The node is shut down anyway. Calling it twice does nothing.
    pub async fn shutdown(&self) -> Result<(), Error> {
        if self.0.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        // A command ends before the wait for healing does, each time again: without this, nobody would heal.
        let until = tokio::time::Instant::now() + limits::SHUTDOWN_LEAVE_WAIT;
        let heal = |reply| SpaceCommand::HealNow { reply };
        let healed = self.0.queue.space(heal);
        let _ = tokio::time::timeout(limits::SHUTDOWN_LEAVE_WAIT / 2, healed).await;
        for state in self.0.topics.leave_all() {
            state.flush_acks();
        }
        self.0.consumers.count_idle(&self.0.queue);
        self.0.consumers.close();
        self.0.views.close().await;
        // Anything that does not answer in time is cut.
        let _ = tokio::time::timeout_at(until, self.0.net.shutdown()).await;
        self.0.storage.close();
        close(self.0.queue.clone()).await;
        let temporary = self.0.temporary.lock().take();
        drop(temporary);
        match self.0.queue.ended() {
            Error::Closed => Ok(()),
            failed => Err(failed),
        }
    }

    /// Returns `true` if [`Node::shutdown`] was called, or the node has stopped by itself.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::SeqCst) || self.has_stopped()
    }

    /// Returns `true` if it has stopped by itself.
    pub(crate) fn has_stopped(&self) -> bool {
        matches!(&*self.0.health.borrow(), Health::Stopped { .. })
    }

    /// Returns why nothing comes any more, if that is so for all topics.
    pub(crate) fn ended(&self) -> Option<Ended> {
        if let Health::Stopped { error } = &*self.0.health.borrow() {
            return Some(Ended::Failed(Arc::clone(error)));
        }
        self.is_closed().then_some(Ended::Shutdown)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.0.topics
    }

    pub(crate) fn consumers_in_use(&self) -> &Registry {
        &self.0.consumers
    }

    pub(crate) fn event_sender(&self) -> &EventSender {
        &self.0.events
    }

    pub(crate) fn hops(&self) -> &Hops {
        &self.0.hops
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    pub(crate) fn running_views(&self) -> &Views {
        &self.0.views
    }

    pub(crate) fn net_handle(&self) -> &Net {
        &self.0.net
    }

    /// Returns the author of what this node signs in a topic: its own key of the space there, if it has one.
    pub(crate) fn author_in(&self, topic: &Topic) -> VerifyingKey {
        self.0.authors.in_topic(topic)
    }

    pub(crate) fn journal(&self) -> &GroupSync {
        &self.0.journal
    }

    pub(crate) fn next_import(&self) -> u64 {
        self.0.imports.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes the node interested in a topic, once.
    pub(crate) async fn join(&self, topic: Topic) -> Result<Arc<TopicState>, Error> {
        if self.is_closed() {
            return Err(self.0.queue.ended());
        }
        let (state, new) = self.0.topics.join(topic, &self.0.queue);
        if new {
            let own = self.author_in(&topic);
            // Commits from here on are signalled; this catches up with those before.
            let read = self.0.storage.read(move |reader| {
                let blocked = reader.blocked(&topic)?;
                let ends = (reader.last_arrival(&topic)?, reader.last_offset(&topic)?);
                Ok((ends, blocked, reader.own_forks(&topic, &own)?))
            });
            match read.await {
                Ok(((arrival, offset), blocked, forks)) => {
                    for (log, fork) in forks {
                        state.receipts().fork(log, fork.held);
                    }
                    state.opened(arrival, offset, &blocked);
                }
                Err(error) => {
                    self.0.topics.leave(&topic);
                    return Err(error);
                }
            }
            state.set_sync(self.0.net.subscribe(topic, state.arrivals()));
            self.0.topics.blocking().add(topic);
        }
        Ok(state)
    }

    /// Makes the node interested in the topics that it keeps.
    async fn join_kept(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let topics = self.kept_topics(after).await?;
            after = topics.last().copied();
            if after.is_none() {
                return Ok(());
            }
            for topic in topics {
                self.join(topic).await?;
            }
        }
    }

    /// Waits until there is a peer on a topic, and all have been caught up with.
    pub(crate) async fn caught_up(&self, topic: Topic) -> Result<CaughtUp, Error> {
        let state = self
            .0
            .topics
            .get(&topic)
            .ok_or_else(|| match self.is_closed() {
                true => self.0.queue.ended(),
                false => Error::Left,
            })?;
        let mut feed = state.feed();
        let mut events = self.0.net.events();
        loop {
            state.check_open()?;
            match self.0.net.sessions_on(&topic) {
                (peers @ 1.., live) if live == peers => {
                    let blocked = state.blocked();
                    return Ok(CaughtUp { peers, blocked });
                }
                _ => {}
            }
            // What a listener that falls behind loses is looked at as well.
            tokio::select! {
                _ = events.recv() => {}
                () = feed.left() => {}
            }
        }
    }

    pub(crate) async fn leave(&self, topic: &Topic) {
        if let Some(state) = self.0.topics.leave(topic) {
            state.flush_acks();
            if let Some(sync) = state.sync() {
                sync.clone().leave().await;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        for state in self.topics.leave_all() {
            state.flush_acks();
        }
        self.consumers.count_idle(&self.queue);
        self.consumers.close();
        self.views.leave();
        let (net, queue, storage) = (self.net.clone(), self.queue.clone(), self.storage.clone());
        let temporary = self.temporary.lock().take();
        let stop = async move {
            net.shutdown().await;
            storage.close();
            close(queue).await;
            drop(temporary);
        };
        // Without a runtime there is nothing to be orderly with: the directory survives a crash.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(stop);
        }
    }
}

async fn close(queue: Queue) {
    // A panic of the engine has been reported by its thread.
    let _ = tokio::task::spawn_blocking(move || queue.close()).await;
}
