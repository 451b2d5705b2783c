//! Executes commands on a named consumer.

use std::collections::HashMap;

use p2panda_core::Topic;
use p2panda_store::{NamedKey, StoreError};

use crate::named_command::{AgedNamed, NamedCommand, NewNamed, OpenedNamed};
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
        NamedCommand::Age {
            idle,
            elapsed_us,
            reply,
        } => {
            turn.tx.age_named(&idle, elapsed_us)?;
            if let Some(reply) = reply {
                let aged = age(turn, &idle)?;
                turn.answer(reply, aged);
            }
        }
    }
    Ok(())
}

/// Deletes those whose threshold has passed.
fn age(turn: &mut Turn<'_>, idle: &[(NamedKey, u64)]) -> Result<AgedNamed, StoreError> {
    let mut deleted = Vec::new();
    for (consumer, name) in turn.tx.inactive_named()? {
        turn.tx.delete_named(consumer)?;
        deleted.push(name);
    }
    let idle: HashMap<_, _> = idle.iter().copied().collect();
    let rest = turn.tx.until_inactive()?.into_iter();
    let unused = rest.filter(|(consumer, _)| idle.get(consumer) != Some(&0));
    Ok(AgedNamed {
        deleted,
        next_us: unused.map(|(_, rest_us)| rest_us).min(),
    })
}

fn open(
    turn: &mut Turn<'_>,
    name: &str,
    create: Option<NewNamed>,
    topics: &[Topic],
) -> Result<Option<OpenedNamed>, StoreError> {
    let mut consumer = turn.tx.named(name)?;
    let is_new = consumer.is_none();
    if let (true, Some(new)) = (is_new, create) {
        turn.tx.create_named(name, &new.settings, new.inactive_us)?;
        consumer = turn.tx.named(name)?;
    }
    let Some(consumer) = consumer else {
        return Ok(None);
    };
    if consumer.idle_us > 0 {
        turn.tx.age_named(&[(consumer.key, 0)], 0)?;
    }
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
        torn_until: turn.tx.torn_until(),
    }))
}
