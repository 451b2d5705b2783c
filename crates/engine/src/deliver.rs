//! Stage 4: the feed. What has passed all other stages gets the next offset.

use p2panda_store::StoreError;

use crate::batch::{Location, Ordered};
use crate::turn::Turn;

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let filled = std::mem::take(&mut turn.batch.filled);
    let ordered = std::mem::take(&mut turn.batch.ordered);
    for operation in filled.into_iter().chain(ordered) {
        deliver(turn, operation)?;
    }
    Ok(())
}

fn deliver(turn: &mut Turn<'_>, operation: Ordered) -> Result<(), StoreError> {
    let offset = operation.has_body.then(|| turn.tx.next_offset());
    match operation.location {
        Location::Stored(arrival) => {
            turn.tx.add_missing(arrival, &operation.missing)?;
            if let Some(offset) = offset {
                turn.tx.set_offset(arrival, offset)?;
                turn.batch.change(operation.topic).rewritten = true;
            }
        }
        Location::Arrived(index) => {
            let arrived = turn.batch.arrived.get_mut(index);
            let arrived = arrived.expect("nothing is taken out of it");
            turn.tx.add_missing(arrived.arrival, &operation.missing)?;
            arrived.offset = offset;
            arrived.missing = operation.missing;
        }
    }
    if offset.is_some() {
        turn.batch.change(operation.topic).last_offset = offset;
    }
    Ok(())
}
