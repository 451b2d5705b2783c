//! Judges content again whose verdict has changed: what was shown is withdrawn, what was withheld
//! is shown (`docs/protocol/streams.md#7`). A range may have any number of operations, so this runs
//! in steps, and the rest is stored.

use p2panda_core::Header;
use p2panda_store::{Change, LogKey, Ready, SealedOperation, StoreError};

use crate::batch::{Location, Ordered, Stored};
use crate::reopen::{header_of, kept, lost, open};
use crate::space::form::Content;
use crate::space::ranges::Range;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Begins to judge a range again: at once what passed the order stage in this batch, and of the
/// rest as much as fits into this transaction.
pub(crate) fn begin(turn: &mut Turn<'_>, range: Range) -> Result<(), StoreError> {
    let topic = turn.resolve(&range.topic)?;
    judge_arrived(turn, &topic, &range);
    turn.state.spaces.rejudged.add(range);
    step(turn)
}

/// Continues with the first range that is left.
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

/// Judges stored operations of a range, and returns the seq at which to continue.
fn judge_stored(turn: &mut Turn<'_>, range: &Range) -> Result<u32, StoreError> {
    let topic = turn.resolve(&range.topic)?;
    let [_, content] = turn.state.spaces.names();
    let label = topic.own_log(&range.author, Some(content)).label;
    let Some(log) = turn.log(&topic, &label)?.cloned() else {
        return Ok(range.end);
    };
    // Operations that have not passed the order stage are judged when they do.
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
        // The verdict may have changed again before this step.
        Content::Stands(_) => None,
        Content::Gone if !is_shown => kept(turn, (log, header.seq()))?,
        Content::Gone => None,
        _ if !stands && is_shown => Some(Ready::Changed(Change::Withdrawn)),
        _ => None,
    };
    if let Some(ready) = ready {
        show(turn, topic, header, operation.arrival, ready);
    }
    Ok(())
}

/// Returns what the feed shows of content that passed in this batch.
fn restated(content: Content, before: Option<Ready>) -> Option<Ready> {
    match content {
        Content::Stands(data) => Some(Ready::Opened(data)),
        Content::Gone => Some(before.unwrap_or_else(lost)),
        _ => None,
    }
}

/// Judges what passed in this batch, which no reader has seen.
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

/// Gives an operation that passed before another offset in the feed.
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

/// Finds a stored operation among those that passed in this batch, which no reader has seen.
fn passed_now<'t>(turn: &'t mut Turn<'_>, operation: &SealedOperation) -> Option<&'t mut Ordered> {
    let mut passed = turn.batch.ordered.iter_mut();
    passed.find(|ordered| match &ordered.location {
        Location::Stored(stored) => stored.arrival == operation.arrival,
        Location::Arrived(_) => false,
    })
}

/// Returns `true` if the feed shows an operation after this batch.
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
