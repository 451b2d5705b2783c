//! Operations that came before those they follow, in memory, within limits.

use std::collections::{BTreeMap, HashMap};

use p2panda_core::limits::{EARLY_BYTES_MAX, EARLY_OPERATIONS_MAX};
use p2panda_core::{NodeExtensions, Operation, VerifyingKey};

use crate::command::Source;

/// The early operations of a topic.
#[derive(Default)]
pub(crate) struct Early {
    logs: HashMap<VerifyingKey, BTreeMap<u32, Held>>,
    operations: usize,
    bytes: usize,
}

/// One of them.
pub(crate) struct Held {
    pub operation: Operation,
    pub extensions: NodeExtensions,
    pub source: Source,
}

impl Early {
    /// Keeps an operation; false if there is no room. One that is there already stays.
    pub fn keep(&mut self, held: Held) -> bool {
        let (author, seq) = (held.operation.header.author(), held.operation.header.seq());
        let known = self
            .logs
            .get(&author)
            .is_some_and(|log| log.contains_key(&seq));
        if known {
            return true;
        }
        let bytes = held.bytes();
        let fits = self.operations < EARLY_OPERATIONS_MAX
            && self.bytes.saturating_add(bytes) <= EARLY_BYTES_MAX;
        if fits {
            self.operations += 1;
            self.bytes += bytes;
            self.logs.entry(author).or_default().insert(seq, held);
        }
        fits
    }

    /// Takes out the operation at a place of a log, and forgets those before it.
    pub fn take(&mut self, author: &VerifyingKey, seq: u32) -> Option<Held> {
        let log = self.logs.get_mut(author)?;
        let mut found = None;
        while let Some(entry) = log.first_entry().filter(|entry| *entry.key() <= seq) {
            let at = *entry.key();
            let held = entry.remove();
            self.operations -= 1;
            self.bytes -= held.bytes();
            found = (at == seq).then_some(held);
        }
        if log.is_empty() {
            self.logs.remove(author);
        }
        found
    }

    /// Forgets what a source brought: nobody sends the rest any more.
    pub fn end(&mut self, ended: impl Fn(&Source) -> bool) {
        if self.operations == 0 {
            return;
        }
        let (mut operations, mut bytes) = (0, 0);
        self.logs.retain(|_, log| {
            log.retain(|_, held| !ended(&held.source));
            operations += log.len();
            bytes += log.values().map(Held::bytes).sum::<usize>();
            !log.is_empty()
        });
        (self.operations, self.bytes) = (operations, bytes);
    }
}

impl Held {
    fn bytes(&self) -> usize {
        let body = self.operation.body.as_ref().map_or(0, bytes::Bytes::len);
        self.operation.header.as_bytes().len() + body
    }
}
