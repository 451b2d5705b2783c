//! Changes of teams, which all spaces follow (`docs/protocol/spaces.md#19`).

use p2panda_core::limits::SPACE_NAME_BYTES_MAX;
use p2panda_core::{Topic, VerifyingKey};
use p2panda_groups::{GroupId, Member};
use p2panda_spaces::{LocalError, Planned, Role, SpaceId};
use p2panda_store::StoreError;

use crate::desk::{act_by_draft, sign};
use crate::drafts;
use crate::own_keys::open_form;
use crate::space::form::{Form, Native};
use crate::space_command::{SpaceError, TeamCommand, TeamLook};
use crate::tell_devices;
use crate::turn::Turn;

pub(crate) fn take(turn: &mut Turn<'_>, command: TeamCommand) {
    match command {
        TeamCommand::Create { name, reply } => {
            let made = create(turn, name);
            turn.answer(reply, made);
        }
        TeamCommand::Change {
            team,
            member,
            role,
            reply,
        } => {
            let changed = change(turn, team, member, role);
            turn.answer(reply, changed);
        }
        TeamCommand::Named { id, reply } => {
            let named = named(turn, id);
            turn.answer(reply, named);
        }
        TeamCommand::List { reply } => {
            let all = list(turn);
            turn.answer(reply, all);
        }
    }
}

fn native<'t>(turn: &'t Turn<'_>) -> Result<&'t Native, SpaceError> {
    match &turn.state.spaces.forms.shared {
        Form::Native(native) => Ok(native),
        _ => Err(SpaceError::Unknown),
    }
}

/// Returns what an id names. Spaces with a key of their own may know other groups.
fn named(turn: &Turn<'_>, id: VerifyingKey) -> Member {
    let natives = turn.state.spaces.forms.natives();
    let mut named = natives.map(|native| native.spaces.named(&id));
    let group = named.find(|named| matches!(named, Member::Group(_)));
    group.unwrap_or(Member::Individual(id))
}

fn create(turn: &mut Turn<'_>, name: String) -> Result<GroupId, SpaceError> {
    if name.len() > SPACE_NAME_BYTES_MAX {
        return Err(LocalError::NameTooLong { bytes: name.len() }.into());
    }
    open_form(turn);
    let person = turn.state.spaces.person.id;
    let team = sign(turn, |spaces, desk| spaces.create_team(person, desk))?;
    if !name.is_empty() {
        turn.state.spaces.person.teams.call(team, name);
    }
    Ok(team)
}

fn change(
    turn: &mut Turn<'_>,
    team: GroupId,
    member: Member,
    role: Option<Role>,
) -> Result<(), SpaceError> {
    let member = meant(turn, &team, member, role.is_some())?;
    sign(turn, |spaces, desk| {
        Ok(((), spaces.change_team(team, member, role, desk)?))
    })?;
    to_do(turn, team);
    Ok(())
}

/// Returns the member that a call means which names a device: its person, where that is known.
fn meant(
    turn: &Turn<'_>,
    team: &GroupId,
    member: Member,
    adds: bool,
) -> Result<Member, SpaceError> {
    let spaces = &native(turn)?.spaces;
    let Member::Individual(key) = member else {
        return Ok(member);
    };
    let listed = spaces.member_of_team(team, &key);
    if !adds || matches!(listed, Member::Group(_)) {
        return Ok(listed);
    }
    let person = match key == turn.state.author {
        true => turn.state.spaces.person.id,
        false => spaces.person_known(&key),
    };
    Ok(person.map_or(member, Member::Group))
}

/// The spaces that a team is in have to hear of a change.
fn to_do(turn: &mut Turn<'_>, team: GroupId) {
    for topic in topics_with(turn, &team) {
        turn.state.spaces.person.add_team(topic, team);
    }
}

fn topics_with(turn: &Turn<'_>, team: &GroupId) -> Vec<Topic> {
    let spaces = &turn.state.spaces;
    let all = spaces.of_person().copied();
    let has = |topic: &Topic| {
        let native = spaces.native(topic);
        native.is_some_and(|(id, native)| native.spaces.has_team(&id, team))
    };
    all.filter(has).collect()
}

/// A team was added to a space: it may have to be given its name there.
pub(crate) fn added(turn: &mut Turn<'_>, topic: Topic, team: GroupId) {
    let is_team = native(turn).is_ok_and(|native| native.spaces.manages(&team));
    if is_team && !turn.state.spaces.forms.is_own(&topic) {
        turn.state.spaces.person.add_team(topic, team);
    }
}

/// The devices of our person have changed: the teams that we manage change with them.
pub(crate) fn tend_own(turn: &mut Turn<'_>, person: GroupId) -> Result<(), SpaceError> {
    let changed = sign(turn, |spaces, desk| spaces.tend_own_teams(person, desk))?;
    for team in changed {
        to_do(turn, team);
    }
    Ok(())
}

/// A device that is restored manages what the recovery key manages.
pub(crate) fn recover(turn: &mut Turn<'_>) -> Result<(), SpaceError> {
    let Some(by) = turn.state.spaces.recovery.restoring().cloned() else {
        return Ok(());
    };
    let changed = sign(turn, |spaces, _| spaces.recover_teams(&by))?;
    let person = turn.state.spaces.person.id.filter(|_| !changed.is_empty());
    for team in changed {
        to_do(turn, team);
    }
    // Devices that were revoked with the restore manage none of them any more.
    if let Some(person) = person {
        tend_own(turn, person)?;
    }
    Ok(())
}

/// One space follows the teams in it, as far as that is possible now. A removal that makes a secret for
/// many waits until that is sealed elsewhere.
pub(crate) fn work(turn: &mut Turn<'_>, topic: &Topic) -> Result<(), StoreError> {
    let Some(id) = turn.state.spaces.id(topic) else {
        return Ok(());
    };
    let me = turn.state.author;
    let is_in = native(turn).is_ok_and(|native| native.spaces.role(&id, &me).is_some());
    if !is_in && turn.state.spaces.recovery.restoring().is_some() {
        // A restored device that has not joined the space yet.
        return Ok(());
    }
    let todo: Vec<GroupId> = turn.state.spaces.person.teams.of(topic).collect();
    for team in todo {
        let name = name(turn, &team);
        if lacks(turn, &id, &team, name.as_deref()) {
            let is_behind = lacks(turn, &id, &team, None);
            if is_behind && drafts::waits(turn, topic, &Planned::Heal) {
                return Ok(());
            }
            let at = turn.resolve(topic)?;
            // What cannot be done now stays, and is tried again when something comes.
            let done = act_by_draft(turn, &at, |spaces, desk| {
                Ok(((), spaces.follow_team(id, team, name.as_deref(), desk)?))
            })?;
            tell_devices::tried(turn, *topic, &done);
        }
        if !lacks(turn, &id, &team, name.as_deref()) {
            turn.state.spaces.person.teams.end(*topic, team);
        }
    }
    Ok(())
}

fn lacks(turn: &Turn<'_>, id: &SpaceId, team: &GroupId, name: Option<&str>) -> bool {
    native(turn).is_ok_and(|native| native.spaces.lacks_team(id, team, name))
}

/// Returns our name of a team, or one from our spaces.
fn name(turn: &Turn<'_>, team: &GroupId) -> Option<String> {
    let spaces = &turn.state.spaces;
    let own = spaces.person.teams.name(team).map(str::to_owned);
    own.or_else(|| {
        let mut named = spaces.of_person().filter_map(|topic| {
            let (id, native) = spaces.native(topic)?;
            native.spaces.team_name(&id, team)
        });
        named.next()
    })
}

fn list(turn: &Turn<'_>) -> Vec<TeamLook> {
    let Ok(native) = native(turn) else {
        return Vec::new();
    };
    let look = |id: GroupId| {
        let team = native.spaces.team(&id)?;
        Some(TeamLook {
            id,
            name: name(turn, &id),
            members: team.members,
            devices: team.devices,
            is_manager: native.spaces.manages(&id),
            spaces: topics_with(turn, &id),
            pending: turn.state.spaces.person.teams.topics(&id),
        })
    };
    native.spaces.teams().into_iter().filter_map(look).collect()
}
