//! Stage 6: operations and logs are written, answers prepared.

use p2panda_store::{KeyedPublish, NewOperation, StoreError};

use crate::batch::{Batch, Unanswered};
use crate::missing;
use crate::quota;
use crate::turn::Turn;

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    for arrived in turn.batch.arrived.iter().filter(|arrived| !arrived.pruned) {
        turn.tx.add_operation(&NewOperation {
            arrival: arrived.arrival,
            topic: arrived.topic.key,
            log: arrived.log,
            seq: arrived.header.seq(),
            offset: arrived.offset,
            ready: &arrived.ready,
            bytes_before: arrived.bytes_before,
            header: arrived.header.as_bytes(),
            body: arrived.body.as_deref(),
        })?;
    }
    turn.state.logs.write(&mut turn.tx)?;
    quota::step(turn)?;
    missing::note(turn)?;
    missing::drop_bodies(turn)?;
    remember_keys(turn)?;
    announce(&mut turn.batch);
    answer(&mut turn.batch);
    Ok(())
}

/// Idempotency keys of the batch, for anyone who publishes with the same one later.
fn remember_keys(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let since = turn.keys_since();
    for ((log, key), keyed) in std::mem::take(&mut turn.batch.keyed) {
        if let Some(published) = turn.batch.published(&keyed.made) {
            let publish = KeyedPublish {
                content: keyed.content,
                id: published.id,
                seq: published.seq,
                at: published.timestamp,
                arrival: published.arrival,
                offset: published.offset,
            };
            turn.tx.add_keyed_publish(log, &key, &publish, since)?;
        }
    }
    Ok(())
}

fn announce(batch: &mut Batch) {
    let arrivals: Vec<_> = batch
        .arrived
        .iter()
        .map(|arrived| (arrived.topic.topic, arrived.arrival))
        .collect();
    for (topic, arrival) in arrivals {
        let change = batch.change(topic);
        change.last_arrival = change.last_arrival.max(Some(arrival));
    }
}

fn answer(batch: &mut Batch) {
    for unanswered in std::mem::take(&mut batch.published) {
        match unanswered {
            Unanswered::One(made, reply) => {
                if let Some(published) = batch.published(&made) {
                    batch.answers.push(Box::new(move || reply(Ok(published))));
                }
            }
            Unanswered::All(made, reply) => {
                let published = made.into_iter().filter_map(|made| batch.published(&made));
                let published = published.collect();
                batch.answers.push(Box::new(move || reply(Ok(published))));
            }
        }
    }
}
