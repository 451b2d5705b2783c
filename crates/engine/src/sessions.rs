//! State of sync sessions: which of them may still bring operations.

use p2panda_core::{Phase, VerifyingKey};
use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::command::Source;
use crate::early::Ending;
use crate::publish;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

pub(crate) fn phase(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    session: u64,
    phase: Phase,
) -> Result<(), StoreError> {
    let times = turn.times();
    let waiting = &mut turn.topic(topic).waiting;
    match phase {
        Phase::CatchUp => waiting.catch_up_started(session, times),
        Phase::Live => waiting.catch_up_ended(session, times),
        Phase::Ended => {
            waiting.catch_up_ended(session, times);
            turn.state.early.end(Ending::Session(session));
        }
    }
    if phase != Phase::CatchUp {
        turn.topic(topic).own.settle(session);
        publish::go_on(turn, topic)?;
    }
    Ok(())
}

pub(crate) fn peer_has(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    session: u64,
    peer: VerifyingKey,
    own_seq: u32,
) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    let author = turn.state.author;
    let height = turn.height(topic, &author)?;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    let own = &mut topics.get_mut(topic).own;
    let held = own.would_hold(patience, now_us);
    own.claimed((session, author), own_seq, height, now_us);
    if !held && own.would_hold(patience, now_us) {
        let topic = topic.topic;
        turn.batch
            .events
            .push(EngineEvent::PublishesHeld { topic, peer });
    }
    // What waits already waits for this peer, too.
    publish::go_on(turn, topic)
}

/// A session brought an operation of our own log, which we had up to `height`.
pub(crate) fn own_operation(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    (label, seq): (VerifyingKey, u32),
    height: Option<u32>,
) -> Result<(), StoreError> {
    let Source::Session { id, peer } = source else {
        return Ok(());
    };
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    let topic_state = topics.get_mut(topic);
    let own = &mut topic_state.own;
    let held = own.would_hold(patience, now_us);
    if own.is_claimed_by(id) || topic_state.waiting.is_in_catch_up(id) {
        own.shown((id, label), seq, height, patience, now_us);
    }
    if !held && own.would_hold(patience, now_us) {
        let topic = topic.topic;
        turn.batch
            .events
            .push(EngineEvent::PublishesHeld { topic, peer });
    }
    if let Some(height) = turn.height(topic, &label)? {
        turn.topic(topic).own.reached(&label, height);
    }
    publish::go_on(turn, topic)
}
