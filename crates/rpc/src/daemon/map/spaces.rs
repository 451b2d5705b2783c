//! Spaces, their members, teams and devices as types of the RPC.

use p2panda::{Topic, VerifyingKey};

use crate::api;

/// Converts a role.
pub fn role(role: p2panda::Role) -> api::SpaceRole {
    match role {
        p2panda::Role::Courier => api::SpaceRole::Courier,
        p2panda::Role::Reader => api::SpaceRole::Reader,
        p2panda::Role::Editor => api::SpaceRole::Editor,
        p2panda::Role::Owner => api::SpaceRole::Owner,
    }
}

/// The role of a client.
pub(crate) fn role_of(role: api::SpaceRole) -> p2panda::Role {
    match role {
        api::SpaceRole::Courier => p2panda::Role::Courier,
        api::SpaceRole::Reader => p2panda::Role::Reader,
        api::SpaceRole::Editor => p2panda::Role::Editor,
        api::SpaceRole::Owner => p2panda::Role::Owner,
    }
}

/// Converts the encryption scheme of a space.
fn scheme(scheme: p2panda::Scheme) -> Option<api::SpaceScheme> {
    match scheme {
        p2panda::Scheme::Data => Some(api::SpaceScheme::Data),
        p2panda::Scheme::Message => Some(api::SpaceScheme::Message),
        _ => None,
    }
}

/// A space under the alias of its topic, or under what name it is shown.
pub fn space(alias: String, state: &p2panda::SpaceState) -> api::SpaceView {
    api::SpaceView {
        topic: alias,
        name: state.name.clone(),
        role: state.role.map(role),
        scheme: state.scheme.and_then(scheme),
        suite: state.suite,
        rotation_days: state.rotation_days,
        secrets_left: state.secrets_left.map(|left| left as u64),
        own_key: state.own_key,
        joining: state.is_joining,
    }
}

/// Converts an invite.
pub fn space_invite(invite: &p2panda::SpaceInvite) -> api::SpaceInviteView {
    let expires = invite.expires.duration_since(std::time::UNIX_EPOCH);
    api::SpaceInviteView {
        invite: invite.id,
        by: invite.by,
        role: role(invite.role),
        uses: invite.uses,
        expires: expires.unwrap_or_default().as_secs(),
        revoked: invite.is_revoked,
        came: invite.came.clone(),
    }
}

/// Converts the members, if they are known.
pub fn space_members(look: Option<&p2panda::SpaceMembers>) -> api::SpaceMembersResult {
    let lacks = |member| look.is_some_and(|look| look.lacking.contains(member));
    let members = look.iter().flat_map(|look| &look.members);
    let person = |member: &VerifyingKey| {
        let persons = look.iter().flat_map(|look| &look.persons);
        let mut of = persons.filter(|one| one.devices.iter().any(|(key, _)| key == member));
        of.find_map(|one| one.person).map(|id| id.to_string())
    };
    let pending = look.iter().flat_map(|look| &look.pending);
    let teams = look.iter().flat_map(|look| &look.teams);
    let teams_with = |member: &VerifyingKey| {
        let all = look.iter().flat_map(|look| &look.teams);
        let with = all.filter(|team| team.devices.iter().any(|(key, _)| key == member));
        with.map(|team| *team.id.as_key()).collect()
    };
    api::SpaceMembersResult {
        known: look.is_some(),
        members: members
            .map(|(member, of)| api::SpaceMemberView {
                member: *member,
                role: role(*of),
                lacking: lacks(member),
                person: person(member),
                teams: teams_with(member),
                recovery: look.is_some_and(|look| look.recovery.contains(member)),
                no_keys: look.is_some_and(|look| look.without_suite.contains(member)),
            })
            .collect(),
        teams: teams.map(space_team).collect(),
        pending: pending.map(space_pending).collect(),
        suite: look.map(|look| look.suite),
        rotation_days: look.and_then(|look| look.rotation_days),
        rotates_at: look.and_then(|look| look.rotates_at),
        secrets_left: look.map(|look| look.secrets_left as u64),
        healed: look.is_some_and(|look| look.is_healed),
    }
}

fn space_team(team: &p2panda::TeamMember) -> api::SpaceTeamView {
    api::SpaceTeamView {
        team: *team.id.as_key(),
        name: team.name.clone(),
        role: role(team.role),
        devices: team.devices.iter().map(|(key, _)| *key).collect(),
    }
}

/// A team. `name` names topics.
pub fn team(team: &p2panda::TeamState, name: impl Fn(&Topic) -> String) -> api::TeamView {
    let member = |(member, of): &(p2panda::Member, p2panda::Role)| api::TeamMemberView {
        member: *member.key(),
        group: matches!(member, p2panda::Member::Group(_)),
        role: role(*of),
    };
    api::TeamView {
        team: *team.id.as_key(),
        name: team.name.clone(),
        manages: team.is_manager,
        members: team.members.iter().map(member).collect(),
        spaces: team.spaces.iter().map(&name).collect(),
        pending: team.pending.iter().map(&name).collect(),
    }
}

fn space_pending(pending: &p2panda::Pending) -> api::SpacePendingView {
    use p2panda::{DeviceChange, Pending};
    let (what, device) = match pending {
        Pending::Introduce => (api::SpacePendingKind::Introduce, None),
        Pending::Change(DeviceChange::Add(device)) => (api::SpacePendingKind::Link, Some(*device)),
        Pending::Change(DeviceChange::Revoke(device)) => {
            (api::SpacePendingKind::Revoke, Some(*device))
        }
    };
    api::SpacePendingView { what, device }
}

/// The devices of a person, and those that not all spaces know to be revoked. `name` names topics.
pub fn devices(
    me: VerifyingKey,
    look: &p2panda::PersonState,
    name: impl Fn(&Topic) -> String,
) -> Vec<api::DeviceView> {
    use p2panda::{DeviceChange, Pending};
    let view = |device: VerifyingKey, state: api::DeviceState| {
        let concerns = |what: &Pending| match what {
            Pending::Introduce => true,
            Pending::Change(change) => change.device() == device,
        };
        let waits = look.pending.iter().filter(|(_, what)| concerns(what));
        let topics: std::collections::BTreeSet<Topic> = waits.map(|(topic, _)| *topic).collect();
        api::DeviceView {
            device,
            this: device == me,
            state,
            pending: topics.iter().map(&name).collect(),
        }
    };
    let linked = look.devices.iter().map(|device| {
        let state = match look.recovery.contains(device) {
            true => api::DeviceState::Recovery,
            false => api::DeviceState::Linked,
        };
        (*device, state)
    });
    let revoked = look.pending.iter().filter_map(|(_, what)| match what {
        Pending::Change(DeviceChange::Revoke(device)) => Some(*device),
        _ => None,
    });
    let revoked: std::collections::BTreeSet<VerifyingKey> = revoked.collect();
    let revoked = revoked
        .into_iter()
        .map(|device| (device, api::DeviceState::Revoked));
    linked
        .chain(revoked)
        .map(|(device, state)| view(device, state))
        .collect()
}

/// Converts the reason why a key is a member, or is not.
pub fn space_why(why: &p2panda::Why) -> api::SpaceWhyResult {
    let decided = why.decided.iter().map(|decision| api::SpaceDecision {
        operation: decision.operation,
        author: decision.author,
        deed: match decision.deed {
            p2panda::Deed::Create => "create",
            p2panda::Deed::Add(_) => "add",
            p2panda::Deed::SetRole(_) => "role",
            _ => "remove",
        }
        .to_owned(),
    });
    api::SpaceWhyResult {
        member: why.member,
        role: why.role.map(role),
        teams: why.teams.iter().map(|team| *team.as_key()).collect(),
        invite: why.invite,
        decided: decided.collect(),
        why: why.to_string(),
    }
}
