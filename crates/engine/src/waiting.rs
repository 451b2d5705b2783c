//! Logs of a topic that wait for operations of other authors (`docs/protocol/streams.md#6`).
//!
//! Logs are told apart by their labels. Of each log only the first waiting operation, its *front*,
//! is checked, and of that one dependency that is missing: when it comes, the front is checked
//! again. The deadline of an operation counts from its arrival, or from when the last session that
//! was in catch-up at its arrival is done or too slow, whichever is later, and is never later than
//! the longest wait; one after the front does not wait again.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use p2panda_core::limits::{WAITING_LOGS_MAX, WAITING_SPANS_PER_LOG_MAX};
use p2panda_core::{Dependency, Topic, VerifyingKey};

use crate::catch_up::{CatchUps, End};
use crate::shares::{Origin, Shares};

/// Arrivals that wait for the same sessions share a span for this part of the longest wait.
const SPAN_PARTS: u64 = 16;

/// Time of an event, and the waits of operations from then on.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub now_us: u64,
    /// After the last session, or from the arrival where there is none.
    pub wait_us: u64,
    /// In any case.
    pub wait_max_us: u64,
}

/// Places in which operations wait, shared between their origins, over all topics.
#[derive(Default)]
pub(crate) struct Places {
    shares: Shares,
    /// By the number of the place: the last one of an origin is its newest.
    taken: BTreeMap<(Origin, u64), (Topic, VerifyingKey)>,
    numbers: u64,
}

/// A place, to be given back.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    origin: Origin,
    number: u64,
}

impl Places {
    /// A place for a log, with the log that loses its own for it; `None` if there is no room
    /// and nobody has more.
    pub fn take(
        &mut self,
        origin: Origin,
        topic: Topic,
        author: VerifyingKey,
    ) -> Option<(Place, Option<(Topic, VerifyingKey)>)> {
        let mut loses = None;
        if self.taken.len() >= WAITING_LOGS_MAX {
            let fullest = self.shares.above(origin, 1).next()?;
            let mut of_it = self.taken.range((fullest, 0)..=(fullest, u64::MAX));
            let ((_, number), log) = of_it.next_back()?;
            let (number, log) = (*number, *log);
            self.give_back(Some(Place {
                origin: fullest,
                number,
            }));
            loses = Some(log);
        }
        self.numbers += 1;
        let number = self.numbers;
        self.shares.add(origin, 1);
        self.taken.insert((origin, number), (topic, author));
        Some((Place { origin, number }, loses))
    }

    pub fn give_back(&mut self, place: Option<Place>) {
        if let Some(Place { origin, number }) = place
            && self.taken.remove(&(origin, number)).is_some()
        {
            self.shares.remove(origin, 1);
        }
    }
}

#[derive(Default)]
pub(crate) struct Waiting {
    logs: HashMap<VerifyingKey, Blocked>,
    /// By log of the missing operation: its place, and the log that waits for it.
    watchers: HashMap<VerifyingKey, BTreeSet<(u32, VerifyingKey)>>,
    /// With the number of the log, so that of those due at once the first blocked goes first.
    deadlines: BTreeSet<(u64, u64, VerifyingKey)>,
    /// Logs whose fronts wait for sessions, by the number up to which they do.
    for_sessions: BTreeSet<(u64, VerifyingKey)>,
    blocked: u64,
    sessions: CatchUps,
    /// Logs that are looked at in the next transaction.
    pub recheck: Vec<VerifyingKey>,
    /// The same behind those, since this transaction let some of them pass.
    later: Vec<VerifyingKey>,
}

struct Blocked {
    number: u64,
    front: u32,
    /// `None`: the front cannot be read, or the place went to somebody else.
    watching: Option<(VerifyingKey, u32)>,
    /// Of the front, as it is in the indexes.
    due: Span,
    spans: VecDeque<Span>,
    place: Option<Place>,
}

/// Operations from `from_seq` on, which arrived under the same circumstances.
#[derive(Clone, Copy)]
struct Span {
    from_seq: u32,
    /// The sessions up to this number, where it waits for any.
    awaits: Option<u64>,
    deadline_us: u64,
}

impl Waiting {
    /// Returns `true` if no log waits, and no session is in catch-up.
    pub fn is_at_rest(&self) -> bool {
        self.logs.is_empty() && !self.has_recheck() && self.sessions.is_empty()
    }

    pub fn is_blocked(&self, author: &VerifyingKey) -> bool {
        self.logs.contains_key(author)
    }

    /// Returns `true` if a log waits, in a place of its own.
    pub fn has_place(&self, author: &VerifyingKey) -> bool {
        self.logs.get(author).is_some_and(|log| log.place.is_some())
    }

    /// An operation arrived behind the front of its log.
    pub fn arrived(&mut self, author: &VerifyingKey, seq: u32, times: Times) {
        let span = self.span(seq, times);
        let Some(blocked) = self.logs.get_mut(author) else {
            return;
        };
        let same = blocked.spans.back().is_some_and(|last| {
            let later_us = span.deadline_us.saturating_sub(last.deadline_us);
            match span.awaits {
                Some(_) => span.awaits == last.awaits && later_us <= times.wait_max_us / SPAN_PARTS,
                None => last.awaits.is_none() && later_us == 0,
            }
        });
        if !same && blocked.spans.len() < WAITING_SPANS_PER_LOG_MAX {
            blocked.spans.push_back(span);
        }
    }

    /// The front of a log lacks a dependency; the log is given a place if it has none.
    pub fn block(
        &mut self,
        author: &VerifyingKey,
        front: u32,
        lacks: &Dependency,
        place: Option<Place>,
        times: Times,
    ) {
        self.put_front(author, front, Some((lacks.label(), lacks.seq)), times);
        if let (Some(place), Some(blocked)) = (place, self.logs.get_mut(author)) {
            blocked.place = Some(place);
        }
    }

    /// The front of a log cannot be read: nothing of the log continues.
    pub fn quarantine(&mut self, author: &VerifyingKey, front: u32, times: Times) -> Option<Place> {
        self.put_front(author, front, None, times);
        self.logs.get_mut(author)?.place.take()
    }

    /// A log goes on in the next transaction; behind others, if something of it has passed in this one.
    pub fn pause(&mut self, author: &VerifyingKey, has_passed: bool) {
        self.take_front(author);
        if let Some(blocked) = self.logs.get_mut(author) {
            blocked.watching = None;
        }
        match has_passed {
            true => self.later.push(*author),
            false => self.recheck.push(*author),
        }
    }

    /// Logs that are looked at now, each once.
    pub fn take_recheck(&mut self) -> Vec<VerifyingKey> {
        let mut logs = std::mem::take(&mut self.recheck);
        logs.append(&mut self.later);
        let mut seen = HashSet::with_capacity(logs.len());
        logs.retain(|author| seen.insert(*author));
        logs
    }

    /// A log waits no more.
    pub fn unblock(&mut self, author: &VerifyingKey) -> Option<Place> {
        self.take_front(author);
        let place = self.logs.remove(author)?.place;
        if self.logs.is_empty() {
            self.sessions.forget_ends();
        }
        place
    }

    /// Somebody else has the place of a log now: all of it that has come by now is due.
    pub fn lose_place(&mut self, author: &VerifyingKey) {
        self.take_front(author);
        if let Some(blocked) = self.logs.get_mut(author) {
            (blocked.place, blocked.watching) = (None, None);
            blocked.spans = VecDeque::from([Span {
                from_seq: 0,
                awaits: None,
                deadline_us: 0,
            }]);
        }
    }

    /// Forgets which logs wait, but not for which sessions: these are checked again.
    pub fn look_again(&mut self, logs: Vec<VerifyingKey>) {
        *self = Waiting {
            blocked: self.blocked,
            sessions: std::mem::take(&mut self.sessions),
            recheck: logs,
            ..Waiting::default()
        };
    }

    /// Returns `true` if the operation of a log has waited long enough.
    pub fn is_due(&self, author: &VerifyingKey, seq: u32, times: Times) -> bool {
        let blocked = self.logs.get(author);
        blocked
            .and_then(|blocked| blocked.span(seq))
            .is_some_and(|span| self.settled(*span, times).deadline_us <= times.now_us)
    }

    /// Logs whose fronts have waited long enough.
    pub fn due(&mut self, times: Times) -> Vec<VerifyingKey> {
        self.sessions.lapse(times.now_us);
        self.release(times);
        self.deadlines
            .range(..=(times.now_us, u64::MAX, LAST_KEY))
            .map(|(_, _, author)| *author)
            .collect()
    }

    /// Returns the time at which something is due.
    pub fn next_wake(&self) -> Option<u64> {
        match self.has_recheck() {
            true => Some(0),
            false => self.next_deadline(),
        }
    }

    fn has_recheck(&self) -> bool {
        !(self.recheck.is_empty() && self.later.is_empty())
    }

    fn next_deadline(&self) -> Option<u64> {
        let first = self.deadlines.first().map(|(deadline, _, _)| *deadline);
        let lapse = self.sessions.next_lapse();
        let lapse = lapse.filter(|_| !self.for_sessions.is_empty());
        first.into_iter().chain(lapse).min()
    }

    /// A log has passed the order stage up to `seq`: whose fronts may now continue.
    pub fn passed(&mut self, author: &VerifyingKey, seq: u32) -> Vec<VerifyingKey> {
        let Some(watchers) = self.watchers.get_mut(author) else {
            return Vec::new();
        };
        let later = match seq.checked_add(1) {
            Some(next) => watchers.split_off(&(next, FIRST_KEY)),
            None => BTreeSet::new(),
        };
        let ready = std::mem::replace(watchers, later);
        if watchers.is_empty() {
            self.watchers.remove(author);
        }
        ready.into_iter().map(|(_, waiting)| waiting).collect()
    }

    pub fn catch_up_started(&mut self, session: u64, times: Times) {
        self.sessions.started(session, times.now_us);
    }

    /// A session's catch-up is over: what waited only for it gets its deadline.
    pub fn catch_up_ended(&mut self, session: u64, times: Times) {
        self.sessions.ended(session, times.now_us);
        self.release(times);
    }

    /// A session has stored an operation of that many bytes.
    pub fn stored(&mut self, session: u64, bytes: u64, times: Times) {
        self.sessions.stored(session, bytes, times.now_us);
    }

    /// Returns `true` if a session is in catch-up.
    pub fn is_in_catch_up(&self, session: u64) -> bool {
        self.sessions.includes(session)
    }

    /// Gives the fronts whose sessions are over their deadlines. What still waits is not checked.
    fn release(&mut self, times: Times) {
        let below = self.sessions.over_below();
        while let Some((awaits, author)) = self.for_sessions.first().copied() {
            if awaits >= below {
                return;
            }
            self.for_sessions.pop_first();
            let Some(mut blocked) = self.logs.remove(&author) else {
                continue;
            };
            let due = (blocked.due.deadline_us, blocked.number, author);
            self.deadlines.remove(&due);
            blocked.due = self.settled(blocked.due, times);
            self.deadlines
                .insert((blocked.due.deadline_us, blocked.number, author));
            self.logs.insert(author, blocked);
        }
    }

    /// A span in its current form that sessions may be over.
    fn settled(&self, span: Span, times: Times) -> Span {
        let Some(end) = span.awaits.and_then(|awaits| self.sessions.end_of(awaits)) else {
            return span;
        };
        let End {
            at_us, too_slow, ..
        } = end;
        let arrived_us = span.deadline_us.saturating_sub(times.wait_max_us);
        // Who waited for nothing but slow sessions has waited already.
        let deadline_us = match too_slow {
            true => at_us.max(arrived_us.saturating_add(times.wait_us)),
            false => at_us.saturating_add(times.wait_us),
        };
        Span {
            awaits: None,
            deadline_us: deadline_us.min(span.deadline_us),
            ..span
        }
    }

    fn span(&self, from_seq: u32, times: Times) -> Span {
        let awaits = self.sessions.awaited();
        let wait_us = match awaits {
            Some(_) => times.wait_max_us,
            None => times.wait_us.min(times.wait_max_us),
        };
        Span {
            from_seq,
            awaits,
            deadline_us: times.now_us.saturating_add(wait_us),
        }
    }

    fn put_front(
        &mut self,
        author: &VerifyingKey,
        front: u32,
        watching: Option<(VerifyingKey, u32)>,
        times: Times,
    ) {
        self.take_front(author);
        let span = self.span(front, times);
        self.blocked += 1;
        let mut blocked = self.logs.remove(author).unwrap_or_else(|| Blocked {
            number: self.blocked,
            front,
            watching,
            due: span,
            spans: VecDeque::from([span]),
            place: None,
        });
        (blocked.front, blocked.watching) = (front, watching);
        // Spans that end before the front are over.
        while blocked
            .spans
            .get(1)
            .is_some_and(|next| next.from_seq <= front)
        {
            blocked.spans.pop_front();
        }
        if let Some((lacks, seq)) = watching {
            blocked.due = self.settled(blocked.span(front).copied().unwrap_or(span), times);
            self.deadlines
                .insert((blocked.due.deadline_us, blocked.number, *author));
            if let Some(awaits) = blocked.due.awaits {
                self.for_sessions.insert((awaits, *author));
            }
            self.watchers
                .entry(lacks)
                .or_default()
                .insert((seq, *author));
        }
        self.logs.insert(*author, blocked);
    }

    /// Takes the front of a log out of the indexes.
    fn take_front(&mut self, author: &VerifyingKey) {
        let Some(blocked) = self.logs.get(author) else {
            return;
        };
        let Some((lacks, seq)) = blocked.watching else {
            return;
        };
        self.deadlines
            .remove(&(blocked.due.deadline_us, blocked.number, *author));
        if let Some(awaits) = blocked.due.awaits {
            self.for_sessions.remove(&(awaits, *author));
        }
        if let Some(watchers) = self.watchers.get_mut(&lacks) {
            watchers.remove(&(seq, *author));
            if watchers.is_empty() {
                self.watchers.remove(&lacks);
            }
        }
    }
}

impl Blocked {
    fn span(&self, seq: u32) -> Option<&Span> {
        let covers = |span: &&Span| span.from_seq <= seq;
        self.spans.iter().rev().find(covers).or(self.spans.front())
    }
}

/// Bounds of ranges over pairs that end in a key.
const FIRST_KEY: VerifyingKey = VerifyingKey::from_bytes_unchecked([0; 32]);
const LAST_KEY: VerifyingKey = VerifyingKey::from_bytes_unchecked([255; 32]);
