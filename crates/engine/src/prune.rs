//! Stage 2: what a prune flag allows to delete, once the operation that carries it is in. The new
//! start of the log holds at once; what is more than one slice is deleted later, step by step.

use p2panda_store::{StoreError, Tx};

use crate::batch::Batch;
use crate::idle;
use crate::state::State;

pub(crate) fn step(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    if batch.prunes.is_empty() {
        return Ok(());
    }
    let mut slice = state.limits.prune_slice;
    for prune in batch.prunes.values() {
        let log = state.logs.get_mut(tx, prune.topic_key, &prune.author)?;
        let log = log.expect("the operation with the flag is in it");
        tx.prune(log.key, prune.seq, &mut slice)?;
        log.first_seq = prune.seq;
        log.pruned_bytes = prune.bytes_before;
        // What is gone is not waited for.
        log.ordered_seq = log.ordered_seq.max(prune.seq.checked_sub(1));
    }
    idle::pruned(state, tx, batch.now.elapsed_us);
    for arrived in &mut batch.arrived {
        let prune = batch.prunes.get(&arrived.log);
        arrived.pruned = prune.is_some_and(|prune| arrived.header.seq() < prune.seq);
    }
    let topics: Vec<_> = batch.prunes.values().map(|prune| prune.topic).collect();
    for topic in topics {
        batch.change(topic).rewritten = true;
    }
    Ok(())
}
