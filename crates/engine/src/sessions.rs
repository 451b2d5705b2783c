//! What the engine must know of sync sessions: which of them may still bring something.

use p2panda_core::{Topic, VerifyingKey};
use p2panda_store::{StoreError, Tx};

use crate::batch::Batch;
use crate::command::{Phase, Source};
use crate::engine::EngineEvent;
use crate::publish;
use crate::state::State;

pub(crate) fn phase(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    session: u64,
    phase: Phase,
) -> Result<(), StoreError> {
    let wait_us = state.limits.causal_wait_us;
    let deadline = batch.now.elapsed_us.saturating_add(wait_us);
    let topic_state = state.topic(tx, &topic)?;
    match phase {
        Phase::Started => topic_state.waiting.catch_up_started(session),
        Phase::CaughtUp => topic_state.waiting.catch_up_ended(session, deadline),
        Phase::Ended => {
            topic_state.waiting.catch_up_ended(session, deadline);
            let ended =
                |source: &Source| matches!(source, Source::Session { id, .. } if *id == session);
            topic_state.early.end(ended);
        }
    }
    if phase != Phase::Started {
        let height = own_height(state, tx, &topic)?;
        if state.topic(tx, &topic)?.own.settle(session, height) {
            publish::release(state, tx, batch, &topic)?;
        }
    }
    Ok(())
}

pub(crate) fn peer_has(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    session: u64,
    peer: VerifyingKey,
    own_seq: u32,
) -> Result<(), StoreError> {
    let until_us = batch
        .now
        .elapsed_us
        .saturating_add(state.limits.own_log_wait_us);
    let height = own_height(state, tx, &topic)?;
    let own = &mut state.topic(tx, &topic)?.own;
    if own.claimed(session, peer, own_seq, height, until_us) {
        batch
            .events
            .push(EngineEvent::PublishesHeld { topic, peer });
    }
    Ok(())
}

pub(crate) fn own_height(
    state: &mut State,
    tx: &mut Tx<'_>,
    topic: &Topic,
) -> Result<Option<u32>, StoreError> {
    let topic_key = state.topic(tx, topic)?.key;
    let log = state.logs.get(tx, topic_key, &state.author)?;
    Ok(log.map(|log| log.head.seq))
}
