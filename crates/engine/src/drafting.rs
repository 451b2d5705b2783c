//! Sealing for many members elsewhere, while the thread that writes continues
//! (`docs/protocol/streams.md#7`).
//!
//! A change that makes a secret for many is drawn, and waits with everything that this node wants in
//! the same space. When the work is done the change is made with it, if nothing has come between.

use std::collections::{BTreeMap, BTreeSet};

use p2panda_core::Topic;
use p2panda_core::limits::SPACE_SEALED_AT_ONCE_MAX;
use p2panda_spaces::Ahead;

use crate::drafted::{DraftWork, Drafted};

/// The drafts of a node, one for each space at most. In memory only: a change that waits for one
/// has not happened.
#[derive(Default)]
pub(crate) struct Drafts {
    /// Somebody computes them elsewhere.
    is_on: bool,
    number: u64,
    of: BTreeMap<Topic, Drafting>,
    /// Work that has begun and is not handed out.
    work: Vec<DraftWork>,
    /// Spaces in which too many drafts were of no use: the next change is made without.
    given_up: BTreeSet<Topic>,
}

pub(crate) struct Drafting {
    number: u64,
    pub ahead: Ahead,
    pub is_done: bool,
    /// Drafts of the same change before it that were of no use.
    pub lost: usize,
}

/// Record of a draft that is lent to a change.
pub(crate) struct Lent {
    number: u64,
    lost: usize,
}

impl Drafts {
    /// Sets whether somebody takes the work. If not, nothing waits.
    pub fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
        if !is_on {
            self.of.clear();
            self.work.clear();
            self.given_up.clear();
        }
    }

    /// The next change is made without a draft.
    pub fn give_up(&mut self, topic: &Topic) {
        self.given_up.insert(*topic);
    }

    /// For how many members a change that is made now seals an epoch itself.
    pub fn at_once(&mut self, topic: &Topic) -> usize {
        match !self.is_on || self.given_up.remove(topic) {
            true => usize::MAX,
            false => SPACE_SEALED_AT_ONCE_MAX,
        }
    }

    /// The work that has been begun since the last time.
    pub fn take_work(&mut self) -> Vec<DraftWork> {
        std::mem::take(&mut self.work)
    }

    /// Returns `true` if somebody takes it.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Returns what was begun last for a space, if it was not used.
    pub fn get(&self, topic: &Topic) -> Option<&Drafting> {
        self.of.get(topic)
    }

    /// It is of no use.
    pub fn forget(&mut self, topic: &Topic) {
        self.of.remove(topic);
    }

    /// Returns `true` if something is computed for a space.
    pub fn is_under_way(&self, topic: &Topic) -> bool {
        self.of.get(topic).is_some_and(|drafting| !drafting.is_done)
    }

    /// Returns `true` if something was computed for a space that is not used yet.
    pub fn is_done(&self, topic: &Topic) -> bool {
        self.of.get(topic).is_some_and(|drafting| drafting.is_done)
    }

    /// Work is done.
    pub fn done(&mut self, drafted: Drafted) {
        let drafting = self.of.get_mut(&drafted.topic());
        let Some(drafting) = drafting.filter(|drafting| drafting.number == drafted.number()) else {
            return;
        };
        drafting.is_done = true;
        drafting.ahead.put(drafted.sealed());
    }

    /// Takes what was computed for a change that is made now.
    pub fn take_done(&mut self, topic: &Topic) -> Option<Ahead> {
        if self.is_under_way(topic) {
            return None;
        }
        self.of.remove(topic).map(|drafting| drafting.ahead)
    }

    /// The same, to be given back by [`Drafts::give_back`] if the change does not use it.
    pub fn lend(&mut self, topic: &Topic) -> Option<(Ahead, Lent)> {
        if self.is_under_way(topic) {
            return None;
        }
        let drafting = self.of.remove(topic)?;
        let (number, lost) = (drafting.number, drafting.lost);
        Some((drafting.ahead, Lent { number, lost }))
    }

    /// Takes back a lent draft that was not used, and may be by the next change.
    pub fn give_back(&mut self, topic: Topic, ahead: Ahead, lent: Lent) {
        let Lent { number, lost } = lent;
        let drafting = Drafting {
            number,
            ahead,
            is_done: true,
            lost,
        };
        self.of.insert(topic, drafting);
    }

    /// A batch is over: what is done and was not used is of no use.
    pub fn settle(&mut self) {
        self.of.retain(|_, drafting| !drafting.is_done);
    }

    /// Something is drawn, and waits for its work to be done.
    pub fn begin(&mut self, topic: Topic, mut ahead: Ahead, lost: usize) {
        self.number += 1;
        let number = self.number;
        self.work.push(DraftWork::new(topic, number, ahead.take()));
        let drafting = Drafting {
            number,
            ahead,
            is_done: false,
            lost,
        };
        self.of.insert(topic, drafting);
    }
}
