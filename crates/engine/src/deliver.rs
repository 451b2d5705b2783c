//! Stage 4: the feed. What has passed all other stages gets the next offset.

use p2panda_store::{StoreError, Tx};

use crate::batch::{Batch, Ordered, Place};
use crate::state::State;

pub(crate) fn step(
    _state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let filled = std::mem::take(&mut batch.filled);
    let ordered = std::mem::take(&mut batch.ordered);
    for operation in filled.into_iter().chain(ordered) {
        deliver(tx, batch, operation)?;
    }
    Ok(())
}

fn deliver(tx: &mut Tx<'_>, batch: &mut Batch, operation: Ordered) -> Result<(), StoreError> {
    let offset = operation.has_body.then(|| tx.next_offset());
    match operation.place {
        Place::Stored(arrival) => {
            tx.add_missing(arrival, &operation.missing)?;
            if let Some(offset) = offset {
                tx.set_offset(arrival, offset)?;
                batch.change(operation.topic).rewritten = true;
            }
        }
        Place::Arrived(index) => {
            let arrived = batch.arrived.get_mut(index);
            let arrived = arrived.expect("nothing is taken out of it");
            tx.add_missing(arrived.arrival, &operation.missing)?;
            arrived.offset = offset;
            arrived.missing = operation.missing;
        }
    }
    if offset.is_some() {
        batch.change(operation.topic).last_offset = offset;
    }
    Ok(())
}
