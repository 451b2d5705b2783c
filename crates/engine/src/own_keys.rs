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
    if let Form::Closed = turn.state.spaces.forms.shared {
        let now = seconds(turn);
        let native = Native::new(turn.state.author, now, &mut turn.state.rng);
        turn.state.spaces.forms.shared = Form::Native(Box::new(native));
        turn.state.spaces.touch();
        look_later(turn);
    }
}

/// The keys are looked at from now on, if they were not before.
fn look_later(turn: &mut Turn<'_>) {
    let look_us = micros(SPACE_KEYS_LOOK_INTERVAL);
    let due_us = turn.now.elapsed_us.saturating_add(look_us);
    let spaces = &mut turn.state.spaces;
    spaces.keys_due_us.get_or_insert(due_us);
    spaces.expiry.due_us.get_or_insert(due_us);
}

/// Draws an own key for the space of a topic, unless there is one (`docs/protocol/spaces.md#20`).
fn draw_own_key(turn: &mut Turn<'_>, topic: &Topic) -> Result<Result<(), SpaceError>, StoreError> {
    let spaces = &turn.state.spaces;
    if spaces.forms.is_own(topic) {
        return Ok(Ok(()));
    }
    if spaces.is_space(topic) || has_signed(turn, topic)? {
        return Ok(Err(SpaceError::NodeKey));
    }
    let now = seconds(turn);
    let State { spaces, rng, .. } = &mut *turn.state;
    let author = spaces.forms.draw(*topic, now, rng);
    // With the key, or not at all.
    turn.tx.add_own_author(&author)?;
    look_later(turn);
    Ok(Ok(()))
}

/// Returns `true` if the node key has signed something in a topic.
fn has_signed(turn: &mut Turn<'_>, topic: &Topic) -> Result<bool, StoreError> {
    let topic = turn.resolve(topic)?;
    let author = turn.state.author;
    let mut arrived = turn.batch.arrived.iter();
    let is_new = arrived.any(|one| one.topic.key == topic.key && one.header.author() == author);
    Ok(is_new || turn.tx.has_log_of(topic.key, &author)?)
}

/// Follows a space in a topic, with a key of its own if one is asked for, and publishes our keys there.
/// Returns whether it was not followed before.
pub(crate) fn follow(
    turn: &mut Turn<'_>,
    topic: &Topic,
    id: Option<SpaceId>,
    own_key: bool,
) -> Result<Result<bool, SpaceError>, StoreError> {
    if own_key && let Err(error) = draw_own_key(turn, topic)? {
        return Ok(Err(error));
    }
    if !turn.state.spaces.forms.is_own(topic) {
        open_form(turn);
    }
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
    let Form::Native(native) = turn.state.spaces.forms.of(&topic.topic) else {
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
    spaces.change_each(|native| native.renew(now, rng));
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
