//! What each side of a link asks the other to say of its own logs (docs/protocol/link.md#10).

use std::collections::BTreeMap;

use p2panda_core::limits;

use crate::link::message::Level;
use crate::link::rate::Rate;
use crate::overlay::Overlay;
use crate::time::Time;

/// What the question of a peer takes here, and what its answer takes that waits for the node.
const ASKED_HELD_BYTES: usize = 512;

/// A peer asks or says more than it may.
#[derive(Debug)]
pub(super) struct TooMuch;

/// Questions for receipts, of both sides.
#[derive(Debug)]
pub(super) struct Receipts {
    /// What this side wants to be told.
    wanted: BTreeMap<Overlay, Wanted>,
    /// What the peer wants to be told.
    asked: BTreeMap<Overlay, Asked>,
    strays: Rate,
}

#[derive(Debug)]
struct Wanted {
    height: u32,
    /// Whether the peer was asked, since the overlay is common.
    is_asked: bool,
    answers: Rate,
}

#[derive(Debug)]
struct Asked {
    height: u32,
    /// What the peer was told.
    told: Option<u32>,
    /// The node looks for the next level.
    looking: bool,
    questions: Rate,
}

impl Asked {
    /// What the next level has to be above, if there is to be one and nobody looks for it.
    fn next(&mut self) -> Option<Option<u32>> {
        let is_due = !self.looking && self.told < Some(self.height);
        self.looking |= is_due;
        is_due.then_some(self.told)
    }
}

impl Receipts {
    pub(super) const fn new() -> Receipts {
        Receipts {
            wanted: BTreeMap::new(),
            asked: BTreeMap::new(),
            strays: Rate::new(limits::LINK_RECEIPTS_STRAY_PER_MINUTE_MAX),
        }
    }

    /// What the peer makes this hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.asked.len() * ASKED_HELD_BYTES
    }

    /// This side wants to be told.
    pub(super) fn want(&mut self, overlay: Overlay, height: u32) {
        let answers = Rate::new(limits::LINK_RECEIPTS_PER_MINUTE_MAX);
        let wanted = self.wanted.entry(overlay).or_insert(Wanted {
            height,
            is_asked: false,
            answers,
        });
        wanted.height = height;
        wanted.is_asked = false;
    }

    /// What the peer is to be asked now that the overlay is common.
    pub(super) fn ask(&mut self, overlay: &Overlay) -> Option<u32> {
        let wanted = self.wanted.get_mut(overlay)?;
        let before = std::mem::replace(&mut wanted.is_asked, true);
        (!before).then_some(wanted.height)
    }

    /// The overlay is common no longer.
    pub(super) fn part(&mut self, overlay: &Overlay) {
        self.asked.remove(overlay);
        if let Some(wanted) = self.wanted.get_mut(overlay) {
            wanted.is_asked = false;
        }
    }

    /// This side left the overlay.
    pub(super) fn end(&mut self, overlay: &Overlay) {
        self.wanted.remove(overlay);
    }

    /// The peer asks. Answers what the next level has to be above, if somebody has to look.
    pub(super) fn asked(
        &mut self,
        overlay: Option<Overlay>,
        height: u32,
        now: Time,
    ) -> Result<Option<Option<u32>>, TooMuch> {
        let Some(overlay) = overlay else {
            return self.stray(now).map(|()| None);
        };
        let asked = self.asked.entry(overlay).or_insert_with(|| Asked {
            height,
            told: None,
            looking: false,
            questions: Rate::new(limits::LINK_RECEIPTS_PER_MINUTE_MAX),
        });
        if !asked.questions.take(1, now) {
            return Err(TooMuch);
        }
        asked.height = height;
        Ok(asked.next())
    }

    /// The node found this level, if any: whether the peer is to be told, and what the next one has to
    /// be above.
    pub(super) fn found(
        &mut self,
        overlay: &Overlay,
        level: Option<Level>,
    ) -> (bool, Option<Option<u32>>) {
        let Some(asked) = self.asked.get_mut(overlay) else {
            return (false, None);
        };
        asked.looking = false;
        let Some(level) = level else {
            return (false, None);
        };
        // One that was looked for before the overlay ended and began again.
        let is_new = asked.told < Some(level.height);
        if is_new {
            asked.told = Some(level.height);
        }
        (is_new, asked.next())
    }

    /// The peer says how far it has stored a log: whether it was asked.
    pub(super) fn answered(
        &mut self,
        overlay: Option<Overlay>,
        now: Time,
    ) -> Result<bool, TooMuch> {
        let wanted = overlay.and_then(|overlay| self.wanted.get_mut(&overlay));
        let Some(wanted) = wanted.filter(|wanted| wanted.is_asked) else {
            return self.stray(now).map(|()| false);
        };
        match wanted.answers.take(1, now) {
            true => Ok(true),
            false => Err(TooMuch),
        }
    }

    fn stray(&mut self, now: Time) -> Result<(), TooMuch> {
        self.strays.take(1, now).then_some(()).ok_or(TooMuch)
    }
}
