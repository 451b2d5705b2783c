//! A node under test, and authors whose operations reach it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};

use bytes::Bytes;
use p2panda_core::log::Head;
use p2panda_core::{
    Dependency, Draft, LogId, LogName, LogRange, NodeExtensions, Operation, Phase, SigningKey,
    Timestamp, Topic, VerifyingKey,
};
use p2panda_engine::{
    Command, Committed, Corrupt, Durability, Engine, Incoming, NewMessage, Now, Options, Outcome,
    PublishError, Published, RejectReason, Source, Start,
};
use p2panda_store::{
    Content, FeedEntry, PageLimits, Reader, SkipAcked, Store, TopicStatus, Totals,
};
use tempfile::TempDir;

use crate::follower::Follower;

pub const TOPIC: Topic = Topic::from_bytes([1; 32]);
pub const OTHER_TOPIC: Topic = Topic::from_bytes([2; 32]);
pub const SECOND_US: u64 = 1_000_000;
pub const ALL: PageLimits = PageLimits {
    rows: usize::MAX,
    bytes: usize::MAX,
};

pub struct Node {
    pub engine: Engine,
    pub dir: PathBuf,
    pub now: Now,
    /// Changes by the last batch.
    pub committed: Committed,
    follower: Follower,
    prune_rows_max: usize,
    _temp: TempDir,
}

impl Node {
    pub fn new() -> Node {
        Node::open(Options::default())
    }

    /// A node that deletes only this many pruned operations at once.
    pub fn sliced(prune_rows_max: usize) -> Node {
        Node::open(Options {
            prune_rows_max,
            ..Options::default()
        })
    }

    pub fn open(options: Options) -> Node {
        let temp = tempfile::tempdir().unwrap();
        Node::open_in(temp, options)
    }

    pub fn open_in(temp: TempDir, options: Options) -> Node {
        let dir = temp.path().to_path_buf();
        let now = Now {
            wall: Timestamp::from_micros(1_000),
            elapsed_us: 0,
        };
        let prune_rows_max = options.prune_rows_max;
        let engine = Engine::open(&dir, options, now).unwrap();
        Node {
            engine,
            prune_rows_max,
            dir,
            now,
            committed: Committed::default(),
            follower: Follower::default(),
            _temp: temp,
        }
    }

    /// The node as it comes back after its process was killed at this moment.
    pub fn after_crash(&self) -> Node {
        let options = self.options();
        Node::open_in(self.copy(), options)
    }

    fn options(&self) -> Options {
        Options {
            prune_rows_max: self.prune_rows_max,
            ..Options::default()
        }
    }

    /// Closes and opens the directory.
    pub fn reopen(self) -> Node {
        let options = self.options();
        self.reopen_with(options)
    }

    /// The same with other settings.
    pub fn reopen_with(self, options: Options) -> Node {
        let Node {
            engine,
            _temp: temp,
            ..
        } = self;
        engine.close().unwrap();
        Node::open_in(temp, options)
    }

    /// Closes the engine, lets somebody write into the store, and opens the directory again.
    pub fn reopen_after(self, write: impl FnOnce(&mut Store)) -> Node {
        let options = self.options();
        let Node {
            engine,
            dir,
            _temp: temp,
            ..
        } = self;
        engine.close().unwrap();
        let mut store = Store::open(&dir, p2panda_store::Options::default()).unwrap();
        write(&mut store);
        store.close().unwrap();
        Node::open_in(temp, options)
    }

    /// Makes the database one of a version that did not know what an entry of the feed shows.
    pub fn without_content_kinds(&self) {
        let connection = rusqlite::Connection::open(self.dir.join("p2panda.sqlite")).unwrap();
        let sql = "PRAGMA secure_delete = ON;
            ALTER TABLE operation DROP COLUMN opened;
            ALTER TABLE operation DROP COLUMN content;
            PRAGMA temp_store = MEMORY;
            CREATE TEMP TABLE rows AS SELECT * FROM operation;
            DELETE FROM operation;
            INSERT INTO operation SELECT * FROM rows;
            DROP TABLE blocked;
            PRAGMA user_version = 3;
            PRAGMA wal_checkpoint(TRUNCATE);";
        connection.execute_batch(sql).unwrap();
    }

    /// The files as a crash, or a backup of a running node, would leave them.
    pub fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_files(&self.dir, copy.path());
        copy
    }

    pub fn process(&mut self, commands: Vec<Command>) {
        self.try_process(commands).unwrap();
    }

    /// The same where the storage may fail.
    pub fn try_process(&mut self, commands: Vec<Command>) -> Result<(), Corrupt> {
        self.committed = self.engine.process(commands, self.now)?;
        let reader = self.reader();
        self.follower.follow(&self.committed, &reader);
        Ok(())
    }

    pub fn wait(&mut self, us: u64) {
        self.now.elapsed_us += us;
        self.now.wall = Timestamp::from_micros(self.now.wall.as_micros() + us);
        self.committed = self.engine.tick(self.now).unwrap();
        let reader = self.reader();
        self.follower.follow(&self.committed, &reader);
    }

    /// Does what is due at once, and what is due at once then.
    pub fn go_on(&mut self) {
        while self.engine.next_wake() == Some(0) {
            self.wait(0);
        }
    }

    /// Lets the time pass until nothing is due any more. Returns how often something was.
    pub fn settle(&mut self) -> usize {
        let mut steps = 0;
        while let Some(wake_us) = self.engine.next_wake() {
            let us = wake_us.saturating_sub(self.now.elapsed_us);
            self.wait(us);
            steps += 1;
        }
        steps
    }

    /// Operations in the database, those included that nobody is shown any more.
    pub fn rows(&self) -> u32 {
        let path = self.dir.join("p2panda.sqlite");
        let connection = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT count(*) FROM operation";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    pub fn publish(&mut self, text: &str) -> Published {
        self.try_publish(text).unwrap()
    }

    pub fn try_publish(&mut self, text: &str) -> Result<Published, PublishError> {
        let (command, answer) = publish(TOPIC, Some(text), false);
        self.process(vec![command]);
        answer.try_recv().expect("the publish is answered at once")
    }

    pub fn try_publish_all(&mut self, texts: &[&str]) -> Result<Vec<Published>, PublishError> {
        let (command, answer) = publish_all(texts);
        self.process(vec![command]);
        answer
            .try_recv()
            .expect("the publishes are answered at once")
    }

    pub fn ingest(&mut self, operations: &[Operation]) -> Vec<Outcome> {
        self.ingest_from(session(1), TOPIC, operations)
    }

    pub fn ingest_from(
        &mut self,
        source: Source,
        topic: Topic,
        operations: &[Operation],
    ) -> Vec<Outcome> {
        let operations = operations.iter().cloned().map(Incoming::Valid).collect();
        self.ingest_any(source, topic, operations)
    }

    pub fn ingest_any(
        &mut self,
        source: Source,
        topic: Topic,
        operations: Vec<Incoming>,
    ) -> Vec<Outcome> {
        let (sender, receiver) = channel();
        let reply = Box::new(move |outcomes| sender.send(outcomes).unwrap());
        self.process(vec![Command::Ingest {
            topic,
            source,
            operations,
            reply: Some(reply),
        }]);
        receiver.recv().unwrap()
    }

    pub fn session(&mut self, session: u64, phase: Phase) {
        self.process(vec![Command::Session {
            topic: TOPIC,
            session,
            phase,
        }]);
    }

    pub fn ack(&mut self, consumer: &str, offsets: &[u64]) {
        let (consumer, offsets) = (consumer.to_owned(), offsets.to_vec());
        let (topic, reply) = (TOPIC, None);
        self.process(vec![Command::Ack {
            consumer,
            topic,
            offsets,
            durability: Durability::Full,
            reply,
        }]);
    }

    pub fn place(&mut self, consumer: &str, start: Start) -> u64 {
        let (sender, receiver) = channel();
        let reply = Box::new(move |prefix| sender.send(prefix).unwrap());
        let (consumer, topic) = (consumer.to_owned(), TOPIC);
        self.process(vec![Command::PlaceConsumer {
            consumer,
            topic,
            start,
            reply,
        }]);
        receiver.recv().unwrap()
    }

    pub fn reader(&self) -> Reader {
        self.engine.readers().open().unwrap()
    }

    pub fn feed(&self) -> Vec<FeedEntry> {
        self.reader()
            .feed_page(&TOPIC, 0, ALL, None)
            .unwrap()
            .entries
    }

    /// Returns the content of the feed, in its order.
    pub fn contents(&self) -> Vec<Content> {
        let feed = self.feed();
        feed.into_iter().map(|entry| entry.content).collect()
    }

    /// The texts in the feed, in its order.
    pub fn texts(&self) -> Vec<String> {
        self.feed().iter().map(text_of).collect()
    }

    /// The texts that a consumer has not acknowledged.
    pub fn unacked(&self, consumer: &str) -> Vec<String> {
        self.unacked_entries(consumer).iter().map(text_of).collect()
    }

    pub fn unacked_entries(&self, consumer: &str) -> Vec<FeedEntry> {
        let skip = SkipAcked {
            consumer,
            until: u64::MAX,
        };
        let page = self.reader().feed_page(&TOPIC, 0, ALL, Some(skip)).unwrap();
        page.entries
    }

    pub fn status(&self) -> TopicStatus {
        self.reader().status(&TOPIC).unwrap()
    }

    /// Returns the totals of a range in the store.
    pub fn totals(&self, range: LogRange) -> Totals {
        let reader = self.reader();
        reader.totals_oldest_first(&TOPIC, &mut [range]).unwrap()
    }

    pub fn height(&self, author: &VerifyingKey) -> Option<u32> {
        let heights = self.reader().holdings(&TOPIC).unwrap().heights;
        heights.get(author, &TOPIC.log_id())
    }

    pub fn key(&self) -> VerifyingKey {
        self.engine.signing_key().verifying_key()
    }

    pub fn rejected(&self, reason: RejectReason) -> u64 {
        let rejected = self.status().rejected;
        rejected
            .iter()
            .find(|(found, _)| *found == reason)
            .map_or(0, |(_, total)| *total)
    }

    /// Everything stored of a topic, to hand it to another node.
    pub fn operations(&self) -> Vec<Operation> {
        let page = self.reader().arrivals_page(&TOPIC, 0, ALL).unwrap();
        page.entries
            .into_iter()
            .map(|entry| Operation {
                header: entry.header,
                body: entry.body,
            })
            .collect()
    }
}

pub type Answer = Receiver<Result<Published, PublishError>>;

pub fn publish(topic: Topic, text: Option<&str>, prune: bool) -> (Command, Answer) {
    let (sender, receiver) = channel();
    let reply = Box::new(move |result| drop(sender.send(result)));
    let body = text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let message = NewMessage {
        body,
        prune,
        ..NewMessage::default()
    };
    (
        Command::Publish {
            topic,
            message,
            reply,
        },
        receiver,
    )
}

pub type Answers = Receiver<Result<Vec<Published>, PublishError>>;

/// Publishes texts, all of them or none.
pub fn publish_all(texts: &[&str]) -> (Command, Answers) {
    let texts = texts.iter().map(|text| text.as_bytes().to_vec());
    publish_messages(texts.map(NewMessage::new).collect())
}

pub fn publish_messages(messages: Vec<NewMessage>) -> (Command, Answers) {
    let (sender, receiver) = channel();
    let reply = Box::new(move |result| drop(sender.send(result)));
    let publish = Command::PublishAll {
        topic: TOPIC,
        messages,
        reply,
    };
    (publish, receiver)
}

pub fn session(id: u64) -> Source {
    Source::Session {
        id,
        peer: SigningKey::from_bytes(&[200; 32]).verifying_key(),
    }
}

/// Returns the published operation of a feed entry.
pub fn operation_of(entry: &FeedEntry) -> Operation {
    Operation {
        header: entry.header.clone(),
        body: entry.content.bytes().cloned(),
    }
}

pub fn text_of(entry: &FeedEntry) -> String {
    String::from_utf8(entry.content.bytes().unwrap().to_vec()).unwrap()
}

pub fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Somebody else, who signs operations.
#[derive(Clone)]
pub struct Author {
    key: SigningKey,
    /// The name of the log that it writes to.
    log: Option<LogName>,
    heads: HashMap<Topic, Head>,
}

impl Author {
    pub fn new(seed: u8) -> Author {
        Author {
            key: SigningKey::from_bytes(&[seed; 32]),
            log: None,
            heads: HashMap::new(),
        }
    }

    /// One of many.
    pub fn numbered(number: u32) -> Author {
        let mut seed = [77; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        Author {
            key: SigningKey::from_bytes(&seed),
            log: None,
            heads: HashMap::new(),
        }
    }

    /// The same author, who begins a log with this name.
    pub fn in_log(&self, name: &str) -> Author {
        Author {
            key: self.key.clone(),
            log: Some(LogName::of(name).unwrap()),
            heads: HashMap::new(),
        }
    }

    pub fn key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub fn says(&mut self, text: &str) -> Operation {
        self.operation(TOPIC, TOPIC.log_id(), Some(text), false, Vec::new())
    }

    pub fn answers(&mut self, text: &str, to: &[&Operation]) -> Operation {
        let deps = to.iter().map(|operation| dependency(operation)).collect();
        self.operation(TOPIC, TOPIC.log_id(), Some(text), false, deps)
    }

    pub fn prunes(&mut self, text: Option<&str>) -> Operation {
        self.operation(TOPIC, TOPIC.log_id(), text, true, Vec::new())
    }

    pub fn operation(
        &mut self,
        topic: Topic,
        log_id: LogId,
        text: Option<&str>,
        prune: bool,
        deps: Vec<Dependency>,
    ) -> Operation {
        let timestamp = Timestamp::from_micros(1);
        let named = self.log.map(|name| topic.named_log_id(&name));
        let log_id = named.unwrap_or(log_id);
        let extensions = NodeExtensions {
            log_id,
            timestamp,
            prune,
            deps,
            name: self.log,
        }
        .encode();
        self.raw(topic, text, &extensions)
    }

    pub fn raw(&mut self, topic: Topic, text: Option<&str>, extensions: &[u8]) -> Operation {
        let head = self.heads.get(&topic);
        let draft = Draft {
            seq: head.map_or(0, |head| head.seq + 1),
            backlink: head.map(|head| head.id),
            body: text.map(str::as_bytes),
            extensions: Some(extensions),
        };
        let operation = Operation::create(&self.key, draft).unwrap();
        self.heads.insert(topic, Head::of(&operation.header));
        operation
    }
}

pub fn dependency(operation: &Operation) -> Dependency {
    let header = &operation.header;
    Dependency {
        author: header.author(),
        log: header
            .node_extensions()
            .ok()
            .filter(|extensions| extensions.name.is_some())
            .map(|extensions| extensions.log_id),
        seq: header.seq(),
        id: header.id(),
    }
}

pub fn without_body(operation: &Operation) -> Operation {
    Operation {
        header: operation.header.clone(),
        body: None,
    }
}
