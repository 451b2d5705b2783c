//! Stage 5: operations and logs are written, answers prepared.

use p2panda_store::{NewOperation, StoreError, Tx};

use crate::batch::{Batch, Unanswered};
use crate::missing;
use crate::state::State;

pub(crate) fn step(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    for arrived in batch.arrived.iter().filter(|arrived| !arrived.pruned) {
        tx.add_operation(&NewOperation {
            arrival: arrived.arrival,
            topic: arrived.topic_key,
            log: arrived.log,
            seq: arrived.header.seq(),
            offset: arrived.offset,
            bytes_before: arrived.bytes_before,
            header: arrived.header.as_bytes(),
            body: arrived.body.as_deref(),
        })?;
    }
    state.logs.write(tx)?;
    missing::note(tx, batch)?;
    missing::drop_bodies(state, tx, batch)?;
    announce(batch);
    answer(batch);
    Ok(())
}

fn announce(batch: &mut Batch) {
    let arrivals: Vec<_> = batch
        .arrived
        .iter()
        .map(|arrived| (arrived.topic, arrived.arrival))
        .collect();
    for (topic, arrival) in arrivals {
        let change = batch.change(topic);
        change.last_arrival = change.last_arrival.max(Some(arrival));
    }
}

fn answer(batch: &mut Batch) {
    for Unanswered {
        index,
        timestamp,
        reply,
    } in std::mem::take(&mut batch.published)
    {
        if let Some(arrived) = batch.arrived.get(index) {
            let published = arrived.published(timestamp);
            batch.answers.push(Box::new(move || reply(Ok(published))));
        }
    }
}
