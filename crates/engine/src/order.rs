//! Stage 3: causal order. An operation passes when all it depends on has passed before, or
//! when waiting for that is over.

use std::collections::VecDeque;

use p2panda_core::{Dependency, Header, VerifyingKey};
use p2panda_store::{LogKey, Ready, StoreError};

use crate::answer::EngineEvent;
use crate::batch::{Location, Ordered, Stored};
use crate::permit::{self, Candidate, Judged};
use crate::rejudge;
use crate::shares::Origin;
use crate::space::form::Kind;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Logs to inspect.
type Worklist = VecDeque<LogRef>;

#[derive(Clone, Copy)]
struct LogRef {
    topic: TopicRef,
    label: VerifyingKey,
    /// Origin of its last operation.
    origin: Origin,
}

impl LogRef {
    /// A log of which nothing came just now.
    fn quiet(topic: TopicRef, label: VerifyingKey) -> LogRef {
        LogRef {
            topic,
            label,
            origin: Origin::Node,
        }
    }
}

pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    permit::open_due(turn)?;
    rejudge::step(turn)?;
    let mut worklist = Worklist::new();
    add_due(turn, &mut worklist);
    add_pruned(turn, &mut worklist);
    drain(turn, &mut worklist)?;
    let times = turn.times();
    for index in 0..turn.batch.arrived.len() {
        let arrived = turn.batch.arrived.get(index);
        let Some(arrived) = arrived.filter(|arrived| !arrived.pruned) else {
            continue;
        };
        let (label, seq) = (arrived.label, arrived.header.seq());
        let log = LogRef {
            topic: arrived.topic,
            label,
            origin: arrived.origin,
        };
        let (topic, name) = (log.topic.topic, arrived.extensions.name);
        if let Some(kind) = turn.state.spaces.kind(&topic, name) {
            arrived_in_space(turn, &mut worklist, &log, (kind, index, seq))?;
            continue;
        }
        let waiting = &mut turn.topic(&log.topic).waiting;
        if waiting.is_blocked(&label) {
            waiting.arrived(&label, seq, times);
        } else {
            advance(turn, &mut worklist, &log, seq)?;
            drain(turn, &mut worklist)?;
        }
    }
    Ok(())
}

/// Something of a space has arrived. Logs of spaces wait for what they need, however long.
fn arrived_in_space(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    (kind, index, seq): (Kind, usize, u32),
) -> Result<(), StoreError> {
    if kind == Kind::Control {
        let mut free = Vec::new();
        permit::glance(turn, index, &mut free)?;
        worklist.extend(
            free.into_iter()
                .map(|label| LogRef::quiet(log.topic, label)),
        );
    }
    let waits = turn.state.spaces.waits(&log.topic.topic, &log.label);
    if waits.is_none() {
        advance(turn, worklist, log, seq)?;
    }
    drain(turn, worklist)
}

/// Logs whose time is over, which wait since before a restart, or of which a transaction has let pass
/// as many as it may. Each time another topic comes first.
fn add_due(turn: &mut Turn<'_>, worklist: &mut Worklist) {
    let times = turn.times();
    let mut topics = Vec::new();
    turn.state.topics.visit_awake(|state| {
        let mut due = state.waiting.take_recheck();
        due.extend(state.waiting.due(times));
        if !due.is_empty() {
            topics.push((state.topic, due));
        }
    });
    if let Some(first) = turn.state.turns.checked_rem(topics.len() as u64) {
        topics.rotate_left(first as usize);
        turn.state.turns = turn.state.turns.wrapping_add(1);
    }
    for (topic, logs) in topics {
        worklist.extend(logs.into_iter().map(|label| LogRef::quiet(topic, label)));
    }
}

/// Pruned logs that waited for what is gone, and those that waited for them.
fn add_pruned(turn: &mut Turn<'_>, worklist: &mut Worklist) {
    for prune in turn.batch.prunes.values() {
        let (topic, author) = (prune.topic, prune.label);
        let waiting = &mut turn.state.topics.get_mut(&topic).waiting;
        let space = turn.state.spaces.end_wait(&topic.topic, &author);
        if waiting.is_blocked(&author) || space.is_some() {
            worklist.push_back(LogRef::quiet(topic, author));
        }
        if let Some(last) = prune.seq.checked_sub(1) {
            let free = waiting.passed(&author, last).into_iter();
            worklist.extend(free.map(|author| LogRef::quiet(topic, author)));
        }
    }
}

fn drain(turn: &mut Turn<'_>, worklist: &mut Worklist) -> Result<(), StoreError> {
    while let Some(log) = worklist.pop_front() {
        advance(turn, worklist, &log, u32::MAX)?;
    }
    Ok(())
}

/// Lets the operations of a log pass one by one up to `until`, as far as they are ready.
fn advance(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    until: u32,
) -> Result<(), StoreError> {
    let mut has_passed = false;
    loop {
        let Some(front) = front_of(turn, log)?.filter(|front| front.seq <= until) else {
            let place = turn.topic(&log.topic).waiting.unblock(&log.label);
            turn.state.places.give_back(place);
            return Ok(());
        };
        let Some(operation) = load(turn, &front)? else {
            return quarantine(turn, log, front.seq);
        };
        if let Some(bytes) = operation.stored_bytes {
            if turn.batch.passing.is_used_up() {
                let waiting = &mut turn.topic(&log.topic).waiting;
                waiting.pause(&log.label, has_passed);
                return Ok(());
            }
            turn.batch.passing.take(bytes);
        }
        let name = turn.batch.extensions(&operation.location).name;
        if let Some(kind) = turn.state.spaces.kind(&log.topic.topic, name) {
            match advance_in_space(turn, worklist, log, (&front, kind, operation.location))? {
                true => {
                    has_passed = true;
                    continue;
                }
                false => return Ok(()),
            }
        }
        if turn.state.spaces.is_outside(&log.topic.topic, name) {
            pass_outside(turn, worklist, log, (&front, operation.location))?;
            has_passed = true;
            continue;
        }
        let missing = missing(turn, log, &operation.location)?;
        if let Some(first) = missing.first()
            && waits(turn, worklist, log, front.seq, first)?
        {
            return Ok(());
        }
        pass(turn, worklist, log, front.seq)?;
        turn.batch.ordered.push(Ordered {
            topic: log.topic.topic,
            location: operation.location,
            ready: operation.has_body.then_some(Ready::Body),
            missing,
        });
        has_passed = true;
    }
}

/// Lets an operation of a space pass if it is permitted; whether it is.
fn advance_in_space(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    (front, kind, location): (&Front, Kind, Location),
) -> Result<bool, StoreError> {
    let mut free = Vec::new();
    let candidate = Candidate {
        topic: log.topic,
        label: log.label,
        log: front.log,
        seq: front.seq,
        location: &location,
        kind,
    };
    let judged = permit::judge(turn, candidate, &mut free)?;
    worklist.extend(
        free.into_iter()
            .map(|label| LogRef::quiet(log.topic, label)),
    );
    let Judged::Passes(ready) = judged else {
        return Ok(false);
    };
    pass(turn, worklist, log, front.seq)?;
    turn.batch.ordered.push(Ordered {
        topic: log.topic.topic,
        location,
        ready,
        missing: Vec::new(),
    });
    Ok(true)
}

/// Lets an operation pass that is in the topic of a space, in a log that carries none: it waits for
/// nothing, and nobody is shown it.
fn pass_outside(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    (front, location): (&Front, Location),
) -> Result<(), StoreError> {
    permit::refuse_outside(turn, &log.topic, front.log, front.seq)?;
    pass(turn, worklist, log, front.seq)?;
    turn.batch.ordered.push(Ordered {
        topic: log.topic.topic,
        location,
        ready: None,
        missing: Vec::new(),
    });
    Ok(())
}

/// The operation of a log at `seq` cannot be read: nothing of the log continues.
fn quarantine(turn: &mut Turn<'_>, log: &LogRef, seq: u32) -> Result<(), StoreError> {
    let times = turn.times();
    let waiting = &mut turn.topic(&log.topic).waiting;
    let place = waiting.quarantine(&log.label, seq, times);
    turn.state.places.give_back(place);
    let author = turn.author_of(&log.label)?;
    turn.batch.events.push(EngineEvent::LogUnreadable {
        topic: log.topic.topic,
        author,
        seq,
    });
    Ok(())
}

/// Lets a log wait at `seq` for what it lacks, unless that has lasted long enough or there is no
/// room for it. Where another origin uses more of the room, the newest log of that origin continues
/// instead.
fn waits(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    seq: u32,
    lacks: &Dependency,
) -> Result<bool, StoreError> {
    let times = turn.times();
    let waiting = &turn.topic(&log.topic).waiting;
    if waiting.is_due(&log.label, seq, times) {
        return Ok(false);
    }
    let mut place = None;
    if !waiting.has_place(&log.label) {
        let places = &mut turn.state.places;
        let Some((taken, loses)) = places.take(log.origin, log.topic.topic, log.label) else {
            return Ok(false);
        };
        place = Some(taken);
        if let Some((topic, author)) = loses {
            let topic = turn.resolve(&topic)?;
            turn.topic(&topic).waiting.lose_place(&author);
            worklist.push_back(LogRef::quiet(topic, author));
        }
    }
    let waiting = &mut turn.topic(&log.topic).waiting;
    waiting.block(&log.label, seq, lacks, place, times);
    Ok(true)
}

/// The first operation of a log that has not passed.
struct Front {
    log: LogKey,
    seq: u32,
}

fn front_of(turn: &mut Turn<'_>, log: &LogRef) -> Result<Option<Front>, StoreError> {
    let Some(row) = turn.log(&log.topic, &log.label)? else {
        return Ok(None);
    };
    let seq = match row.ordered_seq {
        Some(seq) => seq.checked_add(1),
        None => Some(row.first_seq),
    };
    let seq = seq.filter(|seq| *seq <= row.head.seq);
    Ok(seq.map(|seq| Front { log: row.key, seq }))
}

/// Notes that the operation at `seq` has passed, and who may continue now.
fn pass(
    turn: &mut Turn<'_>,
    worklist: &mut Worklist,
    log: &LogRef,
    seq: u32,
) -> Result<(), StoreError> {
    let order = turn.tx.next_order();
    let row = turn.log_mut(&log.topic, &log.label)?;
    let row = row.expect("it has an operation that passes");
    row.ordered_seq = Some(seq);
    row.ordered_at = order;
    let is_own = log.label == turn.state.author;
    let state = turn.topic(&log.topic);
    state.heard |= !is_own;
    let free = state.waiting.passed(&log.label, seq).into_iter();
    worklist.extend(free.map(|author| LogRef::quiet(log.topic, author)));
    Ok(())
}

/// The next operation of a log.
struct Loaded {
    location: Location,
    has_body: bool,
    /// Of header and body, if it was stored earlier.
    stored_bytes: Option<usize>,
}

/// `None`: it cannot be read.
fn load(turn: &mut Turn<'_>, front: &Front) -> Result<Option<Loaded>, StoreError> {
    if let Some((index, arrived)) = turn.batch.arrived_at(front.log, front.seq) {
        return Ok(Some(Loaded {
            location: Location::Arrived(index),
            has_body: arrived.body.is_some(),
            stored_bytes: None,
        }));
    }
    let Some(stored) = turn.tx.operation(front.log, front.seq)? else {
        return Ok(None);
    };
    let header_bytes = stored.header.len();
    let header = Header::decode_unverified(stored.header).ok();
    let body_bytes = header.as_ref().map_or(0, Header::payload_size);
    let bytes = usize::try_from(body_bytes).unwrap_or(usize::MAX);
    let extensions = header.and_then(|header| header.node_extensions().ok());
    let arrival = stored.arrival;
    Ok(extensions.map(|extensions| Loaded {
        location: Location::Stored(Box::new(Stored {
            arrival,
            extensions,
        })),
        has_body: stored.has_body,
        stored_bytes: Some(bytes.saturating_add(header_bytes)),
    }))
}

/// Those of the dependencies that have not passed. Its own log is in order anyway.
fn missing(
    turn: &mut Turn<'_>,
    log: &LogRef,
    location: &Location,
) -> Result<Vec<Dependency>, StoreError> {
    let mut missing = Vec::new();
    let logs = &mut turn.state.logs;
    for dependency in &turn.batch.extensions(location).deps {
        let own = dependency.label() == log.label;
        if !own && !logs.has_met(&turn.tx, log.topic.key, dependency)? {
            missing.push(*dependency);
        }
    }
    Ok(missing)
}
