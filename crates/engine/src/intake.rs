//! Executes each command before the stages. Operations pass stage 1, ingest, here.

use p2panda_core::{Hash, Topic};
use p2panda_store::StoreError;

use crate::answer::{EarlyTrace, EngineEvent, Outcome};
use crate::batch::{BodyDrop, Restatement};
use crate::command::{Command, Incoming, PublishRequest, Source};
use crate::early::Ending;
use crate::topics::TopicRef;
use crate::turn::Turn;
use crate::{act, branch, ingest, named, publish, sessions};

pub(crate) fn step(
    turn: &mut Turn<'_>,
    commands: impl Iterator<Item = Command>,
) -> Result<(), StoreError> {
    publish::release_due(turn)?;
    act::due(turn)?;
    for command in commands {
        take(turn, command)?;
    }
    for (topic, peer) in turn.state.early.take_dropped() {
        let dropped = EngineEvent::EarlyDropped { topic, peer };
        turn.batch.events.push(dropped);
    }
    Ok(())
}

fn take(turn: &mut Turn<'_>, command: Command) -> Result<(), StoreError> {
    let drafts = &turn.state.spaces.drafts;
    if command
        .space()
        .is_some_and(|topic| drafts.is_under_way(&topic))
    {
        turn.postpone(command);
        return Ok(());
    }
    match command {
        Command::Ingest {
            topic,
            source,
            operations,
            reply,
        } => {
            let outcomes = ingest_all(turn, &topic, source, operations)?;
            if let Some(reply) = reply {
                turn.answer(reply, outcomes);
            }
        }
        Command::Publish {
            topic,
            message,
            reply,
        } => {
            let request = PublishRequest::One { message, reply };
            publish::publish(turn, &topic, request)?;
        }
        Command::PublishAll {
            topic,
            messages,
            reply,
        } => {
            let request = PublishRequest::All { messages, reply };
            publish::publish(turn, &topic, request)?;
        }
        Command::Republish { topic, reply } => publish::republish(turn, &topic, reply)?,
        Command::Ack {
            consumer,
            topic,
            offsets,
            durability: _,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            let consumer = turn.tx.consumer(&consumer)?;
            turn.tx.ack(consumer, topic.key, &offsets)?;
            if let Some(reply) = reply {
                turn.answer(reply, ());
            }
        }
        Command::PlaceConsumer {
            consumer,
            topic,
            start,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            let consumer = turn.tx.consumer(&consumer)?;
            let prefix = turn.tx.place_consumer(consumer, topic.key, start)?;
            turn.answer(reply, prefix);
        }
        Command::Named(command) => named::take(turn, command)?,
        Command::KeepTopic { topic, keep, reply } => {
            if keep {
                turn.resolve(&topic)?;
            }
            turn.tx.keep_topic(&topic, keep)?;
            turn.answer(reply, ());
        }
        Command::SetQuotas { quotas, reply } => {
            turn.batch.quotas = Some(quotas);
            turn.answer(reply, ());
        }
        Command::Space(command) => act::take(turn, command)?,
        Command::Session {
            topic,
            session,
            phase,
        } => {
            let topic = turn.resolve(&topic)?;
            sessions::phase(turn, &topic, session, phase)?;
        }
        Command::PeerHas {
            topic,
            session,
            peer,
            own_seq,
        } => {
            let topic = turn.resolve(&topic)?;
            sessions::peer_has(turn, &topic, session, peer, own_seq)?;
        }
        Command::OwnHeld { topic, log, seq } => {
            let topic = turn.resolve(&topic)?;
            branch::held(turn, &topic, log.in_place_of_author(), seq)?;
        }
        Command::ImportEnded { topic: _, import } => turn.state.early.end(Ending::Import(import)),
        Command::DropBody {
            topic,
            log,
            seq,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            turn.batch.drops.push(BodyDrop {
                topic,
                label: log.in_place_of_author(),
                seq,
                reply,
            });
        }
        Command::Restate {
            topic,
            log,
            seq,
            to,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            turn.batch.restated.push(Restatement {
                topic,
                label: log.in_place_of_author(),
                seq,
                to,
                reply,
            });
        }
        Command::FindEarly { id, reply } => {
            let early = find_early(turn, &id)?;
            turn.answer(reply, early);
        }
        Command::PutAddress {
            node,
            record,
            reply,
        } => {
            turn.tx.put_address(&node, &record)?;
            if let Some(reply) = reply {
                turn.answer(reply, ());
            }
        }
        Command::RemoveAddress { node, reply } => {
            turn.tx.remove_address(&node)?;
            if let Some(reply) = reply {
                turn.answer(reply, ());
            }
        }
        // Not part of a transaction, see `Engine`.
        Command::Restored { .. } | Command::Drafted(_) => {}
    }
    Ok(())
}

fn find_early(turn: &mut Turn<'_>, id: &Hash) -> Result<Option<EarlyTrace>, StoreError> {
    let found = turn.state.early.find(id).map(|(topic, found)| {
        let header = &found.operation.header;
        let trace = EarlyTrace {
            topic,
            author: header.author(),
            seq: header.seq(),
            next: 0,
            peer: found.source.peer(),
        };
        (trace, found.label())
    });
    let Some((found, label)) = found else {
        return Ok(None);
    };
    let topic = turn.resolve(&found.topic)?;
    let log = turn.log(&topic, &label)?;
    let next = log.map_or(0, |log| log.head.seq.saturating_add(1));
    Ok(Some(EarlyTrace { next, ..found }))
}

fn ingest_all(
    turn: &mut Turn<'_>,
    topic: &Topic,
    source: Source,
    operations: Vec<Incoming>,
) -> Result<Vec<Outcome>, StoreError> {
    if operations.is_empty() {
        return Ok(Vec::new());
    }
    let topic = turn.resolve(topic)?;
    let mut outcomes = Vec::with_capacity(operations.len());
    for incoming in operations {
        outcomes.push(ingest_one(turn, &topic, source, incoming)?);
    }
    Ok(outcomes)
}

fn ingest_one(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    source: Source,
    incoming: Incoming,
) -> Result<Outcome, StoreError> {
    let candidate = match ingest::check(turn, topic, source, incoming)? {
        Ok(candidate) => candidate,
        Err(refused) => return Ok(refused),
    };
    let header = &candidate.operation.header;
    if !turn.state.is_own(&topic.topic, &header.author()) {
        return ingest::enter(turn, topic, candidate);
    }
    let (label, seq) = (candidate.label(), header.seq());
    let height = turn.height(topic, &label)?;
    let outcome = ingest::enter(turn, topic, candidate)?;
    if let (Outcome::Duplicate, Source::Session { id, .. }) = (outcome, source) {
        turn.topic(topic).own.echoed(id, label, seq);
    }
    sessions::own_operation(turn, topic, source, (label, seq), height)?;
    Ok(outcome)
}
