//! Bodies that have not arrived: asking the peer for them, and answering it
//! (`docs/protocol/digest.md#5`). A peer that knows heights only is told a lower one instead
//! (`docs/protocol/sync.md#5`).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::BytesMut;
use p2panda_core::{
    Absent, Entry, Gap, Header, Heights, LogId, LogRange, Look, Page, Read, VerifyingKey, Wanted,
    limits,
};

use super::{Ending, Output, Session};
use crate::close::CloseCode;
use crate::sync::Protocol;
use crate::sync::message::{Absence, Message};
use crate::sync::pair::{Pair, Span, Spans};
use crate::time::Time;

/// Spans of entries in several logs.
type Places = BTreeMap<(VerifyingKey, LogId), Spans>;

/// Knowledge of a session about bodies that have not arrived, on either side.
#[derive(Debug)]
pub(super) struct Bodies {
    /// `true` if the peer understands questions. If not it is told lower heights.
    spoken: bool,
    question: Question,
    /// The entry behind which the round continues; `None`: no round is in progress.
    round: Option<Option<(VerifyingKey, u32)>>,
    /// Came without their body while the session was live.
    fresh: Vec<LogRange>,
    /// Nothing is left to ask for in the round but what the peer has not answered yet.
    last_page: bool,
    /// Time at which the next round begins. `None`: nothing was missing in the last one, and
    /// nothing came without its body since.
    due: Option<Time>,
    /// The time from the end of a round to the next one, if this one brings nothing.
    wait: Duration,
    /// It was not our turn: not before this.
    not_before: Time,
    /// Something was missing in the round.
    lacks: bool,
    /// The round brought a body.
    brought: bool,
    /// Bodies that the peer dropped on purpose.
    dropped_there: Places,
    dropped_len: usize,
    /// Bodies that the peer asked for, and is being sent.
    answer: Option<Answer>,
    /// `true` if the next page is for the answer rather than for what is new.
    answer_next: bool,
    /// Bodies that the peer asked for in vain.
    owed: Places,
    owed_len: usize,
    /// Logs that the peer was told with a lower height, and from which entry on.
    lowered: BTreeMap<VerifyingKey, u32>,
    /// The time for which another comparison was asked for already.
    compared: Option<Time>,
}

#[derive(Debug, PartialEq)]
enum Question {
    None,
    /// Looks up what is wanted.
    Looking(Look),
    /// The peer was asked for these and has not answered yet.
    Asked(Vec<LogRange>),
}

#[derive(Debug)]
struct Answer {
    ranges: VecDeque<LogRange>,
    absent: Vec<(LogRange, Absence)>,
    /// A page of the first range is being read.
    reading: bool,
}

impl Bodies {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            spoken: protocol != Protocol::LogSync,
            question: Question::None,
            round: None,
            last_page: false,
            fresh: Vec::new(),
            due: Some(Time::ZERO),
            wait: limits::BODIES_ASKED_AGAIN_FIRST,
            not_before: Time::ZERO,
            lacks: false,
            brought: false,
            dropped_there: Places::new(),
            dropped_len: 0,
            answer: None,
            answer_next: false,
            owed: Places::new(),
            owed_len: 0,
            lowered: BTreeMap::new(),
            compared: None,
        }
    }

    /// Returns `true` if a page that was asked for is part of an answer.
    pub(super) fn is_reading(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.reading)
    }

    /// The page to read for the answer, if it is its turn next to `news`.
    pub(super) fn next_read(&mut self, news: bool) -> Option<Read> {
        let answer = self.answer.as_mut()?;
        if news && !std::mem::replace(&mut self.answer_next, true) {
            return None;
        }
        self.answer_next = false;
        let range = *answer.ranges.front()?;
        answer.reading = true;
        Some(Read::Logs {
            ranges: vec![range],
            bytes_max: limits::SESSION_PAGE_BYTES_MAX,
        })
    }

    /// Returns `true` if the peer asked for the body of this entry in vain. If so it is sent now.
    pub(super) fn pays(&mut self, entry: &Entry, log: LogId) -> bool {
        let Some(spans) = self.owed.get_mut(&(entry.label(), log)) else {
            return false;
        };
        let owed = spans.contains(entry.seq()) && entry.body.is_some();
        if owed {
            spans.remove(entry.seq());
            self.owed_len -= 1;
        }
        owed
    }

    fn owe(&mut self, author: VerifyingKey, log: LogId, seq: u32) {
        if self.owed_len >= limits::BODIES_OWED_MAX {
            return;
        }
        let spans = self.owed.entry((author, log)).or_default();
        if !spans.contains(seq) {
            spans.add(Span {
                first: seq,
                last: seq,
            });
            self.owed_len += 1;
        }
    }

    /// Leaves out what the peer has dropped.
    fn askable(&self, ranges: Vec<LogRange>) -> Vec<LogRange> {
        if self.dropped_there.is_empty() {
            return ranges;
        }
        let mut askable = Vec::new();
        for range in ranges {
            let dropped = self.dropped_there.get(&(range.author, range.log));
            for seq in seqs(&range) {
                if dropped.is_none_or(|dropped| !dropped.contains(seq)) {
                    push(&mut askable, range.author, range.log, seq);
                }
            }
        }
        askable
    }

    /// Remembers what the peer dropped, of what it was asked for.
    fn note_dropped(&mut self, asked: &[LogRange], absent: &[(LogRange, Absence)]) {
        for (range, absence) in absent {
            let (span, len) = (span_of(range), bodies([range].into_iter()) as usize);
            let was_asked = asked.iter().any(|asked| {
                let span_asked = span_of(asked);
                (asked.author, asked.log) == (range.author, range.log)
                    && span_asked.first <= span.first
                    && span.last <= span_asked.last
            });
            let fits = self.dropped_len + len <= limits::BODIES_OWED_MAX;
            if *absence == Absence::Dropped && was_asked && fits {
                self.dropped_len += len;
                let place = (range.author, range.log);
                self.dropped_there.entry(place).or_default().add(span);
            }
        }
    }

    /// Something is missing: there will be a round.
    fn due_again(&mut self, now: Time) {
        if self.due.is_none() {
            self.wait = limits::BODIES_ASKED_AGAIN_FIRST;
            self.due = Some(now + self.wait);
        }
    }

    /// The end of a round, once all of it is answered: the next one comes later if this one
    /// brought nothing, and not at all if nothing was missing.
    fn end_round(&mut self, now: Time) {
        if !std::mem::take(&mut self.last_page) {
            return;
        }
        if std::mem::take(&mut self.brought) {
            self.wait = limits::BODIES_ASKED_AGAIN_FIRST;
        }
        let lacks = std::mem::take(&mut self.lacks);
        self.due = lacks.then(|| now + self.wait);
        if !lacks {
            return;
        }
        self.wait = (self.wait * 2).min(limits::BODIES_ASKED_AGAIN_MAX);
    }
}

impl Session {
    // What the peer is told and asked.

    /// The heights to tell a peer that knows nothing but heights: below the first body that has
    /// not arrived, unless the peer has shown that it does not send it.
    pub(super) fn lowered(&self, heights: &Heights) -> Option<Heights> {
        if self.bodies.lowered.is_empty() {
            return None;
        }
        let lowered = heights.iter().filter_map(|(author, log, height)| {
            match self.bodies.lowered.get(&author) {
                Some(first) => Some((author, log, height.min(first.checked_sub(1)?))),
                None => Some((author, log, height)),
            }
        });
        Some(lowered.collect())
    }

    /// Finds out what to ask for, or which logs to tell with a lower height. What comes without its
    /// body later on is seen in live mode.
    pub(super) fn note_gaps(&mut self, gaps: &[Gap], pair: &mut Pair) {
        if self.bodies.spoken {
            self.bodies.due = Some(match gaps.is_empty() {
                true => self.now + self.bodies.wait,
                false => self.now,
            });
            return;
        }
        let now = self.now;
        let lacking: BTreeMap<_, _> = gaps.iter().map(|gap| (gap.author, gap.seq)).collect();
        pair.lowered.retain(|author| lacking.contains_key(author));
        self.bodies.lowered = lacking;
        self.bodies
            .lowered
            .retain(|author, _| pair.lowered.may_lower(author, now));
    }

    /// The peer sent a header that names a body, without it.
    pub(super) fn came_without_body(&mut self, header: &Header, pair: &mut Pair) {
        let author = header.label();
        let told = self.bodies.lowered.get(&author);
        if told.is_some_and(|first| *first <= header.seq()) {
            self.bodies.lowered.remove(&author);
            pair.lowered.withheld(author, self.now);
        }
    }

    /// Perhaps the peer was asked for this body.
    pub(super) fn came_with_body(&mut self, header: &Header) {
        if let Question::Asked(ranges) = &self.bodies.question {
            let (author, seq) = (header.label(), header.seq());
            self.bodies.brought |= ranges.iter().any(|range| {
                let Span { first, last } = span_of(range);
                range.author == author && first <= seq && seq <= last
            });
        }
    }

    /// An entry arrived here without its body.
    pub(super) fn saw_wanted(&mut self, entry: &Entry, pair: &Pair) {
        if self.bodies.spoken {
            // If it is not brought at once, or there are too many.
            self.bodies.due_again(self.now);
            if self.bodies.fresh.len() < limits::BODIES_ASKED_MAX {
                let (author, seq) = (entry.label(), entry.seq());
                push(&mut self.bodies.fresh, author, self.log_id, seq);
            }
        } else if pair.lowered.may_lower(&entry.label(), self.now) && self.is_live() {
            self.compare_again();
        }
    }

    fn compare_again(&mut self) {
        let asked = |output: &Output| matches!(output, Output::Compare);
        if !self.outputs.iter().any(asked) {
            self.outputs.push_back(Output::Compare);
        }
    }

    /// Asks for bodies as far as it is time.
    pub(super) fn ask_for_bodies(&mut self, pair: &Pair) {
        if !self.is_live() || self.ending != Ending::No {
            return;
        }
        if !self.bodies.spoken {
            return self.compare_when_due(pair);
        }
        let now = self.now;
        let ready = self.bodies.question == Question::None && now >= self.bodies.not_before;
        if self.asked || !ready {
            return;
        }
        let fresh = std::mem::take(&mut self.bodies.fresh);
        let look = match (fresh.is_empty(), self.bodies.round) {
            (false, _) => Look::Of(fresh),
            (true, Some(after)) => Look::After(after),
            (true, None) if self.bodies.due.is_some_and(|due| now >= due) => {
                self.bodies.round = Some(None);
                Look::After(None)
            }
            (true, None) => return,
        };
        self.bodies.question = Question::Looking(look.clone());
        self.ask(Output::Wanted(look));
    }

    /// Answers [`Output::Wanted`].
    pub(super) fn wanted(&mut self, wanted: Option<Wanted>) {
        self.asked = false;
        let question = std::mem::replace(&mut self.bodies.question, Question::None);
        let (Question::Looking(look), Some(Wanted { ranges, more })) = (&question, &wanted) else {
            if let Question::Looking(Look::Of(ranges)) = question {
                self.bodies.fresh.extend(ranges);
                self.bodies.fresh.truncate(limits::BODIES_ASKED_MAX);
            }
            self.bodies.not_before = self.now + limits::BODIES_TURN_RETRY;
            return;
        };
        if let Look::After(_) = look {
            self.bodies.lacks |= !ranges.is_empty();
            let last = ranges.last().filter(|_| *more);
            self.bodies.round = last.map(|last| Some((last.author, last.until)));
            self.bodies.last_page = last.is_none();
        }
        let ranges = self.bodies.askable(self.carried(ranges));
        if ranges.is_empty() {
            return self.bodies.end_round(self.now);
        }
        let question = Message::Wanted(ranges);
        self.send(&question);
        if let Message::Wanted(ranges) = question {
            self.bodies.question = Question::Asked(ranges);
        }
    }

    /// Those of logs that the session carries. What stands for the log in them is its label.
    fn carried(&self, ranges: &[LogRange]) -> Vec<LogRange> {
        let is_carried = |range: &&LogRange| self.named || range.log == self.log_id;
        let log = self.log_id;
        let ranges = ranges.iter().filter(is_carried);
        ranges.map(|range| LogRange { log, ..*range }).collect()
    }

    /// The peer has answered.
    pub(super) fn absent(&mut self, absent: &[(LogRange, Absence)], pair: &mut Pair) {
        let question = std::mem::replace(&mut self.bodies.question, Question::None);
        let Question::Asked(asked) = question else {
            return self.fail(CloseCode::Violation, pair);
        };
        if bodies(absent.iter().map(|(range, _)| range)) > limits::BODIES_ASKED_MAX as u64 {
            return self.fail(CloseCode::Limit, pair);
        }
        self.bodies.note_dropped(&asked, absent);
        self.bodies.end_round(self.now);
    }

    /// Another session tells the lower height again once the peer's rest is over.
    fn compare_when_due(&mut self, pair: &Pair) {
        let due = pair.lowered.next();
        if let Some(at) = due.filter(|at| *at <= self.now && self.bodies.compared != due) {
            self.bodies.compared = Some(at);
            self.compare_again();
        }
    }

    /// Returns the time at which there is something to ask, for a session that is live. What is
    /// due already waits for an answer, not for time.
    pub(super) fn bodies_due(&self, pair: &Pair) -> Option<Time> {
        let bodies = &self.bodies;
        let next = match (bodies.spoken, &bodies.question) {
            (true, Question::None) if !bodies.fresh.is_empty() || bodies.round.is_some() => {
                Some(bodies.not_before)
            }
            (true, Question::None) => bodies.due.map(|due| due.max(bodies.not_before)),
            (true, _) => None,
            (false, _) => pair.lowered.next(),
        };
        next.filter(|next| *next > self.now)
    }

    // What the peer asks.

    pub(super) fn peer_wants(&mut self, ranges: Vec<LogRange>, pair: &mut Pair) {
        if !self.bodies.spoken || self.bodies.answer.is_some() {
            return self.fail(CloseCode::Violation, pair);
        }
        if bodies(ranges.iter()) > limits::BODIES_ASKED_MAX as u64 {
            return self.fail(CloseCode::Limit, pair);
        }
        let (ours, others) = ranges
            .into_iter()
            .partition::<Vec<_>, _>(|range| range.log == self.log_id);
        let lacking = |range| (range, Absence::Lacking);
        self.bodies.answer = Some(Answer {
            ranges: ours.into(),
            absent: others.into_iter().map(lacking).collect(),
            reading: false,
        });
        let mut out = BytesMut::new();
        self.end_answer(&mut out);
        self.hand_out(out);
    }

    /// A page of an entry range that the peer asked for.
    pub(super) fn answer_page(&mut self, page: Page, pair: &mut Pair) {
        self.asked = false;
        let Some(mut answer) = self.bodies.answer.take() else {
            return;
        };
        answer.reading = false;
        let Some(range) = answer.ranges.pop_front() else {
            return;
        };
        let mut out = BytesMut::new();
        let last = page.entries.last().map(Entry::seq);
        let until = last.filter(|_| page.more).unwrap_or(range.until);
        let mut entries = page.entries.into_iter().peekable();
        let part = LogRange { until, ..range };
        for seq in seqs(&part) {
            let entry = entries.next_if(|entry| entry.seq() == seq);
            let (author, log) = (range.author, range.log);
            match entry {
                Some(entry) if entry.body.is_some() => {
                    pair.sends(self.id, author, seq);
                    self.bodies.pays(&entry, self.log_id);
                    self.encode(entry, true, &mut out);
                }
                Some(entry) if entry.absent == Some(Absent::Dropped) => {
                    push_absent(&mut answer.absent, author, log, seq, Absence::Dropped);
                }
                _ => {
                    push_absent(&mut answer.absent, author, log, seq, Absence::Lacking);
                    self.bodies.owe(author, log, seq);
                }
            }
        }
        if until < range.until {
            answer.ranges.push_front(LogRange {
                after: Some(until),
                ..range
            });
        }
        self.bodies.answer = Some(answer);
        self.end_answer(&mut out);
        self.hand_out(out);
    }

    /// Says that an answer is complete, if it is: also what of it crosses in pieces has left.
    pub(super) fn end_answer(&mut self, out: &mut BytesMut) {
        let idle = self.pieces.is_idle();
        let over = |one: &mut Answer| idle && one.ranges.is_empty();
        if let Some(answer) = self.bodies.answer.take_if(over) {
            let written = Message::Absent(answer.absent).encode(out);
            written.expect("an answer about few bodies is far below the limit of every frame");
        }
    }
}

/// Sequence numbers of a range, whose length was checked.
fn seqs(range: &LogRange) -> impl Iterator<Item = u32> + use<> {
    let Span { first, last } = span_of(range);
    first..=last
}

fn span_of(range: &LogRange) -> Span {
    Span {
        first: range.after.map_or(0, |after| after.saturating_add(1)),
        last: range.until,
    }
}

/// Counts the bodies that ranges are about.
fn bodies<'a>(ranges: impl Iterator<Item = &'a LogRange>) -> u64 {
    ranges
        .map(|range| {
            let Span { first, last } = span_of(range);
            (u64::from(last) + 1).saturating_sub(u64::from(first))
        })
        .sum()
}

/// Adds an entry to ranges, to the last one if it follows it.
fn push(ranges: &mut Vec<LogRange>, author: VerifyingKey, log: LogId, seq: u32) {
    if let Some(last) = ranges
        .last_mut()
        .filter(|last| follows(last, author, log, seq))
    {
        last.until = seq;
        return;
    }
    ranges.push(single(author, log, seq));
}

fn push_absent(
    absent: &mut Vec<(LogRange, Absence)>,
    author: VerifyingKey,
    log: LogId,
    seq: u32,
    absence: Absence,
) {
    if let Some((last, _)) = absent
        .last_mut()
        .filter(|(last, why)| *why == absence && follows(last, author, log, seq))
    {
        last.until = seq;
        return;
    }
    absent.push((single(author, log, seq), absence));
}

fn follows(range: &LogRange, author: VerifyingKey, log: LogId, seq: u32) -> bool {
    range.author == author && range.log == log && range.until.checked_add(1) == Some(seq)
}

fn single(author: VerifyingKey, log: LogId, seq: u32) -> LogRange {
    LogRange {
        author,
        log,
        after: seq.checked_sub(1),
        until: seq,
    }
}
