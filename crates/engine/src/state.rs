//! State of the engine in memory. All of it can be lost: it is read from the store again, or peers
//! send it again.

use chacha20::ChaCha20Rng;
use p2panda_core::budget::Budget;
use p2panda_core::{LogName, SigningKey, Topic, VerifyingKey};
use p2panda_store::{Durability, Restored, Slice, Store, StoreError, Tx};

use crate::aging::{Aging, Retention};
use crate::at_rest::Sealer;
use crate::authors::Authors;
use crate::blocked::Blocked;
use crate::early::Early;
use crate::feed_times::FeedTimes;
use crate::kept::Quotas;
use crate::logs::Logs;
use crate::now::Now;
use crate::own::Patience;
use crate::schedule::Schedule;
use crate::space::Spaces;
use crate::topics::{OwnLogRef, TopicRef, Topics};
use crate::waiting::{Places, Times};

pub(crate) struct State {
    pub key: SigningKey,
    pub author: VerifyingKey,
    /// The authors that this node is, as far as they are committed.
    pub authors: Authors,
    pub limits: Limits,
    pub restored: Option<Restored>,
    pub topics: Topics,
    pub logs: Logs,
    /// Schedule of the long work next to the batches.
    pub schedule: Schedule,
    pub early: Early,
    pub feed_times: FeedTimes,
    pub blocked: Blocked,
    /// Schedule of retention.
    pub aging: Aging,
    /// Room for logs that wait for their order, in all topics.
    pub places: Places,
    pub patience: Patience,
    /// Seals the rows of spaces and keys.
    pub sealer: Sealer,
    pub rng: ChaCha20Rng,
    /// Topics that carry a space.
    pub spaces: Spaces,
    /// Transactions that looked at logs which wait.
    pub turns: u64,
    /// The patience at the begin of the transaction that runs.
    patience_before: Option<Patience>,
    /// A transaction was taken back: what is kept of the database is to be read again.
    stale: bool,
}

pub(crate) struct Limits {
    pub causal_wait_us: u64,
    pub causal_wait_max_us: u64,
    pub own_log_wait_us: u64,
    pub operation_bytes_max: usize,
    pub quotas: Quotas,
    pub retention: Retention,
    pub idempotency_window_us: u64,
    /// Limit of what a batch deletes at once, and a step afterwards.
    pub prune_slice: Slice,
}

impl Limits {
    /// Returns the times for which an operation that arrives now waits for its order.
    pub fn times(&self, now: Now) -> Times {
        Times {
            now_us: now.elapsed_us,
            wait_us: self.causal_wait_us,
            wait_max_us: self.causal_wait_max_us,
        }
    }
}

impl State {
    pub fn new(key: SigningKey, limits: Limits, budget: Option<Budget>, rng: ChaCha20Rng) -> State {
        State {
            author: key.verifying_key(),
            authors: Authors::new(key.verifying_key()),
            sealer: Sealer::new(&key),
            rng,
            spaces: Spaces::default(),
            turns: 0,
            key,
            patience: Patience::new(limits.own_log_wait_us),
            limits,
            restored: None,
            topics: Topics::default(),
            logs: Logs::default(),
            schedule: Schedule::default(),
            early: Early::new(budget),
            feed_times: FeedTimes::default(),
            blocked: Blocked::default(),
            aging: Aging::default(),
            places: Places::default(),
            patience_before: None,
            stale: false,
        }
    }

    /// Returns the author of what this node signs in a topic.
    pub fn author_in(&self, topic: &Topic) -> VerifyingKey {
        self.spaces.forms.author(topic).unwrap_or(self.author)
    }

    /// Returns the log of this node in a topic with this name.
    pub fn own_log(&self, topic: &TopicRef, name: Option<LogName>) -> OwnLogRef {
        topic.own_log(&self.author_in(&topic.topic), name)
    }

    /// Returns the key with which this node signs in a topic.
    pub fn key_in(&self, topic: &Topic) -> &SigningKey {
        self.spaces.forms.key(topic).unwrap_or(&self.key)
    }

    /// Returns `true` if what an author signs in a topic is this node's.
    pub fn is_own(&self, topic: &Topic, author: &VerifyingKey) -> bool {
        *author == self.author || self.spaces.forms.author(topic) == Some(*author)
    }

    /// Others of this node may know of the own keys that there are.
    pub fn show_authors(&self) {
        // Keys are only added.
        if self.authors.len_own() != self.spaces.forms.len_own() {
            self.authors.set(self.spaces.forms.authors());
        }
    }

    /// From now on the plaintext of messages is sealed where it is stored, or not; what was sealed is opened.
    pub fn open_plaintexts(&mut self, store: &mut Store, seals: bool) -> Result<(), StoreError> {
        if seals {
            let mut tx = store.begin(Durability::Full)?;
            self.sealer.draw(&mut tx, &mut self.rng)?;
            tx.commit()?;
            self.sealer.settle();
        }
        if let Some(plaintexts) = self.sealer.plaintexts() {
            store.database().set_plaintexts(plaintexts, seals);
        }
        Ok(())
    }

    /// A transaction begins. After one that was taken back, what is kept of the database is read again.
    pub fn begin(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        self.patience_before = Some(self.patience.clone());
        if self.stale {
            self.spaces.load(tx, &self.sealer, self.author)?;
            self.topics.reload(tx)?;
            self.blocked.load(tx)?;
        }
        Ok(())
    }

    /// The transaction is committed.
    pub fn settle(&mut self) {
        self.patience_before = None;
        self.stale = false;
        self.show_authors();
        self.sealer.settle();
        self.early.settle();
        self.topics.settle();
        self.spaces.drafts.settle();
    }

    /// The transaction was taken back: memory is what it was before, or is read again. Its commands
    /// are processed once more.
    pub fn take_back(&mut self) {
        if let Some(patience) = self.patience_before.take() {
            self.patience = patience;
        }
        self.stale = true;
        self.sealer.take_back();
        self.logs = Logs::default();
        self.feed_times = FeedTimes::default();
        self.places = Places::default();
        self.early.take_back();
        self.topics.take_back();
    }

    /// Loads the topics in which operations wait for their order.
    pub fn load_waiting(&mut self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        for topic in tx.waiting_topics()? {
            let topic = self.topics.resolve(tx, &topic)?;
            self.topics.get_mut(&topic).waiting.recheck = tx.waiting_logs(topic.key)?;
        }
        Ok(())
    }

    /// Returns the time at which something is due by time.
    pub fn next_wake(&self) -> Option<u64> {
        let topics = self.topics.awake();
        topics
            .flat_map(|topic| [topic.waiting.next_wake(), topic.own.deadline()])
            .flatten()
            .chain(self.schedule.next_wake())
            .chain(self.aging.next_wake(&self.limits.retention))
            .chain(self.spaces.next_wake())
            .min()
    }

    /// Returns `true` if publishes are held that the next batch may let go.
    pub fn holds_publishes(&self) -> bool {
        let mut topics = self.topics.awake();
        topics.any(|topic| topic.own.holds_publishes())
    }
}
