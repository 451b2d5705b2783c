//! Our own log when a copy of the directory has published to it as well: it is closed, and it is looked
//! for where the branches part (`docs/protocol/streams.md#16`).

use p2panda_core::{Header, VerifyingKey};
use p2panda_store::{Log, OwnFork, StoreError};

use crate::answer::{EngineEvent, PublishError};
use crate::command::Source;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// The factor by which each step goes further back than the one before.
const FURTHER: u32 = 4;

/// An operation of ours that contradicts our log came. Closes it and answers whether the peer has shown
/// that it holds our branch; `None` and nothing else if the operation is of a branch that was given up.
pub(crate) fn contradicted(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    other: &Header,
) -> Result<Option<bool>, StoreError> {
    let label = other.label();
    if turn.tx.is_given_up(topic.key, &other.id())? {
        return Ok(None);
    }
    let Some(log) = turn.log_mut(topic, &label)? else {
        return Ok(None);
    };
    log.stopped = true;
    let log = log.clone();
    let known = turn.tx.own_fork(log.key)?;
    let mut fork = known.unwrap_or(OwnFork {
        parted: None,
        told: Some(log.head.seq),
        held: false,
    });
    let ours = shows_ours(turn, topic, source, &log, other)?;
    fork.held |= ours;
    look_further(turn, &log, other, &mut fork)?;
    let apart = fork.parted.unwrap_or(other.seq());
    fork.held |= turn.topic(topic).own.held(&label) >= Some(apart);
    if Some(fork) != known {
        turn.tx.set_own_fork(log.key, &fork)?;
        if known.map(|known| (known.parted, known.told)) != Some((fork.parted, fork.told)) {
            let (topic, peer) = (topic.topic, source.peer());
            turn.batch.change(topic).heads_anew = true;
            let told = EngineEvent::OwnHeightTold { topic, peer };
            turn.batch.events.push(told);
        }
    }
    Ok(Some(ours))
}

/// A peer says that it has stored our log up to `seq`, and what it named there is ours.
pub(crate) fn held(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    label: VerifyingKey,
    seq: u32,
) -> Result<(), StoreError> {
    turn.topic(topic).own.hold(label, seq);
    let Some(log) = turn.log(topic, &label)?.filter(|log| log.stopped) else {
        return Ok(());
    };
    let key = log.key;
    let Some(mut fork) = turn.tx.own_fork(key)? else {
        return Ok(());
    };
    if !fork.held && fork.parted.is_some_and(|parted| parted <= seq) {
        fork.held = true;
        turn.tx.set_own_fork(key, &fork)?;
    }
    Ok(())
}

/// Finds the branching point, or else from where the other branch must be sent.
fn look_further(
    turn: &mut Turn<'_>,
    log: &Log,
    other: &Header,
    fork: &mut OwnFork,
) -> Result<(), StoreError> {
    if fork.parted.is_some() {
        return Ok(());
    }
    let seq = other.seq();
    if seq <= log.first_seq || follows(turn, log, other)? {
        fork.parted = Some(seq.max(log.first_seq));
        return Ok(());
    }
    // Only the oldest of what was asked for tells that it must be older still.
    if fork.told.is_some_and(|told| seq <= told.saturating_add(1)) {
        let back = fork
            .told
            .map_or(0, |told| log.head.seq.saturating_sub(told));
        let further = log
            .head
            .seq
            .checked_sub(back.max(1).saturating_mul(FURTHER));
        let below = seq.checked_sub(2);
        fork.told = further
            .zip(below)
            .map(|(further, below)| further.min(below));
    }
    Ok(())
}

/// Returns `true` if an operation of the other branch follows what we have before it.
fn follows(turn: &mut Turn<'_>, log: &Log, other: &Header) -> Result<bool, StoreError> {
    let Some(before) = other.seq().checked_sub(1) else {
        return Ok(true);
    };
    let ours = turn.stored_header(log.key, before)?;
    Ok(ours.is_some_and(|ours| other.backlink() == Some(ours.id())))
}

/// Returns `true` if the peer has shown the operation of ours first that this one contradicts: of
/// the two it holds that one.
fn shows_ours(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    log: &Log,
    other: &Header,
) -> Result<bool, StoreError> {
    let Source::Session { id, .. } = source else {
        return Ok(false);
    };
    let seq = other.seq();
    Ok(match turn.topic(topic).own.echoed_by(id, &other.label()) {
        Some(echoed) if echoed == seq => true,
        Some(echoed) if echoed.checked_add(1) == Some(seq) => !follows(turn, log, other)?,
        _ => false,
    })
}

/// Returns why nothing is published to a closed log of ours.
pub(crate) fn refusal(
    turn: &Turn<'_>,
    topic: &TopicRef,
    (label, log): (&VerifyingKey, &Log),
) -> Result<PublishError, StoreError> {
    let fork = turn.tx.own_fork(log.key)?;
    if fork.is_none() && is_pulled(turn, topic, label)? {
        return Ok(PublishError::PullingOwnLog);
    }
    Ok(PublishError::OwnFork {
        held: fork.is_some_and(|fork| fork.held),
    })
}

/// Returns `true` if a log of ours is closed: no wait for more of it admits a publish.
pub(crate) fn is_closed(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    label: &VerifyingKey,
) -> Result<bool, StoreError> {
    let stopped = turn.log(topic, label)?.is_some_and(|log| log.stopped);
    Ok(stopped && !is_pulled(turn, topic, label)?)
}

/// Returns `true` if our branch of a log was given up, and the other one is not here yet.
pub(crate) fn is_pulled(
    turn: &Turn<'_>,
    topic: &TopicRef,
    label: &VerifyingKey,
) -> Result<bool, StoreError> {
    Ok(turn.tx.pulled_until(topic.key, label)?.is_some())
}

/// An operation of our own was appended that a peer brought. Opens the log when it has come as far as it
/// was seen elsewhere.
pub(crate) fn came_back(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    label: VerifyingKey,
    id: &p2panda_core::Hash,
) -> Result<(), StoreError> {
    turn.tx.took_back(topic.key, id)?;
    let Some(until) = turn.tx.pulled_until(topic.key, &label)? else {
        return Ok(());
    };
    let Some(log) = turn.log_mut(topic, &label)? else {
        return Ok(());
    };
    log.stopped = true;
    let (key, head) = (log.key, log.head.seq);
    if head < until || turn.tx.own_fork(key)?.is_some() {
        return Ok(());
    }
    if let Some(log) = turn.log_mut(topic, &label)? {
        log.stopped = false;
    }
    turn.tx.pulled(topic.key, &label)?;
    turn.batch.events.push(EngineEvent::OwnLogPulled);
    Ok(())
}
