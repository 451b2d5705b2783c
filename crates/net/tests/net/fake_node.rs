//! A node that keeps its operations in memory and answers what the network asks.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{
    Draft, Entry, HeadsChange, Heights, LogRange, NetworkId, NodeExtensions, Operation, Page,
    Phase, Read, Received, Refusal, SigningKey, Tail, Timestamp, Topic, VerifyingKey, Wanted,
};
use p2panda_net::{Bootstrap, Config, Mdns, Net, Request, Stored, SyncHandle, Totals, Watched};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::SessionId;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Long enough for the slowest machine; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running network and the node behind it.
pub struct FakeNode {
    pub net: Net,
    key: SigningKey,
    memory: Arc<Memory>,
    handles: Mutex<HashMap<Topic, SyncHandle>>,
}

#[derive(Default)]
struct Memory {
    topics: Mutex<HashMap<Topic, TopicLog>>,
    stored_rows: Mutex<BTreeMap<VerifyingKey, Bytes>>,
    changes: watch::Sender<u64>,
}

/// All that the node knows of a topic.
#[derive(Default)]
pub struct TopicLog {
    pub entries: Vec<Entry>,
    pub heights: Heights,
    /// Operations that came in more than once.
    pub duplicates: usize,
    pub refused: usize,
    pub oversize: usize,
    pub undecodable: usize,
    pub phases: BTreeMap<SessionId, Vec<Phase>>,
    pub sent: BTreeMap<VerifyingKey, u64>,
    arrivals: Watched<Tail<Entry>>,
    /// Heads that its sessions compare.
    heads: Option<SharedHeads>,
}

impl TopicLog {
    /// The heads of everything stored, from now on those of what is appended as well.
    fn heads(&mut self, topic: &Topic) -> SharedHeads {
        let heads = self.heads.get_or_insert_with(|| SharedHeads::new(topic));
        heads.follow(&HeadsChange {
            raised: self.entries.iter().map(head).collect(),
            arrival: self.entries.len() as u64,
            ..HeadsChange::default()
        });
        heads.clone()
    }

    fn append(&mut self, operation: &Operation) -> bool {
        let header = &operation.header;
        let extensions = header.node_extensions().unwrap();
        let (author, log_id, seq) = (header.author(), extensions.log_id, header.seq());
        let next = self
            .heights
            .get(&author, &log_id)
            .map_or(0, |last| last + 1);
        if seq != next {
            return false;
        }
        self.heights.raise(author, log_id, seq);
        self.entries.push(Entry {
            arrival: self.entries.len() as u64 + 1,
            header: header.clone(),
            body: operation.body.clone(),
            absent: None,
        });
        if let (Some(heads), Some(entry)) = (&self.heads, self.entries.last()) {
            heads.follow(&HeadsChange {
                raised: vec![head(entry)],
                arrival: entry.arrival,
                ..HeadsChange::default()
            });
        }
        true
    }
}

fn head(entry: &Entry) -> (VerifyingKey, Head) {
    (entry.label(), Head::of(&entry.header))
}

/// A configuration for tests: loopback only, no multicast, a network of its own.
pub fn config(network: u8, seed: u8) -> Config {
    let mut config = Config::new(SigningKey::from_bytes(&[seed; 32]));
    config.network_id = NetworkId::from_bytes([network; 32]);
    config.bind_v4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    config.bind_v6 = None;
    config.mdns = Mdns::Off;
    config
}

impl FakeNode {
    pub async fn start(network: u8, seed: u8) -> FakeNode {
        FakeNode::start_with(config(network, seed)).await
    }

    pub async fn start_with(config: Config) -> FakeNode {
        show_logs();
        let key = config.signing_key.clone();
        let memory = Arc::new(Memory::default());
        let (requests, asked) = mpsc::channel(256);
        let net = p2panda_net::spawn(config, requests).await.unwrap();
        tokio::spawn(answer(memory.clone(), asked));
        FakeNode {
            net,
            key,
            memory,
            handles: Mutex::default(),
        }
    }

    pub fn id(&self) -> VerifyingKey {
        self.net.id()
    }

    /// Returns the address for others to reach this node.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            node: self.id(),
            addrs: self.net.addr(),
            relay: None,
        }
    }

    /// The address book rows that the network had stored.
    pub fn stored_rows(&self) -> BTreeMap<VerifyingKey, Bytes> {
        self.memory.stored_rows.lock().unwrap().clone()
    }

    /// The same once the node's own row is among them.
    pub async fn rows_with_own(&self) -> BTreeMap<VerifyingKey, Bytes> {
        let mut changes = self.memory.changes.subscribe();
        let stored = async {
            while !self.stored_rows().contains_key(&self.id()) {
                changes.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, stored).await.expect("the own row stored");
        self.stored_rows()
    }

    pub fn subscribe(&self, topic: Topic) {
        let arrivals = self.with(topic, |log| log.arrivals.subscribe());
        let handle = self.net.subscribe(topic, arrivals);
        self.handles.lock().unwrap().insert(topic, handle);
    }

    pub async fn leave(&self, topic: Topic) {
        let handle = self.handles.lock().unwrap().remove(&topic).unwrap();
        handle.leave().await;
    }

    /// Drops the handles of all topics, which leaves them in the background.
    pub fn drop_topics(&self) {
        self.handles.lock().unwrap().clear();
    }

    pub fn publish(&self, topic: Topic, body: &str) {
        self.publish_bytes(topic, body.as_bytes());
    }

    pub fn publish_bytes(&self, topic: Topic, body: &[u8]) {
        self.publish_as(&self.key, topic, body);
    }

    /// Stores an operation of any author.
    pub fn publish_as(&self, key: &SigningKey, topic: Topic, body: &[u8]) {
        let arrival = self.with(topic, |log| {
            let operation = sign(key, log, topic, body);
            assert!(log.append(&operation));
            log.entries.len() as u64
        });
        self.with(topic, |log| {
            log.arrivals.send_modify(|tail| tail.skip_to(arrival))
        });
        self.memory.changed();
    }

    /// Looks at a topic.
    pub fn with<T>(&self, topic: Topic, look: impl FnOnce(&mut TopicLog) -> T) -> T {
        look(self.memory.topics.lock().unwrap().entry(topic).or_default())
    }

    /// Waits until a topic is as it should be.
    pub async fn until(
        &self,
        topic: Topic,
        what: &str,
        mut as_it_should: impl FnMut(&TopicLog) -> bool,
    ) {
        let mut changes = self.memory.changes.subscribe();
        let waited = timeout(PATIENCE, async {
            while !self.with(topic, |log| as_it_should(log)) {
                changes.changed().await.unwrap();
            }
        });
        if waited.await.is_err() {
            let seen = self.with(topic, |log| (log.entries.len(), log.phases.clone()));
            panic!(
                "{what}: waited in vain, {seen:?}, peers {:?}",
                self.net.peers()
            );
        }
    }

    /// Waits until the topic holds this many operations.
    pub async fn until_len(&self, topic: Topic, len: usize) {
        let what = format!("{len} operations");
        self.until(topic, &what, |log| log.entries.len() >= len)
            .await;
    }

    /// Waits until a session with anyone is live.
    pub async fn until_live(&self, topic: Topic) {
        let live = |phases: &Vec<Phase>| phases.last() == Some(&Phase::Live);
        self.until(topic, "a live session", |log| log.phases.values().any(live))
            .await;
    }
}

impl Memory {
    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn take(&self, request: Request) {
        let mut topics = self.topics.lock().unwrap();
        match request {
            Request::Heights { topic, reply } => {
                let log = topics.entry(topic).or_default();
                let _ = reply.send((log.heights.clone(), log.entries.len() as u64, Vec::new()));
            }
            Request::Heads { topic, reply } => {
                let log = topics.entry(topic).or_default();
                let _ = reply.send(log.heads(&topic));
            }
            Request::Totals {
                topic,
                ranges,
                reply,
            } => {
                let log = topics.entry(topic).or_default();
                let (operations, bytes) = totals(log, &ranges);
                let _ = reply.send(Totals {
                    operations,
                    bytes,
                    ranges,
                });
            }
            Request::Wanted { reply, .. } => drop(reply.send(Wanted::default())),
            Request::Read { topic, read, reply } => {
                let _ = reply.send(read_page(topics.entry(topic).or_default(), &read));
            }
            Request::Store {
                topic,
                operations,
                reply,
                ..
            } => {
                let invalid = store(topics.entry(topic).or_default(), operations);
                let _ = reply.send(Stored { invalid });
            }
            Request::Phase {
                topic,
                session,
                phase,
                ..
            } => {
                let log = topics.entry(topic).or_default();
                log.phases.entry(session).or_default().push(phase);
            }
            Request::Sent { peer, acked } => {
                for reached in acked {
                    let log = topics.entry(reached.topic).or_default();
                    log.sent.insert(peer, reached.arrival);
                }
            }
            Request::Record { node, stored } => {
                self.stored_rows.lock().unwrap().insert(node, stored);
            }
            Request::Forget { node } => {
                self.stored_rows.lock().unwrap().remove(&node);
            }
            _ => {}
        }
        drop(topics);
        self.changed();
    }
}

/// With `RUST_LOG` set, tells what happens; fails from the second test of a process on.
pub fn show_logs() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer();
    let _ = logs.try_init();
}

async fn answer(memory: Arc<Memory>, mut asked: mpsc::Receiver<Request>) {
    while let Some(request) = asked.recv().await {
        memory.take(request);
    }
}

fn sign(key: &SigningKey, log: &TopicLog, topic: Topic, body: &[u8]) -> Operation {
    let author = key.verifying_key();
    let last = log
        .entries
        .iter()
        .rev()
        .find(|entry| entry.label() == author);
    let extensions = NodeExtensions::new(topic.log_id(), Timestamp::from_micros(1)).encode();
    let draft = Draft {
        seq: last.map_or(0, |entry| entry.seq() + 1),
        backlink: last.map(|entry| entry.header.id()),
        body: Some(body),
        extensions: Some(&extensions),
    };
    Operation::create(key, draft).unwrap()
}

fn store(log: &mut TopicLog, operations: Vec<Received>) -> usize {
    let mut invalid = 0;
    for received in operations {
        let (header, body) = match received {
            Received::Operation { header, body } => (header, body),
            Received::Refused(refused) => {
                match refused.refusal {
                    Refusal::TooLarge => log.oversize += 1,
                    Refusal::OtherLog => {}
                    Refusal::Undecodable => {
                        log.undecodable += 1;
                        invalid += 1;
                    }
                }
                continue;
            }
        };
        match Operation::decode(header.as_bytes().clone(), body) {
            Ok(operation) if log.append(&operation) => {}
            Ok(_) => log.duplicates += 1,
            Err(_) => {
                log.refused += 1;
                invalid += 1;
            }
        }
    }
    let arrival = log.entries.len() as u64;
    log.arrivals.send_modify(|tail| tail.skip_to(arrival));
    invalid
}

fn totals(log: &TopicLog, ranges: &[LogRange]) -> (u64, u64) {
    let wanted = ranges.iter().flat_map(|range| in_range(log, range));
    wanted.fold((0, 0), |(count, bytes), entry| {
        (count + 1, bytes + size(entry))
    })
}

fn read_page(log: &TopicLog, read: &Read) -> Page {
    match read {
        Read::Logs { ranges, bytes_max } => {
            let mut all = Page::default();
            let mut left = *bytes_max;
            for range in ranges {
                let page = page(in_range(log, range), left, 0);
                left = left.saturating_sub(page.entries.iter().map(Entry::bytes).sum());
                all.entries.extend(page.entries);
                all.more = page.more || left == 0;
                all.ranges += usize::from(!page.more);
                if all.more {
                    break;
                }
            }
            all
        }
        Read::Arrivals { after, bytes_max } => {
            let newer = log.entries.iter().filter(|entry| entry.arrival > *after);
            page(newer, *bytes_max, *after)
        }
    }
}

fn page<'a>(entries: impl Iterator<Item = &'a Entry>, bytes_max: usize, from: u64) -> Page {
    let mut page = Page {
        last_arrival: from,
        ..Page::default()
    };
    let mut bytes = 0;
    for entry in entries {
        if bytes >= bytes_max as u64 {
            page.more = true;
            break;
        }
        bytes += size(entry);
        page.last_arrival = entry.arrival;
        page.entries.push(entry.clone());
    }
    page
}

fn in_range<'a>(log: &'a TopicLog, range: &LogRange) -> impl Iterator<Item = &'a Entry> {
    let range = *range;
    log.entries.iter().filter(move |entry| {
        entry.label() == range.author
            && entry.header.node_extensions().unwrap().log_id == range.log
            && range.after.is_none_or(|after| entry.seq() > after)
            && entry.seq() <= range.until
    })
}

fn size(entry: &Entry) -> u64 {
    entry.bytes() as u64
}
