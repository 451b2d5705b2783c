//! Publishing: what is asked for, what is held, and what is published again.

use std::collections::BTreeSet;

use p2panda_core::limits::{
    PUBLISH_BATCH_BYTES_MAX, PUBLISH_BATCH_OPERATIONS_MAX, REPUBLISHED_BYTES_MAX,
    REPUBLISHED_ROWS_MAX,
};
use p2panda_core::{LogName, Topic};
use p2panda_store::StoreError;

use crate::act;
use crate::answer::{PublishError, Republished};
use crate::branch;
use crate::command::{NewMessage, PublishRequest};
use crate::forge::forge;
use crate::reply::Reply;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Publishes, or holds it while a peer may bring more of our own log.
pub(crate) fn publish(
    turn: &mut Turn<'_>,
    topic: &Topic,
    request: PublishRequest,
) -> Result<(), StoreError> {
    if let Err(error) = check_size(&request) {
        refuse(turn, request, error);
        return Ok(());
    }
    let restored = turn.state.restored.as_ref();
    if restored.is_some_and(|restored| !restored.pulling) {
        refuse(turn, request, PublishError::Restored);
        return Ok(());
    }
    let topic = turn.resolve(topic)?;
    if turn.state.spaces.is_space(&topic.topic) && act::heal_first(turn, &topic)? {
        turn.postpone(request.again(topic.topic));
        return Ok(());
    }
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    let holds = topics.get_mut(&topic).own.holds(patience, now_us);
    if !holds || is_closed(turn, &topic, &logs_of(&request))? {
        forge(turn, &topic, request)?;
        return Ok(());
    }
    if let Err(request) = turn.topic(&topic).own.keep(request) {
        refuse(turn, request, PublishError::Held);
    }
    Ok(())
}

/// Publishes again the next bodies of what was given up in a topic
/// (`docs/protocol/streams.md#16`).
pub(crate) fn republish(
    turn: &mut Turn<'_>,
    topic: &Topic,
    reply: Reply<Result<Republished, PublishError>>,
) -> Result<(), StoreError> {
    let topic = turn.resolve(topic)?;
    let republished = republish_next(turn, &topic)?;
    turn.answer(reply, republished);
    Ok(())
}

fn republish_next(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
) -> Result<Result<Republished, PublishError>, StoreError> {
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    if topics.get_mut(topic).own.would_hold(patience, now_us) {
        return Ok(Err(PublishError::Held));
    }
    let (rows_max, bytes_max) = (REPUBLISHED_ROWS_MAX, REPUBLISHED_BYTES_MAX);
    let bodies = turn.tx.bodies_given_up(topic.key, rows_max, bytes_max)?;
    let mut published = 0;
    for (row, log, body) in bodies {
        let request = PublishRequest::One {
            message: NewMessage {
                log,
                ..NewMessage::new(body)
            },
            reply: Box::new(|_| ()),
        };
        match forge(turn, topic, request)? {
            None => turn.tx.published_again(row)?,
            // What was done before it counts, and the next call tells.
            Some(error) if published == 0 => return Ok(Err(error)),
            Some(_) => break,
        }
        published += 1;
    }
    Ok(Ok(Republished { published }))
}

/// Publishes what was held in topics where the time of waiting is over.
pub(crate) fn release_due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let topics = turn.state.topics.awake();
    let held = topics.filter(|topic| topic.own.holds_publishes());
    let held: Vec<TopicRef> = held.map(|state| state.topic).collect();
    for topic in held {
        go_on(turn, &topic)?;
    }
    Ok(())
}

/// Publishes what was held in a topic, unless it still has to wait.
pub(crate) fn go_on(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    let own = &mut topics.get_mut(topic).own;
    if !own.holds_publishes() {
        return Ok(());
    }
    let holds = own.holds(patience, now_us);
    if holds {
        let logs = own.held_requests().flat_map(logs_of).collect();
        if !is_closed(turn, topic, &logs)? {
            return Ok(());
        }
    }
    for request in turn.topic(topic).own.release() {
        forge(turn, topic, request)?;
    }
    Ok(())
}

/// The logs that a request publishes to.
fn logs_of(request: &PublishRequest) -> BTreeSet<Option<LogName>> {
    let messages = request.messages().iter();
    messages.map(|message| message.log).collect()
}

/// Returns `true` if all these logs of ours are closed.
fn is_closed(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    logs: &BTreeSet<Option<LogName>>,
) -> Result<bool, StoreError> {
    for name in logs {
        let log = turn.state.own_log(topic, *name);
        if !branch::is_closed(turn, topic, &log.label)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Answers that nothing is published.
fn refuse(turn: &mut Turn<'_>, request: PublishRequest, error: PublishError) {
    match request {
        PublishRequest::One { reply, .. } => turn.answer(reply, Err(error)),
        PublishRequest::All { reply, .. } => turn.answer(reply, Err(error)),
    }
}

/// Checks whether this many can be published at once.
fn check_size(request: &PublishRequest) -> Result<(), PublishError> {
    let PublishRequest::All { messages, .. } = request else {
        return Ok(());
    };
    let (operations, bytes) = (messages.len(), request.body_bytes());
    match operations <= PUBLISH_BATCH_OPERATIONS_MAX && bytes <= PUBLISH_BATCH_BYTES_MAX {
        true => Ok(()),
        false => Err(PublishError::TooMany { operations, bytes }),
    }
}
