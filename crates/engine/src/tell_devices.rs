//! The devices of our person tell each other which spaces the person is in, and which devices are recovery
//! keys, in a space of their own
//! (`docs/protocol/spaces.md#18`).

use std::collections::BTreeMap;

use chacha20::rand_core::Rng;
use p2panda_core::limits::{PERSON_STEP_MAX, SPACE_NOTES_MAX};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_groups::GroupId;
use p2panda_spaces::{Pending, Role, Settings, SpaceId, Telling};
use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::desk::act;
use crate::own_keys::follow;
use crate::space::form::Form;
use crate::space::recovery::UNFINISHED;
use crate::space_command::SpaceError;
use crate::turn::Turn;

/// The reported spaces, and whether the person is a member.
type Told = BTreeMap<(Topic, SpaceId), bool>;

/// Creates the device space of a person, unless it exists.
pub(crate) fn ensure(
    turn: &mut Turn<'_>,
    person: GroupId,
) -> Result<Result<(), SpaceError>, StoreError> {
    if turn.state.spaces.person.of_devices().is_some() {
        return Ok(Ok(()));
    }
    let mut topic = [0; 32];
    turn.state.rng.fill_bytes(&mut topic);
    let topic = Topic::from_bytes(topic);
    if let Err(error) = follow_kept(turn, &topic, None)? {
        return Ok(Err(error));
    }
    let at = turn.resolve(&topic)?;
    let made = act(turn, &at, |spaces, desk| {
        let members = spaces.owner(&person);
        spaces.create_sealed(Settings::with_history(), &members, desk)
    })?;
    let id = match made {
        Ok(id) => id,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(known) = turn.state.spaces.known_mut(&topic) {
        known.id = Some(id);
    }
    turn.state.spaces.person.set_of_devices(topic, id);
    // The application gets no event for it.
    turn.batch
        .events
        .retain(|event| !matches!(event, EngineEvent::Space { topic: of, .. } if *of == topic));
    Ok(Ok(()))
}

/// Follows a space for the person, and keeps its topic.
pub(crate) fn follow_kept(
    turn: &mut Turn<'_>,
    topic: &Topic,
    id: Option<SpaceId>,
) -> Result<Result<(), SpaceError>, StoreError> {
    let followed = follow(turn, topic, id, false)?;
    turn.tx.keep_topic(topic, true)?;
    let topic = *topic;
    turn.batch.events.push(EngineEvent::FollowsSpace { topic });
    Ok(followed.map(drop))
}

/// Follows spaces that other devices reported, and reports ours, some in each batch.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    if !turn.state.spaces.person.take_tells() {
        return Ok(());
    }
    let person = &turn.state.spaces.person;
    let Some((person, (topic, id))) = person.id.zip(person.of_devices()) else {
        return Ok(());
    };
    let Some((_, native)) = turn.state.spaces.native(&topic) else {
        return Ok(());
    };
    let told = native.spaces.told_spaces(&id);
    let keys = native.spaces.told_recovery(&id, &person);
    for (key, written) in &keys {
        turn.state.spaces.recovery.note(*key, *written);
    }
    follow_told(turn, &told)?;
    introduce(turn, &person);
    tell(turn, person, (topic, id), (&told, &keys))
}

/// Introduces this node as a device of its person, where it has not done so.
fn introduce(turn: &mut Turn<'_>, person: &GroupId) {
    let spaces = &turn.state.spaces;
    let all = spaces.of_person().copied();
    let is_silent = |topic: &Topic| {
        let native = spaces.native(topic);
        native.is_some_and(|(id, native)| native.spaces.is_silent(&id, person))
    };
    let silent: Vec<Topic> = all.filter(is_silent).collect();
    for topic in silent {
        turn.state.spaces.person.add(topic, Pending::Introduce);
    }
}

fn follow_told(turn: &mut Turn<'_>, told: &Told) -> Result<(), StoreError> {
    let spaces = &turn.state.spaces;
    let new = told
        .iter()
        .filter(|((topic, _), is_in)| **is_in && !spaces.is_space(topic));
    let new: Vec<(Topic, SpaceId)> = new.map(|(about, _)| *about).collect();
    for (topic, id) in new.iter().take(PERSON_STEP_MAX) {
        // If our keys cannot be published now, they are published later with those of all topics.
        let _ = follow_kept(turn, topic, Some(*id))?;
    }
    if new.len() > PERSON_STEP_MAX {
        turn.state.spaces.person.tell_soon();
    }
    Ok(())
}

fn tell(
    turn: &mut Turn<'_>,
    person: GroupId,
    (topic, id): (Topic, SpaceId),
    (told, keys): (&Told, &BTreeMap<VerifyingKey, u64>),
) -> Result<(), StoreError> {
    let mut tellings = recovery(turn, &person, keys);
    tellings.extend(joined(turn, &topic, told));
    tellings.extend(left(turn, &person, told));
    let may = turn.state.spaces.native(&topic);
    let may = may.is_some_and(|(_, native)| native.spaces.may_write(&id));
    if tellings.is_empty() || !may {
        // What cannot be reported now is reported when the device space changes.
        return Ok(());
    }
    let has_more = tellings.len() > SPACE_NOTES_MAX;
    tellings.truncate(SPACE_NOTES_MAX);
    let at = turn.resolve(&topic)?;
    let done = act(turn, &at, |spaces, desk| {
        Ok(((), spaces.tell_devices(id, &tellings, desk)?))
    })?;
    tried(turn, topic, &done);
    if done.is_ok() {
        for telling in tellings {
            if let Telling::Left(topic, _) = telling {
                turn.state.spaces.person.end_left(topic);
            }
        }
        if has_more {
            turn.state.spaces.person.tell_soon();
        }
    }
    Ok(())
}

/// Schedules another attempt where publishing failed, because no message of others may ever come.
pub(crate) fn tried(turn: &mut Turn<'_>, topic: Topic, done: &Result<(), SpaceError>) {
    let now_us = turn.now.elapsed_us;
    let person = &mut turn.state.spaces.person;
    match done {
        Err(SpaceError::Publish(_)) => person.failed(topic, now_us),
        _ => person.done(&topic),
    }
}

/// Devices that are recovery keys, of which the others have not been told, or not of the newest date.
fn recovery(turn: &Turn<'_>, person: &GroupId, told: &BTreeMap<VerifyingKey, u64>) -> Vec<Telling> {
    let Form::Native(native) = &turn.state.spaces.forms.shared else {
        return Vec::new();
    };
    let devices = native.spaces.devices(person);
    // The others hear of a file once it is finished.
    let known = turn.state.spaces.recovery.all();
    let known = known.map(|(key, written)| match written {
        UNFINISHED => (key, 0),
        _ => (key, written),
    });
    let is_new = |(key, written): &(VerifyingKey, u64)| {
        let is_device = devices.binary_search(key).is_ok();
        is_device && told.get(key).is_none_or(|told| told < written)
    };
    let new = known.filter(is_new);
    new.map(|(key, written)| Telling::Recovery(key, written))
        .collect()
}

/// Returns spaces that we can read and that the other devices do not know.
fn joined(turn: &Turn<'_>, of_devices: &Topic, told: &Told) -> Vec<Telling> {
    let (spaces, me) = (&turn.state.spaces, turn.state.author);
    let is_new = |topic: &Topic| {
        let (id, native) = spaces.native(topic)?;
        let role = native.spaces.role(&id, &me);
        let is_told = told.get(&(*topic, id)).copied().unwrap_or(false);
        let tells = role.is_some_and(Role::has_secrets) && !is_told && topic != of_devices;
        tells.then_some(Telling::Joined(*topic, id))
    };
    spaces.of_person().filter_map(is_new).collect()
}

/// Returns spaces that the person left without the other devices knowing.
fn left(turn: &mut Turn<'_>, person: &GroupId, told: &Told) -> Vec<Telling> {
    let all: Vec<Topic> = turn.state.spaces.person.left().collect();
    let mut left = Vec::new();
    for topic in all {
        let known = turn.state.spaces.native(&topic);
        let is_out = known.filter(|(id, native)| {
            let is_told = told.get(&(topic, *id)).copied().unwrap_or(false);
            is_told && !native.spaces.has_person(id, person)
        });
        match is_out {
            Some((id, _)) => left.push(Telling::Left(topic, id)),
            None => turn.state.spaces.person.end_left(topic),
        }
    }
    left
}
