//! What the engine must know of sync sessions: which of them may still bring something.

use p2panda_core::{Topic, VerifyingKey};
use p2panda_store::{StoreError, Tx};

use crate::answer::EngineEvent;
use crate::batch::Batch;
use crate::command::{Phase, Source};
use crate::early::Ending;
use crate::publish;
use crate::state::{State, topic_of};

pub(crate) fn phase(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    session: u64,
    phase: Phase,
) -> Result<(), StoreError> {
    let times = state.limits.times(batch.now);
    let topic_state = state.topic(tx, &topic)?;
    match phase {
        Phase::Started => topic_state.waiting.catch_up_started(session, times),
        Phase::CaughtUp => topic_state.waiting.catch_up_ended(session, times),
        Phase::Ended => {
            topic_state.waiting.catch_up_ended(session, times);
            state.early.end(Ending::Session(session));
        }
    }
    if phase != Phase::Started {
        state.topic(tx, &topic)?.own.settle(session);
        publish::go_on(state, tx, batch, &topic)?;
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
    let now_us = batch.now.elapsed_us;
    let height = own_height(state, tx, &topic)?;
    let own = &mut topic_of(&mut state.topics, tx, &topic)?.own;
    let held = own.would_hold(&mut state.patience, now_us);
    own.claimed(session, own_seq, height, now_us);
    let begins = !held && own.would_hold(&mut state.patience, now_us);
    if begins {
        batch
            .events
            .push(EngineEvent::PublishesHeld { topic, peer });
    }
    // What waits already waits for this peer, too.
    publish::go_on(state, tx, batch, &topic)
}

/// A session brought an operation of our own log, which we had up to `height`.
pub(crate) fn own_operation(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    source: Source,
    seq: u32,
    height: Option<u32>,
) -> Result<(), StoreError> {
    let Source::Session { id, peer } = source else {
        return Ok(());
    };
    let now_us = batch.now.elapsed_us;
    let topic_state = topic_of(&mut state.topics, tx, &topic)?;
    let (own, patience) = (&mut topic_state.own, &mut state.patience);
    let held = own.would_hold(patience, now_us);
    if own.is_claimed_by(id) || topic_state.waiting.is_in_catch_up(id) {
        own.shown(id, seq, height, patience, now_us);
    }
    if !held && own.would_hold(patience, now_us) {
        batch
            .events
            .push(EngineEvent::PublishesHeld { topic, peer });
    }
    if let Some(height) = own_height(state, tx, &topic)? {
        state.topic(tx, &topic)?.own.reached(height);
    }
    publish::go_on(state, tx, batch, &topic)
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
