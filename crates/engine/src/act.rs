//! Our actions in spaces: on demand, and by ourselves (`docs/protocol/streams.md#7`).

use std::collections::BTreeSet;

use p2panda_core::limits::{SPACE_ASK_INTERVAL, SPACE_HEAL_WAIT, SPACE_NAME_BYTES_MAX};
use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_encryption::data::Rekey;
use p2panda_groups::Member;
use p2panda_spaces::{LocalError, Planned, Role, Settings};
use p2panda_store::StoreError;

use crate::command::Command;
use crate::desk::{Bytes, act, act_within, seconds};
use crate::drafts;
use crate::expiry;
use crate::join;
use crate::now::micros;
use crate::own_keys::{follow, renew_keys};
use crate::permit;
use crate::person;
use crate::recovery;
use crate::recovery_keys;
use crate::rotation;
use crate::secret_signs;
use crate::space::form::Form;
use crate::space_command::{SpaceChange, SpaceCommand, SpaceError, SpaceLook, SpaceState};
use crate::space_news::SpaceNews;
use crate::team;
use crate::topics::TopicRef;
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: SpaceCommand) -> Result<(), StoreError> {
    match command {
        SpaceCommand::Create {
            topic,
            settings,
            name,
            own_key,
            reply,
        } => {
            let created = create(turn, &topic, (settings, name), own_key)?;
            turn.answer(reply, created);
        }
        SpaceCommand::Follow {
            topic,
            id,
            own_key,
            reply,
        } => {
            let followed = follow(turn, &topic, id, own_key)?;
            turn.answer(reply, followed);
        }
        SpaceCommand::Join {
            topic,
            invite,
            own_key,
            reply,
        } => {
            let joined = join::join(turn, &topic, (*invite, own_key))?;
            turn.answer(reply, joined);
        }
        SpaceCommand::Offer {
            topic,
            role,
            uses,
            expires_at,
            reply,
        } => {
            if turn.state.spaces.person.is_of_devices(&topic) {
                turn.answer(reply, Err(SpaceError::DeviceSpace));
                return Ok(());
            }
            let topic = turn.resolve(&topic)?;
            let offered = join::offer(turn, &topic, (role, uses, expires_at))?;
            turn.answer(reply, offered);
        }
        SpaceCommand::Change {
            topic,
            change,
            reply,
        } => {
            if turn.state.spaces.person.is_of_devices(&topic) && !change.is_upkeep() {
                turn.answer(reply, Err(SpaceError::DeviceSpace));
                return Ok(());
            }
            if waits(turn, &topic, &change)? {
                turn.postpone(Command::Space(SpaceCommand::Change {
                    topic,
                    change,
                    reply,
                }));
                return Ok(());
            }
            let topic = turn.resolve(&topic)?;
            let changed = self::change(turn, &topic, change)?;
            turn.answer(reply, changed);
        }
        SpaceCommand::Person(command) => person::take(turn, command)?,
        SpaceCommand::Recovery(command) => recovery::take(turn, command)?,
        SpaceCommand::Team(command) => {
            team::take(turn, command);
            // What was decided takes effect at once, as far as one transaction may.
            person::due(turn)?;
        }
        SpaceCommand::HealNow { reply } => {
            let now_us = turn.now.elapsed_us;
            turn.state.spaces.heal_now(now_us);
            heal_due(turn)?;
            turn.answer(reply, ());
        }
        question => answer(turn, question),
    }
    Ok(())
}

/// Answers a question, which changes nothing.
fn answer(turn: &mut Turn<'_>, question: SpaceCommand) {
    match question {
        SpaceCommand::Look { topic, at, reply } => {
            let look = look(turn, &topic, at);
            turn.answer(reply, look);
        }
        SpaceCommand::Why {
            topic,
            member,
            reply,
        } => {
            let why = turn.state.spaces.native(&topic);
            let why = why.and_then(|(id, native)| native.spaces.why(&id, &member));
            turn.answer(reply, why);
        }
        SpaceCommand::Invites { topic, reply } => {
            let of = turn.state.spaces.native(&topic);
            let invites = of.map(|(id, native)| native.spaces.invites(&id));
            let invites = invites.into_iter().flat_map(|all| all.into_values());
            let invites = invites.collect();
            turn.answer(reply, invites);
        }
        SpaceCommand::SealEphemeral { topic, data, reply } => {
            let sealed = secret_signs::seal(turn, &topic, &data);
            turn.answer(reply, sealed);
        }
        SpaceCommand::OpenEphemeral {
            topic,
            author,
            body,
            reply,
        } => {
            let opened = secret_signs::open(turn, &topic, &author, &body);
            turn.answer(reply, opened);
        }
        SpaceCommand::OwnKey { topic, reply } => {
            let key = turn.state.spaces.forms.key(&topic).cloned();
            turn.answer(reply, key);
        }
        SpaceCommand::IsSpace { topic, reply } => {
            let is_space = turn.state.spaces.is_space(&topic);
            turn.answer(reply, is_space);
        }
        SpaceCommand::List { reply } => {
            let all = list(turn);
            turn.answer(reply, all);
        }
        // All others change something.
        _ => {}
    }
}

fn create(
    turn: &mut Turn<'_>,
    topic: &Topic,
    (settings, name): (Settings, Option<String>),
    own_key: bool,
) -> Result<Result<(), SpaceError>, StoreError> {
    if turn.state.spaces.is_space(topic) {
        return Ok(Err(SpaceError::Exists));
    }
    let name_bytes = name.as_ref().map_or(0, String::len);
    if name_bytes > SPACE_NAME_BYTES_MAX {
        return Ok(Err(LocalError::NameTooLong { bytes: name_bytes }.into()));
    }
    if let Err(error) = settings.check() {
        return Ok(Err(error.into()));
    }
    if let Err(error) = follow(turn, topic, None, own_key)? {
        return Ok(Err(error));
    }
    let topic = turn.resolve(topic)?;
    let spaces = &turn.state.spaces;
    // An own key is no device of the person.
    let person = spaces
        .person
        .id
        .filter(|_| !spaces.forms.is_own(&topic.topic));
    let made = act(turn, &topic, |spaces, desk| {
        let members = person.map_or_else(Vec::new, |person| spaces.owner(&person));
        let (id, mut events) = spaces.create_sealed(settings, &members, desk)?;
        if let Some(name) = &name {
            spaces.set_name(id, name, desk)?;
            events.extend(spaces.events());
        }
        Ok((id, events))
    })?;
    if let (Ok(id), Some(known)) = (&made, turn.state.spaces.known_mut(&topic.topic)) {
        known.id = Some(*id);
    }
    turn.state.spaces.person.tell_soon();
    Ok(made.map(drop))
}

/// Returns `true` if a change waits for what is sealed elsewhere. Healing that has to come first
/// is sealed there as well, by a draft of its own.
fn waits(turn: &mut Turn<'_>, topic: &Topic, change: &SpaceChange) -> Result<bool, StoreError> {
    let Some(planned) = drafts::planned(change) else {
        return Ok(false);
    };
    if planned != Planned::Heal && must_heal(turn, topic) {
        if drafts::waits(turn, topic, &Planned::Heal) {
            return Ok(true);
        }
        if turn.state.spaces.drafts.is_done(topic) {
            let topic = turn.resolve(topic)?;
            // What cannot be healed makes the change fail.
            let _ = self::change(turn, &topic, SpaceChange::Heal)?;
        }
    }
    Ok(drafts::waits(turn, topic, &planned))
}

/// Returns `true` if somebody has a secret who should not, or there is none that members alone
/// have.
fn must_heal(turn: &mut Turn<'_>, topic: &Topic) -> bool {
    let look = look(turn, topic, None);
    look.is_some_and(|look| matches!(look.rekey, Rekey::Required(_)) || look.behind)
}

fn change(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    change: SpaceChange,
) -> Result<Result<(), SpaceError>, StoreError> {
    change_within(turn, topic, change, &mut Bytes::default())
}

fn change_within(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    change: SpaceChange,
    bytes: &mut Bytes,
) -> Result<Result<(), SpaceError>, StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(Err(SpaceError::Unknown));
    };
    let ahead = turn.state.spaces.drafts.take_done(&topic.topic);
    let added = match &change {
        SpaceChange::AddGroup(group, _) => Some(*group),
        _ => None,
    };
    let is_wish = matches!(change, SpaceChange::RotateEvery(_));
    let changed = act_within(turn, topic, bytes, |spaces, desk| {
        if let Some(ahead) = ahead {
            spaces.go_by(ahead);
        }
        let events = match change {
            SpaceChange::Add(member, role) => match spaces.person_of(&id, &member) {
                Some(person) => spaces.add_person(id, person, role, desk)?,
                None => spaces.add(id, Member::Individual(member), role, desk)?,
            },
            SpaceChange::AddGroup(group, role) => match spaces.team(&group) {
                Some(_) => spaces.add_team(id, group, role, desk)?,
                None => spaces.add_person(id, group, role, desk)?,
            },
            SpaceChange::RemoveGroup(group) => match spaces.team(&group) {
                Some(_) => spaces.remove_team(id, group, desk)?,
                None => spaces.remove_person(id, group, desk)?,
            },
            SpaceChange::SetRole(member, role) => spaces.set_member_role(id, member, role, desk)?,
            SpaceChange::Remove(member) => spaces.remove_members(id, &[member], desk)?,
            SpaceChange::RemoveAll(members) => spaces.remove_members(id, &members, desk)?,
            SpaceChange::Rotate => spaces.rotate(id, desk)?,
            SpaceChange::Heal => spaces.heal(id, desk)?,
            SpaceChange::Ask => spaces.ask(id, desk)?,
            SpaceChange::Revoke(invite) => {
                spaces.revoke(id, invite, desk)?;
                spaces.events()
            }
            SpaceChange::Name(name) => {
                spaces.set_name(id, &name, desk)?;
                spaces.events()
            }
            SpaceChange::RaiseSuite(suite) => {
                spaces.raise_floor(id, suite, desk)?;
                spaces.events()
            }
            SpaceChange::RotateEvery(days) => {
                spaces.set_rotation(id, days, desk)?;
                spaces.events()
            }
        };
        Ok(((), events))
    })?;
    if let (Ok(()), Some(group)) = (&changed, added) {
        team::added(turn, topic.topic, group);
    }
    if is_wish {
        let now_us = turn.now.elapsed_us;
        turn.state.spaces.look_at_ages(now_us);
    }
    Ok(changed)
}

fn look(turn: &mut Turn<'_>, topic: &Topic, at: Option<Hash>) -> Option<SpaceLook> {
    let (id, now) = (turn.state.spaces.id(topic)?, seconds(turn));
    let spaces = &turn.state.spaces;
    let person = spaces.person.id.filter(|_| !spaces.forms.is_own(topic));
    let pending_teams = turn.state.spaces.person.teams.of(topic).collect();
    let mut recovery: Vec<VerifyingKey> = match at {
        Some(_) => Vec::new(),
        None => recovery_keys::keys(turn).into_keys().collect(),
    };
    let rotates_at = match at {
        Some(_) => None,
        None => rotation::due_at(turn, topic),
    };
    let Form::Native(native) = turn.state.spaces.forms.of_mut(topic) else {
        return None;
    };
    let (spaces, context) = native.context(now);
    let persons = match at {
        Some(_) => Vec::new(),
        None => spaces.persons(&id),
    };
    let teams = match at {
        Some(_) => Vec::new(),
        None => spaces.teams_of(&id),
    };
    let pending = person.map_or_else(Vec::new, |person| spaces.pending(&id, &person));
    let members = match at {
        Some(at) => spaces.members_at(&id, &at)?,
        None => spaces.members(&id),
    };
    recovery.retain(|key| members.iter().any(|(member, _)| member == key));
    let health = spaces.health(&id, &context);
    let health = health.as_ref();
    Some(SpaceLook {
        id,
        members,
        persons,
        teams,
        recovery,
        pending,
        pending_teams,
        tends: health.is_some_and(|health| health.persons),
        lacking: health.map_or_else(Vec::new, |health| health.lacking.clone()),
        excess: health.map_or_else(Vec::new, |health| health.excess.clone()),
        behind: health.is_some_and(|health| health.behind),
        rekey: health.map_or(Rekey::None, |health| health.rekey),
        suite: spaces.floor(&id).unwrap_or_default(),
        without_suite: spaces.without_suite(&id, &context),
        rotation_days: spaces.rotation_days(&id),
        rotates_at,
        secrets_left: spaces.secrets_left(&id),
    })
}

fn list(turn: &Turn<'_>) -> Vec<(Topic, SpaceState)> {
    let spaces = &turn.state.spaces;
    let state = |(topic, known): (&Topic, &crate::space::Known)| {
        let native = spaces
            .native(topic)
            .map(|(id, native)| (id, &native.spaces));
        let me = turn.state.author_in(topic);
        let role = native.and_then(|(id, spaces)| spaces.role(&id, &me));
        let state = SpaceState {
            id: known.id,
            name: native.and_then(|(id, spaces)| spaces.name(&id)),
            role,
            scheme: native.and_then(|(id, spaces)| spaces.scheme(&id)),
            suite: native.and_then(|(id, spaces)| spaces.floor(&id)),
            rotation_days: native.and_then(|(id, spaces)| spaces.rotation_days(&id)),
            secrets_left: native
                .filter(|_| role.is_some_and(Role::has_secrets))
                .map(|(id, spaces)| spaces.secrets_left(&id)),
            is_joining: known.joining.is_some(),
            is_of_devices: spaces.person.is_of_devices(topic),
            own_key: spaces.forms.author(topic),
        };
        (*topic, state)
    };
    spaces.topics().map(state).collect()
}

/// Before something is published into a space: what has to be healed first is, as far as possible.
/// Returns `true` if the publish waits for what is sealed elsewhere.
pub(crate) fn heal_first(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<bool, StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(false);
    };
    let now = seconds(turn);
    let spaces = &mut turn.state.spaces;
    let is_settled = spaces.settle_epoch(&topic.topic);
    let Form::Native(native) = spaces.forms.of_mut(&topic.topic) else {
        return Ok(false);
    };
    let sealed = native.spaces.can_seal(id);
    let (known, context) = native.context(now);
    let owes = sealed.is_ok() && !is_settled && known.owes_epoch(&id, &context);
    if owes || sealed.is_err_and(|error| error.is_retryable()) {
        if drafts::waits(turn, &topic.topic, &Planned::Heal) {
            return Ok(true);
        }
        // What cannot be healed makes the publish fail.
        let _ = change(turn, topic, SpaceChange::Heal)?;
    }
    Ok(false)
}

/// Does what is due by time: heals spaces, renews keys, asks to join, admits newcomers.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    if !turn.state.spaces.publishes(now_us) {
        return Ok(());
    }
    // The waits from before a restart, or a transaction that was taken back, are lost.
    for topic in turn.state.spaces.take_loaded() {
        permit::heal_soon(turn, &topic);
    }
    heal_due(turn)?;
    for (topic, waiting) in turn.state.spaces.take_lacking(now_us) {
        let topic = turn.resolve(&topic)?;
        say_what_lacks(turn, &topic, &waiting)?;
    }
    if turn.state.spaces.keys_due_us.is_some_and(|at| at <= now_us) {
        renew_keys(turn)?;
    }
    expiry::due(turn)?;
    rotation::due(turn)?;
    person::due(turn)?;
    join::due(turn)
}

/// Heals the spaces for which it is time.
fn heal_due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    for topic in turn.state.spaces.take_unhealed(turn.now.elapsed_us) {
        if turn.state.spaces.drafts.is_done(&topic) {
            // Revocations go first; they may have used what is done.
            person::follow(turn, &topic)?;
            if !turn.state.spaces.drafts.is_done(&topic) {
                continue;
            }
        }
        let topic = turn.resolve(&topic)?;
        heal(turn, &topic)?;
    }
    Ok(())
}

/// Tells others that we lack keys for which messages of members have waited for long.
fn say_what_lacks(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    waiting: &[VerifyingKey],
) -> Result<(), StoreError> {
    let Some((id, native)) = turn.state.spaces.native(&topic.topic) else {
        return Ok(());
    };
    let members = native.spaces.members(&id).into_iter();
    let members = members.filter(|(_, role)| role.has_secrets());
    let members: BTreeSet<VerifyingKey> = members.map(|(member, _)| member).collect();
    let mut is_of_member = false;
    for label in waiting {
        is_of_member |= members.contains(&turn.author_of(label)?);
    }
    if is_of_member {
        // Where we may not ask, nobody can help.
        let _ = change(turn, topic, SpaceChange::Ask)?;
        let later_us = turn
            .now
            .elapsed_us
            .saturating_add(micros(SPACE_ASK_INTERVAL));
        turn.state.spaces.lacks_from(&topic.topic, later_us);
    }
    Ok(())
}

/// Heals a space if that is needed, and reports it.
fn heal(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let Some(before) = look(turn, &topic.topic, None).filter(|look| !look.is_healed()) else {
        return Ok(());
    };
    let now_us = turn.now.elapsed_us;
    if drafts::waits(turn, &topic.topic, &Planned::Heal) {
        let later_us = now_us.saturating_add(micros(SPACE_HEAL_WAIT));
        turn.state.spaces.heal_by(&topic.topic, later_us);
        return Ok(());
    }
    // That nobody reads on who should not comes first.
    let mut bytes = Bytes::default();
    let native = turn.state.spaces.native(&topic.topic);
    let rotates = native.is_some_and(|(id, native)| {
        let planned = Planned::Heal;
        native.spaces.makes_secret(&id, &planned)
    });
    let is_for_others = before.rekey == Rekey::None && !rotates;
    if is_for_others {
        bytes.room = turn.state.spaces.may_heal(&topic.topic, turn.now);
        if bytes.room.is_none() {
            return Ok(());
        }
    }
    let healed = change_within(turn, topic, SpaceChange::Heal, &mut bytes)?;
    if is_for_others {
        turn.state.spaces.healed(&topic.topic, bytes.made);
        heal_the_others(turn, topic, &bytes);
    }
    if healed.is_ok()
        && let Some(after) = look(turn, &topic.topic, None)
    {
        let handed = before.lacking.into_iter();
        let removed = before.excess.into_iter();
        let news = SpaceNews::Healed {
            handed: handed.filter(|it| !after.lacking.contains(it)).collect(),
            rotated: before.rekey != Rekey::None && after.rekey == Rekey::None,
            removed: removed.filter(|it| !after.excess.contains(it)).collect(),
        };
        let topic = topic.topic;
        turn.tell_of_space(topic, news);
    }
    Ok(())
}

/// Those for whom there was no room any more are healed when there is.
fn heal_the_others(turn: &mut Turn<'_>, topic: &TopicRef, bytes: &Bytes) {
    if bytes.room.is_some_and(|room| bytes.made >= room) {
        let now_us = turn.now.elapsed_us;
        turn.state.spaces.heal_by(&topic.topic, now_us);
    }
}
