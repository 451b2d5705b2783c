//! What we do about our person: devices are linked and revoked, and all spaces follow
//! (`docs/protocol/spaces.md#18`).

use bytes::Bytes;
use p2panda_core::limits::{PERSON_SPACES_MAX, PERSON_STEP_MAX};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::{HybridBundle, Wire};
use p2panda_groups::GroupId;
use p2panda_spaces::{DeviceChange, LocalError, Pending, PersonCard, SpaceId};
use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::desk::{act, seconds, sign};
use crate::own_keys::{follow, open_form};
use crate::space::form::Form;
use crate::space_command::{PersonCommand, PersonLook, SpaceError};
use crate::space_news::SpaceNews;
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: PersonCommand) -> Result<(), StoreError> {
    match command {
        PersonCommand::Create { reply } => {
            let made = create(turn);
            turn.answer(reply, made);
        }
        PersonCommand::Add {
            device,
            bundle,
            reply,
        } => {
            let added = add(turn, device, &bundle);
            turn.answer(reply, added);
        }
        PersonCommand::Revoke { device, reply } => {
            let revoked = revoke(turn, device);
            turn.answer(reply, revoked);
        }
        PersonCommand::Look { reply } => {
            let look = look(turn);
            turn.answer(reply, look);
        }
        PersonCommand::Bundle { reply } => {
            let bundle = bundle(turn);
            turn.answer(reply, bundle);
        }
        PersonCommand::Card { reply } => {
            let card = card(turn);
            turn.answer(reply, card);
        }
        PersonCommand::TakeCard { card, reply } => {
            let taken = take_card(turn, &card)?;
            turn.answer(reply, taken);
        }
    }
    // What was decided takes effect at once, as far as one transaction may.
    due(turn)
}

fn create(turn: &mut Turn<'_>) -> Result<GroupId, SpaceError> {
    if let Some(id) = turn.state.spaces.person.id {
        return Ok(id);
    }
    open_form(turn);
    let id = sign(turn, |spaces, desk| spaces.create_person(&[], desk))?;
    turn.state.spaces.person.set(id);
    for topic in topics_of_ours(turn) {
        turn.state.spaces.person.add(topic, Pending::Introduce);
    }
    Ok(id)
}

/// Topics in whose spaces we are a member.
fn topics_of_ours(turn: &Turn<'_>) -> Vec<Topic> {
    let (spaces, me) = (&turn.state.spaces, turn.state.author);
    let all = spaces.topics().map(|(topic, _)| *topic);
    let is_member = |topic: &Topic| {
        let native = spaces.native(topic);
        native.is_some_and(|(id, native)| native.spaces.role(&id, &me).is_some())
    };
    all.filter(is_member).collect()
}

fn add(turn: &mut Turn<'_>, device: VerifyingKey, bundle: &[u8]) -> Result<(), SpaceError> {
    let person = create(turn)?;
    let now = seconds(turn);
    if !bundle.is_empty() {
        let bundle = HybridBundle::decode(bundle).map_err(|_| SpaceError::Bundle)?;
        if let Form::Native(native) = &mut turn.state.spaces.form {
            let added = native.registry.add_hybrid(device, bundle, now);
            added.map_err(|_| SpaceError::Bundle)?;
        }
    }
    sign(turn, |spaces, desk| {
        Ok(((), spaces.add_device(person, device, desk)?))
    })?;
    to_do(turn, DeviceChange::Add(device));
    Ok(())
}

fn revoke(turn: &mut Turn<'_>, device: VerifyingKey) -> Result<(), SpaceError> {
    let person = turn.state.spaces.person.id;
    let person = person.ok_or(LocalError::NoDevice)?;
    sign(turn, |spaces, desk| {
        Ok(((), spaces.revoke_device(person, device, desk)?))
    })?;
    to_do(turn, DeviceChange::Revoke(device));
    Ok(())
}

fn to_do(turn: &mut Turn<'_>, change: DeviceChange) {
    for topic in topics_of_ours(turn) {
        let person = &mut turn.state.spaces.person;
        let opposite = match change {
            DeviceChange::Add(device) => DeviceChange::Revoke(device),
            DeviceChange::Revoke(device) => DeviceChange::Add(device),
        };
        person.end(topic, Pending::Change(opposite));
        person.add(topic, Pending::Change(change));
    }
}

fn look(turn: &Turn<'_>) -> PersonLook {
    let spaces = &turn.state.spaces;
    let Some(id) = spaces.person.id else {
        return PersonLook::default();
    };
    PersonLook {
        id: Some(id),
        devices: match &spaces.form {
            Form::Native(native) => native.spaces.devices(&id),
            _ => Vec::new(),
        },
        pending: spaces.person.all().collect(),
    }
}

fn bundle(turn: &mut Turn<'_>) -> Result<Bytes, SpaceError> {
    open_form(turn);
    let now = seconds(turn);
    let Form::Native(native) = &turn.state.spaces.form else {
        return Err(SpaceError::Unknown);
    };
    let bundle = native.keys.hybrid_bundle(now).map_err(LocalError::from)?;
    Ok(Bytes::copy_from_slice(&bundle.encode()))
}

fn card(turn: &Turn<'_>) -> Result<PersonCard, SpaceError> {
    let spaces = &turn.state.spaces;
    let (Some(id), Form::Native(native)) = (spaces.person.id, &spaces.form) else {
        return Err(LocalError::NoDevice.into());
    };
    let mut card = native.spaces.card(id)?;
    let named = |topic: Topic| Some((topic, spaces.id(&topic)?));
    let topics = topics_of_ours(turn).into_iter().filter_map(named);
    card.spaces = topics.take(PERSON_SPACES_MAX).collect();
    Ok(card)
}

fn take_card(turn: &mut Turn<'_>, card: &PersonCard) -> Result<Result<(), SpaceError>, StoreError> {
    let known = turn.state.spaces.person.id;
    if known.is_some_and(|known| known != card.person) {
        return Ok(Err(SpaceError::OtherPerson));
    }
    open_form(turn);
    let me = turn.state.author;
    let Form::Native(native) = &mut turn.state.spaces.form else {
        return Ok(Err(SpaceError::Unknown));
    };
    let taken = native.spaces.take_card(card);
    turn.state.spaces.touch();
    if let Err(error) = taken {
        return Ok(Err(error.into()));
    }
    let Form::Native(native) = &turn.state.spaces.form else {
        return Ok(Err(SpaceError::Unknown));
    };
    if !native.spaces.devices(&card.person).contains(&me) {
        return Ok(Err(LocalError::NoDevice.into()));
    }
    let ours = topics_of_ours(turn);
    turn.state.spaces.person.set(card.person);
    for topic in ours {
        turn.state.spaces.person.add(topic, Pending::Introduce);
    }
    for (topic, id) in &card.spaces {
        if let Err(error) = follow(turn, topic, Some(*id))? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Spaces follow, some in each batch.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    for topic in turn.state.spaces.person.take_due(PERSON_STEP_MAX) {
        work(turn, &topic)?;
    }
    Ok(())
}

/// One space follows, as far as that is possible now. What is done is stored with what did it.
fn work(turn: &mut Turn<'_>, topic: &Topic) -> Result<(), StoreError> {
    let Some((person, id)) = turn.state.spaces.person.id.zip(turn.state.spaces.id(topic)) else {
        return Ok(());
    };
    if !left(turn, &id, &person).is_empty() {
        let topic = turn.resolve(topic)?;
        // What cannot be done now stays, and is tried again when something comes.
        let _ = act(turn, &topic, |spaces, desk| {
            Ok(((), spaces.follow_person(id, person, desk)?))
        })?;
    }
    let left = left(turn, &id, &person);
    let todo: Vec<Pending> = turn.state.spaces.person.of(topic).collect();
    let me = turn.state.author;
    let native = turn.state.spaces.native(topic);
    let is_in = native.is_some_and(|(id, native)| native.spaces.role(&id, &me).is_some());
    let waits_for_owner = left.contains(&Pending::Introduce);
    for what in todo {
        if waits_for_owner || left.contains(&what) {
            continue;
        }
        turn.state.spaces.person.end(*topic, what);
        let news = match what {
            _ if !is_in => continue,
            Pending::Introduce => continue,
            Pending::Change(DeviceChange::Add(device)) => SpaceNews::Linked { device },
            Pending::Change(DeviceChange::Revoke(device)) => SpaceNews::Revoked { device },
        };
        let topic = *topic;
        turn.batch.events.push(EngineEvent::Space { topic, news });
    }
    for what in left {
        if waits_for_owner || matches!(what, Pending::Change(_)) {
            turn.state.spaces.person.keep(*topic, what);
        }
    }
    Ok(())
}

fn left(turn: &Turn<'_>, id: &SpaceId, person: &GroupId) -> Vec<Pending> {
    match &turn.state.spaces.form {
        Form::Native(native) => native.spaces.pending(id, person),
        _ => Vec::new(),
    }
}
