//! New secrets of spaces by age, where owners ask for that (`docs/protocol/streams.md#7`).

use chacha20::rand_core::Rng;
use p2panda_core::Topic;
use p2panda_core::limits::{SPACE_HEAL_WAIT, SPACE_ROTATION_INTERVAL, SPACE_ROTATION_WAIT};
use p2panda_spaces::{Planned, Role};
use p2panda_store::StoreError;

use crate::desk::{Bytes, act_within, seconds};
use crate::drafts;
use crate::now::micros;
use crate::space::age;
use crate::space_news::SpaceNews;
use crate::topics::TopicRef;
use crate::turn::Turn;

/// Looks for secrets that are too old, and replaces those whose time has come.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    if turn.state.spaces.ages_due_us.is_some_and(|at| at <= now_us) {
        look(turn);
    }
    for topic in turn.state.spaces.take_aged(now_us) {
        let topic = turn.resolve(&topic)?;
        rotate(turn, &topic)?;
    }
    Ok(())
}

/// Returns the time at which the secret of a space is too old, in seconds since 1970; `None` if nobody
/// asks for rotation by age, or we would seal under none.
pub(crate) fn due_at(turn: &Turn<'_>, topic: &Topic) -> Option<u64> {
    let (id, native) = turn.state.spaces.native(topic)?;
    let days = native.spaces.rotation_days(&id)?;
    let secret = native.spaces.sealing_secret(&id)?;
    let now = seconds(turn);
    let since = turn.state.spaces.secret_since(topic, secret, now);
    Some(age::due_at(since, days))
}

/// Plans the rotations that are due. Other owners may rotate as well: who does waits for a random time.
fn look(turn: &mut Turn<'_>) {
    let (now, now_us) = (seconds(turn), turn.now.elapsed_us);
    let topics = turn.state.spaces.topics();
    let topics: Vec<Topic> = topics.map(|(topic, _)| *topic).collect();
    let mut is_asked = false;
    for topic in topics {
        let Some((id, native)) = turn.state.spaces.native(&topic) else {
            continue;
        };
        if native.spaces.rotation_days(&id).is_none() {
            continue;
        }
        is_asked = true;
        if let Some(secret) = native.spaces.sealing_secret(&id) {
            turn.state.spaces.notice_secret(&topic, secret, now);
        }
        if too_old(turn, &topic).is_some() {
            let wait_us = turn.state.rng.next_u64() % micros(SPACE_ROTATION_WAIT);
            let at_us = now_us.saturating_add(wait_us);
            turn.state.spaces.rotate_by(&topic, at_us);
        }
    }
    let next_us = now_us.saturating_add(micros(SPACE_ROTATION_INTERVAL));
    turn.state.spaces.ages_due_us = is_asked.then_some(next_us);
}

/// Returns the days after which a secret is replaced, if we are an owner and it is that old.
fn too_old(turn: &Turn<'_>, topic: &Topic) -> Option<u32> {
    let is_due = due_at(turn, topic)? <= seconds(turn);
    let (id, native) = turn.state.spaces.native(topic)?;
    let role = native.spaces.role(&id, &turn.state.author_in(topic));
    let days = native.spaces.rotation_days(&id)?;
    (is_due && role == Some(Role::Owner)).then_some(days)
}

/// Replaces the secret of a space, unless a new one has come since.
fn rotate(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let days = too_old(turn, &topic.topic);
    let Some((days, id)) = days.zip(turn.state.spaces.id(&topic.topic)) else {
        return Ok(());
    };
    let (now, now_us) = (turn.now, turn.now.elapsed_us);
    if drafts::waits(turn, &topic.topic, &Planned::Rotate) {
        let later_us = now_us.saturating_add(micros(SPACE_HEAL_WAIT));
        let spaces = &mut turn.state.spaces;
        spaces.rotate_when_drawn(&topic.topic, later_us);
        return Ok(());
    }
    if !turn.state.spaces.may_rotate(&topic.topic, now) {
        return Ok(());
    }
    let ahead = turn.state.spaces.drafts.take_done(&topic.topic);
    let mut bytes = Bytes::default();
    let rotated = act_within(turn, topic, &mut bytes, |spaces, desk| {
        if let Some(ahead) = ahead {
            spaces.go_by(ahead);
        }
        Ok(((), spaces.rotate(id, desk)?))
    })?;
    turn.state.spaces.healed(&topic.topic, bytes.made);
    // What failed is tried again at the next look.
    if rotated.is_ok() {
        turn.tell_of_space(topic.topic, SpaceNews::RotatedByAge { days });
    }
    Ok(())
}
