//! Bodies that come after their headers, and bodies that are dropped on purpose
//! (`docs/protocol/streams.md 4.6`).

use bytes::Bytes;
use p2panda_core::{Header, NodeExtensions, Operation};
use p2panda_store::{LateBody, Log, LogKey, Ready, StoreError, Tx};

use crate::answer::Outcome;
use crate::batch::{Arrived, Batch, Location, Ordered, Prune, Stored};
use crate::idle;
use crate::space::waits::Awaited;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Returns `true` if the header names a body that is not there.
pub(crate) fn lacks_body(header: &Header, body: Option<&Bytes>) -> bool {
    body.is_none() && header.payload_size() > 0
}

/// Returns `true` if a prune flag takes effect: a withheld snapshot must not delete what it
/// replaces.
pub(crate) fn prunes(operation: &Operation, extensions: &NodeExtensions) -> bool {
    extensions.prune && !lacks_body(&operation.header, operation.body.as_ref())
}

/// Adds the body to an operation of this batch.
pub(crate) fn fill_arrived(
    batch: &mut Batch,
    index: usize,
    body: Bytes,
    extensions: &NodeExtensions,
) {
    let Some(arrived) = batch.arrived.get_mut(index) else {
        return;
    };
    arrived.body = Some(body);
    let (log, seq) = (arrived.log, arrived.header.seq());
    if extensions.prune && seq > 0 {
        let prune = Prune {
            topic: arrived.topic,
            label: arrived.label,
            seq,
            bytes_before: arrived.bytes_before,
        };
        batch.prune(log, prune);
    }
}

/// Adds the body to a stored operation that came without.
pub(crate) fn fill_stored(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    log: &Log,
    operation: Operation,
    extensions: NodeExtensions,
) -> Result<Outcome, StoreError> {
    let Operation { header, body } = operation;
    let Some(body) = body else {
        return Ok(Outcome::Duplicate);
    };
    let stored = turn.tx.operation(log.key, header.seq())?;
    let Some(stored) = stored.filter(|stored| !stored.has_body) else {
        return Ok(Outcome::Duplicate);
    };
    let seq = header.seq();
    if turn.tx.is_dropped(log.key, seq)? {
        return Ok(Outcome::Duplicate);
    }
    let arrival = turn.tx.next_arrival();
    turn.tx.fill_body(&LateBody {
        topic: topic.key,
        log: log.key,
        seq,
        arrival: stored.arrival,
        new_arrival: arrival,
        body: &body,
    })?;
    let change = turn.batch.change(topic.topic);
    change.rewritten = true;
    change.last_arrival = Some(arrival);
    if extensions.prune && seq > log.first_seq {
        let prune = Prune {
            topic: *topic,
            label: header.label(),
            seq,
            bytes_before: stored.bytes_before,
        };
        turn.batch.prune(log.key, prune);
    }
    if turn.state.spaces.waits(&topic.topic, &header.label()) == Some(Awaited::Body) {
        turn.topic(topic).waiting.recheck.push(header.label());
    }
    let is_outside = turn.state.spaces.is_outside(&topic.topic, extensions.name);
    // One that still waits for its order gets its offset when it has waited.
    if !is_outside && log.ordered_seq.is_some_and(|ordered| seq <= ordered) {
        let stored = Stored {
            arrival,
            extensions,
        };
        turn.batch.late.push(Ordered {
            topic: topic.topic,
            location: Location::Stored(Box::new(stored)),
            ready: Some(Ready::Body),
            missing: Vec::new(),
        });
    }
    Ok(Outcome::BodyFilled)
}

/// Notes which operations of the batch were stored without their body.
pub(crate) fn note(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let lacking =
        |arrived: &&Arrived| !arrived.pruned && lacks_body(&arrived.header, arrived.body.as_ref());
    for arrived in turn.batch.arrived.iter().filter(lacking) {
        let (log, seq) = (arrived.log, arrived.header.seq());
        let (topic, at) = (arrived.topic.key, turn.now.wall);
        turn.tx.want_body(topic, log, seq, at)?;
    }
    Ok(())
}

/// Drops bodies, of operations of this batch too: they are written by now.
pub(crate) fn drop_bodies(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    for drop in std::mem::take(&mut turn.batch.drops) {
        let topic = &drop.topic;
        let log = turn.log(topic, &drop.label)?.map(|log| log.key);
        let dropped = match log {
            Some(log) if names_body(&turn.tx, log, drop.seq)? => {
                turn.tx.drop_body(topic.key, log, drop.seq)?
            }
            _ => false,
        };
        if dropped {
            turn.batch.change(topic.topic).rewritten = true;
            idle::deleted(turn);
        }
        if let Some(reply) = drop.reply {
            turn.answer(reply, dropped);
        }
    }
    Ok(())
}

fn names_body(tx: &Tx<'_>, log: LogKey, seq: u32) -> Result<bool, StoreError> {
    let stored = tx.operation(log, seq)?;
    let header = stored.and_then(|stored| Header::decode_unverified(stored.header).ok());
    Ok(header.is_some_and(|header| header.payload_size() > 0))
}
