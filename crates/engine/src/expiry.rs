//! Expiry in spaces of the message scheme: keys of messages that did not arrive, and plaintext of
//! messages that did (`docs/protocol/spaces-message.md#7`).

use p2panda_core::limits::{SPACE_EXPIRY_INTERVAL, SPACE_EXPIRY_STEP_ROWS_MAX};
use p2panda_core::{Timestamp, Topic};
use p2panda_spaces::Scheme;
use p2panda_store::StoreError;

use crate::desk::seconds;
use crate::idle;
use crate::now::micros;
use crate::turn::Turn;

/// Erases expired keys and plaintext, a bounded number in each batch.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    let spaces = &mut turn.state.spaces;
    if spaces.expiry.due_us.is_none_or(|due| due > now_us) {
        return Ok(());
    }
    let next_us = now_us.saturating_add(micros(SPACE_EXPIRY_INTERVAL));
    spaces.expiry.due_us = Some(next_us);
    let now = seconds(turn);
    turn.state.spaces.change_each(|native| {
        native.spaces.expire_epochs(now);
        true
    });
    for topic in message_topics(turn) {
        if expire(turn, topic)? {
            // The next batch continues.
            turn.state.spaces.expiry.due_us = Some(now_us);
            return Ok(());
        }
    }
    Ok(())
}

fn message_topics(turn: &Turn<'_>) -> Vec<Topic> {
    let spaces = &turn.state.spaces;
    let is_one = |topic: &Topic| {
        let native = spaces.native(topic);
        native.is_some_and(|(id, native)| native.spaces.scheme(&id) == Some(Scheme::Message))
    };
    let topics = spaces.topics().map(|(topic, _)| *topic);
    topics.filter(is_one).collect()
}

/// Returns `true` if more entries have to be searched.
fn expire(turn: &mut Turn<'_>, topic: Topic) -> Result<bool, StoreError> {
    let key = turn.resolve(&topic)?.key;
    let expiry = &turn.state.spaces.expiry;
    let after = expiry.until.get(&topic).copied().unwrap_or(0);
    let before = turn.now.wall.as_micros().saturating_sub(expiry.kept_us);
    let before = Timestamp::from_micros(before);
    let done = turn
        .tx
        .expire_opened(key, (after, before), SPACE_EXPIRY_STEP_ROWS_MAX)?;
    turn.state.spaces.expiry.until.insert(topic, done.until);
    if done.erased > 0 {
        turn.batch.change(topic).rewritten = true;
        idle::forget(turn.state, turn.now.elapsed_us);
    }
    Ok(done.has_more)
}
