//! Logs of a topic that wait for operations of other authors (`docs/protocol/streams.md#6`).
//!
//! Of each log only the first waiting operation, its *front*, is looked at, and of that one
//! dependency that is missing: when it comes, the front is looked at again. The deadline of an
//! operation counts from its arrival, or from when the last session that was in catch-up at
//! its arrival is done, whichever is later; one behind the front does not wait anew.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use p2panda_core::{Dependency, VerifyingKey};

/// Logs that wait at the same time; beyond it an operation is not waited for.
const WAITING_LOGS_MAX: usize = 16_384;
/// Spans of arrival told apart per log; beyond it later arrivals share the last one.
const SPANS_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Waiting {
    logs: HashMap<VerifyingKey, Blocked>,
    /// By author of the missing operation: its place, and the log that waits for it.
    watchers: HashMap<VerifyingKey, BTreeSet<(u32, VerifyingKey)>>,
    /// With the number of the log, so that of those due at once the first blocked goes first.
    deadlines: BTreeSet<(u64, u64, VerifyingKey)>,
    blocked: u64,
    /// Sessions in catch-up, with the count of sessions started by then.
    catching_up: BTreeMap<u64, u64>,
    started: u64,
    /// Logs that wait since before a restart.
    pub recheck: Vec<VerifyingKey>,
}

struct Blocked {
    number: u64,
    front: u32,
    /// `None`: the front cannot be read.
    watching: Option<(VerifyingKey, u32)>,
    spans: VecDeque<Span>,
}

/// Operations from `from_seq` on, which arrived under the same circumstances.
#[derive(Clone, Copy)]
struct Span {
    from_seq: u32,
    /// Sessions started by then.
    started: u64,
    /// `None` while one of those that were in catch-up still is.
    deadline: Option<u64>,
}

impl Waiting {
    pub fn is_blocked(&self, author: &VerifyingKey) -> bool {
        self.logs.contains_key(author)
    }

    pub fn is_full(&self) -> bool {
        self.logs.len() >= WAITING_LOGS_MAX
    }

    /// An operation arrived behind the front of its log.
    pub fn arrived(&mut self, author: &VerifyingKey, seq: u32, deadline: u64) {
        let span = self.span(seq, deadline);
        let Some(blocked) = self.logs.get_mut(author) else {
            return;
        };
        let last = blocked.spans.back();
        let same = last.is_some_and(|last| {
            last.deadline == span.deadline
                && (last.started == span.started || span.deadline.is_some())
        });
        if !same && blocked.spans.len() < SPANS_MAX {
            blocked.spans.push_back(span);
        }
    }

    /// The front of a log lacks a dependency. `deadline` is that of an arrival now.
    pub fn block(&mut self, author: &VerifyingKey, front: u32, lacks: &Dependency, deadline: u64) {
        self.put_front(author, front, Some((lacks.author, lacks.seq)), deadline);
    }

    /// The front of a log cannot be read: nothing of the log goes on.
    pub fn quarantine(&mut self, author: &VerifyingKey, front: u32) {
        self.put_front(author, front, None, u64::MAX);
    }

    /// A log waits no more.
    pub fn unblock(&mut self, author: &VerifyingKey) {
        self.take_front(author);
        self.logs.remove(author);
    }

    /// Whether the operation of a log has waited long enough.
    pub fn is_due(&self, author: &VerifyingKey, seq: u32, now_us: u64) -> bool {
        let blocked = self.logs.get(author);
        blocked
            .and_then(|blocked| blocked.deadline(seq))
            .is_some_and(|due| due <= now_us)
    }

    /// Logs whose fronts have waited long enough.
    pub fn due(&self, now_us: u64) -> Vec<VerifyingKey> {
        self.deadlines
            .range(..=(now_us, u64::MAX, LAST_KEY))
            .map(|(_, _, author)| *author)
            .collect()
    }

    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _, _)| *deadline)
    }

    /// A log has passed the order stage up to `seq`: whose fronts may now go on.
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

    pub fn catch_up_started(&mut self, session: u64) {
        self.started += 1;
        self.catching_up.insert(session, self.started);
    }

    /// A session's catch-up is over: what waited only for it gets its deadline.
    pub fn catch_up_ended(&mut self, session: u64, deadline: u64) {
        if self.catching_up.remove(&session).is_none() {
            return;
        }
        let oldest = self.catching_up.values().min().copied().unwrap_or(u64::MAX);
        for (author, blocked) in &mut self.logs {
            let free = |span: &&mut Span| span.deadline.is_none() && span.started < oldest;
            for span in blocked.spans.iter_mut().filter(free) {
                span.deadline = Some(deadline);
            }
            if let (Some(due), Some(_)) = (blocked.deadline(blocked.front), blocked.watching) {
                self.deadlines.insert((due, blocked.number, *author));
            }
        }
    }

    fn span(&self, from_seq: u32, deadline: u64) -> Span {
        let deadline = self.catching_up.is_empty().then_some(deadline);
        Span {
            from_seq,
            started: self.started,
            deadline,
        }
    }

    fn put_front(
        &mut self,
        author: &VerifyingKey,
        front: u32,
        watching: Option<(VerifyingKey, u32)>,
        deadline: u64,
    ) {
        self.take_front(author);
        let span = self.span(front, deadline);
        self.blocked += 1;
        let blocked = self.logs.entry(*author).or_insert_with(|| Blocked {
            number: self.blocked,
            front,
            watching,
            spans: VecDeque::from([span]),
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
        let Some((lacks, seq)) = watching else { return };
        if let Some(due) = blocked.deadline(front) {
            self.deadlines.insert((due, blocked.number, *author));
        }
        self.watchers
            .entry(lacks)
            .or_default()
            .insert((seq, *author));
    }

    /// Takes the front of a log out of the indexes.
    fn take_front(&mut self, author: &VerifyingKey) {
        let Some(blocked) = self.logs.get(author) else {
            return;
        };
        if let Some(due) = blocked.deadline(blocked.front) {
            self.deadlines.remove(&(due, blocked.number, *author));
        }
        if let Some((lacks, seq)) = blocked.watching
            && let Some(watchers) = self.watchers.get_mut(&lacks)
        {
            watchers.remove(&(seq, *author));
            if watchers.is_empty() {
                self.watchers.remove(&lacks);
            }
        }
    }
}

impl Blocked {
    fn deadline(&self, seq: u32) -> Option<u64> {
        let covers = |span: &&Span| span.from_seq <= seq;
        self.spans
            .iter()
            .rev()
            .find(covers)
            .or(self.spans.front())?
            .deadline
    }
}

/// Bounds of ranges over pairs that end in a key.
const FIRST_KEY: VerifyingKey = VerifyingKey::from_bytes_unchecked([0; 32]);
const LAST_KEY: VerifyingKey = VerifyingKey::from_bytes_unchecked([255; 32]);
