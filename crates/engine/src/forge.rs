//! Our own operations: made, signed and appended where the log's end is known.
//!
//! Several that belong together are all signed before the first is appended: if one of them cannot be,
//! nothing of the others is left behind.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2panda_core::limits::{DEPENDENCIES_MAX, OPERATION_FRAME_OVERHEAD_BYTES};
use p2panda_core::{
    Dependency, Draft, DraftError, Hash, Header, LogName, NodeExtensions, Operation,
};
use p2panda_store::{LogKey, RecentHead, StoreError, Tx};

use crate::answer::{PublishError, Published};
use crate::batch::{Keyed, Made, Unanswered};
use crate::branch;
use crate::command::{NewMessage, PublishRequest};
use crate::ingest;
use crate::sealing;
use crate::shares::Origin;
use crate::state::State;
use crate::topics::{OwnLogRef, TopicRef};
use crate::turn::Turn;

/// Appends what was asked for, all of it, or answers why not.
pub(crate) fn forge(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    request: PublishRequest,
) -> Result<Option<PublishError>, StoreError> {
    let request = match turn.state.spaces.is_space(&topic.topic) {
        true => match as_content(turn, request) {
            Ok(request) => request,
            Err(error) => return Ok(Some(error)),
        },
        false => request,
    };
    match request {
        PublishRequest::One { message, reply } => {
            let log = message.log;
            match forge_one(turn, topic, message)? {
                Ok(made) => turn.batch.published.push(Unanswered::One(made, reply)),
                Err(error) => {
                    turn.answer(reply, Err(error));
                    return Ok(Some(error));
                }
            }
            follow(turn, topic, log)?;
        }
        PublishRequest::All { messages, reply } => {
            let logs: BTreeSet<_> = messages.iter().map(|message| message.log).collect();
            match forge_all(turn, topic, messages)? {
                Ok(made) => turn.batch.published.push(Unanswered::All(made, reply)),
                Err(error) => {
                    turn.answer(reply, Err(error));
                    return Ok(Some(error));
                }
            }
            for log in logs {
                follow(turn, topic, log)?;
            }
        }
    }
    Ok(None)
}

/// Directs what the application publishes into a space to our content log, and refuses other logs.
fn as_content(
    turn: &mut Turn<'_>,
    mut request: PublishRequest,
) -> Result<PublishRequest, PublishError> {
    let [_, content] = turn.state.spaces.names();
    let messages = match &mut request {
        PublishRequest::One { message, .. } => std::slice::from_mut(message),
        PublishRequest::All { messages, .. } => &mut messages[..],
    };
    let is_content = |message: &NewMessage| message.log.is_none_or(|log| log == content);
    if messages.iter().all(is_content) {
        for message in messages {
            message.log = Some(content);
        }
        return Ok(request);
    }
    let error = PublishError::Sealed;
    match request {
        PublishRequest::One { reply, .. } => turn.answer(reply, Err(error)),
        PublishRequest::All { reply, .. } => turn.answer(reply, Err(error)),
    }
    Err(error)
}

/// Returns why nothing can be appended to our control log in a topic now.
pub(crate) fn control_refusal(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
) -> Result<Option<PublishError>, StoreError> {
    let now_us = turn.now.elapsed_us;
    let State {
        topics, patience, ..
    } = &mut *turn.state;
    if topics.get_mut(topic).own.would_hold(patience, now_us) {
        return Ok(Some(PublishError::Held));
    }
    let [control, _] = turn.state.spaces.names();
    let own = turn.state.own_log(topic, Some(control));
    Ok(LogEnd::of(turn, topic, own)?.err())
}

/// Appends a control operation, as the crate that knows spaces wrote it; its id.
pub(crate) fn forge_control(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    named: &[Hash],
    body: Vec<u8>,
) -> Result<Result<Hash, PublishError>, StoreError> {
    let [control, _] = turn.state.spaces.names();
    let own = turn.state.own_log(topic, Some(control));
    let message = NewMessage {
        log: Some(control),
        after: sealing::places(turn, topic, named)?,
        ..NewMessage::new(body)
    };
    let mut end = match LogEnd::of(turn, topic, own)? {
        Ok(end) => end,
        Err(error) => return Ok(Err(error)),
    };
    let signed = match end.sign(turn, topic, message, None)? {
        Ok(signed) => signed,
        Err(error) => return Ok(Err(error)),
    };
    let id = signed.operation.header.id();
    append(turn, topic, signed)?;
    follow(turn, topic, Some(control))?;
    Ok(Ok(id))
}

/// Puts in what was waiting for our newest operation of a log.
fn follow(turn: &mut Turn<'_>, topic: &TopicRef, name: Option<LogName>) -> Result<(), StoreError> {
    let log = turn.state.own_log(topic, name);
    ingest::enter_early(turn, topic, log.label)
}

fn forge_one(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    message: NewMessage,
) -> Result<Result<Made, PublishError>, StoreError> {
    let own = turn.state.own_log(topic, message.log);
    let mut end = match LogEnd::of(turn, topic, own)? {
        Ok(end) => end,
        Err(error) => return Ok(Err(error)),
    };
    match end.plan(turn, topic, message)? {
        Ok(planned) => planned.carry_out(turn, topic, &[]).map(Ok),
        Err(error) => Ok(Err(error)),
    }
}

fn forge_all(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    messages: Vec<NewMessage>,
) -> Result<Result<Vec<Made>, PublishError>, StoreError> {
    let mut ends: BTreeMap<Option<LogName>, LogEnd> = BTreeMap::new();
    let mut plan = Vec::with_capacity(messages.len());
    for (place, message) in messages.into_iter().enumerate() {
        let end = match ends.entry(message.log) {
            Entry::Occupied(end) => end.into_mut(),
            Entry::Vacant(new) => {
                let own = turn.state.own_log(topic, message.log);
                match LogEnd::of(turn, topic, own)? {
                    Ok(end) => new.insert(end),
                    Err(error) => return Ok(Err(error)),
                }
            }
        };
        end.place = place;
        match end.plan(turn, topic, message)? {
            Ok(planned) => plan.push(planned),
            Err(error) => return Ok(Err(error)),
        }
    }
    let mut all = Vec::with_capacity(plan.len());
    for planned in plan {
        let made = planned.carry_out(turn, topic, &all)?;
        all.push(made);
    }
    Ok(Ok(all))
}

/// The work for a message, when nothing can be refused any more. Nearly all messages are appended, so a
/// box would cost an allocation each.
#[allow(clippy::large_enum_variant)]
enum Planned {
    /// To append an operation.
    Append(Signed),
    /// Nothing: it was published before.
    Before(Made),
    /// Nothing: it is the one at this place among those that are published at once.
    Same(usize),
}

impl Planned {
    /// `made` is what became of those before it.
    fn carry_out(
        self,
        turn: &mut Turn<'_>,
        topic: &TopicRef,
        made: &[Made],
    ) -> Result<Made, StoreError> {
        match self {
            Planned::Append(signed) => append(turn, topic, signed),
            Planned::Before(made) => Ok(made),
            Planned::Same(place) => Ok(made.get(place).expect("it goes before this one").clone()),
        }
    }
}

/// An operation of our own that may be appended.
struct Signed {
    log: OwnLogRef,
    operation: Operation,
    extensions: NodeExtensions,
    /// It names heads of other logs.
    implies: bool,
    /// The idempotency key and what it stands for.
    key: Option<(Hash, Hash)>,
}

fn append(turn: &mut Turn<'_>, topic: &TopicRef, signed: Signed) -> Result<Made, StoreError> {
    let Signed {
        log,
        operation,
        extensions,
        implies,
        key,
    } = signed;
    let topic_state = turn.topic(topic);
    topic_state.heard &= log.name.is_some();
    topic_state.own.appended(log.label, operation.header.seq());
    let timestamp = extensions.timestamp;
    let last = turn.tx.last_order();
    ingest::append(turn, topic, Origin::Node, operation, extensions)?;
    // From here on the newest operation of the log implies all that was ordered before this batch.
    if turn.batch.implied.insert((topic.key, log.label)) && implies {
        match log.name {
            None => turn.tx.set_implied(topic.key, last)?,
            Some(_) => turn.tx.set_log_implied(&log.label, last)?,
        }
    }
    turn.batch.own = true;
    let index = turn.batch.arrived.len() - 1;
    let made = Made::New {
        index,
        timestamp,
        log: log.name,
    };
    if let (Some((key, content)), Some(arrived)) = (key, turn.batch.arrived.last()) {
        let keyed = Keyed {
            content,
            made: made.clone(),
        };
        turn.batch.keyed.insert((arrived.log, key), keyed);
    }
    Ok(made)
}

/// End of a log of this node, where it continues.
struct LogEnd {
    own: OwnLogRef,
    /// The next place; none: there is no further one.
    seq: Option<u32>,
    backlink: Option<Hash>,
    /// The log, if it has operations already.
    log: Option<LogKey>,
    /// Number of messages that were planned before.
    place: usize,
    /// The idempotency keys of these, with what they stand for and their places.
    keys: BTreeMap<Hash, (Hash, usize)>,
    /// Heads of other authors' logs that the operation before does not imply.
    heads: Vec<RecentHead>,
}

impl LogEnd {
    /// The end of a log of ours in a topic, if publishing is possible at all.
    fn of(
        turn: &mut Turn<'_>,
        topic: &TopicRef,
        own: OwnLogRef,
    ) -> Result<Result<LogEnd, PublishError>, StoreError> {
        if let Some(error) = held_back(turn, topic, &own)? {
            return Ok(Err(error));
        }
        let label = own.label;
        let (seq, backlink, log) = match turn.log(topic, &label)?.cloned() {
            // Once per log.
            None if branch::is_pulled(turn, topic, &label)? => {
                return Ok(Err(PublishError::PullingOwnLog));
            }
            None => (Some(0), None, None),
            Some(log) if log.stopped => {
                return Ok(Err(branch::refusal(turn, topic, (&label, &log))?));
            }
            Some(log) => (
                log.head.seq.checked_add(1),
                Some(log.head.id),
                Some(log.key),
            ),
        };
        let heads = unimplied(turn, topic, &own)?;
        Ok(Ok(LogEnd {
            own,
            seq,
            backlink,
            log,
            place: 0,
            keys: BTreeMap::new(),
            heads,
        }))
    }

    /// Plans the next message. If it becomes an operation, the end moves behind it.
    fn plan(
        &mut self,
        turn: &mut Turn<'_>,
        topic: &TopicRef,
        message: NewMessage,
    ) -> Result<Result<Planned, PublishError>, StoreError> {
        let key = message.key.map(|key| (key, message.content()));
        if let Some((key, content)) = key {
            match self.published_before(turn, &key, content)? {
                Ok(Some(before)) => return Ok(Ok(before)),
                Ok(None) => self.keys.insert(key, (content, self.place)),
                Err(error) => return Ok(Err(error)),
            };
        }
        let signed = self.sign(turn, topic, message, key)?;
        Ok(signed.map(Planned::Append))
    }

    /// Finds the publish with the same idempotency key.
    fn published_before(
        &self,
        turn: &Turn<'_>,
        key: &Hash,
        content: Hash,
    ) -> Result<Result<Option<Planned>, PublishError>, StoreError> {
        if let Some((of, place)) = self.keys.get(key) {
            // Nothing is signed yet that could be named.
            let taken = PublishError::KeyTaken { id: None };
            return Ok(match *of == content {
                true => Ok(Some(Planned::Same(*place))),
                false => Err(taken),
            });
        }
        let Some(log) = self.log else {
            return Ok(Ok(None));
        };
        let keyed = match turn.batch.keyed.get(&(log, *key)) {
            Some(keyed) => Some(keyed.clone()),
            None => stored_key(turn, log, self.own.name, key)?,
        };
        let Some(keyed) = keyed else {
            return Ok(Ok(None));
        };
        if keyed.content == content {
            return Ok(Ok(Some(Planned::Before(keyed.made))));
        }
        let id = turn.batch.published(&keyed.made).map(|taken| taken.id);
        Ok(Err(PublishError::KeyTaken { id }))
    }

    fn sign(
        &mut self,
        turn: &mut Turn<'_>,
        topic: &TopicRef,
        message: NewMessage,
        key: Option<(Hash, Hash)>,
    ) -> Result<Result<Signed, PublishError>, StoreError> {
        let Some(seq) = self.seq else {
            return Ok(Err(PublishError::SeqNumExhausted));
        };
        let message = match sealing::seal(turn, topic, message)? {
            Ok(message) => message,
            Err(error) => return Ok(Err(error)),
        };
        let parents = match parents(turn, topic, &self.own, &message.after)? {
            Ok(parents) => parents,
            Err(error) => return Ok(Err(error)),
        };
        let heads = dependencies(&turn.tx, &self.heads)?;
        let extensions = NodeExtensions {
            prune: message.prune,
            deps: joined(parents, heads),
            name: self.own.name,
            ..NodeExtensions::new(self.own.id, turn.now.wall)
        };
        let item = extensions.encode();
        let header = match sign(
            turn.state,
            topic,
            message.body.as_ref(),
            (seq, self.backlink),
            &item,
        ) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        (self.seq, self.backlink) = (seq.checked_add(1), Some(header.id()));
        let implies = !std::mem::take(&mut self.heads).is_empty();
        let body = message.body;
        Ok(Ok(Signed {
            log: self.own,
            operation: Operation { header, body },
            extensions,
            implies,
            key,
        }))
    }
}

/// Reads the publish of an earlier batch with an idempotency key.
fn stored_key(
    turn: &Turn<'_>,
    log: LogKey,
    name: Option<LogName>,
    key: &Hash,
) -> Result<Option<Keyed>, StoreError> {
    let stored = turn.tx.keyed_publish(log, key, turn.keys_since())?;
    Ok(stored.map(|stored| Keyed {
        content: stored.content,
        made: Made::Before(Published {
            id: stored.id,
            log: name,
            seq: stored.seq,
            timestamp: stored.at,
            arrival: stored.arrival,
            offset: stored.offset,
        }),
    }))
}

/// Returns why nothing is published, if our own newer operations are elsewhere.
fn held_back(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    own: &OwnLogRef,
) -> Result<Option<PublishError>, StoreError> {
    let Some(restored) = &turn.state.restored else {
        return Ok(None);
    };
    if !restored.pulling {
        return Ok(Some(PublishError::Restored));
    }
    // Operations of this batch count: they are stored with ours or not at all.
    let ahead = restored.ahead.get(&own.id).copied();
    let height = turn.height(topic, &own.label)?;
    let is_behind = ahead.is_some_and(|ahead| height.is_none_or(|height| height < ahead));
    Ok(is_behind.then_some(PublishError::PullingOwnLog))
}

fn sign(
    state: &State,
    topic: &TopicRef,
    body: Option<&Bytes>,
    (seq, backlink): (u32, Option<Hash>),
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
    let header = Header::sign(state.key_in(&topic.topic), draft).map_err(|error| match error {
        DraftError::EmptyBody => PublishError::EmptyBody,
        _ => too_large(0),
    })?;
    match too_large(header.as_bytes().len()) {
        refused @ PublishError::TooLarge { bytes, .. } if bytes > bytes_max => Err(refused),
        _ => Ok(header),
    }
}

/// Heads of other authors' logs that the previous operation of our log does not imply.
fn unimplied(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    own: &OwnLogRef,
) -> Result<Vec<RecentHead>, StoreError> {
    let implied = turn.batch.implied.contains(&(topic.key, own.label));
    // Operations of spaces name control operations and nothing else.
    let implied = implied || turn.state.spaces.is_space(&topic.topic);
    if implied || (own.name.is_none() && !turn.topic(topic).heard) {
        return Ok(Vec::new());
    }
    let (author, label) = (turn.state.author_in(&topic.topic), &own.label);
    turn.tx
        .recent_heads(topic.key, &author, label, DEPENDENCIES_MAX)
}

/// The operations of other logs among those that a message is to come after, the newest of each log.
fn parents(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    own: &OwnLogRef,
    after: &[Dependency],
) -> Result<Result<Vec<Dependency>, PublishError>, StoreError> {
    if after.len() > DEPENDENCIES_MAX {
        let parents = after.len();
        return Ok(Err(PublishError::TooManyParents { parents }));
    }
    for parent in after {
        if !is_stored(turn, topic, parent)? {
            let id = parent.id;
            return Ok(Err(PublishError::UnknownParent { id }));
        }
    }
    let of_others = after.iter().filter(|parent| parent.label() != own.label);
    Ok(Ok(joined(Vec::new(), of_others.copied().collect())))
}

fn is_stored(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    parent: &Dependency,
) -> Result<bool, StoreError> {
    let Some(log) = turn.log(topic, &parent.label())? else {
        return Ok(false);
    };
    if !(log.first_seq..=log.head.seq).contains(&parent.seq) {
        return Ok(false);
    }
    let key = log.key;
    let header = turn.stored_header(key, parent.seq)?;
    Ok(header.is_some_and(|header| header.id() == parent.id))
}

/// Both, the newest one of each log, and no more than a header takes.
fn joined(first: Vec<Dependency>, then: Vec<Dependency>) -> Vec<Dependency> {
    if first.is_empty() && then.len() < 2 {
        return then;
    }
    let mut joined: Vec<Dependency> = Vec::with_capacity(first.len() + then.len());
    for dependency in first.into_iter().chain(then) {
        let of = (dependency.author, dependency.log);
        let same = |known: &&mut Dependency| (known.author, known.log) == of;
        match joined.iter_mut().find(same) {
            Some(known) if known.seq < dependency.seq => *known = dependency,
            Some(_) => {}
            None => joined.push(dependency),
        }
    }
    joined.truncate(DEPENDENCIES_MAX);
    joined
}

fn dependencies(tx: &Tx<'_>, heads: &[RecentHead]) -> Result<Vec<Dependency>, StoreError> {
    let mut dependencies = Vec::new();
    for head in heads {
        if let Some(id) = id_of(tx, head)? {
            dependencies.push(Dependency {
                author: head.author,
                log: head.log_id,
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
