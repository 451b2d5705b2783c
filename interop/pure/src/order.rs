//! Causal order for a published member: the published crates leave it to the application.

use std::collections::{BTreeSet, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use crate::{PublishedId, PublishedKey};

/// Nothing can go wrong here, but the published traits want an error type.
#[derive(Debug)]
pub enum OrderError {}

impl std::fmt::Display for OrderError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {}
    }
}

impl std::error::Error for OrderError {}

/// What the order needs to know of a message.
pub trait Ordered: Clone {
    /// Its id.
    fn id(&self) -> PublishedId;
    /// What it follows.
    fn dependencies(&self) -> &[PublishedId];
    /// Whether it changes the group.
    fn is_control(&self) -> bool;
}

/// Messages that wait, and what was processed (`docs/protocol/encryption.md#12`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order<M> {
    /// Whose order it is.
    pub me: PublishedKey,
    processed: HashSet<PublishedId>,
    heads: BTreeSet<PublishedId>,
    waiting: VecDeque<M>,
    last_application: Option<PublishedId>,
    joined: Option<PublishedId>,
    /// Whether messages that do not follow the joining one are dropped.
    forward_secure: bool,
    after_join: HashSet<PublishedId>,
    next_seq: u64,
}

impl<M: Ordered> Order<M> {
    /// The order of one member; `forward_secure` in the message scheme.
    pub fn new(me: PublishedKey, forward_secure: bool) -> Order<M> {
        Order {
            me,
            processed: HashSet::new(),
            heads: BTreeSet::new(),
            waiting: VecDeque::new(),
            last_application: None,
            joined: None,
            forward_secure,
            after_join: HashSet::new(),
            next_seq: 0,
        }
    }

    /// What a new message of ours names: all control heads, and our last application message
    /// where the scheme says so.
    pub fn dependencies(&self) -> Vec<PublishedId> {
        let heads = self.heads.iter().copied();
        let last = self.last_application.filter(|_| self.forward_secure);
        heads.chain(last).collect()
    }

    /// An id for a new message of ours. It has nothing of the content, so that naming a message
    /// costs a benchmark nothing.
    pub fn name(&mut self) -> PublishedId {
        let mut bytes = *self.me.as_bytes();
        for (byte, count) in bytes.iter_mut().zip(self.next_seq.to_be_bytes()) {
            *byte ^= count;
        }
        self.next_seq += 1;
        PublishedId::from_bytes(bytes)
    }

    /// Records a message of our own.
    pub fn sent(&mut self, message: &M) {
        if self.joined.is_none() {
            self.joined = Some(message.id());
        }
        self.process(message);
        if !message.is_control() {
            self.last_application = Some(message.id());
        }
    }

    /// Takes a message of somebody else.
    pub fn queue(&mut self, message: &M) {
        let id = message.id();
        let waits = self.waiting.iter().any(|other| other.id() == id);
        if !waits && !self.processed.contains(&id) {
            self.waiting.push_back(message.clone());
        }
    }

    /// We join by this message: what it follows counts as processed. The published group of the
    /// message scheme processes it right now, that of the data scheme asks for it next.
    pub fn join(&mut self, message: &M) {
        self.joined = Some(message.id());
        let mut open: Vec<_> = message.dependencies().to_vec();
        while let Some(id) = open.pop() {
            if !self.processed.insert(id) {
                continue;
            }
            let waiting = self.waiting.iter();
            let known = waiting.filter(|other| other.id() == id);
            open.extend(known.flat_map(|other| other.dependencies().to_vec()));
        }
        let Order {
            waiting, processed, ..
        } = self;
        let joining = message.id();
        waiting.retain(|other| {
            let passed = other.is_control() && processed.contains(&other.id());
            !passed && other.id() != joining
        });
        match self.forward_secure {
            true => self.process(message),
            false if self.processed.contains(&joining) => {}
            false => self.waiting.push_front(message.clone()),
        }
    }

    /// The next message whose dependencies were processed.
    pub fn take_ready(&mut self) -> Option<M> {
        self.joined?;
        loop {
            let is_ready = |other: &M| {
                let mut dependencies = other.dependencies().iter();
                dependencies.all(|id| self.processed.contains(id))
            };
            let place = self.waiting.iter().position(is_ready)?;
            let message = self.waiting.remove(place)?;
            self.process(&message);
            let readable = message.is_control() || self.after_join.contains(&message.id());
            if readable || !self.forward_secure {
                return Some(message);
            }
        }
    }

    fn process(&mut self, message: &M) {
        let id = message.id();
        let mut before = message.dependencies().iter();
        if Some(id) == self.joined || before.any(|id| self.after_join.contains(id)) {
            self.after_join.insert(id);
        }
        self.processed.insert(id);
        if message.is_control() {
            for id in message.dependencies() {
                self.heads.remove(id);
            }
            self.heads.insert(id);
        }
    }
}
