//! Logs that a quota blocks, as both sides tell each other (docs/protocol/link.md#12).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use p2panda_core::{Label, VerifyingKey, limits};

use crate::link::rate::Rate;
use crate::link::receipts::TooMuch;
use crate::overlay::Overlay;
use crate::time::Time;

/// Cost of a blocked log of the peer here, and of what the node remembers of it.
const BLOCKED_HELD_BYTES: usize = 512;

/// One of the logs of an author in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorLog {
    /// Author of the log.
    pub author: VerifyingKey,
    /// Its label, if it has a name.
    pub label: Option<Label>,
}

/// Limit of a node that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quota {
    /// That of everything.
    All,
    /// That of the topic.
    Topic,
    /// That of the author, in all topics together.
    Author,
    /// One that a later version knows.
    Other(u32),
}

impl Quota {
    pub(super) const fn code(self) -> u32 {
        match self {
            Quota::All => 1,
            Quota::Topic => 2,
            Quota::Author => 3,
            Quota::Other(code) => code,
        }
    }

    pub(super) const fn read(code: u32) -> Quota {
        match code {
            1 => Quota::All,
            2 => Quota::Topic,
            3 => Quota::Author,
            code => Quota::Other(code),
        }
    }
}

/// From where on a node keeps nothing of a log, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Place of the first entry that it refused.
    pub height: u32,
    /// The limit.
    pub quota: Quota,
}

/// The logs of a topic that are blocked.
pub type Blocks = BTreeMap<AuthorLog, Block>;

/// A log that is blocked, or is taken again.
pub type BlockChange = (AuthorLog, Option<Block>);

/// Logs that both sides of a link block.
#[derive(Debug)]
pub(super) struct Blocked {
    peer: VerifyingKey,
    /// `true` if the peer knows the message.
    is_known: bool,
    /// Overlays whose topic the peer has proved to know.
    proven: BTreeSet<Overlay>,
    /// Logs that this side blocks.
    own: BTreeMap<Overlay, Arc<Blocks>>,
    /// Logs of these that the peer was told.
    told: BTreeMap<Overlay, Blocks>,
    /// Overlays of which something may have to be told, and not before this.
    due: BTreeSet<Overlay>,
    next: Time,
    /// Logs that the peer blocks.
    theirs: BTreeMap<Overlay, Blocks>,
    messages: Rate,
}

impl Blocked {
    pub(super) const fn new(peer: VerifyingKey) -> Blocked {
        Blocked {
            peer,
            is_known: false,
            proven: BTreeSet::new(),
            own: BTreeMap::new(),
            told: BTreeMap::new(),
            due: BTreeSet::new(),
            next: Time::ZERO,
            theirs: BTreeMap::new(),
            messages: Rate::new(limits::LINK_BLOCKED_PER_MINUTE_MAX),
        }
    }

    /// The peer knows the message.
    pub(super) fn known(&mut self) {
        self.is_known = true;
    }

    /// Returns the number of bytes that the peer makes this hold.
    pub(super) fn held_bytes(&self) -> usize {
        count(&self.theirs) * BLOCKED_HELD_BYTES
    }

    /// This side blocks these logs of a topic, and no others.
    pub(super) fn set(&mut self, overlay: Overlay, blocks: Arc<Blocks>) {
        match blocks.is_empty() {
            true => drop(self.own.remove(&overlay)),
            false => drop(self.own.insert(overlay, blocks)),
        }
        self.due.insert(overlay);
    }

    /// The peer knows the topic of an overlay.
    pub(super) fn proved(&mut self, overlay: Overlay) {
        self.proven.insert(overlay);
        self.due.insert(overlay);
    }

    /// The overlay is common.
    pub(super) fn meet(&mut self, overlay: Overlay) {
        self.due.insert(overlay);
    }

    /// The overlay is common no longer. Returns what the peer blocked.
    pub(super) fn part(&mut self, overlay: &Overlay) -> Vec<BlockChange> {
        self.told.remove(overlay);
        let theirs = self.theirs.remove(overlay).unwrap_or_default();
        theirs.into_keys().map(|log| (log, None)).collect()
    }

    /// This side left the overlay.
    pub(super) fn end(&mut self, overlay: &Overlay) {
        self.own.remove(overlay);
        self.proven.remove(overlay);
        self.due.remove(overlay);
    }

    /// Returns what the peer is to be told now.
    pub(super) fn tell(
        &mut self,
        common: &BTreeSet<Overlay>,
        now: Time,
    ) -> Option<(Overlay, Vec<BlockChange>)> {
        if !self.is_known || now < self.next {
            return None;
        }
        while let Some(overlay) = self.due.first().copied() {
            // What becomes common or proven later is due again.
            let may_be_told = common.contains(&overlay) && self.proven.contains(&overlay);
            let changes = match may_be_told {
                true => self.changes(&overlay),
                false => Vec::new(),
            };
            if changes.len() < limits::LINK_BLOCKED_ENTRIES_MAX {
                self.due.remove(&overlay);
            }
            if changes.is_empty() {
                continue;
            }
            if apply(&mut self.told, overlay, &changes) {
                // Others that found no room have some.
                self.due.extend(self.own.keys());
            }
            self.next = now + limits::LINK_BLOCKED_INTERVAL;
            return Some((overlay, changes));
        }
        None
    }

    /// Returns the time at which the next is to be told, if anything may have to be.
    pub(super) fn wake(&self) -> Option<Time> {
        (self.is_known && !self.due.is_empty()).then_some(self.next)
    }

    /// Returns the changes since the peer was told: as many as one message may have.
    fn changes(&self, overlay: &Overlay) -> Vec<BlockChange> {
        let none = Blocks::new();
        let told = self.told.get(overlay).unwrap_or(&none);
        let own = self.own.get(overlay).map_or(&none, Arc::as_ref);
        let ended = || told.keys().filter(|log| !own.contains_key(*log));
        let kept = count(&self.told).saturating_sub(ended().count());
        let room = limits::LINK_BLOCKED_LOGS_MAX.saturating_sub(kept);
        let moved = own
            .iter()
            .filter(|(log, block)| told.get(*log).is_some_and(|before| before != *block));
        let new = || own.iter().filter(|(log, _)| !told.contains_key(*log));
        let of_peer = new().filter(|(log, _)| log.author == self.peer);
        let of_others = new().filter(|(log, _)| log.author != self.peer);
        let begun = moved.chain(of_peer.chain(of_others).take(room));
        let begun = begun.map(|(log, block)| (*log, Some(*block)));
        let ended = ended().map(|log| (*log, None));
        let changes = ended.chain(begun);
        changes.take(limits::LINK_BLOCKED_ENTRIES_MAX).collect()
    }

    /// The peer says what it blocks. Returns what that changes; `None`: the overlay is not common.
    pub(super) fn heard(
        &mut self,
        overlay: Option<Overlay>,
        mut entries: Vec<BlockChange>,
        now: Time,
    ) -> Result<Option<Vec<BlockChange>>, TooMuch> {
        if !self.messages.take(1, now) {
            return Err(TooMuch);
        }
        let Some(overlay) = overlay else {
            return Ok(None);
        };
        let theirs = self.theirs.entry(overlay).or_default();
        entries.retain(|(log, block)| {
            let before = match block {
                Some(block) => theirs.insert(*log, *block),
                None => theirs.remove(log),
            };
            before != *block
        });
        if theirs.is_empty() {
            self.theirs.remove(&overlay);
        }
        match count(&self.theirs) > limits::LINK_BLOCKED_LOGS_MAX {
            true => Err(TooMuch),
            false => Ok(Some(entries)),
        }
    }
}

fn count(logs: &BTreeMap<Overlay, Blocks>) -> usize {
    logs.values().map(Blocks::len).sum()
}

/// Returns whether any log is taken again.
fn apply(logs: &mut BTreeMap<Overlay, Blocks>, overlay: Overlay, changes: &[BlockChange]) -> bool {
    let of_overlay = logs.entry(overlay).or_default();
    let mut has_ended = false;
    for (log, block) in changes {
        if let Some(block) = block {
            of_overlay.insert(*log, *block);
        } else {
            has_ended |= of_overlay.remove(log).is_some();
        }
    }
    if of_overlay.is_empty() {
        logs.remove(&overlay);
    }
    has_ended
}
