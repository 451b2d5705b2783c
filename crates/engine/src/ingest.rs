//! Stage 1: what may enter a log.

use bytes::Bytes;
use p2panda_core::log::{Fork, Head, LogError, check_append};
use p2panda_core::{
    ExtensionsError, Hash, Header, LogId, NodeExtensions, Operation, Topic, VerifyingKey,
};
use p2panda_store::{Log, LogKey, Reject, RejectReason, StoreError, Tx};

use crate::answer::{EngineEvent, Outcome};
use crate::batch::{Arrived, Batch, BodyDrop, Prune};
use crate::command::{Command, Incoming, Source};
use crate::early::{Ending, Held};
use crate::shares::Origin;
use crate::state::State;
use crate::{missing, publish, sessions};

pub(crate) fn step(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    commands: impl Iterator<Item = Command>,
) -> Result<(), StoreError> {
    publish::release_due(state, tx, batch)?;
    for command in commands {
        take(state, tx, batch, command)?;
    }
    for (topic, peer) in state.early.take_dropped() {
        let dropped = EngineEvent::EarlyDropped { topic, peer };
        batch.events.push(dropped);
    }
    Ok(())
}

fn take(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    command: Command,
) -> Result<(), StoreError> {
    match command {
        Command::Ingest {
            topic,
            source,
            operations,
            reply,
        } => {
            let mut outcomes = Vec::with_capacity(operations.len());
            for incoming in operations {
                outcomes.push(ingest(state, tx, batch, topic, source, incoming)?);
            }
            if let Some(reply) = reply {
                batch.answers.push(Box::new(move || reply(outcomes)));
            }
        }
        Command::Publish {
            topic,
            body,
            prune,
            reply,
        } => {
            publish::publish(
                state,
                tx,
                batch,
                publish::Draft {
                    topic,
                    body,
                    prune,
                    reply,
                },
            )?;
        }
        Command::Ack {
            consumer,
            topic,
            offsets,
            explicit: _,
            reply,
        } => {
            let topic = state.topic(tx, &topic)?.key;
            let consumer = tx.consumer(&consumer)?;
            tx.ack(consumer, topic, &offsets)?;
            if let Some(reply) = reply {
                batch.answers.push(Box::new(move || reply(())));
            }
        }
        Command::PlaceConsumer {
            consumer,
            topic,
            start,
            reply,
        } => {
            let topic = state.topic(tx, &topic)?.key;
            let consumer = tx.consumer(&consumer)?;
            let prefix = tx.place_consumer(consumer, topic, start)?;
            batch.answers.push(Box::new(move || reply(prefix)));
        }
        Command::Session {
            topic,
            session,
            phase,
        } => {
            sessions::phase(state, tx, batch, topic, session, phase)?;
        }
        Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        } => {
            sessions::peer_has(state, tx, batch, topic, session, peer, own_seq)?;
        }
        Command::ImportEnded { topic: _, import } => state.early.end(Ending::Import(import)),
        Command::DropBody {
            topic,
            author,
            seq,
            reply,
        } => batch.drops.push(BodyDrop {
            topic,
            author,
            seq,
            reply,
        }),
        Command::PutAddress { node, record } => tx.put_address(&node, &record)?,
        Command::RemoveAddress { node } => tx.remove_address(&node)?,
        // Not part of a transaction, see `Engine`.
        Command::Restored { .. } | Command::Checkpoint { .. } => {}
    }
    Ok(())
}

/// One operation from elsewhere.
fn ingest(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    source: Source,
    incoming: Incoming,
) -> Result<Outcome, StoreError> {
    let operation = match incoming {
        Incoming::Valid(operation) => operation,
        Incoming::Invalid { id, header, reason } => {
            return reject(state, tx, batch, topic, source, (id, &header), reason);
        }
    };
    let log_id = state.topic(tx, &topic)?.log_id;
    let extensions = match check_extensions(&operation.header, log_id) {
        Ok(extensions) => extensions,
        Err(reason) => {
            let header = named(&operation.header);
            return reject(state, tx, batch, topic, source, header, reason);
        }
    };
    let (author, seq) = (operation.header.author(), operation.header.seq());
    let own = author == state.author;
    let height = match own {
        true => sessions::own_height(state, tx, &topic)?,
        false => None,
    };
    let held = Held {
        operation,
        extensions,
        source,
    };
    let outcome = enter(state, tx, batch, topic, held)?;
    if let Outcome::Stored { .. } = outcome {
        enter_early(state, tx, batch, topic, author)?;
    }
    if own {
        sessions::own_operation(state, tx, batch, topic, source, seq, height)?;
    }
    Ok(outcome)
}

fn check_extensions(header: &Header, log_id: LogId) -> Result<NodeExtensions, RejectReason> {
    let extensions = header.node_extensions().map_err(|error| match error {
        ExtensionsError::UnknownExtensions { .. } => RejectReason::UnknownExtensions,
        ExtensionsError::MissingExtensions => RejectReason::MissingExtensions,
        _ => RejectReason::InvalidExtensions,
    })?;
    if extensions.log_id == log_id {
        Ok(extensions)
    } else {
        Err(RejectReason::WrongTopic)
    }
}

/// Tries to put an operation into its log.
fn enter(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    held: Held,
) -> Result<Outcome, StoreError> {
    let topic_key = state.topic(tx, &topic)?.key;
    let header = &held.operation.header;
    let log = state.logs.get(tx, topic_key, &header.author())?.cloned();
    let head = log.as_ref().map(|log| log.head);
    if let Some(log) = &log
        && header.seq() <= log.head.seq
    {
        return occupied(state, tx, batch, topic, log, held);
    }
    let next = head.map_or(0, |head| head.seq.saturating_add(1));
    let prunes = missing::prunes(&held.operation, &held.extensions);
    // One that would prune waits for its body where it does not follow what is stored.
    let withheld = held.extensions.prune && !prunes;
    let follows = || !withheld || check_append(head, header, false).is_ok();
    if (header.seq() > next && !prunes) || !follows() {
        let kept = state.early.keep(topic, held);
        return Ok(if kept {
            Outcome::Early
        } else {
            Outcome::Dropped
        });
    }
    match check_append(head, header, prunes) {
        Ok(()) => {
            let bytes = held.bytes();
            let Held {
                operation,
                extensions,
                source,
            } = held;
            let origin = source.into();
            let arrival = append(state, tx, batch, topic, origin, operation, extensions)?;
            brought(state, tx, batch, topic, source, bytes)?;
            Ok(Outcome::Stored {
                arrival,
                new_log: head.is_none(),
            })
        }
        Err(error) => {
            if let (LogError::BacklinkMismatch, Some(log)) = (error, &log) {
                let first = stored_header(tx, batch, log.key, log.head.seq)?;
                report_fork(state, tx, batch, topic, first, header)?;
            }
            let reason = match error {
                LogError::BacklinkMismatch => RejectReason::BacklinkMismatch,
                _ => RejectReason::SeqNumNonIncremental,
            };
            reject(state, tx, batch, topic, held.source, named(header), reason)
        }
    }
}

/// A session brought bytes that are stored: it makes progress.
fn brought(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &Batch,
    topic: Topic,
    source: Source,
    bytes: usize,
) -> Result<(), StoreError> {
    if let Source::Session { id, .. } = source {
        let times = state.limits.times(batch.now);
        let waiting = &mut state.topic(tx, &topic)?.waiting;
        waiting.stored(id, bytes as u64, times);
    }
    Ok(())
}

/// Puts in what was waiting for the operation that came last.
pub(crate) fn enter_early(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    author: VerifyingKey,
) -> Result<(), StoreError> {
    loop {
        let topic_key = state.topic(tx, &topic)?.key;
        let Some(log) = state.logs.get(tx, topic_key, &author)? else {
            return Ok(());
        };
        let Some(next) = log.head.seq.checked_add(1) else {
            return Ok(());
        };
        let Some(held) = state.early.take(topic, author, next) else {
            return Ok(());
        };
        enter(state, tx, batch, topic, held)?;
    }
}

/// An operation at a place of the log that is taken: the same, its body, or a fork.
fn occupied(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    log: &Log,
    held: Held,
) -> Result<Outcome, StoreError> {
    let Held {
        operation,
        extensions,
        source,
    } = held;
    let header = operation.header.clone();
    if let Some((index, arrived)) = batch.arrived_at(log.key, header.seq())
        && arrived.header == header
    {
        if let (Some(body), None) = (operation.body, &arrived.body) {
            missing::fill_arrived(batch, index, header.author(), body, &extensions);
            return Ok(Outcome::BodyFilled);
        }
        return Ok(Outcome::Duplicate);
    }
    let Some(first) = stored_header(tx, batch, log.key, header.seq())? else {
        // A damaged row is not known to differ.
        let damaged = tx.operation(log.key, header.seq())?.is_some();
        return Ok(if damaged {
            Outcome::Duplicate
        } else {
            Outcome::Pruned
        });
    };
    if first == header {
        let bytes = operation.body.as_ref().map_or(0, Bytes::len);
        let outcome = missing::fill_stored(state, tx, batch, topic, log, operation, &extensions)?;
        if outcome == Outcome::BodyFilled {
            brought(state, tx, batch, topic, source, bytes)?;
        }
        return Ok(outcome);
    }
    report_fork(state, tx, batch, topic, Some(first), &header)?;
    reject(
        state,
        tx,
        batch,
        topic,
        source,
        named(&header),
        RejectReason::Fork,
    )
}

/// Appends an operation to its log; the caller made sure that it may be.
pub(crate) fn append(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    origin: Origin,
    operation: Operation,
    extensions: NodeExtensions,
) -> Result<u64, StoreError> {
    let prunes = missing::prunes(&operation, &extensions);
    let Operation { header, body } = operation;
    let (author, head) = (header.author(), Head::of(&header));
    let topic_key = state.topic(tx, &topic)?.key;
    if state.logs.get(tx, topic_key, &author)?.is_none() {
        state.logs.create(tx, topic_key, &author, head)?;
    }
    let log = state.logs.get_mut(tx, topic_key, &author)?;
    let log = log.expect("it was created if it was missing");
    let bytes_before = log.bytes;
    log.bytes += header.as_bytes().len() as u64 + u64::from(header.payload_size());
    log.head = head;
    if prunes && head.seq > log.first_seq {
        let prune = Prune {
            topic,
            topic_key,
            author,
            seq: head.seq,
            bytes_before,
        };
        batch.prune(log.key, prune);
    }
    let arrival = tx.next_arrival();
    batch
        .places
        .insert((log.key, head.seq), batch.arrived.len());
    batch.arrived.push(Arrived {
        arrival,
        topic,
        topic_key,
        origin,
        log_id: extensions.log_id,
        log: log.key,
        header,
        body,
        bytes_before,
        dependencies: extensions.deps,
        offset: None,
        missing: Vec::new(),
        pruned: false,
    });
    Ok(arrival)
}

/// The header that a log has at a place, if it can be read.
fn stored_header(
    tx: &Tx<'_>,
    batch: &mut Batch,
    log: LogKey,
    seq: u32,
) -> Result<Option<Header>, StoreError> {
    if let Some((_, arrived)) = batch.arrived_at(log, seq) {
        return Ok(Some(arrived.header.clone()));
    }
    let stored = tx.operation(log, seq)?;
    Ok(stored.and_then(|stored| Header::decode_unverified(stored.header).ok()))
}

/// Keeps evidence that an author contradicts itself. If we are the author, the log is closed.
fn report_fork(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    first: Option<Header>,
    second: &Header,
) -> Result<(), StoreError> {
    let Some(first) = first else { return Ok(()) };
    let topic_key = state.topic(tx, &topic)?.key;
    let author = second.author();
    let own = author == state.author;
    let Some(log) = state.logs.get_mut(tx, topic_key, &author)? else {
        return Ok(());
    };
    log.stopped |= own;
    let headers = (&first.as_bytes()[..], &second.as_bytes()[..]);
    let at = batch.now.wall;
    if tx.add_fork(topic_key, log.key, second.seq(), headers, at)? {
        let fork = Fork::new(first, second.clone());
        batch.events.push(match own {
            true => EngineEvent::OwnFork { topic, fork },
            false => EngineEvent::Forked { topic, fork },
        });
    }
    Ok(())
}

/// A header with its operation id, for the row.
fn named(header: &Header) -> (Hash, &[u8]) {
    (header.id(), header.as_bytes())
}

fn reject(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: Topic,
    source: Source,
    (id, header): (Hash, &[u8]),
    reason: RejectReason,
) -> Result<Outcome, StoreError> {
    let topic_key = state.topic(tx, &topic)?.key;
    let peer = source.peer();
    if tx.reject(
        topic_key,
        &Reject {
            id,
            header,
            reason,
            peer,
            at: batch.now.wall,
        },
    )? {
        batch.events.push(EngineEvent::Rejected {
            topic,
            id,
            reason,
            peer,
        });
    }
    Ok(Outcome::Rejected(reason))
}
