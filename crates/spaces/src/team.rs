//! Teams: groups of persons and devices that are one member of spaces (`docs/protocol/spaces.md#19`).

mod tend;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod vector_tests;

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{
    SPACE_NAME_BYTES_MAX, SPACE_OPERATIONS_MAX, SPACE_TEAMS_MAX, TEAM_LEVELS_MAX, TEAM_MEMBERS_MAX,
    TEAM_OPERATIONS_MAX,
};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, GroupId, Member, View};
use rand_core::CryptoRng;

use crate::event::Event;
use crate::graph::Kind;
use crate::local::{Desk, Done, LocalError, usable};
use crate::person::devices_of;
use crate::receive::view_of;
use crate::sealed::{Forge, Note};
use crate::spaces::Spaces;
use crate::{Role, SpaceId};

/// End of the nonce of a team.
const MARK: &[u8; 8] = b"teams v1";

/// A team as a node knows it. Given by [`Spaces::team`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Team {
    /// Id of the team, which is that of its group.
    pub id: GroupId,
    /// Its direct members with their roles in it, sorted: devices, persons and other teams. The devices of
    /// a person that manages it are listed too.
    pub members: Vec<(Member, Role)>,
    /// All devices that are members, directly or through others, sorted.
    pub devices: Vec<(VerifyingKey, Role)>,
}

/// A team that is a member of a space. Given by [`Spaces::teams_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TeamMember {
    /// Id of the team, which is that of its group.
    pub id: GroupId,
    /// Name of the team in the space.
    pub name: Option<String>,
    /// Its role in the space.
    pub role: Role,
    /// Members of the team, as the space knows it, with the roles that they have by it; sorted.
    pub devices: Vec<(VerifyingKey, Role)>,
}

/// Returns `true` if a group is a team, by the create that counts at this point.
pub(crate) fn is_team(view: &View<'_>, group: &GroupId) -> bool {
    view.nonce(group).is_some_and(|nonce| nonce.ends_with(MARK))
}

impl Spaces {
    /// Makes a team that we manage, with all devices of our person if we are a device of one. Nothing
    /// is published.
    pub fn create_team<R: CryptoRng, F: Forge>(
        &mut self,
        person: Option<GroupId>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(GroupId, Vec<Event>), LocalError> {
        let mut nonce = [0; 32];
        desk.rng.fill_bytes(&mut nonce);
        if let Some(end) = nonce.last_chunk_mut() {
            *end = *MARK;
        }
        let managers = match person {
            Some(person) => self.owner(&person),
            None => vec![(Member::Individual(self.me), Role::Owner)],
        };
        self.create_bound(nonce, &managers, desk)
    }

    /// The teams that are known here, sorted.
    pub fn teams(&self) -> Vec<GroupId> {
        let now = self.groups.now();
        let groups = now.groups().into_iter();
        groups.filter(|group| is_team(&now, group)).collect()
    }

    /// A team by its group; none if it is not known here, or the group is none.
    pub fn team(&self, id: &GroupId) -> Option<Team> {
        let now = self.groups.now();
        is_team(&now, id).then(|| Team {
            id: *id,
            members: roles(now.direct_members(id)),
            devices: roles(now.members(id)),
        })
    }

    /// Returns `true` if we may change a team.
    pub fn manages(&self, team: &GroupId) -> bool {
        self.direct_role(team) == Some(Role::Owner)
    }

    /// Returns what a key names in a team: its person if that is listed, else the device.
    pub fn member_of_team(&self, team: &GroupId, key: &VerifyingKey) -> Member {
        let now = self.groups.now();
        let mut direct = now.direct_members(team).into_iter();
        let person = direct.find_map(|(member, _)| match member {
            Member::Group(person) => {
                let devices = devices_of(&now, &person)?;
                let is_device = devices.contains(key) && self.word(team, &person).counts(key);
                is_device.then_some(Member::Group(person))
            }
            Member::Individual(_) => None,
        });
        person.unwrap_or(Member::Individual(*key))
    }

    /// Gives a member of a team a role, or takes it out. Nothing is published: spaces follow by
    /// [`Spaces::follow_team`].
    pub fn change_team<R: CryptoRng, F: Forge>(
        &mut self,
        team: GroupId,
        member: Member,
        role: Option<Role>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        if !is_team(&self.groups.now(), &team) {
            return Err(LocalError::NoTeam);
        }
        if let Some(role) = role {
            usable(&member)?;
            self.fits_team(&team, &member, role)?;
        }
        let actions = self.member_actions(&team, &member, role);
        if actions.is_empty() && role.is_none() {
            return Err(LocalError::NotInTeam);
        }
        self.sign_all(team, actions, desk)?;
        Ok(self.events())
    }

    /// Signs changes of a team, or none of them.
    fn sign_all<R: CryptoRng, F: Forge>(
        &mut self,
        team: GroupId,
        mut actions: Vec<Action>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        // After our own removal we can do nothing more.
        let me = Member::Individual(self.me);
        actions.sort_by_key(|action| action.member() == Some(me));
        for action in &actions {
            self.allowed(team, action.clone())?;
        }
        self.leaves_an_owner(&team, &actions)?;
        for action in actions {
            let arguments = self.allowed(team, action)?;
            self.sign_auth(arguments, desk)?;
        }
        Ok(())
    }

    /// Returns the actions that give a member of a team a role, or remove it; nothing if it is so.
    fn member_actions(&self, team: &GroupId, member: &Member, role: Option<Role>) -> Vec<Action> {
        let now = self.groups.now();
        if let Member::Group(person) = member
            && !is_team(&now, person)
        {
            return self.person_actions(team, person, role);
        }
        let mut direct = now.direct_members(team).into_iter();
        let has = direct.find(|(known, _)| known == member);
        let has = has.map(|(_, access)| access);
        let member = *member;
        let action = match (has, role.map(Access::from)) {
            (None, Some(access)) => Action::Add { member, access },
            (Some(_), None) => Action::Remove { member },
            (Some(has), Some(access)) if has < access => Action::Promote { member, access },
            (Some(has), Some(access)) if has > access => Action::Demote { member, access },
            _ => return Vec::new(),
        };
        vec![action]
    }

    /// Checks whether somebody can be a member of a team with this role, as far as limits go.
    fn fits_team(&self, team: &GroupId, member: &Member, role: Role) -> Result<(), LocalError> {
        let now = self.groups.now();
        if let Member::Group(group) = member {
            let is_nested = is_team(&now, group);
            if !is_nested && devices_of(&now, group).is_none() {
                return Err(LocalError::NoDevice);
            }
            if is_nested && role == Role::Owner {
                return Err(LocalError::TeamOwner);
            }
            let mut reached = now.nested_groups(group).into_iter();
            if group == team || reached.any(|(nested, _)| nested == *team) {
                return Err(LocalError::TeamCycle);
            }
            if is_nested && above(&now, team) + below(&now, group) > TEAM_LEVELS_MAX {
                return Err(LocalError::TeamTooDeep);
            }
        }
        let direct = now.direct_members(team);
        let is_new = !direct.iter().any(|(known, _)| known == member);
        let operations = self.groups.operations();
        let operations = operations.filter(|op| op.arguments.group == *team);
        match is_new
            && (direct.len() >= TEAM_MEMBERS_MAX || operations.count() >= TEAM_OPERATIONS_MAX / 2)
        {
            true => Err(LocalError::TooManyMembers),
            false => Ok(()),
        }
    }

    /// Makes a team a member of a space, or gives it another role.
    pub fn add_team<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        team: GroupId,
        role: Role,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let now = self.groups.now();
        if !is_team(&now, &team) {
            return Err(LocalError::NoTeam);
        }
        if role == Role::Owner {
            return Err(LocalError::TeamOwner);
        }
        let member = Member::Group(team);
        let direct = now.direct_members(&group).into_iter();
        let teams = direct.filter(|(known, _)| match known {
            Member::Group(known) => *known != team && is_team(&now, known),
            Member::Individual(_) => false,
        });
        if teams.count() >= SPACE_TEAMS_MAX || self.unheard(space, &team)? > SPACE_OPERATIONS_MAX {
            return Err(LocalError::TooManyMembers);
        }
        let actions = self.member_actions(&group, &member, Some(role));
        match actions.is_empty() {
            true => Ok(Vec::new()),
            false => self.change_all(space, actions, desk),
        }
    }

    /// Counts the operations on a team, and on the groups in it, that a space has not carried.
    fn unheard(&self, space: SpaceId, team: &GroupId) -> Result<usize, LocalError> {
        let nested = self.groups.now().nested_groups(team).into_iter();
        let groups: BTreeSet<GroupId> = nested.map(|(group, _)| group).chain([*team]).collect();
        let heads = self.known(space)?.graph.heads();
        let absent = self.groups.since(&heads);
        let absent = absent.filter(|op| groups.contains(&op.arguments.group));
        Ok(absent.count())
    }

    /// Removes a team from a space. Those who are members in another way stay.
    pub fn remove_team<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        team: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let actions = self.member_actions(&group, &Member::Group(team), None);
        match is_team(&self.groups.now(), &team) && !actions.is_empty() {
            true => self.change_all(space, actions, desk),
            false => Err(LocalError::NoTeam),
        }
    }

    /// Brings a space to what a team is by now, as far as it is in the space and we have secrets there,
    /// and calls it so if it has no name there and we manage it.
    pub fn follow_team<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        team: GroupId,
        name: Option<&str>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if !self.has_secrets(space) {
            return Err(LocalError::NotWelcomed);
        }
        if !self.has_team(&space, &team) {
            return Ok(Vec::new());
        }
        self.merge(space, desk)?;
        let last = self.groups.heads_of(&[team]);
        self.point_to(space, group, last, desk)?;
        self.hand_out(space, desk)?;
        self.begin_epoch(space, desk)?;
        if let Some(name) = name.filter(|_| self.is_to_be_named(&space, &team)) {
            if name.len() > SPACE_NAME_BYTES_MAX {
                return Err(LocalError::NameTooLong { bytes: name.len() });
            }
            self.notes = vec![Note::Team(team, name.to_owned())];
            let done = self.plain(space, false, desk);
            self.notes.clear();
            done?;
        }
        Ok(self.events())
    }

    /// The spaces whose groups contain a group by now, directly or through others: a change of it that came
    /// by one of them may be unknown in the others.
    pub fn containing(&self, group: &GroupId) -> Vec<SpaceId> {
        let groups: BTreeSet<GroupId> = self.groups.now().containing(group).into_iter().collect();
        if groups.is_empty() {
            return Vec::new();
        }
        let contains = |id: &SpaceId| self.group(id).is_some_and(|own| groups.contains(&own));
        self.ids().filter(contains).collect()
    }

    /// Returns `true` if a team is in a space, as its messages make it.
    pub fn has_team(&self, space: &SpaceId, team: &GroupId) -> bool {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return false;
        };
        view_of(&self.groups, &known.graph.heads()).is_ok_and(|view| {
            let mut nested = view.nested_groups(&founded.group).into_iter();
            nested.any(|(nested, _)| nested == *team) && is_team(&view, team)
        })
    }

    /// Returns `true` if a space of which we are a reader at least has not heard of the last
    /// changes of a team in it, or not of a name that we give it.
    pub fn lacks_team(&self, space: &SpaceId, team: &GroupId, name: Option<&str>) -> bool {
        let role = self.role(space, &self.me);
        if !role.is_some_and(Role::has_secrets) || !self.has_team(space, team) {
            return false;
        }
        let Some(known) = self.spaces.get(space) else {
            return false;
        };
        let heads = known.graph.heads();
        let absent: BTreeSet<Hash> = self.groups.since(&heads).map(|op| op.id).collect();
        let mut last = self.groups.heads_of(&[*team]).into_iter();
        let is_behind = last.any(|id| absent.contains(&id));
        is_behind || name.is_some() && self.is_to_be_named(space, team)
    }

    fn is_to_be_named(&self, space: &SpaceId, team: &GroupId) -> bool {
        let manages = || {
            let known = self.spaces.get(space)?;
            let view = view_of(&self.groups, &known.graph.heads()).ok()?;
            Some(manages(&view, team, &self.me))
        };
        self.has_secrets(*space) && self.team_name(space, team).is_none() && manages() == Some(true)
    }

    /// Returns the name of a team in a space: of the names that count and that no later one
    /// replaces, that of the smallest message id.
    pub fn team_name(&self, space: &SpaceId, team: &GroupId) -> Option<String> {
        self.team_names(space).remove(team)
    }

    fn team_names(&self, space: &SpaceId) -> BTreeMap<GroupId, String> {
        let Some(graph) = self.spaces.get(space).map(|known| &known.graph) else {
            return BTreeMap::new();
        };
        let mut named: BTreeMap<GroupId, BTreeMap<Hash, String>> = BTreeMap::new();
        for id in graph.noting() {
            let node = graph.get(id).filter(|node| node.kind != Kind::Refused);
            for note in node.iter().flat_map(|node| &node.notes) {
                let (Note::Team(team, name), Some(node)) = (note, node) else {
                    continue;
                };
                let view = view_of(&self.groups, &node.place.named);
                if view.is_ok_and(|view| manages(&view, team, &node.place.author)) {
                    let names = named.entry(*team).or_default();
                    names.insert(*id, name.clone());
                }
            }
        }
        let last = |(team, mut names): (GroupId, BTreeMap<Hash, String>)| {
            let last = graph.last_of(names.keys().copied().collect());
            Some((team, names.remove(last.first()?)?))
        };
        named.into_iter().filter_map(last).collect()
    }

    /// The teams in a space with the members that they bring, as its messages make them; sorted.
    pub fn teams_of(&self, space: &SpaceId) -> Vec<TeamMember> {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return Vec::new();
        };
        let Ok(view) = view_of(&self.groups, &known.graph.heads()) else {
            return Vec::new();
        };
        let nested = view.nested_groups(&founded.group).into_iter();
        let mut teams: Vec<(GroupId, Access)> = nested.collect();
        teams.retain(|(group, _)| is_team(&view, group));
        if teams.is_empty() {
            return Vec::new();
        }
        let mut names = self.team_names(space);
        let team = |(id, access): (GroupId, Access)| TeamMember {
            id,
            name: names.remove(&id),
            role: access.into(),
            devices: roles(view.members(&id))
                .into_iter()
                .map(|(key, role)| (key, role.min(access.into())))
                .collect(),
        };
        teams.into_iter().map(team).collect()
    }

    /// The teams by which a key is a member of a space, sorted.
    pub(crate) fn teams_with(&self, space: &SpaceId, member: &VerifyingKey) -> Vec<GroupId> {
        let teams = self.teams_of(space).into_iter();
        let with = teams.filter(|team| team.devices.iter().any(|(key, _)| key == member));
        with.map(|team| team.id).collect()
    }

    /// Refuses a change of a direct membership of somebody who is a member by a team only.
    pub(crate) fn is_direct(&self, space: SpaceId, key: &VerifyingKey) -> Result<(), LocalError> {
        let group = self.founded(space)?.group;
        let direct = self.groups.now().direct_members(&group);
        let individual = Member::Individual(*key);
        if direct.iter().any(|(member, _)| *member == individual)
            || self.person_of(&space, key).is_some()
        {
            return Ok(());
        }
        if let Some(team) = self.teams_with(&space, key).first() {
            return Err(LocalError::ByTeam(*team));
        }
        match self.claimed_by(&group, key).first() {
            Some(person) => Err(LocalError::ByPerson(*person)),
            None => Ok(()),
        }
    }
}

fn manages(view: &View<'_>, team: &GroupId, key: &VerifyingKey) -> bool {
    let manager = (Member::Individual(*key), Access::Manage);
    is_team(view, team) && view.direct_members(team).contains(&manager)
}

fn roles<T>(members: Vec<(T, Access)>) -> Vec<(T, Role)> {
    let members = members.into_iter();
    members
        .map(|(member, access)| (member, access.into()))
        .collect()
}

/// Returns the number of teams on the longest path from a team down, itself included; no more than
/// one beyond the limit.
fn below(view: &View<'_>, team: &GroupId) -> usize {
    let nested = |team: &GroupId| {
        let direct = view.direct_members(team).into_iter();
        let groups = direct.filter_map(|(member, _)| match member {
            Member::Group(group) => Some(group),
            Member::Individual(_) => None,
        });
        groups.collect()
    };
    levels(view, team, nested)
}

/// The same of the teams that contain it.
fn above(view: &View<'_>, team: &GroupId) -> usize {
    let containing = |team: &GroupId| {
        let groups = view.groups_of(&Member::Group(*team)).into_iter();
        groups.map(|(group, _)| group).collect()
    };
    levels(view, team, containing)
}

fn levels(view: &View<'_>, team: &GroupId, next: impl Fn(&GroupId) -> Vec<GroupId>) -> usize {
    let mut at = BTreeSet::from([*team]);
    let mut levels = 0;
    while !at.is_empty() && levels <= TEAM_LEVELS_MAX {
        levels += 1;
        let groups = at.iter().flat_map(&next);
        at = groups.filter(|group| is_team(view, group)).collect();
    }
    levels
}
