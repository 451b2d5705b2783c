//! A node of the simulation: engine, store, sessions, and no network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use p2panda_core::{
    Entry, Look, Page, Read, Received, SigningKey, Tail, Timestamp, Topic, Verifier, VerifyingKey,
    Wanted,
};
use p2panda_engine::{
    Command, Committed, Durability, Engine, GatheredAcks, Incoming, Lanes, Now, Options, Outcome,
    PartAnswers, Room, Source, parts, verify,
};
use p2panda_protocol::ranges::SharedHeads;
use p2panda_protocol::sync::{Input, Need, Pair, SessionId, Sources, Turn};
use p2panda_protocol::time::Time;
use p2panda_store::{FeedEntry, PageLimits, Reader, SkipAcked};

use crate::fault_disk::Disk;
use crate::meeting::Contacts;
use crate::network::LinkId;

/// One node of a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// A message in a node's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Place in the node's feed.
    pub offset: u64,
    /// Author of the operation.
    pub author: VerifyingKey,
    /// Place in the author's log.
    pub seq: u32,
    /// Header bytes.
    pub header: Bytes,
    /// Body bytes.
    pub body: Bytes,
    /// Number of dependencies that had not arrived.
    pub missing: usize,
}

pub(crate) struct SimNode {
    pub(crate) key: SigningKey,
    pub(crate) dir: PathBuf,
    pub(crate) engine: Option<Engine>,
    pub(crate) reader: Option<Reader>,
    pub(crate) contacts: Option<Contacts>,
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) needs: BTreeMap<Topic, Need>,
    /// When each of them is checked next.
    pub(crate) wakes: BTreeMap<Topic, Time>,
    pub(crate) pairs: BTreeMap<(Topic, NodeId), Pair>,
    pub(crate) sources: BTreeMap<Topic, Sources>,
    /// Commands for the next batches.
    pub(crate) queue: Lanes,
    /// The newest operations of each topic, for sessions and for readers of the feed.
    pub(crate) newest: BTreeMap<Topic, Newest>,
    /// The heads of each topic, from the first session on that compares them.
    pub(crate) heads: BTreeMap<Topic, SharedHeads>,
    /// Session that asks for the bodies of a topic.
    pub(crate) turns: BTreeMap<Topic, Turn>,
    pub(crate) disk: Disk,
    /// While a slow one is at work.
    pub(crate) disk_works_until: Option<Time>,
    /// It sends headers without their bodies.
    pub(crate) withholds: bool,
    /// It speaks the published protocol only.
    pub(crate) published: bool,
    /// Input that waits for room in the queue.
    pub(crate) waiting: VecDeque<Waiting>,
    /// Room that is taken by batches that are not answered.
    pub(crate) taken_kib: u32,
    /// Batches that the engine has answered.
    pub(crate) stored: Arc<Mutex<Vec<Stored>>>,
    /// Automatic acknowledgements of each topic and consumer.
    pub(crate) acks: BTreeMap<(Topic, String), GatheredAcks>,
    /// Those of which a batch was stored.
    pub(crate) acked: Arc<Mutex<Vec<(Topic, String)>>>,
}

/// On its way to the queue.
pub(crate) enum Waiting {
    /// Verified operations of a session.
    Batch {
        topic: Topic,
        from: (LinkId, usize),
        peer: VerifyingKey,
        kib: u32,
        operations: Vec<Incoming>,
    },
    Command(Command),
}

/// An answered batch of one end of a link.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    pub(crate) link: LinkId,
    pub(crate) end: usize,
    pub(crate) invalid: usize,
    kib: u32,
}

/// Entries of a topic that are in memory.
#[derive(Default)]
pub(crate) struct Newest {
    arrivals: Tail<Entry>,
    feed: Tail<FeedEntry>,
}

/// Rows of one page.
const PAGE: PageLimits = PageLimits {
    rows: 64,
    bytes: 64 * 1024,
};

impl SimNode {
    pub(crate) fn open(&mut self, at: NodeId, now: Now, causal_wait: std::time::Duration) {
        let options = Options {
            key: Some(self.key.clone()),
            causal_wait,
            // So few that pruned operations are deleted in several slices.
            prune_rows_max: 3,
            ..Options::default()
        };
        let engine = Engine::open(&self.dir, options, now).expect("the directory opens");
        self.reader = Some(engine.readers().open().expect("the database opens"));
        self.engine = Some(engine);
        self.contacts = Some(Contacts::open(self, &self.key, at, now.wall));
    }

    pub(crate) fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    /// Crashes the node; the directory is left.
    pub(crate) fn crash(&mut self) {
        self.engine = None;
        (self.disk, self.disk_works_until) = (Disk::Sound, None);
        self.reader = None;
        self.contacts = None;
        self.queue = Lanes::new(self.key.verifying_key());
        self.newest.clear();
        self.needs.clear();
        self.wakes.clear();
        self.pairs.clear();
        self.sources.clear();
        self.turns.clear();
        self.heads.clear();
        self.stored = Arc::default();
        self.waiting.clear();
        self.taken_kib = 0;
        self.acks.clear();
        self.acked = Arc::default();
    }

    pub(crate) fn reader(&self) -> &Reader {
        self.reader.as_ref().expect("the node is up")
    }

    pub(crate) fn contacts(&self) -> &Contacts {
        self.contacts.as_ref().expect("the node is up")
    }

    pub(crate) fn contacts_mut(&mut self) -> &mut Contacts {
        self.contacts.as_mut().expect("the node is up")
    }

    /// Verifies what a session received, and queues it once there is room.
    pub(crate) fn ingest(
        &mut self,
        topic: Topic,
        link: LinkId,
        end: usize,
        peer: VerifyingKey,
        operations: Vec<Received>,
    ) {
        let mut verifier = Verifier::default();
        let verified = operations.into_iter().map(|one| verify(&mut verifier, one));
        let operations: Vec<Incoming> = verified.collect();
        let bytes = operations.iter().map(Incoming::held_bytes).sum();
        self.waiting.push_back(Waiting::Batch {
            topic,
            from: (link, end),
            peer,
            kib: Room::Untrusted.kib(bytes),
            operations,
        });
        self.admit();
    }

    /// Queues a command behind the batches that wait for room.
    pub(crate) fn queue_behind(&mut self, command: Command) {
        self.waiting.push_back(Waiting::Command(command));
        self.admit();
    }

    /// Queues what there is room for, in the order in which it came.
    fn admit(&mut self) {
        while let Some(next) = self.waiting.pop_front() {
            match next {
                Waiting::Command(command) => self.queue.push(command),
                Waiting::Batch { kib, .. } if self.taken_kib + kib > Room::Untrusted.kib_max() => {
                    return self.waiting.push_front(next);
                }
                Waiting::Batch {
                    topic,
                    from: (link, end),
                    peer,
                    kib,
                    operations,
                } => {
                    self.taken_kib += kib;
                    let source = Source::Session { id: link.0, peer };
                    let stored = Stored {
                        link,
                        end,
                        invalid: 0,
                        kib,
                    };
                    self.queue_batch(topic, source, operations, stored);
                }
            }
        }
    }

    fn queue_batch(&mut self, topic: Topic, source: Source, operations: Vec<Incoming>, of: Stored) {
        let parts = parts(operations);
        let answers = Arc::new(Mutex::new(PartAnswers::new(parts.len())));
        for operations in parts {
            let (stored, answers) = (Arc::clone(&self.stored), Arc::clone(&answers));
            let reply = move |outcomes: Vec<Outcome>| {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(report) = answers.add(&outcomes) {
                    let invalid = report.invalid;
                    let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                    stored.push(Stored { invalid, ..of });
                }
            };
            let command = Command::Ingest {
                topic,
                source,
                operations,
                reply: Some(Box::new(reply)),
            };
            self.queue.push(command);
        }
    }

    /// Everything that is queued, batch by batch; what is due by time, if nothing is.
    pub(crate) fn run_engine(&mut self, now: Now) -> Vec<Committed> {
        let engine = self.engine.as_mut().expect("the node is up");
        let mut commits = Vec::new();
        while commits.is_empty() || !self.queue.is_empty() {
            let committed = self.queue.process(engine, now);
            let committed = committed.expect("no fault of the simulated disk lasts");
            for change in &committed.topics {
                let newest = self.newest.entry(change.topic).or_default();
                change.add_arrivals(&mut newest.arrivals);
                change.add_feed(&mut newest.feed);
                if change.heads_anew {
                    self.heads.remove(&change.topic);
                } else if let Some(heads) = self.heads.get(&change.topic) {
                    heads.follow(&change.heads);
                }
            }
            commits.push(committed);
            if self.queue.waits_for().is_some() {
                break;
            }
        }
        commits
    }

    /// The batches that were answered; what they took is free for others.
    pub(crate) fn take_stored(&mut self) -> Vec<Stored> {
        let stored =
            std::mem::take(&mut *self.stored.lock().unwrap_or_else(PoisonError::into_inner));
        self.taken_kib -= stored.iter().map(|one| one.kib).sum::<u32>();
        self.admit();
        stored
    }

    pub(crate) fn page(&self, topic: &Topic, read: &Read, now: Timestamp) -> Page {
        let at_hand = self.newest.get(topic);
        let at_hand = at_hand.and_then(|newest| newest.arrivals.page(read));
        let mut page = at_hand.unwrap_or_else(|| {
            let page = self.reader().page(topic, read, PAGE.rows, now);
            page.expect("the database can be read")
        });
        if self.withholds {
            page.entries.iter_mut().for_each(|entry| entry.body = None);
        }
        page
    }

    /// One consistent look at a topic, for a session.
    pub(crate) fn holdings(&self, topic: &Topic) -> Input {
        let held = self.reader().holdings(topic);
        let held = held.expect("the database can be read");
        Input::Heights {
            heights: held.heights,
            arrival: held.arrival,
            gaps: held.gaps,
        }
    }

    /// The heads that the sessions of a topic share.
    pub(crate) fn heads(&mut self, topic: Topic) -> SharedHeads {
        if let Some(heads) = self.heads.get(&topic) {
            return heads.clone();
        }
        let heads = SharedHeads::new(&topic);
        let mut after = None;
        loop {
            let found = self.reader().heads(&topic, after);
            let (found, next) = found.expect("the database can be read");
            heads.follow(&found);
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.heads.insert(topic, heads.clone());
        heads
    }

    /// Bodies to ask for; `None` if another session asks.
    pub(crate) fn wanted(
        &mut self,
        topic: Topic,
        session: SessionId,
        look: Look,
        now: Time,
    ) -> Option<Wanted> {
        let turn = self.turns.entry(topic).or_default();
        if !turn.take(session, now) {
            return None;
        }
        let wanted = self.reader().look(&topic, &look);
        let wanted = wanted.expect("the database can be read");
        if wanted.ranges.is_empty() {
            self.turns.entry(topic).or_default().end(session);
        }
        Some(wanted)
    }

    /// Hands the next batch of gathered acknowledgements to the engine, if there is one.
    pub(crate) fn send_acks(&mut self, topic: Topic, consumer: String) {
        let of = (topic, consumer.clone());
        let gathered = self.acks.get_mut(&of);
        let Some(offsets) = gathered.and_then(GatheredAcks::take) else {
            return;
        };
        let acked = Arc::clone(&self.acked);
        let reply = move |()| {
            let mut acked = acked.lock().unwrap_or_else(PoisonError::into_inner);
            acked.push(of);
        };
        let command = Command::Ack {
            consumer,
            topic,
            offsets,
            durability: Durability::Normal,
            reply: Some(Box::new(reply)),
        };
        self.queue.push(command);
    }

    /// After a commit: what was gathered behind a batch that is stored now follows it.
    pub(crate) fn follow_acks(&mut self) {
        let acked = std::mem::take(&mut *self.acked.lock().unwrap_or_else(PoisonError::into_inner));
        for (topic, consumer) in acked {
            self.send_acks(topic, consumer);
        }
    }

    /// Returns what the feed has behind this offset, if all of it is in memory.
    fn newest_of_feed(&self, topic: &Topic, after: u64) -> Option<Vec<FeedEntry>> {
        let above = self.newest.get(topic)?.feed.above(after)?;
        Some(above.map(|(entry, _)| entry.clone()).collect())
    }

    pub(crate) fn feed(&self, topic: &Topic, skip_acked_of: Option<&str>) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut after = 0;
        let skip_acked = skip_acked_of.map(|consumer| SkipAcked {
            consumer,
            until: u64::MAX,
        });
        loop {
            let newest = self.newest_of_feed(topic, after);
            let (entries, last, more) = match newest.filter(|_| skip_acked.is_none()) {
                Some(entries) => {
                    let last = entries.last().map_or(after, |entry| entry.offset);
                    (entries, last, false)
                }
                None => {
                    let page = self.reader().feed_page(topic, after, PAGE, skip_acked);
                    let page = page.expect("the database can be read");
                    (page.entries, page.last_offset, page.more)
                }
            };
            if entries.is_empty() && !more {
                return deliveries;
            }
            after = last;
            deliveries.extend(entries.into_iter().map(|entry| Delivery {
                offset: entry.offset,
                author: entry.header.author(),
                seq: entry.header.seq(),
                header: entry.header.as_bytes().clone(),
                body: entry.content.bytes().cloned().unwrap_or_default(),
                missing: entry.missing.len(),
            }));
        }
    }
}
