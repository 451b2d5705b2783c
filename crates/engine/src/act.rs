//! What we do in spaces: on demand, and by ourselves (`docs/protocol/streams.md#7`).

use std::collections::BTreeSet;

use p2panda_core::limits::{SPACE_ASK_INTERVAL, SPACE_NAME_BYTES_MAX};
use p2panda_core::{Hash, Topic, VerifyingKey};
use p2panda_encryption::data::Rekey;
use p2panda_groups::Member;
use p2panda_spaces::{LocalError, Settings};
use p2panda_store::StoreError;

use crate::answer::EngineEvent;
use crate::desk::{act, seconds};
use crate::join;
use crate::now::micros;
use crate::own_keys::{follow, renew_keys};
use crate::secret_signs;
use crate::space::form::Form;
use crate::space_command::{SpaceChange, SpaceCommand, SpaceError, SpaceLook, SpaceState};
use crate::space_news::SpaceNews;
use crate::state::State;
use crate::topics::TopicRef;
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: SpaceCommand) -> Result<(), StoreError> {
    match command {
        SpaceCommand::Create {
            topic,
            settings,
            name,
            reply,
        } => {
            let created = create(turn, &topic, settings, name)?;
            turn.answer(reply, created);
        }
        SpaceCommand::Follow { topic, id, reply } => {
            let followed = follow(turn, &topic, id)?;
            turn.answer(reply, followed);
        }
        SpaceCommand::Join {
            topic,
            invite,
            reply,
        } => {
            let joined = join::join(turn, &topic, *invite)?;
            turn.answer(reply, joined);
        }
        SpaceCommand::Offer {
            topic,
            role,
            uses,
            expires_at,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            let offered = join::offer(turn, &topic, (role, uses, expires_at))?;
            turn.answer(reply, offered);
        }
        SpaceCommand::Change {
            topic,
            change,
            reply,
        } => {
            let topic = turn.resolve(&topic)?;
            let changed = self::change(turn, &topic, change)?;
            turn.answer(reply, changed);
        }
        question => answer(turn, question),
    }
    Ok(())
}

/// What is asked and changes nothing.
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
    settings: Settings,
    name: Option<String>,
) -> Result<Result<(), SpaceError>, StoreError> {
    if turn.state.spaces.is_space(topic) {
        return Ok(Err(SpaceError::Exists));
    }
    let name_bytes = name.as_ref().map_or(0, String::len);
    if name_bytes > SPACE_NAME_BYTES_MAX {
        return Ok(Err(LocalError::TooLarge.into()));
    }
    if let Err(error) = follow(turn, topic, None)? {
        return Ok(Err(error));
    }
    let topic = turn.resolve(topic)?;
    let made = act(turn, &topic, |spaces, desk| {
        let (id, mut events) = spaces.create_sealed(settings, &[], desk)?;
        if let Some(name) = &name {
            spaces.set_name(id, name, desk)?;
            events.extend(spaces.events());
        }
        Ok((id, events))
    })?;
    if let (Ok(id), Some(known)) = (&made, turn.state.spaces.known_mut(&topic.topic)) {
        known.id = Some(*id);
    }
    Ok(made.map(drop))
}

fn change(
    turn: &mut Turn<'_>,
    topic: &TopicRef,
    change: SpaceChange,
) -> Result<Result<(), SpaceError>, StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(Err(SpaceError::Unknown));
    };
    act(turn, topic, |spaces, desk| {
        let events = match change {
            SpaceChange::Add(member, role) => {
                spaces.add(id, Member::Individual(member), role, desk)?
            }
            SpaceChange::SetRole(member, role) => {
                spaces.set_role(id, Member::Individual(member), role, desk)?
            }
            SpaceChange::Remove(member) => spaces.remove(id, Member::Individual(member), desk)?,
            SpaceChange::RemoveAll(members) => {
                let members = members.into_iter().map(Member::Individual);
                spaces.remove_all(id, &members.collect::<Vec<_>>(), desk)?
            }
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
        };
        Ok(((), events))
    })
}

fn look(turn: &mut Turn<'_>, topic: &Topic, at: Option<Hash>) -> Option<SpaceLook> {
    let (id, now) = (turn.state.spaces.id(topic)?, seconds(turn));
    let Form::Native(native) = &mut turn.state.spaces.form else {
        return None;
    };
    let (spaces, context) = native.context(now);
    let members = match at {
        Some(at) => spaces.members_at(&id, &at)?,
        None => spaces.members(&id),
    };
    let health = spaces.health(&id, &context);
    let health = health.as_ref();
    Some(SpaceLook {
        id,
        members,
        lacking: health.map_or_else(Vec::new, |health| health.lacking.clone()),
        excess: health.map_or_else(Vec::new, |health| health.excess.clone()),
        behind: health.is_some_and(|health| health.behind),
        rekey: health.map_or(Rekey::None, |health| health.rekey),
    })
}

fn list(turn: &Turn<'_>) -> Vec<(Topic, SpaceState)> {
    let (spaces, me) = (&turn.state.spaces, turn.state.author);
    let state = |(topic, known): (&Topic, &crate::space::Known)| {
        let native = spaces
            .native(topic)
            .map(|(id, native)| (id, &native.spaces));
        let role = native.and_then(|(id, spaces)| {
            let members = spaces.members(&id).into_iter();
            let mut roles = members.filter(|(member, _)| *member == me);
            roles.next().map(|(_, role)| role)
        });
        let state = SpaceState {
            id: known.id,
            name: native.and_then(|(id, spaces)| spaces.name(&id)),
            role,
            is_joining: known.joining.is_some(),
        };
        (*topic, state)
    };
    spaces.topics().map(state).collect()
}

/// Before something is published into a space: what has to be healed first is, as far as possible.
pub(crate) fn heal_first(turn: &mut Turn<'_>, topic: &TopicRef) -> Result<(), StoreError> {
    let Some(id) = turn.state.spaces.id(&topic.topic) else {
        return Ok(());
    };
    let State { spaces, rng, .. } = &mut *turn.state;
    let Form::Native(native) = &spaces.form else {
        return Ok(());
    };
    let sealed = native.spaces.seal_content(id, &[], rng);
    if sealed.is_err_and(|error| error.is_retryable()) {
        // What cannot be healed makes the publish fail.
        let _ = change(turn, topic, SpaceChange::Heal)?;
    }
    Ok(())
}

/// What is due by time: spaces are healed, keys renewed, newcomers ask and are let in.
pub(crate) fn due(turn: &mut Turn<'_>) -> Result<(), StoreError> {
    let now_us = turn.now.elapsed_us;
    if !turn.state.spaces.publishes(now_us) {
        return Ok(());
    }
    for topic in turn.state.spaces.take_unhealed(now_us) {
        let topic = turn.resolve(&topic)?;
        heal(turn, &topic)?;
    }
    for (topic, waiting) in turn.state.spaces.take_lacking(now_us) {
        let topic = turn.resolve(&topic)?;
        say_what_lacks(turn, &topic, &waiting)?;
    }
    if turn.state.spaces.keys_due_us.is_some_and(|at| at <= now_us) {
        renew_keys(turn)?;
    }
    join::due(turn)
}

/// Where messages of members have waited for keys for long, others are told that we lack them.
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
    // That nobody reads on who should not comes first.
    let now_us = turn.now.elapsed_us;
    if before.rekey == Rekey::None && !turn.state.spaces.may_heal(&topic.topic, now_us) {
        return Ok(());
    }
    if change(turn, topic, SpaceChange::Heal)?.is_ok()
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
        turn.batch.events.push(EngineEvent::Space { topic, news });
    }
    Ok(())
}
