//! Stage 1: what may enter a log.

use bytes::Bytes;
use p2panda_core::log::{Fork, Head, LogError, check_append};
use p2panda_core::{ExtensionsError, Hash, Header, NodeExtensions, Operation, VerifyingKey};
use p2panda_store::{Log, NamedLog, Ready, RejectReason, StoreError};

use crate::answer::{EngineEvent, Outcome};
use crate::batch::{Arrived, Prune};
use crate::blocking;
use crate::branch;
use crate::command::{Incoming, Source};
use crate::early::Candidate;
use crate::missing;
use crate::quota;
use crate::shares::Origin;
use crate::space::form::Kind;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Checks what can be checked of a remote operation without its log. `Err`: it is refused.
pub(crate) fn check(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    incoming: Incoming,
) -> Result<Result<Candidate, Outcome>, StoreError> {
    let operation = match incoming {
        Incoming::Valid(operation) => operation,
        Incoming::Invalid {
            id,
            header,
            reason,
            genuine,
        } => {
            if let Some(genuine) = genuine {
                blocking::refused(turn, topic, &genuine.header, reason, genuine.bytes)?;
            }
            return turn.reject(topic, source, (id, &header), reason).map(Err);
        }
    };
    match check_extensions(&operation.header, topic) {
        Ok(mut extensions) => {
            // A control log is never pruned: the flag has no effect.
            let kind = turn.state.spaces.kind(&topic.topic, extensions.name);
            extensions.prune &= kind != Some(Kind::Control);
            Ok(Ok(Candidate {
                operation,
                extensions,
                source,
            }))
        }
        Err(reason) => {
            if reason != RejectReason::WrongTopic {
                let body = operation.body.as_ref().map_or(0, Bytes::len);
                let bytes = operation.header.as_bytes().len() + body;
                blocking::refused(turn, topic, &operation.header, reason, bytes as u64)?;
            }
            let header = named(&operation.header);
            turn.reject(topic, source, header, reason).map(Err)
        }
    }
}

/// Puts an operation into its log, if it may be, and what was waiting for it.
pub(crate) fn enter(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    candidate: Candidate,
) -> Result<Outcome, StoreError> {
    let label = candidate.label();
    let outcome = enter_one(turn, topic, candidate)?;
    if let Outcome::Stored { .. } = outcome {
        enter_early(turn, topic, label)?;
    }
    Ok(outcome)
}

fn check_extensions(header: &Header, topic: &TopicRef) -> Result<NodeExtensions, RejectReason> {
    let extensions = header.node_extensions().map_err(|error| match error {
        ExtensionsError::UnknownExtensions { .. } => RejectReason::UnknownExtensions,
        ExtensionsError::MissingExtensions => RejectReason::MissingExtensions,
        _ => RejectReason::InvalidExtensions,
    })?;
    if topic.has_log(&extensions) {
        Ok(extensions)
    } else {
        Err(RejectReason::WrongTopic)
    }
}

fn enter_one(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    candidate: Candidate,
) -> Result<Outcome, StoreError> {
    let label = candidate.label();
    let header = &candidate.operation.header;
    let log = turn.log(topic, &label)?.cloned();
    let head = log.as_ref().map(|log| log.head);
    if let Some(log) = &log
        && header.seq() <= log.head.seq
    {
        return occupied(turn, topic, log, candidate);
    }
    let next = head.map_or(0, |head| head.seq.saturating_add(1));
    let prunes = missing::prunes(&candidate.operation, &candidate.extensions);
    // One that would prune waits for its body where it does not follow what is stored.
    let withheld = candidate.extensions.prune && !prunes;
    let follows = || !withheld || check_append(head, header, false).is_ok();
    let is_early = header.seq() > next && !prunes;
    if is_early && !withheld && blocking::saw(turn, topic, header)? {
        return Ok(Outcome::Blocked);
    }
    if is_early || !follows() {
        let kept = turn.state.early.keep(topic.topic, candidate);
        return Ok(if kept {
            Outcome::Early
        } else {
            Outcome::Dropped
        });
    }
    match check_append(head, header, prunes) {
        Ok(()) if !quota::allows(turn, topic, header, prunes)? => {
            let (reason, bytes) = (RejectReason::Quota, quota::bytes_of(header));
            blocking::refused(turn, topic, header, reason, bytes)?;
            turn.reject(topic, candidate.source, named(header), reason)
        }
        Ok(()) => {
            let bytes = candidate.bytes();
            let Candidate {
                operation,
                extensions,
                source,
            } = candidate;
            let origin = source.into();
            let (author, id) = (operation.header.author(), operation.header.id());
            let arrival = append(turn, topic, origin, operation, extensions)?;
            if turn.state.is_own(&topic.topic, &author) {
                branch::came_back(turn, topic, label, &id)?;
            }
            brought(turn, topic, source, bytes);
            Ok(Outcome::Stored {
                arrival,
                new_log: head.is_none(),
            })
        }
        Err(error) => {
            if let (LogError::BacklinkMismatch, Some(log)) = (error, &log) {
                let first = turn.stored_header(log.key, log.head.seq)?;
                report_fork(turn, topic, candidate.source, first, header)?;
            }
            let reason = match error {
                LogError::BacklinkMismatch => RejectReason::BacklinkMismatch,
                _ => RejectReason::SeqNumNonIncremental,
            };
            turn.reject(topic, candidate.source, named(header), reason)
        }
    }
}

/// A session brought bytes that are stored: it makes progress.
fn brought(turn: &mut Turn<'_>, topic: &TopicRef, source: Source, bytes: usize) {
    if let Source::Session { id, .. } = source {
        let times = turn.times();
        turn.topic(topic).waiting.stored(id, bytes as u64, times);
    }
}

/// Puts in what was waiting for the operation that came last.
pub(crate) fn enter_early(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    label: VerifyingKey,
) -> Result<(), StoreError> {
    loop {
        let Some(log) = turn.log(topic, &label)? else {
            return Ok(());
        };
        let Some(next) = log.head.seq.checked_add(1) else {
            return Ok(());
        };
        let Some(candidate) = turn.state.early.take(topic.topic, label, next) else {
            return Ok(());
        };
        enter_one(turn, topic, candidate)?;
    }
}

/// An operation at a place of the log that is taken: the same, its body, or a fork.
fn occupied(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    log: &Log,
    candidate: Candidate,
) -> Result<Outcome, StoreError> {
    let Candidate {
        operation,
        extensions,
        source,
    } = candidate;
    let header = operation.header.clone();
    if let Some((index, arrived)) = turn.batch.arrived_at(log.key, header.seq())
        && arrived.header == header
    {
        if let (Some(body), None) = (operation.body, &arrived.body) {
            missing::fill_arrived(&mut turn.batch, index, body, &extensions);
            return Ok(Outcome::BodyFilled);
        }
        return Ok(Outcome::Duplicate);
    }
    let Some(first) = turn.stored_header(log.key, header.seq())? else {
        // A damaged row is not known to differ.
        let damaged = turn.tx.operation(log.key, header.seq())?.is_some();
        return Ok(if damaged {
            Outcome::Duplicate
        } else {
            Outcome::Pruned
        });
    };
    if first == header {
        let bytes = operation.body.as_ref().map_or(0, Bytes::len);
        let outcome = missing::fill_stored(turn, topic, log, operation, extensions)?;
        if outcome == Outcome::BodyFilled {
            brought(turn, topic, source, bytes);
        }
        return Ok(outcome);
    }
    report_fork(turn, topic, source, Some(first), &header)?;
    turn.reject(topic, source, named(&header), RejectReason::Fork)
}

/// Appends an operation to its log; the caller made sure that it may be.
pub(crate) fn append(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    origin: Origin,
    operation: Operation,
    extensions: NodeExtensions,
) -> Result<u64, StoreError> {
    let prunes = missing::prunes(&operation, &extensions);
    let Operation { header, body } = operation;
    let (author, head) = (header.author(), Head::of(&header));
    let label = extensions.label(&author);
    if turn.log(topic, &label)?.is_none() {
        let named = extensions.name.map(|name| NamedLog {
            author,
            name,
            id: extensions.log_id,
        });
        let logs = &mut turn.state.logs;
        logs.create(&mut turn.tx, topic.key, &label, head, named)?;
    }
    let log = turn.state.logs.get_mut(&turn.tx, topic.key, &label)?;
    let log = log.expect("it was created if it was missing");
    let (bytes_before, pruned_before) = (log.bytes, log.pruned_bytes);
    log.bytes += header.as_bytes().len() as u64 + u64::from(header.payload_size());
    log.head = head;
    let prunes = prunes && head.seq > log.first_seq;
    let log = log.key;
    let pruned = prunes.then_some((log, bytes_before, pruned_before));
    quota::appended(turn, topic, &header, pruned)?;
    if prunes {
        let prune = Prune {
            topic: *topic,
            label,
            seq: head.seq,
            bytes_before,
        };
        turn.batch.prune(log, prune);
    }
    let arrival = turn.tx.next_arrival();
    blocking::appended(turn, topic, label, head.seq)?;
    let batch = &mut turn.batch;
    batch.places.insert((log, head.seq), batch.arrived.len());
    batch.arrived.push(Arrived {
        arrival,
        topic: *topic,
        origin,
        log,
        label,
        header,
        body,
        extensions,
        bytes_before,
        offset: None,
        ready: Ready::Body,
        missing: Vec::new(),
        pruned: false,
    });
    Ok(arrival)
}

/// Keeps evidence that an author contradicts itself. If we are the author, the log is closed.
fn report_fork(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    first: Option<Header>,
    second: &Header,
) -> Result<(), StoreError> {
    let Some(first) = first else { return Ok(()) };
    let label = second.label();
    let own = turn.state.is_own(&topic.topic, &second.author());
    // Operations that were given up do not close the log again.
    let closed = match own {
        true => branch::contradicted(turn, topic, source, second)?,
        false => None,
    };
    let Some(log) = turn.log(topic, &label)? else {
        return Ok(());
    };
    let log = log.key;
    let headers = (&first.as_bytes()[..], &second.as_bytes()[..]);
    let (seq, at) = (second.seq(), turn.now.wall);
    if turn.tx.add_fork(topic.key, log, seq, headers, at)? {
        let fork = Fork::new(first, second.clone());
        let (topic, peer) = (topic.topic, source.peer());
        turn.batch.change(topic).heads.forked.push(label);
        turn.batch.events.extend(match (own, closed) {
            (true, Some(ours)) => Some(EngineEvent::OwnFork {
                topic,
                fork,
                peer,
                ours,
            }),
            (true, None) => None,
            (false, _) => Some(EngineEvent::Forked { topic, fork, peer }),
        });
    }
    Ok(())
}

/// A header with its operation id, for the row.
fn named(header: &Header) -> (Hash, &[u8]) {
    (header.id(), header.as_bytes())
}
