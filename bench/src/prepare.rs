//! Signed operations, and directories that hold them: made once, kept, and copied for a run.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use p2panda::{ImportedOperation, NetworkId, SigningKey, Topic};
use p2panda_core::cbor::Writer;
use p2panda_core::log::Head;
use p2panda_core::{Draft, Hash, NodeExtensions, Operation, Timestamp};
use p2panda_engine::{Command, Engine, Incoming, Options, Outcome, Reply, Source, thread};
use p2panda_store::PageLimits;

use crate::Failure;

/// Operations that the engine is handed at once.
const BATCH_OPERATIONS: usize = 512;
/// The key file of a directory.
const KEY_FILE: &str = "node.key";
/// Number of the key of a node; authors of prepared logs are below.
pub const NODE_KEY: u32 = 2_000_000;
/// Files that the layout of a directory depends on.
const SCHEMA: &[u8] = include_bytes!("../../crates/store/src/database/schema.rs");

/// Operations of some authors, one log each per topic, author after author in turn.
#[derive(Clone, Copy, Debug)]
pub struct Logs {
    /// Operations of each topic.
    pub n: usize,
    /// Bytes of content; the body is a CBOR byte string and two or three bytes longer.
    pub payload_bytes: usize,
    /// Authors.
    pub authors: usize,
    /// Number of the first author.
    pub first_author: u32,
    /// Topics.
    pub topics: u32,
}

impl Logs {
    /// One log in one topic.
    pub fn one(n: usize, payload_bytes: usize) -> Logs {
        Logs {
            n,
            payload_bytes,
            authors: 1,
            first_author: 0,
            topics: 1,
        }
    }

    /// A directory that holds them. Made when it is not there yet.
    pub fn directory(&self, root: &Path) -> Result<PathBuf, Failure> {
        let prepared = prepared(root)?;
        let name = format!(
            "{}x{}-{}a{}-{}",
            self.topics, self.n, self.payload_bytes, self.authors, self.first_author
        );
        let (dir, unfinished) = (prepared.join(&name), root.join("unfinished"));
        if !dir.exists() {
            remove(&unfinished)?;
            self.write(&unfinished)?;
            std::fs::rename(&unfinished, &dir)?;
        }
        Ok(dir)
    }

    /// A copy of the directory without its key, for a node with any.
    pub fn copy(&self, root: &Path, name: &str) -> Result<PathBuf, Failure> {
        let copy = fresh(root, name)?;
        if self.n == 0 {
            return Ok(copy);
        }
        let dir = self.directory(root)?;
        std::fs::create_dir_all(&copy)?;
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name() != KEY_FILE {
                let path = copy.join(entry.file_name());
                std::fs::copy(entry.path(), &path)?;
                // So that no run pays for writing it out.
                File::open(path)?.sync_all()?;
            }
        }
        Ok(copy)
    }

    /// The operations of one topic, from the first.
    pub fn operations(&self, topic: Topic) -> Chain {
        Chain::new(*self, topic, vec![None; self.authors])
    }

    /// The operations that come after those of a directory, in topic 0.
    pub fn operations_after(&self, dir: &Path) -> Result<Chain, Failure> {
        let mut heads = vec![None; self.authors];
        if self.n > 0 {
            let engine = Engine::open(dir, options(None), thread::system_clock()())?;
            let reader = engine.readers().open()?;
            let mut after = (self.n - self.authors) as u64;
            while heads.iter().any(Option::is_none) {
                let page = reader.arrivals_page(&topic(0), after, PageLimits::default())?;
                for entry in &page.entries {
                    let author = (entry.arrival as usize - 1) % self.authors;
                    if let Some(head) = heads.get_mut(author) {
                        *head = Some(Head::of(&entry.header));
                    }
                }
                after = page.last_arrival;
            }
            drop(reader);
            engine.close()?;
        }
        Ok(Chain::new(*self, topic(0), heads))
    }

    fn write(&self, dir: &Path) -> Result<(), Failure> {
        let engine = Engine::open(dir, options(None), thread::system_clock()())?;
        let queue = thread::spawn(engine, thread::system_clock(), Box::new(|_| ()));
        for number in 0..self.topics {
            let topic = topic(number);
            let mut operations = self.operations(topic).take(self.n);
            loop {
                let batch: Vec<Operation> = operations
                    .by_ref()
                    .take(BATCH_OPERATIONS)
                    .collect::<Result<_, _>>()?;
                if batch.is_empty() {
                    break;
                }
                queue.send(ingest(topic, batch, None))?;
            }
        }
        Ok(queue.close()?)
    }
}

/// Signs one operation after the other, author after author in turn.
pub struct Chain {
    keys: Vec<SigningKey>,
    heads: Vec<Option<Head>>,
    topic: Topic,
    payload_bytes: usize,
    next: usize,
}

impl Chain {
    fn new(logs: Logs, topic: Topic, heads: Vec<Option<Head>>) -> Chain {
        let authors = 0..logs.authors as u32;
        Chain {
            keys: authors
                .map(|author| key(logs.first_author + author))
                .collect(),
            heads,
            topic,
            payload_bytes: logs.payload_bytes,
            next: 0,
        }
    }

    /// The next operation, which prunes all before it.
    pub fn prune_point(&mut self) -> Result<Operation, Failure> {
        self.sign(true)
    }

    fn sign(&mut self, prune: bool) -> Result<Operation, Failure> {
        let author = self.next % self.keys.len();
        let (Some(key), Some(head)) = (self.keys.get(author), self.heads.get_mut(author)) else {
            return Err(Failure::NoAuthor);
        };
        let micros = 1_700_000_000_000_000 + self.next as u64;
        let timestamp = Timestamp::from_micros(micros);
        let extensions = NodeExtensions {
            prune,
            ..NodeExtensions::new(self.topic.log_id(), timestamp)
        };
        let extensions = extensions.encode();
        let body = byte_string(&content(self.payload_bytes, self.next as u64));
        let draft = Draft {
            seq: head.map_or(0, |head| head.seq + 1),
            backlink: head.map(|head| head.id),
            body: Some(&body),
            extensions: Some(&extensions),
        };
        let operation = Operation::create(key, draft)?;
        *head = Some(Head::of(&operation.header));
        self.next += 1;
        Ok(operation)
    }
}

impl Iterator for Chain {
    type Item = Result<Operation, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.sign(false))
    }
}

/// The command that hands operations to an engine.
pub fn ingest(
    topic: Topic,
    operations: Vec<Operation>,
    reply: Option<Reply<Vec<Outcome>>>,
) -> Command {
    Command::Ingest {
        topic,
        source: Source::Import { id: 0 },
        operations: operations.into_iter().map(Incoming::Valid).collect(),
        reply,
    }
}

/// The bytes of an operation.
pub fn imported(operation: Operation) -> ImportedOperation {
    ImportedOperation {
        header: operation.header.as_bytes().clone(),
        body: operation.body,
    }
}

/// An error unless that many operations were stored.
pub fn expect_stored(expected: usize, stored: usize) -> Result<(), Failure> {
    if stored == expected {
        return Ok(());
    }
    Err(Failure::NotStored { stored, expected })
}

/// Settings of an engine. Its guard file lies next to the directory.
pub fn options(dir: Option<&Path>) -> Options {
    Options {
        key: Some(key(NODE_KEY)),
        guard_dir: dir.map(guard_dir),
        ..Options::default()
    }
}

/// A node on loopback that finds nobody by itself.
pub fn builder(dir: &Path) -> p2panda::Builder {
    let loopback = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    p2panda::builder()
        .data_dir(dir)
        .signing_key(key(NODE_KEY))
        .state_dir(Some(guard_dir(dir)))
        .network_id(NetworkId::from_bytes([0xbe; 32]))
        .bind(loopback, None)
        .mdns(p2panda::Mdns::Off)
}

/// An empty place for a directory.
pub fn fresh(root: &Path, name: &str) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(root)?;
    let dir = root.join(name);
    remove(&dir)?;
    remove(&guard_dir(&dir))?;
    Ok(dir)
}

/// Removes a directory, if it is there.
pub fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The topic with a number.
pub fn topic(number: u32) -> Topic {
    let mut bytes = [1; 32];
    if let Some(first) = bytes.first_chunk_mut() {
        *first = number.to_le_bytes();
    }
    Topic::from_bytes(bytes)
}

/// The key with a number.
pub fn key(number: u32) -> SigningKey {
    let mut seed = [7; 32];
    if let Some(first) = seed.first_chunk_mut() {
        *first = number.to_le_bytes();
    }
    SigningKey::from_bytes(&seed)
}

/// Content that begins with a number.
pub fn content(bytes: usize, number: u64) -> Vec<u8> {
    let number = number.to_le_bytes();
    let rest = std::iter::repeat(0x5a);
    number.into_iter().chain(rest).take(bytes).collect()
}

/// A CBOR byte string.
pub fn byte_string(content: &[u8]) -> Bytes {
    let mut writer = Writer::with_capacity(content.len() + 5);
    writer.bytes(content);
    writer.into_bytes().into()
}

/// Where prepared directories of this layout are. Those of other layouts are removed.
fn prepared(root: &Path) -> Result<PathBuf, Failure> {
    let schema = Hash::digest(SCHEMA).to_string();
    let name = format!("prepared-{}", schema.get(..8).unwrap_or_default());
    std::fs::create_dir_all(root.join(&name))?;
    for entry in std::fs::read_dir(root)? {
        let found = entry?;
        let other = found.file_name().to_string_lossy().into_owned();
        if other.starts_with("prepared-") && other != name {
            remove(&found.path())?;
        }
    }
    Ok(root.join(name))
}

fn guard_dir(dir: &Path) -> PathBuf {
    dir.with_extension("guard")
}
