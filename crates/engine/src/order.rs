//! Stage 3: causal order. An operation passes when all it depends on has passed before, or
//! when waiting for that is over.

use std::collections::VecDeque;

use p2panda_core::{Dependency, Header, Topic, VerifyingKey};
use p2panda_store::{LogKey, StoreError, TopicKey, Tx};

use crate::answer::EngineEvent;
use crate::batch::{Batch, Ordered, Place};
use crate::shares::Origin;
use crate::state::{State, topic_of};
use crate::waiting::Times;

/// Logs to look at.
type Queue = VecDeque<(Topic, VerifyingKey)>;

pub(crate) fn step(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let mut queue = Queue::new();
    queue_due(state, batch, &mut queue);
    queue_pruned(state, tx, batch, &mut queue)?;
    drain(state, tx, batch, &mut queue)?;
    let times = state.limits.times(batch.now);
    for index in 0..batch.arrived.len() {
        let Some(arrived) = batch.arrived.get(index).filter(|arrived| !arrived.pruned) else {
            continue;
        };
        let (topic, topic_key, origin) = (arrived.topic, arrived.topic_key, arrived.origin);
        let (author, seq) = (arrived.header.author(), arrived.header.seq());
        let waiting = &mut topic_of(&mut state.topics, tx, &topic)?.waiting;
        if waiting.is_blocked(&author) {
            waiting.arrived(&author, seq, times);
        } else {
            advance(
                state,
                tx,
                batch,
                &mut queue,
                Log {
                    topic,
                    topic_key,
                    author,
                    origin,
                },
                seq,
            )?;
            drain(state, tx, batch, &mut queue)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Log {
    topic: Topic,
    topic_key: TopicKey,
    author: VerifyingKey,
    /// Who brought what came last of it.
    origin: Origin,
}

/// Logs whose time is over, or which wait since before a restart.
fn queue_due(state: &mut State, batch: &Batch, queue: &mut Queue) {
    let times = state.limits.times(batch.now);
    for (topic, topic_state) in &mut state.topics {
        let waiting = &mut topic_state.waiting;
        let mut due = std::mem::take(&mut waiting.recheck);
        due.extend(waiting.due(times));
        queue.extend(due.into_iter().map(|author| (*topic, author)));
    }
}

/// Pruned logs that waited for what is gone, and those that waited for them.
fn queue_pruned(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &Batch,
    queue: &mut Queue,
) -> Result<(), StoreError> {
    for prune in batch.prunes.values() {
        let waiting = &mut topic_of(&mut state.topics, tx, &prune.topic)?.waiting;
        if waiting.is_blocked(&prune.author) {
            queue.push_back((prune.topic, prune.author));
        }
        if let Some(last) = prune.seq.checked_sub(1) {
            let free = waiting.passed(&prune.author, last);
            queue.extend(free.into_iter().map(|author| (prune.topic, author)));
        }
    }
    Ok(())
}

fn drain(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    queue: &mut Queue,
) -> Result<(), StoreError> {
    while let Some((topic, author)) = queue.pop_front() {
        let topic_key = state.topic(tx, &topic)?.key;
        advance(
            state,
            tx,
            batch,
            queue,
            Log {
                topic,
                topic_key,
                author,
                origin: Origin::Node,
            },
            u32::MAX,
        )?;
    }
    Ok(())
}

/// Lets the operations of a log pass one by one up to `until`, as far as they are ready.
fn advance(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    queue: &mut Queue,
    log: Log,
    until: u32,
) -> Result<(), StoreError> {
    let times = state.limits.times(batch.now);
    loop {
        let Some(next) = next_of(state, tx, &log)?.filter(|next| next.seq <= until) else {
            let place = topic_of(&mut state.topics, tx, &log.topic)?
                .waiting
                .unblock(&log.author);
            state.places.give_back(place);
            return Ok(());
        };
        let Some(operation) = load(tx, batch, &next)? else {
            let waiting = &mut topic_of(&mut state.topics, tx, &log.topic)?.waiting;
            let place = waiting.quarantine(&log.author, next.seq, times);
            state.places.give_back(place);
            let Log { topic, author, .. } = log;
            batch.events.push(EngineEvent::LogUnreadable {
                topic,
                author,
                seq: next.seq,
            });
            return Ok(());
        };
        let missing = missing(state, tx, &log, operation.dependencies)?;
        if let Some(first) = missing.first()
            && waits(state, tx, queue, &log, next.seq, first, times)?
        {
            return Ok(());
        }
        pass(state, tx, &log, next.seq)?;
        let waiting = &mut topic_of(&mut state.topics, tx, &log.topic)?.waiting;
        let free = waiting.passed(&log.author, next.seq);
        queue.extend(free.into_iter().map(|author| (log.topic, author)));
        let Loaded {
            place, has_body, ..
        } = operation;
        batch.ordered.push(Ordered {
            topic: log.topic,
            place,
            has_body,
            missing,
        });
    }
}

/// Lets a log wait at `seq` for what it lacks, unless that has lasted long enough or there is no
/// room for it. Where somebody has more of the room, the newest log of that origin goes on instead.
fn waits(
    state: &mut State,
    tx: &mut Tx<'_>,
    queue: &mut Queue,
    log: &Log,
    seq: u32,
    lacks: &Dependency,
    times: Times,
) -> Result<bool, StoreError> {
    let waiting = &topic_of(&mut state.topics, tx, &log.topic)?.waiting;
    if waiting.is_due(&log.author, seq, times) {
        return Ok(false);
    }
    let mut place = None;
    if !waiting.has_place(&log.author) {
        let taken = state.places.take(log.origin, log.topic, log.author);
        let Some((taken, loses)) = taken else {
            return Ok(false);
        };
        place = Some(taken);
        if let Some((topic, author)) = loses {
            let waiting = &mut topic_of(&mut state.topics, tx, &topic)?.waiting;
            waiting.lose_place(&author);
            queue.push_back((topic, author));
        }
    }
    let waiting = &mut topic_of(&mut state.topics, tx, &log.topic)?.waiting;
    waiting.block(&log.author, seq, lacks, place, times);
    Ok(true)
}

/// The first operation of a log that has not passed.
struct Next {
    log: LogKey,
    seq: u32,
}

fn next_of(state: &mut State, tx: &Tx<'_>, log: &Log) -> Result<Option<Next>, StoreError> {
    let Some(row) = state.logs.get(tx, log.topic_key, &log.author)? else {
        return Ok(None);
    };
    let seq = match row.ordered_seq {
        Some(seq) => seq.checked_add(1),
        None => Some(row.first_seq),
    };
    let seq = seq.filter(|seq| *seq <= row.head.seq);
    Ok(seq.map(|seq| Next { log: row.key, seq }))
}

fn pass(state: &mut State, tx: &mut Tx<'_>, log: &Log, seq: u32) -> Result<(), StoreError> {
    if log.author != state.author {
        state.topic(tx, &log.topic)?.heard = true;
    }
    let order = tx.next_order();
    let row = state.logs.get_mut(tx, log.topic_key, &log.author)?;
    let row = row.expect("it has an operation that passes");
    row.ordered_seq = Some(seq);
    row.ordered_at = order;
    Ok(())
}

/// An operation with what the order depends on.
struct Loaded {
    place: Place,
    has_body: bool,
    dependencies: Vec<Dependency>,
}

/// `None`: it cannot be read.
fn load(tx: &Tx<'_>, batch: &mut Batch, next: &Next) -> Result<Option<Loaded>, StoreError> {
    if let Some((index, arrived)) = batch.arrived_at(next.log, next.seq) {
        return Ok(Some(Loaded {
            place: Place::Arrived(index),
            has_body: arrived.body.is_some(),
            dependencies: arrived.dependencies.clone(),
        }));
    }
    let Some(stored) = tx.operation(next.log, next.seq)? else {
        return Ok(None);
    };
    let header = Header::decode_unverified(stored.header).ok();
    let extensions = header.and_then(|header| header.node_extensions().ok());
    Ok(extensions.map(|extensions| Loaded {
        place: Place::Stored(stored.arrival),
        has_body: stored.has_body,
        dependencies: extensions.deps,
    }))
}

/// Those of the dependencies that have not passed. The author's own log is in order anyway.
fn missing(
    state: &mut State,
    tx: &Tx<'_>,
    log: &Log,
    mut dependencies: Vec<Dependency>,
) -> Result<Vec<Dependency>, StoreError> {
    let mut missing = Vec::new();
    dependencies.retain(|dependency| dependency.author != log.author);
    for dependency in dependencies {
        if !state.logs.has_met(tx, log.topic_key, &dependency)? {
            missing.push(dependency);
        }
    }
    Ok(missing)
}
