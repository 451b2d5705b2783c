//! Actions of managers of teams for persons in them (`docs/protocol/spaces.md#19`).

use p2panda_core::limits::PERSON_DEVICES_MAX;
use p2panda_core::ordered::{BTreeMap, BTreeSet};
use p2panda_core::{SigningKey, VerifyingKey};
use p2panda_groups::{Access, GroupId, Member};
use rand_core::CryptoRng;

use super::is_team;
use crate::event::Event;
use crate::local::{Desk, LocalError};
use crate::person::{devices_of, former, persons_out};
use crate::sealed::Forge;
use crate::spaces::Spaces;
use crate::{Role, SpaceId};

impl Spaces {
    /// Returns what an id names that may be that of a device, a person or a team: groups with a
    /// bound id, which nobody can choose to be the key of a device; otherwise a device.
    pub fn named(&self, id: &VerifyingKey) -> Member {
        let (group, now) = (GroupId::from(*id), self.groups.now());
        let is_known = is_team(&now, &group) || devices_of(&now, &group).is_some();
        match is_known && now.nonce(&group).is_some() {
            true => Member::Group(group),
            false => Member::Individual(*id),
        }
    }

    /// After a change of the devices of our person: changes the teams that we manage the same way, and
    /// gives those that have changed. Nothing is published.
    pub fn tend_own_teams<R: CryptoRng, F: Forge>(
        &mut self,
        person: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(Vec<GroupId>, Vec<Event>), LocalError> {
        let now = self.groups.now();
        let teams = now.groups_of(&Member::Individual(self.me)).into_iter();
        let teams = teams.filter(|(team, access)| {
            *access == Access::Manage && is_team(&now, team) && self.devices_change(team, &person)
        });
        let teams: Vec<GroupId> = teams.map(|(team, _)| team).collect();
        let mut changed = Vec::new();
        for team in teams {
            let role = self.role_of_person(&team, &person).unwrap_or(Role::Owner);
            let actions = self.person_actions(&team, &person, Some(role));
            if !actions.is_empty() {
                self.sign_all(team, actions, desk)?;
                changed.push(team);
            }
        }
        Ok((changed, self.events()))
    }

    /// Makes us a manager of the teams that a recovery key manages, signed by that key; gives those that have
    /// changed. Nothing is published.
    pub fn recover_teams(
        &mut self,
        by: &SigningKey,
    ) -> Result<(Vec<GroupId>, Vec<Event>), LocalError> {
        let (recovery, me) = (by.verifying_key(), Member::Individual(self.me));
        let now = self.groups.now();
        let teams = now.groups_of(&Member::Individual(recovery)).into_iter();
        let teams = teams.filter(|(team, access)| {
            *access == Access::Manage && is_team(&now, team) && !self.manages(team)
        });
        let teams: Vec<GroupId> = teams.map(|(team, _)| team).collect();
        let mut events = Vec::new();
        for team in &teams {
            for action in self.member_actions(team, &me, Some(Role::Owner)) {
                let draft = self.groups.draft(&recovery, team, action);
                events.extend(self.take_signed(by, &draft.arguments)?);
            }
        }
        Ok((teams, events))
    }

    /// Returns `true` if a device of a person would put the person out of a team that we do not
    /// manage: it was removed there.
    pub(crate) fn puts_out_of_team(&self, person: &GroupId, device: &VerifyingKey) -> bool {
        let now = self.groups.now();
        let mut teams = now.groups_of(&Member::Group(*person)).into_iter();
        teams.any(|(team, _)| {
            is_team(&now, &team) && !self.manages(&team) && former(&now, &team).contains(device)
        })
    }

    /// Returns `true` if a person is to have other entries in a team, and the team still has a
    /// manager afterwards.
    fn devices_change(&self, team: &GroupId, person: &GroupId) -> bool {
        let role = self.role_of_person(team, person).unwrap_or(Role::Owner);
        let actions = self.person_actions(team, person, Some(role));
        !actions.is_empty() && self.leaves_an_owner(team, &actions).is_ok()
    }

    /// Returns `true` if [`Spaces::tend_teams`] has something to do.
    pub(crate) fn has_teams_to_tend(&self, space: &SpaceId) -> bool {
        !self.team_tasks(space).is_empty()
    }

    /// Brings the entries of persons up to date in the teams of a space that we manage. Part of healing.
    pub(crate) fn tend_teams<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        for ((team, person), role) in self.team_tasks(&space) {
            // One before may have done it, have removed another manager, or have given our own person a
            // lower role.
            let actions = self.person_actions(&team, &person, role);
            let may_change = self.manages(&team) && self.leaves_an_owner(&team, &actions).is_ok();
            if actions.is_empty() || !self.has_secrets(space) || !may_change {
                continue;
            }
            self.sign_all(team, actions, desk)?;
            let events = self.follow_team(space, team, None, desk)?;
            self.told.extend(events);
        }
        Ok(())
    }

    /// Teams of a space that we manage, with persons and which role they are to have there.
    fn team_tasks(&self, space: &SpaceId) -> BTreeMap<(GroupId, GroupId), Option<Role>> {
        let known = self.spaces.get(space);
        let known = known.filter(|known| known.native.is_some());
        let Some(founded) = known.and_then(|known| known.founded) else {
            return BTreeMap::new();
        };
        if !self.has_secrets(*space) {
            return BTreeMap::new();
        }
        let now = self.groups.now();
        let nested = now.nested_groups(&founded.group).into_iter();
        let teams = nested.map(|(team, _)| team);
        let teams: Vec<GroupId> = teams
            .filter(|team| self.manages(team) && is_team(&now, team))
            .collect();
        let mut tasks = BTreeMap::new();
        for team in teams {
            let persons = self.persons_to_tend(space, &team).into_iter();
            tasks.extend(persons.map(|(person, role)| ((team, person), role)));
        }
        tasks.retain(|(team, person), role| {
            let actions = self.person_actions(team, person, *role);
            !actions.is_empty()
                && self.leaves_an_owner(team, &actions).is_ok()
                && (role.is_none() || !self.would_be_out(team, person, &actions))
        });
        tasks
    }

    /// The persons in a team, and those that devices in it introduced.
    fn persons_to_tend(&self, space: &SpaceId, team: &GroupId) -> Vec<(GroupId, Option<Role>)> {
        let now = self.groups.now();
        let direct: BTreeMap<Member, Access> = now.direct_members(team).into_iter().collect();
        let groups: BTreeSet<GroupId> = direct
            .keys()
            .filter_map(|member| match member {
                Member::Group(group) => Some(*group),
                Member::Individual(_) => None,
            })
            .collect();
        // Who removed a device did not know that its person was in the team.
        let out = persons_out(&now, team);
        let mut tasks = Vec::new();
        for person in groups.iter().filter(|group| !is_team(&now, group)) {
            let is_empty =
                now.direct_members(person).is_empty() && !former(&now, person).is_empty();
            match devices_of(&now, person) {
                Some(_) if out.contains(person) => tasks.push((*person, None)),
                Some(_) => tasks.push((*person, self.role_of_person(team, person))),
                None if is_empty => tasks.push((*person, None)),
                None => {}
            }
        }
        for (device, person) in self.introduced(space) {
            let entry = direct.get(&Member::Individual(device));
            let devices = devices_of(&now, &person).filter(|devices| devices.contains(&device));
            let count = devices.map_or(0, |devices| devices.len());
            if let Some(access) = entry.filter(|_| !groups.contains(&person))
                && (1..=PERSON_DEVICES_MAX).contains(&count)
            {
                tasks.push((person, Some(Role::from(*access))));
            }
        }
        tasks
    }
}
