//! The public keys of this node, published in every followed space (`docs/protocol/streams.md#7`).

use p2panda_core::Topic;
use p2panda_core::limits::{SPACE_BUNDLES_STEP_MAX, SPACE_KEYS_LOOK_INTERVAL};
use p2panda_spaces::{LocalError, SpaceId, Spaces};
use p2panda_store::StoreError;

use crate::desk::seconds;
use crate::forge;
use crate::now::micros;
use crate::permit;
use crate::space::form::{Form, Native};
use crate::space_command::SpaceError;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Draws keys, unless there are some.
pub(crate) fn open_form(turn: &mut Turn<'_>) {
    if let Form::Closed = turn.state.spaces.form {
        let now = seconds(turn);
        let native = Native::new(turn.state.author, now, &mut turn.state.rng);
        turn.state.spaces.form = Form::Native(Box::new(native));
        turn.state.spaces.touch();
        let look_us = micros(SPACE_KEYS_LOOK_INTERVAL);
        let due_us = turn.now.elapsed_us.saturating_add(look_us);
        turn.state.spaces.keys_due_us = Some(due_us);
        turn.state.spaces.expiry.due_us = Some(due_us);
    }
}

/// Follows a space in a topic and publishes our keys there. Returns whether it was not followed
/// before.
pub(crate) fn follow(
    turn: &mut Turn<'_>,
    topic: &Topic,
    id: Option<SpaceId>,
) -> Result<Result<bool, SpaceError>, StoreError> {
    open_form(turn);
    let is_new = permit::follow(turn, topic, id)?;
    let topic = turn.resolve(topic)?;
    if let Err(error) = publish_keys(turn, &topic)? {
        return Ok(Err(error));
    }
    Ok(Ok(is_new))
}

/// Publishes our keys unless they are published. Returns whether it did.
fn publish_keys(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
) -> Result<Result<bool, SpaceError>, StoreError> {
    let now = seconds(turn);
    let Form::Native(native) = &turn.state.spaces.form else {
        return Ok(Ok(false));
    };
    let until = native.keys.hybrid_bundle(now).ok();
    let until = until.map_or(0, |bundle| bundle.signed_prekey.lifetime.not_after);
    let mut topics = turn.state.spaces.topics();
    let published = topics.find(|(known, _)| **known == topic.topic);
    let published = published.map(|(_, known)| known.keys_until);
    drop(topics);
    if published.is_none_or(|published| published >= until) {
        return Ok(Ok(false));
    }
    let body = match Spaces::bundle_body(&native.keys, now) {
        Ok(body) => body,
        Err(error) => return Ok(Err(LocalError::from(error).into())),
    };
    if let Some(error) = forge::control_refusal(turn, topic)? {
        return Ok(Err(error.into()));
    }
    if let Err(error) = forge::forge_control(turn, topic, &[], body)? {
        return Ok(Err(error.into()));
    }
    if let Some(known) = turn.state.spaces.known_mut(&topic.topic) {
        known.keys_until = until;
    }
    // A request to join under earlier keys is repeated.
    let now_us = turn.now.elapsed_us;
    turn.state.spaces.ask_by(&topic.topic, now_us);
    Ok(Ok(true))
}

/// Renews keys that expire soon and publishes them in every space, some in each batch.
pub(crate) fn renew_keys(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let (now, now_us) = (seconds(turn), turn.now.elapsed_us);
    let State { spaces, rng, .. } = &mut *turn.state;
    if let Form::Native(native) = &mut spaces.form
        && native.renew(now, rng)
    {
        spaces.touch();
    }
    let topics: Vec<Topic> = spaces.topics().map(|(topic, _)| *topic).collect();
    let mut published = 0;
    for topic in topics {
        let topic = turn.resolve(&topic)?;
        published += usize::from(publish_keys(turn, &topic)? == Ok(true));
        if published >= SPACE_BUNDLES_STEP_MAX {
            return Ok(());
        }
    }
    let next_us = now_us.saturating_add(micros(SPACE_KEYS_LOOK_INTERVAL));
    turn.state.spaces.keys_due_us = Some(next_us);
    Ok(())
}
