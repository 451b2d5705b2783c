//! Links and revokes devices of our person, and applies this in all its spaces
//! (`docs/protocol/spaces.md#18`).

use bytes::Bytes;
use p2panda_core::limits::{
    DEVICE_LINK_PART_BYTES_MAX, DEVICE_LINK_PARTS_MAX, PERSON_SPACES_MAX, PERSON_STEP_MAX,
};
use p2panda_core::{Topic, VerifyingKey};
use p2panda_encryption::{HybridBundle, Wire};
use p2panda_groups::GroupId;
use p2panda_spaces::{DeviceChange, LocalError, Pending, PersonCard, Planned, SpaceId};
use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::desk::{act_by_draft, seconds, sign};
use crate::drafts;
use crate::own_keys::open_form;
use crate::recovery_keys;
use crate::space::form::Form;
use crate::space::recovery::{is_due, newest};
use crate::space_command::{PersonCommand, PersonLook, SpaceError};
use crate::space_news::SpaceNews;
use crate::team;
use crate::tell_devices::{self, follow_kept};
use crate::turn::Turn;

/// Encoded bytes of a space in a card: an array of a topic and an id.
const CARD_SPACE_BYTES: usize = 69;

pub(crate) fn take(turn: &mut Turn<'_>, command: PersonCommand) -> Result<(), StoreError> {
    match command {
        PersonCommand::Create { reply } => {
            let made = create(turn)?;
            turn.answer(reply, made);
        }
        PersonCommand::Add {
            device,
            bundle,
            reply,
        } => {
            let added = add(turn, device, &bundle)?;
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
    // The change takes effect at once in as many spaces as fit into one transaction.
    due(turn)
}

fn create(turn: &mut Turn<'_>) -> Result<Result<GroupId, SpaceError>, StoreError> {
    let id = match turn.state.spaces.person.id {
        Some(id) => id,
        None => match create_group(turn) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        },
    };
    let made = tell_devices::ensure(turn, id)?;
    Ok(made.map(|()| id))
}

fn create_group(turn: &mut Turn<'_>) -> Result<GroupId, SpaceError> {
    open_form(turn);
    let id = sign(turn, |spaces, desk| spaces.create_person(&[], desk))?;
    turn.state.spaces.person.set(id);
    for topic in topics_of_ours(turn) {
        turn.state.spaces.person.add(topic, Pending::Introduce);
    }
    team::tend_own(turn, id)?;
    Ok(id)
}

/// Returns the topics of the spaces in which this node is a member.
fn topics_of_ours(turn: &Turn<'_>) -> Vec<Topic> {
    let (spaces, me) = (&turn.state.spaces, turn.state.author);
    let all = spaces.of_person().copied();
    let is_member = |topic: &Topic| {
        let native = spaces.native(topic);
        native.is_some_and(|(id, native)| native.spaces.role(&id, &me).is_some())
    };
    all.filter(is_member).collect()
}

pub(crate) fn add(
    turn: &mut Turn<'_>,
    device: VerifyingKey,
    bundle: &[u8],
) -> Result<Result<(), SpaceError>, StoreError> {
    Ok(match create(turn)? {
        Ok(person) => add_to(turn, person, (device, bundle)),
        Err(error) => Err(error),
    })
}

fn add_to(
    turn: &mut Turn<'_>,
    person: GroupId,
    (device, bundle): (VerifyingKey, &[u8]),
) -> Result<(), SpaceError> {
    let now = seconds(turn);
    if !bundle.is_empty() {
        let bundle = HybridBundle::decode(bundle).map_err(|_| SpaceError::Bundle)?;
        if let Form::Native(native) = &mut turn.state.spaces.forms.shared {
            let added = native.registry.add_hybrid(device, bundle, now);
            added.map_err(|_| SpaceError::Bundle)?;
        }
    }
    sign(turn, |spaces, desk| {
        Ok(((), spaces.add_device(person, device, desk)?))
    })?;
    team::tend_own(turn, person)?;
    to_do(turn, DeviceChange::Add(device));
    Ok(())
}

pub(crate) fn revoke(turn: &mut Turn<'_>, device: VerifyingKey) -> Result<(), SpaceError> {
    let person = turn.state.spaces.person.id;
    let person = person.ok_or(LocalError::NoDevice)?;
    sign(turn, |spaces, desk| {
        Ok(((), spaces.revoke_device(person, device, desk)?))
    })?;
    team::tend_own(turn, person)?;
    to_do(turn, DeviceChange::Revoke(device));
    Ok(())
}

fn to_do(turn: &mut Turn<'_>, change: DeviceChange) {
    let topics = topics_of_ours(turn);
    to_do_in(turn, &topics, change);
}

/// Adds a change to the tasks in these topics.
pub(crate) fn to_do_in(turn: &mut Turn<'_>, topics: &[Topic], change: DeviceChange) {
    for topic in topics.iter().copied() {
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
    let recovery = recovery_keys::keys(turn);
    let exported = newest(recovery.values().copied());
    PersonLook {
        id: Some(id),
        devices: match &spaces.forms.shared {
            Form::Native(native) => native.spaces.devices(&id),
            _ => Vec::new(),
        },
        of_devices: spaces.person.of_devices().map(|(topic, _)| topic),
        pending: spaces.person.all().collect(),
        recovery: recovery.into_keys().collect(),
        exported,
        is_renewal_due: is_due(exported, seconds(turn)),
    }
}

fn bundle(turn: &mut Turn<'_>) -> Result<Bytes, SpaceError> {
    open_form(turn);
    let now = seconds(turn);
    let Form::Native(native) = &turn.state.spaces.forms.shared else {
        return Err(SpaceError::Unknown);
    };
    let bundle = native.keys.hybrid_bundle(now).map_err(LocalError::from)?;
    Ok(Bytes::copy_from_slice(&bundle.encode()))
}

fn card(turn: &Turn<'_>) -> Result<PersonCard, SpaceError> {
    let mut card = whole_card(turn)?;
    if card.of_devices.is_some() {
        // The new device learns the others from the device space.
        let spaces = std::mem::take(&mut card.spaces);
        let room = room_for_spaces(&card);
        card.spaces = spaces.into_iter().take(room).collect();
    }
    Ok(card)
}

/// Returns the card with all spaces.
pub(crate) fn whole_card(turn: &Turn<'_>) -> Result<PersonCard, SpaceError> {
    let spaces = &turn.state.spaces;
    let (Some(id), Form::Native(native)) = (spaces.person.id, &spaces.forms.shared) else {
        return Err(LocalError::NoDevice.into());
    };
    let mut card = native.spaces.card(id)?;
    let named = |topic: Topic| Some((topic, spaces.id(&topic)?));
    card.of_devices = spaces.person.of_devices();
    let topics = topics_of_ours(turn).into_iter();
    let topics = topics.filter(|topic| !spaces.person.is_of_devices(topic));
    card.spaces = topics.filter_map(named).take(PERSON_SPACES_MAX).collect();
    Ok(card)
}

/// Returns how many spaces a card that goes over a device link can name.
fn room_for_spaces(card: &PersonCard) -> usize {
    let bytes = DEVICE_LINK_PARTS_MAX * DEVICE_LINK_PART_BYTES_MAX;
    let left = bytes.saturating_sub(card.encode().len());
    (left / CARD_SPACE_BYTES).min(PERSON_SPACES_MAX)
}

fn take_card(turn: &mut Turn<'_>, card: &PersonCard) -> Result<Result<(), SpaceError>, StoreError> {
    let known = turn.state.spaces.person.id;
    if known.is_some_and(|known| known != card.person) {
        return Ok(Err(SpaceError::OtherPerson));
    }
    open_form(turn);
    let me = turn.state.author;
    let Form::Native(native) = &mut turn.state.spaces.forms.shared else {
        return Ok(Err(SpaceError::Unknown));
    };
    let taken = native.spaces.take_card(card);
    turn.state.spaces.touch();
    if let Err(error) = taken {
        return Ok(Err(error.into()));
    }
    let Form::Native(native) = &turn.state.spaces.forms.shared else {
        return Ok(Err(SpaceError::Unknown));
    };
    if !native.spaces.devices(&card.person).contains(&me) {
        return Ok(Err(LocalError::NoDevice.into()));
    }
    let ours = topics_of_ours(turn);
    turn.state.spaces.person.set(card.person);
    let of_devices = card.of_devices;
    if let Some((topic, id)) = of_devices {
        turn.state.spaces.person.set_of_devices(topic, id);
    }
    for topic in ours {
        turn.state.spaces.person.add(topic, Pending::Introduce);
    }
    for (topic, id) in of_devices.iter().chain(&card.spaces) {
        if let Err(error) = follow_kept(turn, topic, Some(*id))? {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Applies changes of the person in its spaces, some in each batch.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    turn.state.spaces.person.retry(now_us);
    for topic in turn.state.spaces.person.take_due(PERSON_STEP_MAX) {
        // What cannot be signed now is, when more is known.
        let _ = team::recover(turn);
        follow(turn, &topic)?;
    }
    tell_devices::due(turn)?;
    end_restoring(turn);
    Ok(())
}

/// One space follows our person and our teams, as far as possible now.
pub(crate) fn follow(turn: &mut Turn<'_>, topic: &Topic) -> Result<(), StoreError> {
    if turn.state.spaces.forms.is_own(topic) {
        return Ok(());
    }
    work(turn, topic)?;
    team::work(turn, topic)
}

/// Applies changes in one space, as far as possible now, and stores the result in the same
/// transaction. A revocation that makes a secret for many waits until that is sealed elsewhere.
fn work(turn: &mut Turn<'_>, topic: &Topic) -> Result<(), StoreError> {
    let Some((person, id)) = turn.state.spaces.person.id.zip(turn.state.spaces.id(topic)) else {
        return Ok(());
    };
    let by = turn.state.spaces.recovery.restoring().cloned();
    let before = left(turn, &id, &person);
    if !before.is_empty() && !waits_for_recovery(turn, &id) {
        let is_revocation =
            |what: Pending| matches!(what, Pending::Change(DeviceChange::Revoke(_)));
        let rotates = before.into_iter().any(is_revocation);
        if rotates && drafts::waits(turn, topic, &Planned::Heal) {
            return Ok(());
        }
        let topic = turn.resolve(topic)?;
        // What is not possible now stays, and is tried again when a message arrives.
        let mine = Pending::Change(DeviceChange::Add(turn.state.author));
        let done = act_by_draft(turn, &topic, |spaces, desk| {
            let mut events = Vec::new();
            if let Some(by) = by.filter(|_| spaces.pending(&id, &person).contains(&mine)) {
                events.extend(spaces.recover(id, person, &by, desk)?);
            }
            if !spaces.pending(&id, &person).is_empty() {
                events.extend(spaces.follow_person(id, person, desk)?);
            }
            Ok(((), events))
        })?;
        tell_devices::tried(turn, topic.topic, &done);
    }
    let left = left(turn, &id, &person);
    let todo: Vec<Pending> = turn.state.spaces.person.of(topic).collect();
    let me = turn.state.author;
    let native = turn.state.spaces.native(topic);
    let is_in = native.is_some_and(|(id, native)| native.spaces.role(&id, &me).is_some());
    let waits_for_owner = left.contains(&Pending::Introduce);
    // While restoring: a space that this node has not joined.
    let waits_for_us = !is_in && turn.state.spaces.recovery.restoring().is_some();
    for what in todo {
        if waits_for_owner || waits_for_us || left.contains(&what) {
            continue;
        }
        turn.state.spaces.person.end(*topic, what);
        let news = match what {
            _ if !is_in => continue,
            Pending::Introduce => continue,
            // The change of members says what it is.
            Pending::Change(change) if recovery_keys::is_key(turn, &change.device()) => continue,
            Pending::Change(DeviceChange::Add(device)) => SpaceNews::Linked { device },
            Pending::Change(DeviceChange::Revoke(device)) => SpaceNews::Revoked { device },
        };
        let topic = *topic;
        turn.tell_of_space(topic, news);
    }
    for what in left {
        if waits_for_owner || matches!(what, Pending::Change(_)) {
            turn.state.spaces.person.keep(*topic, what);
        }
    }
    Ok(())
}

fn left(turn: &Turn<'_>, id: &SpaceId, person: &GroupId) -> Vec<Pending> {
    match &turn.state.spaces.forms.shared {
        Form::Native(native) => native.spaces.pending(id, person),
        _ => Vec::new(),
    }
}

/// Returns `true` if, as far as is known here, neither this node nor its recovery key is a member
/// of a space.
fn waits_for_recovery(turn: &Turn<'_>, id: &SpaceId) -> bool {
    let spaces = &turn.state.spaces;
    let (Some(key), Form::Native(native)) = (spaces.recovery.restoring(), &spaces.forms.shared)
    else {
        return false;
    };
    let is_in = |key: &VerifyingKey| native.spaces.role(id, key).is_some();
    !is_in(&turn.state.author) && !is_in(&key.verifying_key())
}

/// Erases the recovery key when no space needs it any more, and reminds of a file that should be
/// renewed.
fn end_restoring(turn: &mut Turn<'_>) {
    let mine = Pending::Change(DeviceChange::Add(turn.state.author));
    let spaces = &mut turn.state.spaces;
    if spaces.recovery.restoring().is_some() && !spaces.person.all().any(|(_, it)| it == mine) {
        spaces.recovery.end();
    }
    if !spaces.recovery.is_time(turn.now) {
        return;
    }
    let newest = recovery_keys::newest(turn);
    let recovery = &mut turn.state.spaces.recovery;
    if let Some(written) = recovery.take_reminder(turn.now, newest) {
        turn.batch.events.push(EngineEvent::RecoveryDue { written });
    }
}
