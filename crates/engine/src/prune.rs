//! Stage 2: what a prune flag allows to delete, once the operation that carries it is in. The new
//! start of the log holds at once; what is more than one slice is deleted later, step by step.

use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::idle;
use crate::turn::Turn;

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    if turn.batch.prunes.is_empty() {
        return Ok(());
    }
    let mut slice = turn.state.limits.prune_slice;
    for prune in turn.batch.prunes.values() {
        let logs = &mut turn.state.logs;
        let log = logs.get_mut(&turn.tx, prune.topic.key, &prune.label)?;
        let log = log.expect("the operation with the flag is in it");
        let (topic, now) = (prune.topic.key, turn.now.wall);
        let losers = turn.tx.note_pruned(topic, &prune.label, prune.seq, now)?;
        let told = losers.into_iter();
        let told = told.map(|consumer| EngineEvent::PrunedUnsettled { consumer });
        turn.batch.events.extend(told);
        turn.tx.prune(log.key, prune.seq, &mut slice)?;
        log.first_seq = prune.seq;
        log.pruned_bytes = prune.bytes_before;
        // What is gone is not waited for.
        log.ordered_seq = log.ordered_seq.max(prune.seq.checked_sub(1));
    }
    idle::pruned(turn);
    let batch = &mut turn.batch;
    for arrived in &mut batch.arrived {
        let prune = batch.prunes.get(&arrived.log);
        arrived.pruned = prune.is_some_and(|prune| arrived.header.seq() < prune.seq);
    }
    let topics = batch.prunes.values().map(|prune| prune.topic.topic);
    for topic in topics.collect::<Vec<_>>() {
        batch.change(topic).rewritten = true;
    }
    Ok(())
}
