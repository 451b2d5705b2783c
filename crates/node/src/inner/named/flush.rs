//! Stores the changes of a consumer. One command is in progress at a time and takes all requests up
//! to then, so that many acknowledgements share one commit.

use std::sync::{Arc, Weak};

use p2panda_core::limits::ACKS_GATHER_DELAY;
use p2panda_engine::Durability;
use p2panda_engine::consumer::{DeadReason, TopicNumber};
use p2panda_store::NamedChanges;

use super::{Named, State, is_full_of_dead};
use crate::consumer_error::ConsumerError;
use crate::{Error, Event};

/// Requested changes, and those in progress.
#[derive(Debug, Default)]
pub(super) struct Flush {
    /// The last number that was given out, and the last one that has to be on disk.
    asked: u64,
    full: u64,
    under_way: bool,
    /// Stored without being synced.
    unsynced: bool,
    /// Something has changed that nobody waits for.
    wanted: bool,
    /// The next commit is waited for.
    soon: bool,
}

/// Position up to which it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flushed {
    version: u64,
    failed: bool,
    deleted: bool,
}

impl Flush {
    pub fn want(&mut self) {
        self.wanted = true;
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }
}

/// Tells anyone who waits, also if the engine ends without an answer.
struct Reply {
    named: Weak<Named>,
    version: u64,
    answered: bool,
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let (false, Some(named)) = (self.answered, self.named.upgrade()) {
            named.flushed.send_modify(|flushed| flushed.failed = true);
        }
    }
}

impl Named {
    /// Everything until now is to be stored. Returns the number to wait for.
    pub(super) fn ask(self: &Arc<Self>, state: &mut State, full: bool) -> u64 {
        let flush = &mut state.flush;
        flush.asked += 1;
        if full {
            flush.full = flush.asked;
        }
        let version = flush.asked;
        self.send(state);
        version
    }

    /// Everything until now is to be stored in a moment, with what comes meanwhile.
    pub(super) fn ask_soon(self: &Arc<Self>, state: &mut State) {
        if std::mem::replace(&mut state.flush.soon, true) {
            return;
        }
        let named = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(ACKS_GATHER_DELAY).await;
            if let Some(named) = named.upgrade() {
                let mut state = named.state.lock();
                state.flush.soon = false;
                named.ask(&mut state, false);
            }
        });
    }

    /// Waits until everything up to a number is stored.
    pub(crate) async fn stored(&self, version: u64) -> Result<(), Error> {
        let mut flushed = self.flushed.subscribe();
        let waited = flushed
            .wait_for(|flushed| flushed.version >= version || flushed.failed || flushed.deleted);
        let flushed = *waited.await.map_err(|_| self.queue.ended())?;
        match flushed {
            Flushed { deleted: true, .. } => Err(ConsumerError::Deleted.into()),
            Flushed { failed: true, .. } => Err(self.queue.ended()),
            _ => Ok(()),
        }
    }

    /// Hands to the engine what has changed, unless something is in progress.
    pub(super) fn send(self: &Arc<Self>, state: &mut State) {
        if state.flush.under_way || state.end.is_some() {
            return;
        }
        let changes = state.changes();
        let flush = &mut state.flush;
        flush.wanted = false;
        let full = flush.full > self.flushed.borrow().version;
        let version = flush.asked;
        if changes.is_empty() && !(full && flush.unsynced) {
            self.flushed
                .send_modify(|flushed| flushed.version = version);
            return;
        }
        flush.under_way = true;
        flush.unsynced = !full;
        let reply = Reply {
            named: Arc::downgrade(self),
            version,
            answered: false,
        };
        let durability = match full {
            true => Durability::Full,
            false => Durability::Normal,
        };
        let answer = move |is_there| reply.answer(is_there);
        self.queue
            .change_named(self.key, changes, durability, Box::new(answer));
    }

    fn answered(self: &Arc<Self>, version: u64, is_there: bool) {
        let mut state = self.state.lock();
        state.flush.under_way = false;
        if !is_there {
            state.end = Some(ConsumerError::Deleted);
        }
        let is_full = is_full_of_dead(state.dead);
        if is_full && !std::mem::replace(&mut state.told_full_of_dead, is_full) {
            let name = self.name.clone();
            self.events.tell(Event::ConsumerFullOfDead { name });
        }
        state.told_full_of_dead = is_full;
        let is_more = state.flush.asked > version;
        self.flushed.send_modify(|flushed| {
            flushed.version = version;
            flushed.deleted = !is_there;
        });
        if is_more {
            self.send(&mut state);
        }
    }

    /// The last changes, when nobody uses it any more or the node ends.
    pub(super) fn last_changes(state: &mut State) -> NamedChanges {
        state.machine.close();
        state.changes()
    }
}

impl Reply {
    fn answer(mut self, is_there: bool) {
        self.answered = true;
        if let Some(named) = self.named.upgrade() {
            named.answered(self.version, is_there);
        }
    }
}

impl State {
    /// Takes the changes since the last call, by the rows of the topics.
    pub(super) fn changes(&mut self) -> NamedChanges {
        let machine = self.machine.changes();
        let mut changes = std::mem::take(&mut self.pending);
        let key = |number: &TopicNumber| self.sources.get(number).map(|source| source.key);
        let places = machine.places.iter();
        changes
            .places
            .extend(places.filter_map(|(number, row)| Some((key(number)?, *row))));
        let seen = machine.seen.iter();
        changes
            .seen
            .extend(seen.filter_map(|(number, seen)| Some((key(number)?, *seen))));
        let open = machine.open.iter();
        changes
            .open
            .extend(open.filter_map(|(number, offset, row)| Some((key(number)?, *offset, *row))));
        let dead = machine.dead.into_iter();
        let dead = dead.filter_map(|(number, offset, row)| Some((key(&number)?, offset, row)));
        let before = changes.dead.len();
        changes.dead.extend(dead);
        let pruned = |row: &p2panda_store::DeadRow| row.reason == DeadReason::Pruned;
        // What was pruned is counted by the transaction that did it.
        changes.dead.retain(|(_, _, row)| !pruned(row));
        self.dead += changes.dead.len().saturating_sub(before) as u64;
        changes
    }
}
