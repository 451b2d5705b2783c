//! The asking side, which remembers open questions (`docs/protocol/ranges.md#5`).

use std::collections::VecDeque;

use p2panda_core::limits::{
    RANGE_LIST_MAX, RANGE_SPLIT_BITS_MAX, RANGES_ASKED_AHEAD_MAX, RANGES_ASKED_MAX,
    RANGES_BEHIND_MAX,
};
use p2panda_core::{Heads, LogHead, LogId, Prefix, VerifyingKey};

use super::RangesError;
use super::message::{Ask, Asked, Behind, Has, Message, Split, Told};
use super::reconcile::Reconcile;

/// State of the initiator.
#[derive(Debug)]
pub(super) struct Initiator {
    /// Parts of ranges that differ and were not asked about, the first one last.
    open: Vec<Parts>,
    /// Questions without an answer.
    ahead: VecDeque<Vec<Expected>>,
    /// Places in which this side is behind, as far as it was not told.
    behind: Vec<Behind>,
}

/// Some parts of a divided range.
#[derive(Clone, Copy, Debug)]
struct Parts {
    base: Prefix,
    bits: u8,
    /// Set of the affected parts, the first one in the lowest bit.
    set: u64,
    /// The peer would have divided it into more parts, had they had more logs.
    few: bool,
}

impl Parts {
    const WHOLE: Parts = Parts {
        base: Prefix::WHOLE,
        bits: 0,
        set: 1,
        few: false,
    };

    /// Takes the first part off.
    fn take(&mut self) -> Option<Prefix> {
        let number = self.set.trailing_zeros();
        self.set &= self.set.checked_sub(1)?;
        self.base.child(self.bits, number as u8)
    }

    fn all(mut self) -> impl Iterator<Item = Prefix> {
        std::iter::from_fn(move || self.take())
    }
}

/// The answers that a question gets.
#[derive(Debug)]
enum Expected {
    /// One for each part.
    Parts(Parts),
    /// The state of the peer in a range.
    Has(Prefix),
    /// The places in these logs in which the peer is behind.
    Behind(Vec<(VerifyingKey, LogId)>),
}

impl Initiator {
    pub(super) fn new() -> Initiator {
        Initiator {
            open: vec![Parts::WHOLE],
            ahead: VecDeque::new(),
            behind: Vec::new(),
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        let listed = |expected: &Expected| match expected {
            Expected::Behind(logs) => logs.capacity() * size_of::<(VerifyingKey, LogId)>(),
            Expected::Parts(_) | Expected::Has(_) => 0,
        };
        let expected = |all: &Vec<Expected>| {
            let listed = all.iter().map(listed).sum::<usize>();
            listed + all.capacity() * size_of::<Expected>()
        };
        self.ahead.iter().map(expected).sum::<usize>()
            + self.open.capacity() * size_of::<Parts>()
            + self.behind.capacity() * size_of::<Behind>()
    }
}

impl Reconcile {
    /// Takes the answers to the oldest question.
    pub(super) fn told(&mut self, told: Vec<Told>, heads: &mut Heads) -> Result<(), RangesError> {
        self.with_initiator(|this, initiator| {
            let expected = initiator.ahead.pop_front();
            let expected = expected.ok_or(RangesError::Unexpected)?;
            let known = initiator.open.len();
            let mut told = told.into_iter();
            for expected in expected {
                this.told_of(expected, &mut told, initiator, heads)?;
            }
            // What comes first is asked about first.
            initiator
                .open
                .get_mut(known..)
                .unwrap_or_default()
                .reverse();
            match told.next() {
                None => Ok(()),
                Some(_) => Err(RangesError::Unexpected),
            }
        })?
    }

    fn told_of(
        &mut self,
        expected: Expected,
        told: &mut impl Iterator<Item = Told>,
        initiator: &mut Initiator,
        heads: &mut Heads,
    ) -> Result<(), RangesError> {
        let mut next = || told.next().ok_or(RangesError::Unexpected);
        match expected {
            Expected::Parts(parts) => {
                for range in parts.all() {
                    match next()? {
                        Told::Equal => {}
                        Told::Has(has) => self.peer_has(&range, &has, initiator, heads)?,
                        Told::Behind(_) => return Err(RangesError::Unexpected),
                    }
                }
            }
            Expected::Has(range) => match next()? {
                Told::Has(has) => self.peer_has(&range, &has, initiator, heads)?,
                Told::Equal | Told::Behind(_) => return Err(RangesError::Unexpected),
            },
            Expected::Behind(logs) => {
                let Told::Behind(behind) = next()? else {
                    return Err(RangesError::Unexpected);
                };
                for (place, known) in behind {
                    let log = logs.get(place as usize);
                    let (author, log) = log.ok_or(RangesError::Unexpected)?;
                    self.findings.behind(heads.get(author, log), &known);
                }
            }
        }
        Ok(())
    }

    fn peer_has(
        &mut self,
        range: &Prefix,
        has: &Has,
        initiator: &mut Initiator,
        heads: &mut Heads,
    ) -> Result<(), RangesError> {
        match has {
            Has::Few(listed) => self.peer_lists(range, listed, initiator, heads),
            Has::Many(split) => {
                let parts = self.peer_splits(range, split, heads)?;
                if parts.set != 0 {
                    initiator.open.push(parts);
                }
                Ok(())
            }
        }
    }

    fn peer_lists(
        &mut self,
        range: &Prefix,
        listed: &[LogHead],
        initiator: &mut Initiator,
        heads: &Heads,
    ) -> Result<(), RangesError> {
        let inside = |head: &LogHead| range.has(&head.author, &head.log);
        if !listed.iter().all(inside) {
            return Err(RangesError::Range);
        }
        for (place, known) in self.findings.listed(range, listed, heads)? {
            let Some(head) = listed.get(place as usize) else {
                continue;
            };
            initiator.behind.push(Behind {
                author: head.author,
                log: head.log,
                known,
            });
        }
        Ok(())
    }

    /// Compares the parts of a divided range.
    fn peer_splits(
        &mut self,
        range: &Prefix,
        split: &Split,
        heads: &mut Heads,
    ) -> Result<Parts, RangesError> {
        let base = range.join(&split.path).ok_or(RangesError::Range)?;
        self.findings.lacks_beside(range, &base, heads)?;
        let mut set = 0;
        for (number, part) in (0_u8..).zip(&split.parts) {
            let range = base.child(split.bits, number).ok_or(RangesError::Range)?;
            match part {
                None => self.findings.lacks_all(&range, heads)?,
                Some(fingerprint) => {
                    self.findings.spend(1, heads)?;
                    let differs = !self.is_equal(&range, fingerprint, heads);
                    set |= u64::from(differs) << number;
                }
            }
        }
        Ok(Parts {
            base,
            bits: split.bits,
            set,
            few: split.bits < RANGE_SPLIT_BITS_MAX,
        })
    }

    /// Asks as far ahead as it may; ends when nothing is open.
    pub(super) fn ask_on(&mut self, heads: &mut Heads) -> Result<Vec<Message>, RangesError> {
        self.with_initiator(|this, initiator| {
            let mut messages = Vec::new();
            while initiator.ahead.len() < RANGES_ASKED_AHEAD_MAX && !initiator.open.is_empty() {
                let asked = this.question(initiator, heads)?;
                let behind = initiator.tell_behind();
                messages.push(Message::Ask(Ask { behind, asked }));
            }
            while initiator.open.is_empty() && !initiator.behind.is_empty() {
                messages.push(Message::Ask(Ask {
                    behind: initiator.tell_behind(),
                    asked: Vec::new(),
                }));
            }
            if initiator.ahead.is_empty() {
                messages.push(Message::Done);
                this.finish(false);
            }
            Ok(messages)
        })?
    }

    /// Makes the question that is asked before anything is known of the peer, not even whether it
    /// knows the topic: so no log is named.
    pub(super) fn first_question(
        &mut self,
        initiator: &mut Initiator,
        heads: &mut Heads,
    ) -> Result<Vec<Asked>, RangesError> {
        if heads.len() > RANGE_LIST_MAX {
            return self.question(initiator, heads);
        }
        initiator.open.clear();
        let range = Prefix::WHOLE;
        initiator.ahead.push_back(vec![Expected::Has(range)]);
        Ok(vec![Asked { range, has: None }])
    }

    /// The next ranges to ask about, as many as fit one question.
    pub(super) fn question(
        &mut self,
        initiator: &mut Initiator,
        heads: &mut Heads,
    ) -> Result<Vec<Asked>, RangesError> {
        let mut asked = Vec::new();
        let mut weight = 0;
        // Anything that comes next fits.
        while weight + (1 << RANGE_SPLIT_BITS_MAX) <= RANGES_ASKED_MAX {
            let Some((range, few)) = initiator.next_open() else {
                break;
            };
            let one = self.ask(range, few, heads)?;
            weight += one.weight();
            asked.push(one);
        }
        // Answers to later questions may have brought in earlier ranges.
        asked.sort_unstable_by_key(|one: &Asked| one.range);
        initiator
            .ahead
            .push_back(asked.iter().map(Asked::expects).collect());
        Ok(asked)
    }

    fn ask(&mut self, range: Prefix, few: bool, heads: &mut Heads) -> Result<Asked, RangesError> {
        // It is cheaper to be told few logs than to say what this side has of many.
        if few && heads.count(&range) > RANGE_LIST_MAX {
            self.findings.spend(1, heads)?;
            return Ok(Asked { range, has: None });
        }
        let has = Some(self.has(&range, heads)?);
        Ok(Asked { range, has })
    }
}

impl Initiator {
    fn next_open(&mut self) -> Option<(Prefix, bool)> {
        let parts = self.open.last_mut()?;
        let (range, few) = (parts.take()?, parts.few);
        // What is open is never empty: a question without a range gets no answer.
        self.open.pop_if(|parts| parts.set == 0);
        Some((range, few))
    }

    fn tell_behind(&mut self) -> Vec<Behind> {
        let rest = self
            .behind
            .split_off(self.behind.len().min(RANGES_BEHIND_MAX));
        std::mem::replace(&mut self.behind, rest)
    }
}

impl Asked {
    fn expects(&self) -> Expected {
        match &self.has {
            None => Expected::Has(self.range),
            Some(Has::Few(heads)) => {
                let logs = heads.iter().map(|head| (head.author, head.log));
                Expected::Behind(logs.collect())
            }
            Some(Has::Many(split)) => {
                let base = self.range.join(&split.path);
                let has = (0..).zip(&split.parts).filter(|(_, part)| part.is_some());
                Expected::Parts(Parts {
                    // It was divided within its bits.
                    base: base.unwrap_or(self.range),
                    bits: split.bits,
                    set: has.fold(0_u64, |set, (number, _): (u32, _)| set | 1 << number),
                    few: false,
                })
            }
        }
    }
}
