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
    let arrival = match operation.place {
        Place::Stored(arrival) => Some(arrival),
        Place::Arrived(index) => batch.arrived.get(index).map(|arrived| arrived.arrival),
    };
    if let Some(arrival) = arrival {
        tx.add_missing(arrival, &operation.missing)?;
    }
    if !operation.has_body {
        return Ok(());
    }
    let offset = tx.next_offset();
    match operation.place {
        Place::Stored(arrival) => tx.set_offset(arrival, offset)?,
        Place::Arrived(index) => {
            let arrived = batch.arrived.get_mut(index);
            arrived.expect("nothing is taken out of it").offset = Some(offset);
        }
    }
    batch.change(operation.topic).last_offset = Some(offset);
    Ok(())
}
