//! Stage 5: deletes content by age (`docs/protocol/streams.md#22`).

use std::collections::BTreeMap;
use std::time::Duration;

use p2panda_core::limits::{
    FEED_TIME_WAIT, RETENTION_LOOK_INTERVAL, RETENTION_STEP_WAIT, RETENTION_TOPICS_STEP_MAX,
};
use p2panda_core::{Timestamp, Topic, VerifyingKey};
use p2panda_store::{AgedEntry, AgedUntil, Slice, StoreError, TopicKey};

use crate::idle;
use crate::now::micros;
use crate::turn::Turn;

/// Deletes one slice, if it is due.
pub(crate) fn step(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    let due = turn.state.aging.next_wake(&turn.state.limits.retention);
    if due.is_none_or(|due_us| due_us > now_us) {
        return Ok(());
    }
    let mut slice = turn.state.limits.prune_slice;
    let after = turn.state.aging.after;
    let topics = turn
        .tx
        .stored_topics(after.as_ref(), RETENTION_TOPICS_STEP_MAX)?;
    let is_last = topics.len() < RETENTION_TOPICS_STEP_MAX;
    for topic in topics {
        if let Some(age) = turn.state.limits.retention.of(&topic)
            && delete(turn, &topic, age, &mut slice)?
        {
            turn.state.aging.due_us = now_us.saturating_add(micros(RETENTION_STEP_WAIT));
            return Ok(());
        }
        turn.state.aging.after = Some(topic);
    }
    let aging = &mut turn.state.aging;
    let wait = match is_last {
        true => RETENTION_LOOK_INTERVAL,
        false => RETENTION_STEP_WAIT,
    };
    aging.after = aging.after.filter(|_| !is_last);
    aging.due_us = now_us.saturating_add(micros(wait));
    Ok(())
}

/// Deletes old content of a topic, up to the end of the slice. Returns whether there is more.
fn delete(
    turn: &mut Turn<'_>,
    topic: &Topic,
    age: Duration,
    slice: &mut Slice,
) -> Result<bool, StoreError> {
    let key = turn.tx.topic(topic)?;
    let before = turn.now.wall.as_micros().saturating_sub(micros(age));
    let before = Timestamp::from_micros(before);
    let mut until = turn.tx.feed_before(key, before, micros(FEED_TIME_WAIT))?;
    if !turn.state.limits.retention.unread {
        until = until.min(turn.tx.settled_by_all(key)?);
    }
    let mut place = turn.tx.aged_until(key)?;
    if place.looked >= until {
        return Ok(false);
    }
    let range = (place.looked, until);
    let entries = turn.tx.entries_between(key, range, slice.rows)?;
    let found = entries.len();
    let mut kept_labels = BTreeMap::new();
    for entry in entries {
        if slice.rows == 0 {
            break;
        }
        slice.rows -= 1;
        slice.bytes = slice.bytes.saturating_sub(entry.bytes);
        place.looked = entry.offset;
        if !is_kept(turn, (topic, &entry), &mut kept_labels)? && turn.tx.age_body(key, &entry)? {
            place.deleted = entry.offset;
            turn.batch.aged = true;
        }
        if slice.bytes == 0 {
            slice.rows = 0;
        }
    }
    let is_more = found > 0 && slice.rows == 0;
    finish(turn, (topic, key), place)?;
    Ok(is_more)
}

fn finish(
    turn: &mut Turn<'_>,
    (topic, key): (&Topic, TopicKey),
    place: AgedUntil,
) -> Result<(), StoreError> {
    if turn.tx.aged_until(key)? != place {
        turn.tx.set_aged_until(key, place)?;
    }
    if turn.batch.aged {
        turn.batch.change(*topic).rewritten = true;
        idle::deleted(turn);
    }
    Ok(())
}

/// Returns `true` if an entry stays: it is our own, has no body, or others need it to open a
/// space.
fn is_kept(
    turn: &Turn<'_>,
    (topic, entry): (&Topic, &AgedEntry),
    labels: &mut BTreeMap<VerifyingKey, bool>,
) -> Result<bool, StoreError> {
    if entry.bytes == 0 {
        return Ok(true);
    }
    if let Some(kept) = labels.get(&entry.label) {
        return Ok(*kept);
    }
    let [control, _] = turn.state.spaces.names();
    let named = turn.tx.named_log(&entry.label)?;
    let is_control = named.as_ref().is_some_and(|log| log.name == control);
    let author = named.map_or(entry.label, |log| log.author);
    // In topics of followed spaces, and in topics whose space only couriers know.
    let kept = is_control || turn.state.is_own(topic, &author);
    labels.insert(entry.label, kept);
    Ok(kept)
}
