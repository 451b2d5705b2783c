//! Our own operations: made, signed and appended where the log's end is known.

use bytes::Bytes;
use p2panda_core::limits::{DEPENDENCIES_MAX, OPERATION_FRAME_OVERHEAD_BYTES};
use p2panda_core::{Dependency, DraftError, Hash, Header, NodeExtensions, Operation, Topic};
use p2panda_store::{RecentHead, StoreError, Tx};

use crate::answer::{PublishError, Published};
use crate::batch::{Batch, Unanswered};
use crate::command::Reply;
use crate::ingest;
use crate::sessions::own_height;
use crate::shares::Origin;
use crate::state::{State, topic_of};

/// A publish that was asked for.
pub(crate) struct Draft {
    pub topic: Topic,
    pub body: Option<Bytes>,
    pub prune: bool,
    pub reply: Reply<Result<Published, PublishError>>,
}

impl Draft {
    pub fn body_bytes(&self) -> usize {
        self.body.as_ref().map_or(0, Bytes::len)
    }
}

/// Publishes, or holds it while a peer may bring more of our own log.
pub(crate) fn publish(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    draft: Draft,
) -> Result<(), StoreError> {
    if state
        .restored
        .as_ref()
        .is_some_and(|restored| !restored.pulling)
    {
        refuse(batch, draft, PublishError::Restored);
        return Ok(());
    }
    let own = &mut topic_of(&mut state.topics, tx, &draft.topic)?.own;
    if !own.holds(&mut state.patience, batch.now.elapsed_us) {
        return forge(state, tx, batch, draft);
    }
    if let Err(draft) = own.keep(draft) {
        refuse(batch, draft, PublishError::Held);
    }
    Ok(())
}

/// Publishes what was held in topics where the time of waiting is over.
pub(crate) fn release_due(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    let held = state.topics.iter();
    let held = held.filter(|(_, topic)| topic.own.holds_publishes());
    let held: Vec<Topic> = held.map(|(topic, _)| *topic).collect();
    for topic in held {
        go_on(state, tx, batch, &topic)?;
    }
    Ok(())
}

/// Publishes what was held in a topic, unless it still has to wait.
pub(crate) fn go_on(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    topic: &Topic,
) -> Result<(), StoreError> {
    let own = &mut topic_of(&mut state.topics, tx, topic)?.own;
    let now_us = batch.now.elapsed_us;
    if !own.holds_publishes() || own.holds(&mut state.patience, now_us) {
        return Ok(());
    }
    for draft in own.release() {
        forge(state, tx, batch, draft)?;
    }
    Ok(())
}

fn forge(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &mut Batch,
    draft: Draft,
) -> Result<(), StoreError> {
    let (seq, backlink) = match place(state, tx, &draft)? {
        Ok(place) => place,
        Err(error) => {
            refuse(batch, draft, error);
            return Ok(());
        }
    };
    let topic_state = state.topic(tx, &draft.topic)?;
    let (topic_key, log_id) = (topic_state.key, topic_state.log_id);
    let timestamp = batch.now.wall;
    let heads = unimplied(state, tx, batch, &draft.topic)?;
    let extensions = NodeExtensions {
        prune: draft.prune,
        deps: dependencies(tx, &heads)?,
        ..NodeExtensions::new(log_id, timestamp)
    };
    let header = match sign(state, &draft, seq, backlink, &extensions.encode()) {
        Ok(header) => header,
        Err(error) => {
            refuse(batch, draft, error);
            return Ok(());
        }
    };
    // From here on our newest operation implies all that was ordered before this batch.
    let topic_state = state.topic(tx, &draft.topic)?;
    topic_state.heard = false;
    topic_state.own.appended(seq);
    if batch.implied.insert(topic_key) && !heads.is_empty() {
        tx.set_implied(topic_key, tx.last_order())?;
    }
    let operation = Operation {
        header,
        body: draft.body,
    };
    let origin = Origin::Node;
    ingest::append(state, tx, batch, draft.topic, origin, operation, extensions)?;
    let index = batch.arrived.len() - 1;
    let reply = draft.reply;
    batch.published.push(Unanswered {
        index,
        timestamp,
        reply,
    });
    batch.own = true;
    ingest::enter_early(state, tx, batch, draft.topic, state.author)
}

/// The next place in our log, if publishing is possible at all.
fn place(
    state: &mut State,
    tx: &mut Tx<'_>,
    draft: &Draft,
) -> Result<Result<(u32, Option<Hash>), PublishError>, StoreError> {
    let topic_state = state.topic(tx, &draft.topic)?;
    let (topic_key, log_id) = (topic_state.key, topic_state.log_id);
    if let Some(restored) = &state.restored {
        if !restored.pulling {
            return Ok(Err(PublishError::Restored));
        }
        // Operations of this batch count: they are stored with ours or not at all.
        let height = own_height(state, tx, &draft.topic)?;
        let ahead = state
            .restored
            .as_ref()
            .and_then(|restored| restored.ahead.get(&log_id));
        if ahead.is_some_and(|ahead| height.is_none_or(|height| height < *ahead)) {
            return Ok(Err(PublishError::PullingOwnLog));
        }
    }
    let Some(log) = state.logs.get(tx, topic_key, &state.author)? else {
        return Ok(Ok((0, None)));
    };
    if log.stopped {
        return Ok(Err(PublishError::OwnFork));
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
    draft: &Draft,
    seq: u32,
    backlink: Option<Hash>,
    extensions: &[u8],
) -> Result<Header, PublishError> {
    let bytes_max = state.limits.operation_bytes_max;
    let too_large = |header_bytes: usize| PublishError::TooLarge {
        bytes: header_bytes + draft.body_bytes() + OPERATION_FRAME_OVERHEAD_BYTES,
        bytes_max,
    };
    if draft.body_bytes() > bytes_max {
        return Err(too_large(0));
    }
    let core_draft = p2panda_core::Draft {
        seq,
        backlink,
        body: draft.body.as_deref(),
        extensions: Some(extensions),
    };
    let header = Header::sign(&state.key, core_draft).map_err(|error| match error {
        DraftError::EmptyBody => PublishError::EmptyBody,
        _ => too_large(0),
    })?;
    match too_large(header.as_bytes().len()) {
        refused @ PublishError::TooLarge { bytes, .. } if bytes > bytes_max => Err(refused),
        _ => Ok(header),
    }
}

/// Heads of other authors' logs that our previous operation does not imply.
fn unimplied(
    state: &mut State,
    tx: &mut Tx<'_>,
    batch: &Batch,
    topic: &Topic,
) -> Result<Vec<RecentHead>, StoreError> {
    let author = state.author;
    let topic_state = state.topic(tx, topic)?;
    let key = topic_state.key;
    if batch.implied.contains(&key) || !topic_state.heard {
        return Ok(Vec::new());
    }
    tx.recent_heads(key, &author, DEPENDENCIES_MAX)
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

fn refuse(batch: &mut Batch, draft: Draft, error: PublishError) {
    batch
        .answers
        .push(Box::new(move || (draft.reply)(Err(error))));
}
