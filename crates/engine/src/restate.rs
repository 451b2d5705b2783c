//! An operation that was delivered stands differently now: it gets another place in the feed, with what
//! is to be shown of it from then on (`docs/protocol/streams.md#9.1`).

use p2panda_core::Header;
use p2panda_store::{Change, LogKey, Ready, Standing, StoreError};

use crate::batch::{Location, Ordered, Stored};
use crate::command::Restated;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Carries out the restatements that commands of this batch request. Their operations have passed
/// the order stage by now if they pass it in this batch.
pub(crate) fn take_asked(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    for asked in std::mem::take(&mut turn.batch.restated) {
        let log = turn.log(&asked.topic, &asked.label)?;
        let log = log.map(|log| log.key);
        let done = match log {
            Some(log) => restate(turn, &asked.topic, (log, asked.seq), asked.to)?,
            None => false,
        };
        if let Some(reply) = asked.reply {
            turn.answer(reply, done);
        }
    }
    Ok(())
}

/// Says how an operation stands that has passed the order stage. Whether that changes anything: what was
/// never shown is not withdrawn, and what is shown does not come again. To be called before the stage
/// that delivers.
pub(crate) fn restate(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    (log, seq): (LogKey, u32),
    to: Restated,
) -> Result<bool, StoreError> {
    if let Some((index, arrived)) = turn.batch.arrived_at(log, seq) {
        let body = arrived.body.as_ref().map(|_| Ready::Body);
        let is_it = |location: &Location| matches!(location, Location::Arrived(at) if *at == index);
        return Ok(restate_new(turn, is_it, body, to));
    }
    let Some(standing) = turn.tx.standing(log, seq)? else {
        return Ok(false);
    };
    let arrival = standing.arrival;
    let is_it = |location: &Location| match location {
        Location::Stored(stored) => stored.arrival == arrival,
        Location::Arrived(_) => false,
    };
    let body = standing.has_body.then_some(Ready::Body);
    if restate_new(turn, is_it, body, to) {
        return Ok(true);
    }
    let late = &mut turn.batch.late;
    let pending = late.iter().position(|late| is_it(&late.location));
    let pending = pending.map(|index| late.remove(index));
    let Some(ready) = standing_as(&standing, to) else {
        return Ok(pending.is_some());
    };
    let Some(location) = location(turn, (log, seq), arrival)? else {
        return Ok(false);
    };
    turn.batch.late.push(Ordered {
        topic: topic.topic,
        location,
        ready: Some(ready),
        missing: Vec::new(),
    });
    Ok(true)
}

/// The same of one that passes the order stage in this batch. Whether it does.
fn restate_new(
    turn: &mut Turn<'_>,
    is_it: impl Fn(&Location) -> bool,
    body: Option<Ready>,
    to: Restated,
) -> bool {
    let mut ordered = turn.batch.ordered.iter_mut();
    let Some(found) = ordered.find(|ordered| is_it(&ordered.location)) else {
        return false;
    };
    let before = found.ready.take();
    found.ready = match to {
        Restated::Withdrawn => None,
        Restated::Counts => before.or(body),
        Restated::Members => Some(Ready::Changed(Change::Members)),
    };
    true
}

/// The entry that is to come; `None`: it stands so, or cannot.
fn standing_as(standing: &Standing, to: Restated) -> Option<Ready> {
    let is_shown = standing.offset.is_some();
    match (to, standing.change) {
        (Restated::Members, _) => Some(Ready::Changed(Change::Members)),
        (Restated::Withdrawn, Some(Change::Withdrawn)) => None,
        (Restated::Withdrawn, _) => is_shown.then_some(Ready::Changed(Change::Withdrawn)),
        (Restated::Counts, None) if is_shown => None,
        (Restated::Counts, _) => match (&standing.opened, standing.has_body) {
            (Some(plaintext), _) => Some(Ready::Opened(plaintext.clone())),
            (None, true) => Some(Ready::Body),
            (None, false) => None,
        },
    }
}

/// Finds a stored operation, if it has passed the order stage and can be read.
fn location(
    turn: &mut Turn<'_>,
    (log, seq): (LogKey, u32),
    arrival: u64,
) -> Result<Option<Location>, StoreError> {
    let stored = turn.tx.operation(log, seq)?;
    let header = stored.and_then(|stored| Header::decode_unverified(stored.header).ok());
    let extensions = header.and_then(|header| header.node_extensions().ok());
    Ok(extensions.map(|extensions| {
        Location::Stored(Box::new(Stored {
            arrival,
            extensions,
        }))
    }))
}
