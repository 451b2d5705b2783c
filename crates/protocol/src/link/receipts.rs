//! Questions for receipts, and their answers (docs/protocol/link.md#10).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use p2panda_core::{Label, limits};

use crate::link::message::Level;
use crate::link::rate::Rate;
use crate::overlay::Overlay;
use crate::time::Time;

/// Bytes of a peer's question, with its answer while that waits for the node.
const ASKED_HELD_BYTES: usize = 512;

/// A log of the node that asks for receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptLog {
    /// The membership overlay of its topic.
    pub overlay: Overlay,
    /// Its label, if it has a name.
    pub label: Option<Label>,
}

impl ReceiptLog {
    /// Returns the log without a name.
    pub const fn first(overlay: Overlay) -> ReceiptLog {
        ReceiptLog {
            overlay,
            label: None,
        }
    }

    /// All logs of a topic.
    pub const fn all(overlay: Overlay) -> RangeInclusive<ReceiptLog> {
        let last = ReceiptLog {
            overlay,
            label: Some(Label::GREATEST),
        };
        ReceiptLog::first(overlay)..=last
    }
}

/// A peer asks or says more than it may.
#[derive(Debug)]
pub(super) struct TooMuch;

/// Questions for receipts, of both sides.
#[derive(Debug)]
pub(super) struct Receipts {
    /// Receipts that this side wants.
    wanted: BTreeMap<ReceiptLog, Wanted>,
    /// Receipts that the peer wants.
    asked: BTreeMap<ReceiptLog, Asked>,
    strays: Rate,
}

#[derive(Debug)]
struct Wanted {
    height: u32,
    /// `true` if the peer was asked, since the overlay is common.
    is_asked: bool,
    answers: Rate,
}

#[derive(Debug)]
struct Asked {
    height: u32,
    /// Level that the peer was told.
    told: Option<u32>,
    /// The node looks for the next level.
    looking: bool,
    questions: Rate,
}

impl Asked {
    /// Returns the level above which the next one must be, if one is needed and nothing looks for
    /// it yet.
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

    /// Returns the bytes that the peer makes this side hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.asked.len() * ASKED_HELD_BYTES
    }

    /// This side wants to be told. More logs than a peer takes are left out.
    pub(super) fn want(&mut self, log: ReceiptLog, height: u32) {
        if !has_room(&self.wanted, &log) {
            return;
        }
        let answers = Rate::new(limits::LINK_RECEIPTS_PER_MINUTE_MAX);
        let wanted = self.wanted.entry(log).or_insert(Wanted {
            height,
            is_asked: false,
            answers,
        });
        wanted.height = height;
        wanted.is_asked = false;
    }

    /// Returns the questions about these logs, now that their overlay is common.
    pub(super) fn ask(&mut self, logs: RangeInclusive<ReceiptLog>) -> Vec<(ReceiptLog, u32)> {
        let wanted = self.wanted.range_mut(logs);
        let asked = wanted.filter_map(|(log, wanted)| {
            let before = std::mem::replace(&mut wanted.is_asked, true);
            (!before).then_some((*log, wanted.height))
        });
        asked.collect()
    }

    /// The overlay is common no longer.
    pub(super) fn part(&mut self, overlay: &Overlay) {
        remove(&mut self.asked, overlay);
        for (_, wanted) in self.wanted.range_mut(ReceiptLog::all(*overlay)) {
            wanted.is_asked = false;
        }
    }

    /// This side left the overlay.
    pub(super) fn end(&mut self, overlay: &Overlay) {
        remove(&mut self.wanted, overlay);
    }

    /// The peer asks. Returns what the next level has to be above, if somebody has to look.
    pub(super) fn asked(
        &mut self,
        log: Option<ReceiptLog>,
        height: u32,
        now: Time,
    ) -> Result<Option<Option<u32>>, TooMuch> {
        let Some(log) = log else {
            return self.stray(now).map(|()| None);
        };
        if !has_room(&self.asked, &log) {
            return Err(TooMuch);
        }
        let asked = self.asked.entry(log).or_insert_with(|| Asked {
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
        log: &ReceiptLog,
        level: Option<Level>,
    ) -> (bool, Option<Option<u32>>) {
        let Some(asked) = self.asked.get_mut(log) else {
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
    pub(super) fn answered(&mut self, log: Option<ReceiptLog>, now: Time) -> Result<bool, TooMuch> {
        let wanted = log.and_then(|log| self.wanted.get_mut(&log));
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

/// Returns `true` if a log is among those that are remembered of its topic, or may become one of
/// them.
fn has_room<T>(logs: &BTreeMap<ReceiptLog, T>, log: &ReceiptLog) -> bool {
    let named = || {
        let all = logs.range(ReceiptLog::all(log.overlay));
        all.filter(|(log, _)| log.label.is_some())
    };
    log.label.is_none() || logs.contains_key(log) || named().count() < limits::LINK_RECEIPT_LOGS_MAX
}

fn remove<T>(logs: &mut BTreeMap<ReceiptLog, T>, overlay: &Overlay) {
    let of_overlay = logs.range(ReceiptLog::all(*overlay));
    let of_overlay: Vec<_> = of_overlay.map(|(log, _)| *log).collect();
    for log in of_overlay {
        logs.remove(&log);
    }
}
