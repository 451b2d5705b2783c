//! Between order and delivery, for topics that carry a space: structure is opened and judged, then
//! content is opened (`docs/protocol/streams.md#7`).
//!
//! An operation of a space passes the order stage when this says so. What it waits for is kept for
//! its log; the operation itself is in the store.

use bytes::Bytes;
use chacha20::rand_core::Rng;
use p2panda_core::limits::{SPACE_ASK_WAIT, SPACE_HEAL_WAIT};
use p2panda_core::{Hash, Header, Topic, VerifyingKey};
use p2panda_store::{Change, LogKey, Ready, RejectReason, SealedOperation, StoreError};

use p2panda_spaces::{Role, SpaceId};

use crate::allowance::Allowance;
use crate::batch::Location;
use crate::command::Source;
use crate::now::micros;
use crate::recovery_keys;
use crate::rejudge;
use crate::reopen::{header_of, open};
use crate::space::form::{At, Content, Form, Kind, NotYet, Received, Told};
use crate::space::ranges::Range;
use crate::space::waits::Awaited;
use crate::space_news::SpaceNews;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Verdict on an operation: whether it passes.
pub(crate) enum Judged {
    /// Its log waits.
    Waits,
    /// It does; what the feed shows of it, if it shows something by now.
    Passes(Option<Ready>),
}

/// The operation of a log that is to be judged.
#[derive(Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub topic: TopicRef,
    pub label: VerifyingKey,
    pub log: LogKey,
    pub seq: u32,
    pub location: &'a Location,
    pub kind: Kind,
}

/// Header and body, wherever the operation is.
struct Found {
    header: Header,
    body: Option<Bytes>,
}

/// Judges an operation of a space. Logs that are free by it are pushed to `free`.
pub(crate) fn judge(
    turn: &mut Turn<'_>,
    candidate: Candidate<'_>,
    free: &mut Vec<VerifyingKey>,
) -> Result<Judged, StoreError> {
    let Candidate { topic, label, .. } = candidate;
    let Some(found) = find(turn, &candidate)? else {
        // Anyone who called has just read it.
        return Ok(Judged::Passes(None));
    };
    let id = found.header.id();
    let body = match found.body {
        Some(body) => body,
        None if found.header.payload_size() == 0 => Bytes::new(),
        None if turn.tx.is_dropped(candidate.log, candidate.seq)? => Bytes::new(),
        None => {
            turn.state.spaces.wait(&topic.topic, label, Awaited::Body);
            return Ok(Judged::Waits);
        }
    };
    let deps = &turn.batch.extensions(candidate.location).deps;
    let dependencies: Vec<Hash> = deps.iter().map(|dependency| dependency.id).collect();
    for missing in &dependencies {
        if turn.tx.control(topic.key, missing)?.is_none() {
            let awaited = Awaited::Control(*missing);
            turn.state.spaces.wait(&topic.topic, label, awaited);
            return Ok(Judged::Waits);
        }
    }
    let received = Received {
        id,
        author: found.header.author(),
        seq: u64::from(candidate.seq),
        dependencies: &dependencies,
        body: &body,
    };
    let ready = match candidate.kind {
        Kind::Control => control(turn, &candidate, &found.header, &received, free)?,
        Kind::Content => content(turn, &candidate, &found.header, &received)?,
    };
    match ready {
        Ok(ready) => Ok(Judged::Passes(ready)),
        Err(awaited) => {
            turn.state.spaces.wait(&topic.topic, label, awaited);
            if matches!(awaited, Awaited::Key(_)) {
                lacks_key(turn, &topic);
            }
            Ok(Judged::Waits)
        }
    }
}

fn control(
    turn: &mut Turn<'_>,
    candidate: &Candidate<'_>,
    header: &Header,
    received: &Received<'_>,
    free: &mut Vec<VerifyingKey>,
) -> Result<Result<Option<Ready>, Awaited>, StoreError> {
    let topic = candidate.topic;
    let at = at(turn, &topic);
    let spaces = &mut turn.state.spaces;
    spaces.touch_in(&topic.topic);
    let form = spaces.forms.of_mut(&topic.topic);
    let told = match form.receive_control(at, received) {
        Ok(told) => told,
        Err(NotYet::Invalid) => {
            refuse(turn, &topic, header, RejectReason::NoSpaceMessage)?;
            Vec::new()
        }
        Err(not_yet) => return awaited(turn, &topic, not_yet).map(Err),
    };
    let place = (&received.author, candidate.seq);
    turn.tx.add_control(topic.key, &received.id, place)?;
    let spaces = &mut turn.state.spaces;
    free.extend(spaces.came(&topic.topic, Awaited::Control(received.id)));
    if at.0.is_some() || !matches!(spaces.forms.of(&topic.topic), Form::Native(_)) {
        free.extend(spaces.came(&topic.topic, Awaited::Change));
    }
    spaces.person.look(&topic.topic);
    // Requests to join may be decided now.
    let now_us = turn.now.elapsed_us;
    if let Some(requests) = spaces.requests_mut(&topic.topic) {
        requests.look_by(now_us);
    }
    let members = told.iter().any(|told| matches!(told, Told::Members(_)));
    take(turn, &topic, Some(header), told, free)?;
    Ok(Ok(members.then_some(Ready::Changed(Change::Members))))
}

fn content(
    turn: &mut Turn<'_>,
    candidate: &Candidate<'_>,
    header: &Header,
    received: &Received<'_>,
) -> Result<Result<Option<Ready>, Awaited>, StoreError> {
    let topic = candidate.topic;
    if received.body.is_empty() {
        return Ok(Ok(None));
    }
    let at = at(turn, &topic);
    let spaces = &mut turn.state.spaces;
    spaces.touch_in(&topic.topic);
    let form = spaces.forms.of_mut(&topic.topic);
    let content = match form.receive_content(at, received) {
        Ok(content) => content,
        Err(NotYet::Invalid) => {
            refuse(turn, &topic, header, RejectReason::NoSpaceMessage)?;
            return Ok(Ok(None));
        }
        Err(not_yet) => return awaited(turn, &topic, not_yet).map(Err),
    };
    Ok(Ok(match content {
        Content::Stands(data) => Some(Ready::Opened(data)),
        Content::Withdrawn | Content::Gone => None,
        Content::Sealed(secret) => {
            let arrival = arrival_of(turn, candidate.location);
            turn.tx.park(topic.key, &secret, arrival)?;
            None
        }
        Content::Refused => {
            refuse(turn, &topic, header, RejectReason::NotAllowed)?;
            None
        }
    }))
}

fn awaited(turn: &Turn<'_>, topic: &TopicRef, not_yet: NotYet) -> Result<Awaited, StoreError> {
    Ok(match not_yet {
        NotYet::Missing(ids) => {
            for id in ids {
                if turn.tx.control(topic.key, &id)?.is_none() {
                    return Ok(Awaited::Control(id));
                }
            }
            Awaited::Change
        }
        NotYet::Key(key) => Awaited::Key(key),
        NotYet::Postponed | NotYet::Invalid => Awaited::Change,
    })
}

/// The space of a topic, if it is known, and the time.
fn at(turn: &Turn<'_>, topic: &TopicRef) -> At {
    let now = turn.now.wall.as_micros() / 1_000_000;
    (turn.state.spaces.id(&topic.topic), now)
}

/// A control operation has arrived: what it hands to us is taken at once, no matter what it waits
/// for.
pub(crate) fn glance(
    turn: &mut Turn<'_>,
    index: usize,
    free: &mut Vec<VerifyingKey>,
) -> Result<(), StoreError> {
    let Some(arrived) = turn.batch.arrived.get(index) else {
        return Ok(());
    };
    let Some(body) = arrived.body.clone() else {
        return Ok(());
    };
    let (topic, header) = (arrived.topic, arrived.header.clone());
    let at = at(turn, &topic);
    let spaces = &mut turn.state.spaces;
    let form = spaces.forms.of_mut(&topic.topic);
    let told = form.glance(at, &header.author(), &body);
    if !told.is_empty() {
        spaces.touch_in(&topic.topic);
    }
    take(turn, &topic, None, told, free)
}

/// Acts on what an operation brought about.
pub(crate) fn take(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: Option<&Header>,
    told: Vec<Told>,
    free: &mut Vec<VerifyingKey>,
) -> Result<(), StoreError> {
    for told in told {
        match told {
            Told::Members(changes) => {
                heal_soon(turn, &topic.topic);
                let me = turn.state.author_in(&topic.topic);
                let is_in = changes
                    .iter()
                    .any(|one| one.member == me && one.after.is_some());
                if is_in && let Some(known) = turn.state.spaces.known_mut(&topic.topic) {
                    known.joining = None;
                }
                let changes = changes.into_iter();
                let changes = changes.map(|one| (one.member, one.before, one.after));
                tell_of_members(turn, topic, changes.collect());
            }
            Told::Joined => {
                if let Some(known) = turn.state.spaces.known_mut(&topic.topic) {
                    known.joining = None;
                }
                if !turn.state.spaces.forms.is_own(&topic.topic) {
                    turn.state.spaces.person.came_in(topic.topic);
                }
                tell(turn, topic, SpaceNews::Joined);
            }
            Told::Ejected => {
                if !turn.state.spaces.forms.is_own(&topic.topic) {
                    turn.state.spaces.person.went_out(topic.topic);
                }
                tell(turn, topic, SpaceNews::Ejected);
            }
            Told::Bundle => {
                heal_soon(turn, &topic.topic);
                let now_us = turn.now.elapsed_us;
                turn.state.spaces.ask_by(&topic.topic, now_us);
            }
            Told::Person(device, of) => {
                heal_soon(turn, &topic.topic);
                let news = match of {
                    Some(person) => SpaceNews::Introduced { device, person },
                    None => SpaceNews::AsksToLeave { device },
                };
                tell(turn, topic, news);
            }
            Told::Nested(group) => {
                heal_soon(turn, &topic.topic);
                if turn.state.spaces.forms.is_own(&topic.topic) {
                    // Its groups are in no other space.
                    continue;
                }
                for other in turn.state.spaces.containing(&group) {
                    let other = turn.resolve(&other)?;
                    heal_soon(turn, &other.topic);
                }
            }
            Told::Floor(by, suite) => {
                let of = turn.state.spaces.native(&topic.topic);
                let is_supported = of.is_some_and(|(id, native)| native.spaces.supports(&id));
                let news = SpaceNews::SuiteRaised {
                    by,
                    suite,
                    is_supported,
                };
                tell(turn, topic, news);
            }
            Told::Rotation(by, days) => {
                let now_us = turn.now.elapsed_us;
                turn.state.spaces.look_at_ages(now_us);
                tell(turn, topic, SpaceNews::Rotation { by, days });
            }
            Told::NearsEnd(left) => tell(turn, topic, SpaceNews::NearsEnd { left }),
            Told::Request { newcomer, invite } => asked(turn, topic, newcomer, invite),
            Told::Overruled {
                operation,
                author,
                status,
            } => {
                let news = SpaceNews::Overruled {
                    operation,
                    author,
                    status,
                };
                tell(turn, topic, news);
            }
            Told::Conflict(event) => {
                let of = turn.state.spaces.native(&topic.topic);
                let group = of.and_then(|(id, native)| native.spaces.group(&id));
                if let Some(news) = SpaceNews::of_groups(event, group) {
                    tell(turn, topic, news);
                }
            }
            Told::Space(id) => {
                if turn.state.spaces.id(&topic.topic).is_none()
                    && let Some(known) = turn.state.spaces.known_mut(&topic.topic)
                {
                    known.id = Some(id);
                    free.extend(turn.state.spaces.came(&topic.topic, Awaited::Change));
                }
            }
            Told::Refused(refusal) => {
                if let Some(header) = header {
                    refuse(turn, topic, header, RejectReason::NotAllowed)?;
                    let (operation, author) = (header.id(), header.author());
                    let news = SpaceNews::Refused {
                        operation,
                        author,
                        refusal,
                    };
                    tell(turn, topic, news);
                }
            }
            Told::Keys(keys) => {
                for key in keys {
                    let came = turn.state.spaces.came(&topic.topic, Awaited::Key(key));
                    free.extend(came);
                }
            }
            Told::Secrets(secrets) => {
                let secrets = secrets.into_iter().map(|secret| (topic.topic, secret));
                turn.state.spaces.unsealed.extend(secrets);
            }
            Told::Range {
                author,
                first,
                end,
                stands,
            } => {
                let range = Range {
                    topic: topic.topic,
                    author,
                    first,
                    end: end.unwrap_or(u32::MAX),
                    stands,
                };
                rejudge::begin(turn, range)?;
            }
        }
    }
    Ok(())
}

/// A key does not come with what waits for it: after a while we say so.
fn lacks_key(turn: &mut Turn<'_>, topic: &TopicRef) {
    let wait_us = micros(SPACE_ASK_WAIT);
    let more_us = turn.state.rng.next_u64() % wait_us;
    let at_us = turn.now.elapsed_us.saturating_add(wait_us + more_us);
    turn.state.spaces.lacks_from(&topic.topic, at_us);
}

/// Somebody asks to join. The owner that offered the invite decides at once, others after a random
/// time.
fn asked(turn: &mut Turn<'_>, topic: &TopicRef, newcomer: VerifyingKey, invite: VerifyingKey) {
    let me = turn.state.author_in(&topic.topic);
    let is_ours = match turn.state.spaces.native(&topic.topic) {
        Some((id, native)) => {
            let invites = native.spaces.invites(&id);
            invites.get(&invite).is_some_and(|state| state.by == me)
        }
        None => false,
    };
    let wait_us = match is_ours {
        true => 0,
        false => turn.state.rng.next_u64() % micros(SPACE_HEAL_WAIT),
    };
    let at_us = turn.now.elapsed_us.saturating_add(wait_us);
    if let Some(requests) = turn.state.spaces.requests_mut(&topic.topic) {
        requests.came(newcomer, invite);
        requests.look_by(at_us);
    }
}

/// Something may have to be healed. Others may do so as well: who does waits for a random time.
pub(crate) fn heal_soon(turn: &mut Turn<'_>, topic: &Topic) {
    let wait_us = turn.state.rng.next_u64() % micros(SPACE_HEAL_WAIT);
    let at_us = turn.now.elapsed_us.saturating_add(wait_us);
    turn.state.spaces.heal_by(topic, at_us);
}

/// Changes of members; recovery keys of our own person are told as such.
fn tell_of_members(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    changes: Vec<(VerifyingKey, Option<Role>, Option<Role>)>,
) {
    let (keys, members): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|(member, _, _)| recovery_keys::is_key(turn, member));
    if !members.is_empty() {
        tell(turn, topic, SpaceNews::Members(members));
    }
    for (key, before, after) in keys {
        // It has the role of its person, of which is told already.
        if before.is_some() != after.is_some() {
            let is_in = after.is_some();
            tell(turn, topic, SpaceNews::RecoveryKey { key, is_in });
        }
    }
}

fn tell(turn: &mut Turn<'_>, topic: &TopicRef, news: SpaceNews) {
    turn.tell_of_space(topic.topic, news);
}

/// Opens content that waited for secrets which are here by now, a step in each transaction; the rest
/// is due at once.
pub(crate) fn open_due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let mut allowance = Allowance::default();
    while !allowance.is_used_up() {
        let Some((topic, secret)) = turn.state.spaces.unsealed.first().copied() else {
            return Ok(());
        };
        let topic = turn.resolve(&topic)?;
        let parked = turn.tx.parked(topic.key, &secret, allowance.left())?;
        let is_last = parked.is_empty();
        let mut is_here = true;
        for (arrival, operation) in parked {
            allowance.take(operation.as_ref().map_or(0, SealedOperation::bytes));
            is_here = open_parked(turn, &topic, (&secret, arrival), operation)?;
            if !is_here {
                break;
            }
        }
        if is_last || !is_here {
            turn.state.spaces.unsealed.remove(&(topic.topic, secret));
        }
    }
    Ok(())
}

/// Returns `true` if the secret is here.
fn open_parked(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    (secret, arrival): (&[u8; 32], u64),
    operation: Option<SealedOperation>,
) -> Result<bool, StoreError> {
    // Without a row it was pruned.
    if let Some(operation) = operation {
        let Some(header) = header_of(&operation) else {
            turn.tx.unpark(topic.key, secret, arrival)?;
            return Ok(true);
        };
        match open(turn, topic, &header, &operation.body) {
            Content::Sealed(_) => return Ok(false),
            Content::Stands(data) => {
                rejudge::show(turn, topic, &header, arrival, Ready::Opened(data));
            }
            Content::Withdrawn | Content::Gone => {}
            Content::Refused => refuse(turn, topic, &header, RejectReason::NotAllowed)?,
        }
    }
    turn.tx.unpark(topic.key, secret, arrival)?;
    Ok(true)
}

fn find(turn: &mut Turn<'_>, candidate: &Candidate<'_>) -> Result<Option<Found>, StoreError> {
    match candidate.location {
        Location::Arrived(index) => {
            let arrived = turn.batch.arrived.get(*index);
            Ok(arrived.map(|arrived| Found {
                header: arrived.header.clone(),
                body: arrived.body.clone(),
            }))
        }
        Location::Stored(stored) => {
            let Some(header) = turn.stored_header(candidate.log, candidate.seq)? else {
                return Ok(None);
            };
            let body = turn.tx.body(stored.arrival)?;
            Ok(Some(Found { header, body }))
        }
    }
}

fn arrival_of(turn: &Turn<'_>, location: &Location) -> u64 {
    match location {
        Location::Arrived(index) => {
            let arrived = turn.batch.arrived.get(*index);
            arrived.expect("nothing is taken out of it").arrival
        }
        Location::Stored(stored) => stored.arrival,
    }
}

/// An operation in the topic of a space, in a log that carries none, is a rejected row.
pub(crate) fn refuse_outside(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    log: LogKey,
    seq: u32,
) -> Result<(), StoreError> {
    match turn.stored_header(log, seq)? {
        Some(header) => refuse(turn, topic, &header, RejectReason::NoSpaceMessage),
        None => Ok(()),
    }
}

fn refuse(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
    reason: RejectReason,
) -> Result<(), StoreError> {
    let source = Source::Import { id: 0 };
    turn.reject(topic, source, (header.id(), header.as_bytes()), reason)?;
    Ok(())
}

/// From now on a topic carries a space. What is stored of it already is looked at again.
pub(crate) fn follow(
    turn: &mut Turn<'_>,
    topic: &Topic,
    id: Option<SpaceId>,
) -> Result<bool, StoreError> {
    let topic = turn.resolve(topic)?;
    if !turn.state.spaces.follow(topic.topic, id) {
        return Ok(false);
    }
    glance_at_stored(turn, &topic)?;
    let names = turn.state.spaces.names();
    for log in turn.tx.logs_not_named(topic.key, names)? {
        turn.tx.leave_feed(log)?;
        turn.batch.change(topic.topic).rewritten = true;
    }
    for name in names {
        for label in turn.tx.logs_named(topic.key, &name)? {
            let Some(log) = turn.log_mut(&topic, &label)? else {
                continue;
            };
            log.ordered_seq = log.first_seq.checked_sub(1);
            let key = log.key;
            turn.tx.leave_feed(key)?;
            turn.topic(&topic).waiting.recheck.push(label);
            turn.batch.change(topic.topic).rewritten = true;
        }
    }
    Ok(true)
}

/// Reads what the stored control operations hand out, as if they arrived.
fn glance_at_stored(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let [control, _] = turn.state.spaces.names();
    for label in turn.tx.logs_named(topic.key, &control)? {
        let Some(log) = turn.log(topic, &label)?.cloned() else {
            continue;
        };
        let mut from = log.first_seq;
        loop {
            let step = Allowance::default().left();
            let page = turn.tx.sealed_range(log.key, (from, u32::MAX), step)?;
            let Some((last, _)) = page.last() else {
                break;
            };
            from = last.saturating_add(1);
            for (_, operation) in page {
                let Some(header) = header_of(&operation) else {
                    continue;
                };
                let at = at(turn, topic);
                let spaces = &mut turn.state.spaces;
                let form = spaces.forms.of_mut(&topic.topic);
                let told = form.glance(at, &header.author(), &operation.body);
                // All its logs are looked at anyway.
                take(turn, topic, None, told, &mut Vec::new())?;
            }
        }
    }
    turn.state.spaces.touch_in(&topic.topic);
    Ok(())
}

#[cfg(test)]
mod tests;
