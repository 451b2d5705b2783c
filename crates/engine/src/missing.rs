//! Bodies that come after their headers, and bodies that are dropped on purpose
//! (`docs/protocol/streams.md#4.6`).

use bytes::Bytes;
use p2panda_core::{Header, NodeExtensions, Operation, Topic, VerifyingKey};
use p2panda_store::{LateBody, Log, LogKey, StoreError, Tx};

use crate::answer::Outcome;
use crate::batch::{Arrived, Batch, Ordered, Place, Prune};
use crate::idle;
use crate::state::State;

/// Whether the header names a body that is not there.
pub(crate) fn lacks_body(header: &Header, body: Option<&Bytes>) -> bool {
    body.is_none() && header.payload_size() > 0
}

/// Whether a prune flag takes effect: a withheld snapshot must not delete what it replaces.
pub(crate) fn prunes(operation: &Operation, extensions: &NodeExtensions) -> bool {
    extensions.prune && !lacks_body(&operation.header, operation.body.as_ref())
}

/// Adds the body to an operation of this batch.
pub(crate) fn fill_arrived(
    batch: &mut Batch,
    index: usize,
    author: VerifyingKey,
    body: Bytes,
    extensions: &NodeExtensions,
) {
    let Some(arrived) = batch.arrived.get_mut(index) else {
        return;
    };
    arrived.body = Some(body);
    let Arrived {
        topic,
        topic_key,
        log,
        bytes_before,
        ..
    } = *arrived;
    let seq = arrived.header.seq();
    if extensions.prune && seq > 0 {
        batch.prune(
            log,
            Prune {
                topic,
                topic_key,
                author,
                seq,
                bytes_before,
            },
        );
    }
}

/// Adds the body to a stored operation that came without.
pub(crate) fn fill_stored(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    log: &Log,
    operation: Operation,
    extensions: &NodeExtensions,
) -> Result<Outcome, StoreError> {
    let Operation { header, body } = operation;
    let Some(body) = body else {
        return Ok(Outcome::Duplicate);
    };
    let stored = tx.operation(log.key, header.seq())?;
    let Some(stored) = stored.filter(|stored| !stored.has_body) else {
        return Ok(Outcome::Duplicate);
    };
    let (topic_key, seq) = (state.topic(tx, &topic)?.key, header.seq());
    if tx.is_dropped(log.key, seq)? {
        return Ok(Outcome::Duplicate);
    }
    let arrival = tx.next_arrival();
    tx.fill_body(&LateBody {
        topic: topic_key,
        log: log.key,
        seq,
        arrival: stored.arrival,
        new_arrival: arrival,
        body: &body,
    })?;
    let change = batch.change(topic);
    change.rewritten = true;
    change.last_arrival = Some(arrival);
    // One that still waits for its order gets its offset when it has waited.
    if log.ordered_seq.is_some_and(|ordered| seq <= ordered) {
        batch.filled.push(Ordered {
            topic,
            place: Place::Stored(arrival),
            has_body: true,
            missing: Vec::new(),
        });
    }
    if extensions.prune && seq > log.first_seq {
        batch.prune(
            log.key,
            Prune {
                topic,
                topic_key,
                author: header.author(),
                seq,
                bytes_before: stored.bytes_before,
            },
        );
    }
    Ok(Outcome::BodyFilled)
}

/// Notes which operations of the batch were stored without their body.
pub(crate) fn note(tx: &mut Tx<'_>, batch: &Batch) -> Result<(), StoreError> {
    let lacking =
        |arrived: &&Arrived| !arrived.pruned && lacks_body(&arrived.header, arrived.body.as_ref());
    for arrived in batch.arrived.iter().filter(lacking) {
        let (log, seq) = (arrived.log, arrived.header.seq());
        tx.want_body(arrived.topic_key, log, seq, batch.now.wall)?;
    }
    Ok(())
}

/// Drops bodies, of operations of this batch too: they are written by now.
pub(crate) fn drop_bodies(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    for drop in std::mem::take(&mut batch.drops) {
        let topic_key = state.topic(tx, &drop.topic)?.key;
        let log = state
            .logs
            .get(tx, topic_key, &drop.author)?
            .map(|log| log.key);
        let dropped = match log {
            Some(log) if names_body(tx, log, drop.seq)? => {
                tx.drop_body(topic_key, log, drop.seq)?
            }
            _ => false,
        };
        if dropped {
            batch.change(drop.topic).rewritten = true;
            idle::deleted(state, batch.now.elapsed_us);
        }
        if let Some(reply) = drop.reply {
            batch.answers.push(Box::new(move || reply(dropped)));
        }
    }
    Ok(())
}

fn names_body(tx: &Tx<'_>, log: LogKey, seq: u32) -> Result<bool, StoreError> {
    let stored = tx.operation(log, seq)?;
    let header = stored.and_then(|stored| Header::decode_unverified(stored.header).ok());
    Ok(header.is_some_and(|header| header.payload_size() > 0))
}
