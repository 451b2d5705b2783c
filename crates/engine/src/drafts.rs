//! What is sealed for many members is computed elsewhere, while the thread that writes goes on
//! (`docs/protocol/streams.md#7`).
//!
//! A change that makes a secret for many is drawn, and waits with everything that this node wants in
//! the same space. When the work is done the change is made with it, if nothing has come between.

use std::collections::BTreeMap;

use p2panda_core::Topic;
use p2panda_core::limits::{SPACE_DRAFTS_MAX, SPACE_SEALED_AT_ONCE_MAX};
use p2panda_encryption::{Sealed, Sealing};
use p2panda_groups::Member;
use p2panda_spaces::{Ahead, Planned};

use crate::command::Command;
use crate::desk::seconds;
use crate::space::form::Form;
use crate::space_command::{SpaceChange, SpaceCommand};
use crate::state::State;
use crate::turn::Turn;

/// The drafts of a node, one for each space at most. In memory only: a change that waits for one
/// has not happened.
#[derive(Default)]
pub(crate) struct Drafts {
    /// Somebody computes them elsewhere.
    is_on: bool,
    number: u64,
    of: BTreeMap<Topic, Drafting>,
    /// What has been begun and not handed out.
    work: Vec<DraftWork>,
}

struct Drafting {
    number: u64,
    ahead: Ahead,
    is_done: bool,
    /// Drafts of the same change before it that were of no use.
    lost: usize,
}

/// What is to be sealed for many members; pure, so that any thread can do it.
#[derive(Debug)]
pub struct DraftWork {
    topic: Topic,
    number: u64,
    sealings: Vec<Sealing>,
}

/// Outcome of a draft.
#[derive(Debug)]
pub struct Drafted {
    topic: Topic,
    number: u64,
    /// None: something cannot be sealed, and the change says what.
    sealed: Option<Vec<Sealed>>,
}

impl DraftWork {
    /// Does the work. The engine is to be handed what comes of it, in any case.
    pub fn seal(self) -> Command {
        let sealed: Result<_, _> = self.sealings.into_iter().map(Sealing::seal).collect();
        Command::Drafted(Box::new(Drafted {
            topic: self.topic,
            number: self.number,
            sealed: sealed.ok(),
        }))
    }
}

impl Drafted {
    pub(crate) fn topic(&self) -> Topic {
        self.topic
    }

    /// The same where what was sealed is lost: it is drawn again.
    pub(crate) fn lost(&self) -> Drafted {
        Drafted {
            sealed: None,
            ..*self
        }
    }
}

impl Drafts {
    /// Whether somebody takes the work. If not, nothing waits.
    pub fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
        if !is_on {
            self.of.clear();
            self.work.clear();
        }
    }

    /// The work that has been begun since the last time.
    pub fn take_work(&mut self) -> Vec<DraftWork> {
        std::mem::take(&mut self.work)
    }

    /// Whether a command has to wait, since one before it does.
    pub fn holds(&self, command: &Command) -> bool {
        !self.of.is_empty() && space_of(command).is_some_and(|topic| self.is_under_way(&topic))
    }

    /// Whether something is computed for a space.
    pub fn is_under_way(&self, topic: &Topic) -> bool {
        self.of.get(topic).is_some_and(|drafting| !drafting.is_done)
    }

    /// Whether something was computed for a space that is not used yet.
    pub fn is_done(&self, topic: &Topic) -> bool {
        self.of.get(topic).is_some_and(|drafting| drafting.is_done)
    }

    /// Work is done.
    pub fn done(&mut self, drafted: Drafted) {
        let drafting = self.of.get_mut(&drafted.topic);
        let Some(drafting) = drafting.filter(|drafting| drafting.number == drafted.number) else {
            return;
        };
        drafting.is_done = true;
        drafting.ahead.put(drafted.sealed.into_iter().flatten());
    }

    /// What was done for a change that is made now.
    pub fn take_done(&mut self, topic: &Topic) -> Option<Ahead> {
        if self.is_under_way(topic) {
            return None;
        }
        self.of.remove(topic).map(|drafting| drafting.ahead)
    }

    /// A batch is over: what is done and was not used is of no use.
    pub fn settle(&mut self) {
        self.of.retain(|_, drafting| !drafting.is_done);
    }

    fn begin(&mut self, topic: Topic, mut ahead: Ahead, lost: usize) {
        self.number += 1;
        let number = self.number;
        self.work.push(DraftWork {
            topic,
            number,
            sealings: ahead.take(),
        });
        let drafting = Drafting {
            number,
            ahead,
            is_done: false,
            lost,
        };
        self.of.insert(topic, drafting);
    }
}

/// The space in which a command of this node does something that others see.
pub(crate) fn space_of(command: &Command) -> Option<Topic> {
    match command {
        Command::Publish { topic, .. }
        | Command::PublishAll { topic, .. }
        | Command::Republish { topic, .. }
        | Command::Space(SpaceCommand::Change { topic, .. } | SpaceCommand::Offer { topic, .. }) => {
            Some(*topic)
        }
        _ => None,
    }
}

/// Whether a change waits: what it seals is computed elsewhere, by now or already.
pub(crate) fn waits(turn: &mut Turn<'_>, topic: &Topic, planned: &Planned) -> bool {
    if !turn.state.spaces.drafts.is_on {
        return false;
    }
    let now = seconds(turn);
    let State { spaces, rng, .. } = &mut *turn.state;
    let Some(id) = spaces.id(topic) else {
        return false;
    };
    let Form::Native(native) = &mut spaces.form else {
        return false;
    };
    let (known, context) = native.context(now);
    let lost = match spaces.drafts.of.get(topic) {
        None => 0,
        Some(drafting) if !drafting.is_done => return true,
        Some(drafting) if known.fits_ahead(&drafting.ahead, planned, &context) => return false,
        Some(drafting) => drafting.lost + 1,
    };
    spaces.drafts.of.remove(topic);
    if lost >= SPACE_DRAFTS_MAX {
        return false;
    }
    let at_once = SPACE_SEALED_AT_ONCE_MAX;
    match known.draw_ahead(id, (planned, at_once), &context, rng) {
        None => false,
        Some(ahead) => {
            spaces.drafts.begin(*topic, ahead, lost);
            true
        }
    }
}

/// What a change does, as far as secrets are made for many.
pub(crate) fn planned(change: &SpaceChange) -> Option<Planned> {
    let individual = |member| Member::Individual(member);
    Some(match change {
        SpaceChange::Heal => Planned::Heal,
        SpaceChange::Rotate => Planned::Rotate,
        SpaceChange::Remove(member) => Planned::Remove(vec![individual(*member)]),
        SpaceChange::RemoveAll(members) => {
            Planned::Remove(members.iter().copied().map(individual).collect())
        }
        SpaceChange::SetRole(member, role) => Planned::SetRole(individual(*member), *role),
        _ => return None,
    })
}
