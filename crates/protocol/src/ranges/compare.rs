//! The conclusions from both sides' heads of a log (`docs/protocol/ranges.md#6`).

use std::collections::BTreeSet;

use p2panda_core::limits::{RANGES_WORK_MIN, RANGES_WORK_PER_LOG};
use p2panda_core::{Heads, LogHead, LogRange, Prefix};

use super::RangesError;
use super::keys::Key;
use super::message::Known;

/// Findings so far.
#[derive(Debug)]
pub(super) struct Findings {
    key: Key,
    /// Ranges that the peer lacks and that were not handed out yet.
    pub(super) lacks: Vec<LogRange>,
    /// Logs of which the peer needs to be shown that they are forked.
    pub(super) forked: Vec<LogHead>,
    /// Logs that were found before: each is found once.
    found: BTreeSet<u64>,
    found_forked: BTreeSet<u64>,
    work: u64,
}

impl Findings {
    pub(super) fn new(key: Key) -> Findings {
        Findings {
            key,
            lacks: Vec::new(),
            forked: Vec::new(),
            found: BTreeSet::new(),
            found_forked: BTreeSet::new(),
            work: 0,
        }
    }

    /// Counts what the peer made this node look at.
    pub(super) fn spend(&mut self, work: usize, heads: &Heads) -> Result<(), RangesError> {
        self.work += work as u64;
        if self.work > RANGES_WORK_MIN + RANGES_WORK_PER_LOG * heads.len() as u64 {
            return Err(RangesError::Work);
        }
        Ok(())
    }

    /// The peer has nothing of a range.
    pub(super) fn lacks_all(&mut self, range: &Prefix, heads: &Heads) -> Result<(), RangesError> {
        self.spend(1 + heads.count(range), heads)?;
        for head in heads.within(range) {
            self.lacks(&head, None);
        }
        Ok(())
    }

    /// The peer has nothing of `range` but in the part `base` of it.
    pub(super) fn lacks_beside(
        &mut self,
        range: &Prefix,
        base: &Prefix,
        heads: &Heads,
    ) -> Result<(), RangesError> {
        base.beside(range)
            .try_for_each(|range| self.lacks_all(&range, heads))
    }

    /// The peer has exactly these logs of a range. Returns where this side is behind or on another
    /// branch, by place in the list.
    pub(super) fn listed(
        &mut self,
        range: &Prefix,
        listed: &[LogHead],
        heads: &Heads,
    ) -> Result<Vec<(u32, Known)>, RangesError> {
        self.spend(1 + listed.len() + heads.count(range), heads)?;
        let key = |head: &LogHead| (head.author, head.log);
        let mut theirs = (0_u32..).zip(listed).peekable();
        let mut behind = Vec::new();
        for own in heads.within(range) {
            while let Some((place, _)) = theirs.next_if(|(_, head)| key(head) < key(&own)) {
                behind.push((place, Known::Nothing));
            }
            match theirs.next_if(|(_, head)| key(head) == key(&own)) {
                None => self.lacks(&own, None),
                Some((place, head)) => {
                    if self.compare(&own, head) {
                        behind.push((place, Known::of(Some(&own))));
                    }
                }
            }
        }
        behind.extend(theirs.map(|(place, _)| (place, Known::Nothing)));
        Ok(behind)
    }

    /// Both sides have the log, and this one knows both heads. Returns whether the peer needs to
    /// know what this side has.
    fn compare(&mut self, own: &LogHead, theirs: &LogHead) -> bool {
        if own.seq > theirs.seq {
            self.lacks(own, Some(theirs.seq));
        }
        let (ours_forked, theirs_forked) = (own.id.is_forked(), theirs.id.is_forked());
        let forks = own.seq == theirs.seq && own.id != theirs.id;
        let forks = forks && !ours_forked && !theirs_forked;
        if forks || ours_forked && !theirs_forked {
            self.is_forked(own);
        }
        own.seq < theirs.seq || forks || theirs_forked && !ours_forked
    }

    /// The peer is behind in a log of this side, or on another branch, and says what it has.
    pub(super) fn behind(&mut self, own: Option<LogHead>, known: &Known) {
        let Some(own) = own else {
            return;
        };
        match *known {
            Known::Nothing => self.lacks(&own, None),
            Known::Height { seq, forked } => {
                if own.seq > seq {
                    self.lacks(&own, Some(seq));
                }
                if !forked && (own.seq == seq || own.id.is_forked()) {
                    self.is_forked(&own);
                }
            }
        }
    }

    fn lacks(&mut self, own: &LogHead, after: Option<u32>) {
        if self.found.insert(self.key.short(&own.author, &own.log)) {
            self.lacks.push(LogRange {
                author: own.author,
                log: own.log,
                after,
                until: own.seq,
            });
        }
    }

    fn is_forked(&mut self, own: &LogHead) {
        let short = self.key.short(&own.author, &own.log);
        if self.found_forked.insert(short) {
            self.forked.push(*own);
        }
    }

    /// Bytes that are held for it.
    pub(super) fn held_bytes(&self) -> usize {
        self.lacks.capacity() * size_of::<LogRange>()
            + self.forked.capacity() * size_of::<LogHead>()
            + (self.found.len() + self.found_forked.len()) * 2 * size_of::<u64>()
    }
}
