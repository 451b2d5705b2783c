//! Our own operations: made, signed and appended where the log's end is known.
//!
//! Several that belong together are all signed before the first is appended: if one of them cannot be,
//! nothing of the others is left behind.

use bytes::Bytes;
use p2panda_core::limits::{DEPENDENCIES_MAX, OPERATION_FRAME_OVERHEAD_BYTES};
use p2panda_core::{Dependency, Draft, DraftError, Hash, Header, NodeExtensions, Operation};
use p2panda_store::{RecentHead, StoreError, Tx};

use crate::answer::PublishError;
use crate::batch::{Made, Unanswered};
use crate::branch;
use crate::command::{NewMessage, PublishRequest};
use crate::ingest;
use crate::shares::Origin;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Appends what was asked for, all of it, or answers why not.
pub(crate) fn forge(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    request: PublishRequest,
) -> Result<Option<PublishError>, StoreError> {
    match request {
        PublishRequest::One { message, reply } => match forge_one(turn, topic, message)? {
            Ok(made) => turn.batch.published.push(Unanswered::One(made, reply)),
            Err(error) => {
                turn.answer(reply, Err(error));
                return Ok(Some(error));
            }
        },
        PublishRequest::All { messages, reply } => match forge_all(turn, topic, messages)? {
            Ok(made) => turn.batch.published.push(Unanswered::All(made, reply)),
            Err(error) => {
                turn.answer(reply, Err(error));
                return Ok(Some(error));
            }
        },
    }
    let author = turn.state.author;
    ingest::enter_early(turn, topic, author)?;
    Ok(None)
}

fn forge_one(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    message: NewMessage,
) -> Result<Result<Made, PublishError>, StoreError> {
    let mut end = match LogEnd::of(turn, topic)? {
        Ok(end) => end,
        Err(error) => return Ok(Err(error)),
    };
    match end.sign(turn, topic, message)? {
        Ok(signed) => append(turn, topic, signed).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn forge_all(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    messages: Vec<NewMessage>,
) -> Result<Result<Vec<Made>, PublishError>, StoreError> {
    let mut end = match LogEnd::of(turn, topic)? {
        Ok(end) => end,
        Err(error) => return Ok(Err(error)),
    };
    let mut all_signed = Vec::with_capacity(messages.len());
    for message in messages {
        match end.sign(turn, topic, message)? {
            Ok(signed) => all_signed.push(signed),
            Err(error) => return Ok(Err(error)),
        }
    }
    let appended = all_signed
        .into_iter()
        .map(|signed| append(turn, topic, signed));
    appended.collect::<Result<_, _>>().map(Ok)
}

/// An operation of our own that may be appended.
struct Signed {
    operation: Operation,
    extensions: NodeExtensions,
    /// It names heads of other logs.
    implies: bool,
}

fn append(turn: &mut Turn<'_>, topic: &TopicRef, signed: Signed) -> Result<Made, StoreError> {
    let Signed {
        operation,
        extensions,
        implies,
    } = signed;
    // From here on our newest operation implies all that was ordered before this batch.
    let topic_state = turn.topic(topic);
    topic_state.heard = false;
    topic_state.own.appended(operation.header.seq());
    if turn.batch.implied.insert(topic.key) && implies {
        let last = turn.tx.last_order();
        turn.tx.set_implied(topic.key, last)?;
    }
    let timestamp = extensions.timestamp;
    ingest::append(turn, topic, Origin::Node, operation, extensions)?;
    turn.batch.own = true;
    Ok(Made {
        index: turn.batch.arrived.len() - 1,
        timestamp,
    })
}

/// Where our log goes on.
struct LogEnd {
    /// The next place; none: there is no further one.
    seq: Option<u32>,
    backlink: Option<Hash>,
    /// Heads of other authors' logs that the operation before does not imply.
    heads: Vec<RecentHead>,
}

impl LogEnd {
    /// The end of our log in a topic, if publishing is possible at all.
    fn of(
        turn: &mut Turn<'_>,
        topic: &TopicRef,
    ) -> Result<Result<LogEnd, PublishError>, StoreError> {
        if let Some(error) = held_back(turn, topic)? {
            return Ok(Err(error));
        }
        let author = turn.state.author;
        let (seq, backlink) = match turn.log(topic, &author)?.cloned() {
            // Once per log.
            None if branch::is_pulled(turn, topic)? => {
                return Ok(Err(PublishError::PullingOwnLog));
            }
            None => (Some(0), None),
            Some(log) if log.stopped => return Ok(Err(branch::refusal(turn, topic, &log)?)),
            Some(log) => (log.head.seq.checked_add(1), Some(log.head.id)),
        };
        let heads = unimplied(turn, topic)?;
        Ok(Ok(LogEnd {
            seq,
            backlink,
            heads,
        }))
    }

    /// Signs the operation that comes next; from then on the end is behind it.
    fn sign(
        &mut self,
        turn: &mut Turn<'_>,
        topic: &TopicRef,
        message: NewMessage,
    ) -> Result<Result<Signed, PublishError>, StoreError> {
        let Some(seq) = self.seq else {
            return Ok(Err(PublishError::SeqNumExhausted));
        };
        let extensions = NodeExtensions {
            prune: message.prune,
            deps: dependencies(&turn.tx, &self.heads)?,
            ..NodeExtensions::new(topic.log_id, turn.now.wall)
        };
        let item = extensions.encode();
        let header = match sign(turn.state, message.body.as_ref(), seq, self.backlink, &item) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        (self.seq, self.backlink) = (seq.checked_add(1), Some(header.id()));
        let implies = !std::mem::take(&mut self.heads).is_empty();
        let body = message.body;
        Ok(Ok(Signed {
            operation: Operation { header, body },
            extensions,
            implies,
        }))
    }
}

/// Why nothing is published, if our own newer operations are elsewhere.
fn held_back(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<Option<PublishError>, StoreError> {
    let Some(restored) = &turn.state.restored else {
        return Ok(None);
    };
    if !restored.pulling {
        return Ok(Some(PublishError::Restored));
    }
    // Operations of this batch count: they are stored with ours or not at all.
    let ahead = restored.ahead.get(&topic.log_id).copied();
    let height = turn.own_height(topic)?;
    let is_behind = ahead.is_some_and(|ahead| height.is_none_or(|height| height < ahead));
    Ok(is_behind.then_some(PublishError::PullingOwnLog))
}

fn sign(
    state: &State,
    body: Option<&Bytes>,
    seq: u32,
    backlink: Option<Hash>,
    extensions: &[u8],
) -> Result<Header, PublishError> {
    let bytes_max = state.limits.operation_bytes_max;
    let body_bytes = body.map_or(0, Bytes::len);
    let too_large = |header_bytes: usize| PublishError::TooLarge {
        bytes: header_bytes + body_bytes + OPERATION_FRAME_OVERHEAD_BYTES,
        bytes_max,
    };
    if body_bytes > bytes_max {
        return Err(too_large(0));
    }
    let draft = Draft {
        seq,
        backlink,
        body: body.map(|body| &body[..]),
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
