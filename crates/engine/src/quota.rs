//! Limits of what is kept of others (`docs/protocol/streams.md#21`).

use p2panda_core::{Header, VerifyingKey};
use p2panda_store::{Counted, LogKey, RejectReason, StoreError, TopicKey};

use crate::blocking;
use crate::kept::{Kept, counted};
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Returns `true` if an operation that its log takes next is within the quotas. One that deletes
/// as much as it brings always is, and what is our own.
pub(crate) fn allows(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
    prunes: bool,
) -> Result<bool, StoreError> {
    let author = header.author();
    let is_own = turn.state.is_own(&topic.topic, &author);
    if !turn.state.limits.quotas.is_any() || is_own {
        return Ok(true);
    }
    let mut deleted = 0;
    if prunes && let Some(log) = turn.log(topic, &header.label())?.cloned() {
        deleted = deletes(turn, (log.key, log.bytes, log.pruned_bytes))?;
    }
    match bytes_of(header).saturating_sub(deleted) {
        0 => Ok(true),
        more => has_room(turn, topic.key, author, more),
    }
}

/// An operation was appended. If it prunes its log: which that is, and its bytes and pruned bytes before.
pub(crate) fn appended(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    header: &Header,
    pruned: Option<(LogKey, u64, u64)>,
) -> Result<(), StoreError> {
    if !turn.state.limits.quotas.is_any() {
        return Ok(());
    }
    let deleted = match pruned {
        Some(log) => deletes(turn, log)?,
        None => 0,
    };
    let change = signed(bytes_of(header)).saturating_sub(signed(deleted));
    let author = header.author();
    turn.batch.kept.changes.push((topic.key, author, change));
    for of in counted(topic.key, author) {
        if let Some(now) = turn.batch.kept.now.get_mut(&of) {
            *now = now.saturating_add_signed(change);
        }
    }
    Ok(())
}

/// The logs of the batch are saved. If some were pruned, old bodies deleted, or the quotas changed, those go on
/// that were blocked and for whose next operation there is room now. Room that a given-up branch leaves
/// is there before the first batch ([`Blocked::open`](crate::blocked::Blocked::open)).
pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let made_room = turn.batch.aged || !turn.batch.prunes.is_empty();
    let changed = take_new(turn)?;
    if !(changed || made_room && turn.state.limits.quotas.is_any()) {
        return Ok(());
    }
    turn.batch.kept = Kept::default();
    for (topic, log) in turn.state.blocked.of(RejectReason::Quota) {
        let key = turn.tx.topic(&topic)?;
        if has_room(turn, key, log.author, log.bytes)? {
            blocking::goes_on(turn, (topic, key), &log)?;
            // Its head is a lower one again, or none.
            turn.batch.change(topic).heads_anew = true;
        }
    }
    Ok(())
}

/// Takes the new quotas, if there are any. What is kept is counted from then on, or not any more.
fn take_new(turn: &mut Turn<'_>) -> Result<bool, StoreError> {
    let Some(quotas) = turn.batch.quotas.take() else {
        return Ok(false);
    };
    turn.tx.count_kept(quotas.is_any())?;
    turn.state.limits.quotas = quotas;
    Ok(true)
}

/// Returns `true` if so many more bytes fit.
fn has_room(
    turn: &mut Turn<'_>,
    topic: TopicKey,
    author: VerifyingKey,
    more: u64,
) -> Result<bool, StoreError> {
    let mut bytes = [0; 3];
    for (bytes, of) in bytes.iter_mut().zip(counted(topic, author)) {
        *bytes = kept(turn, of)?;
    }
    let quotas = turn.state.limits.quotas;
    Ok(quotas.exceeded(bytes, more).is_none())
}

fn kept(turn: &mut Turn<'_>, of: Counted) -> Result<u64, StoreError> {
    if let Some(now) = turn.batch.kept.now.get(&of) {
        return Ok(*now);
    }
    let mut now = turn.tx.kept_bytes(of)?;
    for (topic, author, change) in &turn.batch.kept.changes {
        if counted(*topic, *author).contains(&of) {
            now = now.saturating_add_signed(*change);
        }
    }
    turn.batch.kept.now.insert(of, now);
    Ok(now)
}

/// Returns what a prune deletes of a log, which is not deleted anyway.
fn deletes(
    turn: &Turn<'_>,
    (log, bytes, pruned_bytes): (LogKey, u64, u64),
) -> Result<u64, StoreError> {
    Ok(match turn.batch.prunes.get(&log) {
        Some(prune) => bytes.saturating_sub(prune.bytes_before),
        None => {
            let deleted = pruned_bytes.saturating_add(turn.tx.aged_bytes(log)?);
            bytes.saturating_sub(deleted)
        }
    })
}

/// Bytes of an operation as they are counted, whether its body is here or not.
pub(crate) fn bytes_of(header: &Header) -> u64 {
    header.as_bytes().len() as u64 + u64::from(header.payload_size())
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
