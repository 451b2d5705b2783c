//! What a command does about a named consumer.

use bytes::Bytes;
use p2panda_core::Topic;
use p2panda_store::StoreError;

use crate::named_command::{NamedCommand, OpenedNamed};
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: NamedCommand) -> Result<(), StoreError> {
    match command {
        NamedCommand::Open {
            name,
            create,
            topics,
            reply,
        } => {
            let opened = open(turn, &name, create, &topics)?;
            turn.answer(reply, opened);
        }
        NamedCommand::Change {
            consumer,
            changes,
            durability: _,
            reply,
        } => {
            let is_there = turn.tx.change_named(consumer, &changes)?;
            turn.answer(reply, is_there);
        }
        NamedCommand::Delete { consumer, reply } => {
            turn.tx.delete_named(consumer)?;
            turn.answer(reply, ());
        }
    }
    Ok(())
}

fn open(
    turn: &mut Turn<'_>,
    name: &str,
    create: Option<Bytes>,
    topics: &[Topic],
) -> Result<Option<OpenedNamed>, StoreError> {
    let mut consumer = turn.tx.named(name)?;
    let is_new = consumer.is_none();
    if let (true, Some(settings)) = (is_new, create) {
        turn.tx.create_named(name, &settings)?;
        consumer = turn.tx.named(name)?;
    }
    let Some(consumer) = consumer else {
        return Ok(None);
    };
    let mut keys = Vec::with_capacity(topics.len());
    for topic in topics {
        let known = consumer.places.iter().find(|place| place.topic == *topic);
        keys.push(match known {
            Some(place) => place.key,
            None => turn.resolve(topic)?.key,
        });
    }
    Ok(Some(OpenedNamed {
        pruned: turn.tx.named_pruned(consumer.key)?,
        consumer,
        is_new,
        topics: keys,
    }))
}
