//! Topics that carry a space (`docs/protocol/streams.md#7`): which they are, what waits in them, and the
//! crate that opens them.

pub(crate) mod form;
pub(crate) mod waits;

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::{LogName, Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_store::{StoreError, StoreErrorKind, Tx};
use zeroize::Zeroizing;

use crate::at_rest::Sealer;
use form::{Form, Kind};
use waits::{Awaited, Waits};

/// The first byte of the key of a sealed row that says that a topic carries a space.
const TOPIC_ROW: u8 = 3;

/// The spaces of a node.
pub(crate) struct Spaces {
    topics: BTreeMap<Topic, SpaceTopic>,
    pub form: Form,
    control: LogName,
    content: LogName,
    /// Rows that have changed.
    changed: Vec<Row>,
    /// Secrets that may be here, for which content waits.
    pub unsealed: BTreeSet<(Topic, [u8; 32])>,
}

/// A topic that carries a space.
#[derive(Default)]
struct SpaceTopic {
    waits: Waits,
}

impl Default for Spaces {
    fn default() -> Spaces {
        let named = |name| LogName::of(name).expect("the name has a byte and not too many");
        Spaces {
            topics: BTreeMap::new(),
            form: Form::default(),
            control: named("control"),
            content: named("content"),
            changed: Vec::new(),
            unsealed: BTreeSet::new(),
        }
    }
}

impl Spaces {
    /// Which log of a space this is; none if the topic carries no space, or the log is another one.
    pub fn kind(&self, topic: &Topic, name: Option<LogName>) -> Option<Kind> {
        let name = name.filter(|_| !self.topics.is_empty() && self.topics.contains_key(topic))?;
        match name {
            _ if name == self.control => Some(Kind::Control),
            _ if name == self.content => Some(Kind::Content),
            _ => None,
        }
    }

    pub fn is_space(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    /// The names of the two logs.
    pub fn names(&self) -> [LogName; 2] {
        [self.control, self.content]
    }

    /// From now on a topic carries a space; whether it did not before.
    pub fn follow(&mut self, topic: Topic) -> bool {
        if self.is_space(&topic) {
            return false;
        }
        self.topics.insert(topic, SpaceTopic::default());
        self.changed.push(Row {
            key: [&[TOPIC_ROW][..], topic.as_bytes()].concat(),
            value: Some(Zeroizing::new(Vec::new())),
        });
        true
    }

    /// Reads everything; nothing waits then.
    pub fn load(&mut self, tx: &mut Tx<'_>, sealer: &Sealer) -> Result<(), StoreError> {
        (self.topics, self.unsealed) = (BTreeMap::new(), BTreeSet::new());
        self.changed.clear();
        for (key, _) in sealer.load(tx)? {
            let damaged = || StoreError::new(StoreErrorKind::Damaged);
            let (kind, name) = key.split_first().ok_or_else(damaged)?;
            if *kind == TOPIC_ROW {
                let name = <[u8; 32]>::try_from(name).map_err(|_| damaged())?;
                let topic = Topic::from_bytes(name);
                let row = tx.topic(&topic)?;
                let secrets = tx.parked_secrets(row)?.into_iter();
                self.unsealed.extend(secrets.map(|secret| (topic, secret)));
                self.topics.insert(topic, SpaceTopic::default());
            }
        }
        Ok(())
    }

    /// Due at once while content can be opened.
    pub fn next_wake(&self) -> Option<u64> {
        (!self.unsealed.is_empty()).then_some(0)
    }

    /// Rows to be stored with the transaction.
    pub fn take_changed(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.changed)
    }

    pub fn wait(&mut self, topic: &Topic, label: VerifyingKey, awaited: Awaited) {
        if let Some(space) = self.topics.get_mut(topic) {
            space.waits.wait(label, awaited);
        }
    }

    /// What a log waits for.
    pub fn waits(&self, topic: &Topic, label: &VerifyingKey) -> Option<Awaited> {
        self.topics.get(topic)?.waits.of(label)
    }

    /// A log waits no longer; for what it did.
    pub fn end_wait(&mut self, topic: &Topic, label: &VerifyingKey) -> Option<Awaited> {
        self.topics.get_mut(topic)?.waits.end(label)
    }

    /// Logs that are free, since this has come.
    pub fn came(&mut self, topic: &Topic, awaited: Awaited) -> Vec<VerifyingKey> {
        let space = self.topics.get_mut(topic);
        space.map_or_else(Vec::new, |space| space.waits.came(awaited))
    }
}
