//! Our own operations: made, signed and appended where the log's end is known.

use p2panda_core::limits::{
    DEPENDENCIES_MAX, OPERATION_FRAME_OVERHEAD_BYTES, REPUBLISHED_BYTES_MAX, REPUBLISHED_ROWS_MAX,
};
use p2panda_core::{Dependency, Draft, DraftError, Hash, Header, NodeExtensions, Operation, Topic};
use p2panda_store::{RecentHead, StoreError, Tx};

use crate::answer::{PublishError, Republished};
use crate::batch::Unanswered;
use crate::branch;
use crate::command::{PublishRequest, Reply};
use crate::ingest;
use crate::shares::Origin;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Publishes, or holds it while a peer may bring more of our own log.
pub(crate) fn publish(
    turn: &mut Turn<'_>,
    topic: &Topic,
    request: PublishRequest,
) -> Result<(), StoreError> {
    let restored = turn.state.restored.as_ref();
    if restored.is_some_and(|restored| !restored.pulling) {
        refuse(turn, request, PublishError::Restored);
        return Ok(());
    }
    let topic = turn.resolve(topic)?;
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    let holds = topics.get_mut(&topic).own.holds(patience, now_us);
    if !holds || branch::is_closed(turn, &topic)? {
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
    for (row, body) in bodies {
        let request = PublishRequest {
            body: Some(body),
            prune: false,
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
    if own.holds(patience, now_us) && !branch::is_closed(turn, topic)? {
        return Ok(());
    }
    for request in turn.topic(topic).own.release() {
        forge(turn, topic, request)?;
    }
    Ok(())
}

/// Appends an operation of our own, or answers why not.
fn forge(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    request: PublishRequest,
) -> Result<Option<PublishError>, StoreError> {
    let (seq, backlink) = match next_in_log(turn, topic)? {
        Ok(next) => next,
        Err(error) => {
            refuse(turn, request, error);
            return Ok(Some(error));
        }
    };
    let timestamp = turn.now.wall;
    let heads = unimplied(turn, topic)?;
    let extensions = NodeExtensions {
        prune: request.prune,
        deps: dependencies(&turn.tx, &heads)?,
        ..NodeExtensions::new(topic.log_id, timestamp)
    };
    let signed = sign(turn.state, &request, seq, backlink, &extensions.encode());
    let header = match signed {
        Ok(header) => header,
        Err(error) => {
            refuse(turn, request, error);
            return Ok(Some(error));
        }
    };
    // From here on our newest operation implies all that was ordered before this batch.
    let topic_state = turn.topic(topic);
    topic_state.heard = false;
    topic_state.own.appended(seq);
    if turn.batch.implied.insert(topic.key) && !heads.is_empty() {
        let last = turn.tx.last_order();
        turn.tx.set_implied(topic.key, last)?;
    }
    let PublishRequest { body, reply, .. } = request;
    let operation = Operation { header, body };
    ingest::append(turn, topic, Origin::Node, operation, extensions)?;
    let index = turn.batch.arrived.len() - 1;
    turn.batch.published.push(Unanswered {
        index,
        timestamp,
        reply,
    });
    turn.batch.own = true;
    ingest::enter_early(turn, topic, turn.state.author)?;
    Ok(None)
}

/// The next place in our log, if publishing is possible at all.
fn next_in_log(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
) -> Result<Result<(u32, Option<Hash>), PublishError>, StoreError> {
    if let Some(restored) = &turn.state.restored {
        if !restored.pulling {
            return Ok(Err(PublishError::Restored));
        }
        // Operations of this batch count: they are stored with ours or not at all.
        let ahead = restored.ahead.get(&topic.log_id).copied();
        let height = turn.own_height(topic)?;
        if ahead.is_some_and(|ahead| height.is_none_or(|height| height < ahead)) {
            return Ok(Err(PublishError::PullingOwnLog));
        }
    }
    let author = turn.state.author;
    let Some(log) = turn.log(topic, &author)? else {
        // Once per log.
        return Ok(match branch::is_pulled(turn, topic)? {
            true => Err(PublishError::PullingOwnLog),
            false => Ok((0, None)),
        });
    };
    if log.stopped {
        let log = log.clone();
        return Ok(Err(branch::refusal(turn, topic, &log)?));
    }
    let next = log
        .head
        .seq
        .checked_add(1)
        .ok_or(PublishError::SeqNumExhausted);
    Ok(next.map(|seq| (seq, Some(log.head.id))))
}

fn sign(
    state: &State,
    request: &PublishRequest,
    seq: u32,
    backlink: Option<Hash>,
    extensions: &[u8],
) -> Result<Header, PublishError> {
    let bytes_max = state.limits.operation_bytes_max;
    let too_large = |header_bytes: usize| PublishError::TooLarge {
        bytes: header_bytes + request.body_bytes() + OPERATION_FRAME_OVERHEAD_BYTES,
        bytes_max,
    };
    if request.body_bytes() > bytes_max {
        return Err(too_large(0));
    }
    let draft = Draft {
        seq,
        backlink,
        body: request.body.as_deref(),
        extensions: Some(extensions),
    };
    let header = Header::sign(&state.key, draft).map_err(|error| match error {
        DraftError::EmptyBody => PublishError::EmptyBody,
        _ => too_large(0),
    })?;
    match too_large(header.as_bytes().len()) {
        refused @ PublishError::TooLarge { bytes, .. } if bytes > bytes_max => Err(refused),
        _ => Ok(header),
    }
}

/// Heads of other authors' logs that our previous operation does not imply.
fn unimplied(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<Vec<RecentHead>, StoreError> {
    if turn.batch.implied.contains(&topic.key) || !turn.topic(topic).heard {
        return Ok(Vec::new());
    }
    let author = &turn.state.author;
    turn.tx.recent_heads(topic.key, author, DEPENDENCIES_MAX)
}

fn dependencies(tx: &Tx<'_>, heads: &[RecentHead]) -> Result<Vec<Dependency>, StoreError> {
    let mut dependencies = Vec::new();
    for head in heads {
        if let Some(id) = id_of(tx, head)? {
            dependencies.push(Dependency {
                author: head.author,
                seq: head.seq,
                id,
            });
        }
    }
    Ok(dependencies)
}

/// The id of a log's newest ordered operation; none if it was pruned or is damaged.
fn id_of(tx: &Tx<'_>, head: &RecentHead) -> Result<Option<Hash>, StoreError> {
    if head.id.is_some() {
        return Ok(head.id);
    }
    let stored = tx.operation(head.log, head.seq)?;
    Ok(stored
        .and_then(|stored| Header::decode_unverified(stored.header).ok())
        .map(|h| h.id()))
}

fn refuse(turn: &mut Turn<'_>, request: PublishRequest, error: PublishError) {
    turn.answer(request.reply, Err(error));
}
