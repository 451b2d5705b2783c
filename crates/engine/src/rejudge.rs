//! Content that passed has another verdict now: what was shown is taken back, what was withheld is
//! shown (`docs/protocol/streams.md#7`). A range may have any number of operations, so this is done in
//! steps, and what is left is stored.

use std::collections::BTreeMap;

use p2panda_core::{Header, Topic, VerifyingKey};
use p2panda_encryption::Row;
use p2panda_store::{Change, LogKey, Ready, SealedOperation, StoreError};
use zeroize::Zeroizing;

use crate::batch::{Location, Ordered, Stored};
use crate::permit::{header_of, once, open};
use crate::space::form::Content;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Part of an author's content log that stands differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub topic: Topic,
    pub author: VerifyingKey,
    /// What is left of it: from here on, and below the end.
    pub first: u32,
    pub end: u32,
    pub stands: bool,
}

/// Ranges of which something is left, in the order in which they are gone through.
#[derive(Default)]
pub(crate) struct Ranges {
    left: BTreeMap<u64, Range>,
    changed: Vec<u64>,
}

impl Ranges {
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Adds one. It takes the place of those of the same log that lie in it.
    pub fn add(&mut self, range: Range) {
        let covers = |other: &Range| {
            let is_same = (other.topic, other.author) == (range.topic, range.author);
            is_same && other.first >= range.first && other.end <= range.end
        };
        let left = self.left.iter();
        let covered = left.filter_map(|(number, other)| covers(other).then_some(*number));
        for number in covered.collect::<Vec<_>>() {
            self.left.remove(&number);
            self.changed.push(number);
        }
        let last = self.left.last_key_value().map_or(0, |(number, _)| *number);
        self.left.insert(last + 1, range);
        self.changed.push(last + 1);
    }

    fn first(&self) -> Option<(u64, Range)> {
        let (number, range) = self.left.first_key_value()?;
        Some((*number, *range))
    }

    /// A range goes on at `from`; at its end there is nothing left of it.
    fn go_on(&mut self, number: u64, from: u32) {
        if let Some(range) = self.left.get_mut(&number) {
            range.first = from;
            if from >= range.end {
                self.left.remove(&number);
            }
            self.changed.push(number);
        }
    }

    /// Takes over a stored row.
    pub fn load(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let number = u64::from_be_bytes(name.try_into().ok()?);
        let (topic, rest) = value.split_first_chunk::<32>()?;
        let (author, rest) = rest.split_first_chunk::<32>()?;
        let (first, rest) = rest.split_first_chunk::<4>()?;
        let (end, rest) = rest.split_first_chunk::<4>()?;
        let [stands @ (0 | 1)] = rest else {
            return None;
        };
        let range = Range {
            topic: Topic::from_bytes(*topic),
            author: VerifyingKey::from_bytes_unchecked(*author),
            first: u32::from_be_bytes(*first),
            end: u32::from_be_bytes(*end),
            stands: *stands == 1,
        };
        self.left.insert(number, range);
        Some(())
    }

    /// Rows to be stored, under keys that begin with `kind`.
    pub fn take_changed(&mut self, kind: u8) -> Vec<Row> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let row = |number: u64| Row {
            key: [&[kind][..], &number.to_be_bytes()].concat(),
            value: self.left.get(&number).map(Range::write),
        };
        changed.into_iter().map(row).collect()
    }
}

impl Range {
    fn write(&self) -> Zeroizing<Vec<u8>> {
        let parts = [
            &self.topic.as_bytes()[..],
            self.author.as_bytes(),
            &self.first.to_be_bytes(),
            &self.end.to_be_bytes(),
            &[u8::from(self.stands)],
        ];
        Zeroizing::new(parts.concat())
    }
}

/// A range has another verdict: what passed in this batch follows at once, the rest as far as this
/// transaction may still go.
pub(crate) fn begin(turn: &mut Turn<'_>, range: Range) -> Result<(), StoreError> {
    let topic = turn.resolve(&range.topic)?;
    judge_arrived(turn, &topic, &range);
    turn.state.spaces.rejudged.add(range);
    step(turn)
}

/// Goes on with what is left.
pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    while !turn.batch.rejudging.is_used_up() {
        let Some((number, range)) = turn.state.spaces.rejudged.first() else {
            return Ok(());
        };
        let from = judge_stored(turn, &range)?;
        turn.state.spaces.rejudged.go_on(number, from);
    }
    Ok(())
}

/// Goes through stored operations of a range, and says from where on something is left.
fn judge_stored(turn: &mut Turn<'_>, range: &Range) -> Result<u32, StoreError> {
    let topic = turn.resolve(&range.topic)?;
    let [_, content] = turn.state.spaces.names();
    let label = topic.own_log(&range.author, Some(content)).label;
    let Some(log) = turn.log(&topic, &label)?.cloned() else {
        return Ok(range.end);
    };
    // What has not passed is judged when it does.
    let passed = log.ordered_seq.map_or(0, |seq| seq.saturating_add(1));
    let (from, below) = (range.first.max(log.first_seq), range.end.min(passed));
    if from >= below {
        return Ok(range.end);
    }
    let left = turn.batch.rejudging.left();
    let page = turn.tx.sealed_range(log.key, (from, below), left)?;
    let Some((last, _)) = page.last() else {
        return Ok(range.end);
    };
    let next = last.saturating_add(1);
    for (_, operation) in page {
        turn.batch.rejudging.take(operation.bytes());
        if let Some(header) = header_of(&operation) {
            judge(turn, &topic, (log.key, &header), &operation, range.stands)?;
        }
    }
    Ok(next)
}

fn judge(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    (log, header): (LogKey, &Header),
    operation: &SealedOperation,
    stands: bool,
) -> Result<(), StoreError> {
    let content = open(turn, topic, header, &operation.body);
    if let Some(passed) = passed_now(turn, operation) {
        passed.ready = restated(content, passed.ready.take());
        return Ok(());
    }
    let is_shown = is_shown(turn, operation);
    let ready = match content {
        Content::Stands(data) if !is_shown => Some(Ready::Opened(data)),
        // A later change of the verdict may have come before this step.
        Content::Stands(_) => None,
        Content::Gone if !is_shown => once::kept(turn, (log, header.seq()))?,
        Content::Gone => None,
        _ if !stands && is_shown => Some(Ready::Changed(Change::Withdrawn)),
        _ => None,
    };
    if let Some(ready) = ready {
        show(turn, topic, header, operation.arrival, ready);
    }
    Ok(())
}

/// What the feed shows of content that passed in this batch.
fn restated(content: Content, before: Option<Ready>) -> Option<Ready> {
    match content {
        Content::Stands(data) => Some(Ready::Opened(data)),
        Content::Gone => Some(before.unwrap_or_else(once::lost)),
        _ => None,
    }
}

/// The same for what passed in this batch, which nobody has been shown.
fn judge_arrived(turn: &mut Turn<'_>, topic: &TopicRef, range: &Range) {
    let [_, content] = turn.state.spaces.names();
    let label = topic.own_log(&range.author, Some(content)).label;
    for place in 0..turn.batch.ordered.len() {
        let ordered = turn.batch.ordered.get(place);
        let Some(Location::Arrived(index)) = ordered.map(|ordered| &ordered.location) else {
            continue;
        };
        let arrived = turn.batch.arrived.get(*index);
        let Some(arrived) = arrived.filter(|arrived| arrived.label == label) else {
            continue;
        };
        let header = arrived.header.clone();
        let body = arrived.body.clone().unwrap_or_default();
        let is_in = (range.first..range.end).contains(&header.seq());
        if !is_in || arrived.topic.topic != topic.topic {
            continue;
        }
        let opened = open(turn, topic, &header, &body);
        if let Some(ordered) = turn.batch.ordered.get_mut(place) {
            ordered.ready = restated(opened, ordered.ready.take());
        }
    }
}

/// An operation that passed before gets another place in the feed.
pub(crate) fn show(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
    arrival: u64,
    ready: Ready,
) {
    let Ok(extensions) = header.node_extensions() else {
        return;
    };
    let stored = Stored {
        arrival,
        extensions,
    };
    turn.batch.late.push(Ordered {
        topic: topic.topic,
        location: Location::Stored(Box::new(stored)),
        ready: Some(ready),
        missing: Vec::new(),
    });
}

/// A stored operation that passed in this batch, which nobody has been shown.
fn passed_now<'t>(turn: &'t mut Turn<'_>, operation: &SealedOperation) -> Option<&'t mut Ordered> {
    let mut passed = turn.batch.ordered.iter_mut();
    passed.find(|ordered| match &ordered.location {
        Location::Stored(stored) => stored.arrival == operation.arrival,
        Location::Arrived(_) => false,
    })
}

/// Whether the feed shows it, with what this batch does to it.
fn is_shown(turn: &Turn<'_>, operation: &SealedOperation) -> bool {
    let late = turn.batch.late.iter().rev();
    let mut of_it = late.filter(|late| match &late.location {
        Location::Stored(stored) => stored.arrival == operation.arrival,
        Location::Arrived(_) => false,
    });
    match of_it.next() {
        Some(late) => matches!(late.ready, Some(Ready::Opened(_))),
        None => operation.is_shown,
    }
}
