//! The work of owners for persons (`docs/protocol/spaces.md#18`).

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::VerifyingKey;
use p2panda_core::limits::PERSON_DEVICES_MAX;
use p2panda_groups::{Access, Action, GroupId, Member, View};
use rand_core::CryptoRng;

use super::{devices_of, former, persons_out};
use crate::local::{Desk, LocalError};
use crate::receive::view_of;
use crate::sealed::{Forge, Note};
use crate::space::Space;
use crate::spaces::Spaces;
use crate::team::is_team;
use crate::{Role, SpaceId};

impl Spaces {
    /// Returns the actions that make a person a member with this role and all its devices, or
    /// remove it; nothing if it is so. What is about ourselves comes last.
    pub(crate) fn person_actions(
        &self,
        group: &GroupId,
        person: &GroupId,
        role: Option<Role>,
    ) -> Vec<Action> {
        let now = self.groups.now();
        let records = now.records(group).into_iter();
        let records: BTreeMap<Member, Option<Access>> = records
            .map(|record| {
                let is_active = !record.memberships.is_multiple_of(2);
                (record.member, is_active.then_some(record.access))
            })
            .collect();
        let of_group = role.map(|role| role.min(Role::Editor));
        let mut wanted = vec![(Member::Group(*person), of_group)];
        // Other keys keep what they have: that the person lists them is not their word.
        let word = self.word(group, person);
        for device in self.devices(person) {
            let member = Member::Individual(device);
            // Removing an entry would remove the person, so an existing one stays.
            let has_record = records.contains_key(&member);
            let wants = role.filter(|role| *role == Role::Owner || has_record);
            if (has_record || wants.is_some()) && word.counts(&device) {
                wanted.push((member, wants));
            }
        }
        for device in former(&now, person) {
            let member = Member::Individual(device);
            if records.contains_key(&member)
                && word.counts(&device)
                && !self.is_meant(group, person, &device)
            {
                wanted.push((member, None));
            }
        }
        let me = Member::Individual(self.me);
        wanted.sort_by_key(|(member, _)| *member == me);
        let action = |(member, wants): (Member, Option<Role>)| {
            let has = records.get(&member).copied().flatten();
            match (has, wants.map(Access::from)) {
                (None, Some(access)) => Some(Action::Add { member, access }),
                (Some(_), None) => Some(Action::Remove { member }),
                (Some(has), Some(access)) if has < access => {
                    Some(Action::Promote { member, access })
                }
                (Some(has), Some(access)) if has > access => {
                    Some(Action::Demote { member, access })
                }
                _ => None,
            }
        };
        wanted.into_iter().filter_map(action).collect()
    }

    /// Returns `true` if a person that is no direct member would be out as soon as these actions made it
    /// one: it lists a key that was removed as a direct member, and stays so.
    pub(crate) fn would_be_out(
        &self,
        group: &GroupId,
        person: &GroupId,
        actions: &[Action],
    ) -> bool {
        let now = self.groups.now();
        let mut direct = now.direct_members(group).into_iter();
        if direct.any(|(member, _)| member == Member::Group(*person)) {
            return false;
        }
        let mut former = former(&now, group);
        for action in actions {
            if let (Some(Member::Individual(key)), Some(_)) = (action.member(), action.access()) {
                former.remove(&key);
            }
        }
        let mut devices = self.devices(person).into_iter();
        devices.any(|device| former.contains(&device))
    }

    /// The role of a person that is a direct member: the lowest of the entries of its devices, else that
    /// of its group.
    pub(crate) fn role_of_person(&self, group: &GroupId, person: &GroupId) -> Option<Role> {
        let now = self.groups.now();
        let direct: BTreeMap<Member, Access> = now.direct_members(group).into_iter().collect();
        let of_group = *direct.get(&Member::Group(*person))?;
        let word = self.word(group, person);
        let devices = self.devices(person).into_iter();
        let entries = devices.filter_map(|device| {
            let access = direct.get(&Member::Individual(device)).copied();
            access.filter(|_| word.counts(&device))
        });
        Some(Role::from(entries.min().unwrap_or(of_group)))
    }

    /// Returns `true` if a former device of a person has an entry that somebody gave it knowing
    /// that it is none any more.
    pub(super) fn is_meant(
        &self,
        group: &GroupId,
        person: &GroupId,
        device: &VerifyingKey,
    ) -> bool {
        let why = self.groups.why(group, &Member::Individual(*device));
        why.decided_by.iter().any(|id| {
            let view = view_of(&self.groups, &[*id]);
            view.is_ok_and(|view| former(&view, person).contains(device))
        })
    }

    /// Returns `true` if a device that our person revoked has an own entry in a space, such as
    /// that of an owner, which we may remove. Until then it receives secrets.
    pub(crate) fn keeps_revoked(&self, space: &Space) -> bool {
        let Some(group) = space.founded.map(|founded| founded.group) else {
            return false;
        };
        let now = self.groups.now();
        let direct: BTreeMap<Member, Access> = now.direct_members(&group).into_iter().collect();
        if direct.get(&Member::Individual(self.me)) != Some(&Access::Manage) {
            return false;
        }
        let persons = direct.keys().filter_map(|member| match member {
            Member::Group(person) => Some(*person),
            Member::Individual(_) => None,
        });
        let ours = |person: &GroupId| {
            devices_of(&now, person).is_some_and(|devices| devices.contains(&self.me))
                && self.word(&group, person).is_ours()
        };
        persons.filter(ours).any(|person| {
            let revoked = former(&now, &person).into_iter();
            let mut kept = revoked.filter(|key| direct.contains_key(&Member::Individual(*key)));
            kept.any(|device| !self.is_meant(&group, &person, &device))
                && self.may_tend(&group, &person)
        })
    }

    /// Returns `true` if healing may update the entries of a person: an owner must remain.
    fn may_tend(&self, group: &GroupId, person: &GroupId) -> bool {
        let role = self.role_of_person(group, person);
        let actions = self.person_actions(group, person, role);
        self.leaves_an_owner(group, &actions).is_ok()
    }

    /// Returns `true` if [`Spaces::tend_persons`] has something to do.
    pub(crate) fn has_persons_to_tend(&self, space: &SpaceId) -> bool {
        !self.person_tasks(space).is_empty()
    }

    /// Part of healing: makes persons members that introduced themselves, adds entries of new
    /// devices of owners, removes those of revoked devices, and removes persons that asked for it.
    pub(crate) fn tend_persons<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        for (person, role) in self.person_tasks(&space) {
            let group = self.founded(space)?.group;
            // One before may have done it, or have given our own person a lower role.
            let actions = self.person_actions(&group, &person, role);
            let may_change = self.direct_role(&group) == Some(Role::Owner)
                && self.leaves_an_owner(&group, &actions).is_ok()
                && self.leaves_a_usable_owner(&space, &actions).is_ok();
            let is_vain = role.is_some() && self.would_be_out(&group, &person, &actions);
            if !actions.is_empty() && !is_vain && may_change && self.has_secrets(space) {
                let events = self.change_all(space, actions, desk)?;
                self.told.extend(events);
            }
        }
        Ok(())
    }

    /// Checks that the space has an owner after these actions.
    pub(crate) fn leaves_an_owner(
        &self,
        group: &GroupId,
        actions: &[Action],
    ) -> Result<(), LocalError> {
        let mut owners: BTreeSet<Member> = BTreeSet::new();
        for (member, access) in self.groups.now().direct_members(group) {
            if Role::from(access) == Role::Owner {
                owners.insert(member);
            }
        }
        for action in actions {
            let Some(member) = action.member() else {
                continue;
            };
            match action.access().map(Role::from) {
                Some(Role::Owner) => owners.insert(member),
                _ => owners.remove(&member),
            };
        }
        match owners.is_empty() {
            true => Err(LocalError::LastOwner),
            false => Ok(()),
        }
    }

    /// Returns `true` if the groups, as they are now, make this node a member that receives
    /// secrets.
    pub(crate) fn stays(&self, space: SpaceId) -> bool {
        let known = self.spaces.get(&space);
        let role = known.and_then(|known| self.wanted(known).get(&self.me).copied());
        role.is_some_and(Role::has_secrets)
    }

    /// If the operations that the space lacks would remove our person, and we may prevent that:
    /// publishes both in one pointer.
    pub(crate) fn keep_own_person<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(), LocalError> {
        let group = self.founded(space)?.group;
        let is_owner = self.direct_role(&group) == Some(Role::Owner);
        if self.known(space)?.native.is_none() || !is_owner || self.stays(space) {
            return Ok(());
        }
        let Some(person) = self.person_of(&space, &self.me) else {
            return Ok(());
        };
        let role = self.role_of_person(&group, &person);
        let actions = self.person_actions(&group, &person, role);
        if !actions.is_empty() && self.leaves_an_owner(&group, &actions).is_ok() {
            let events = self.change_all(space, actions, desk)?;
            self.told.extend(events);
        }
        Ok(())
    }

    /// Returns persons to change, with the role that they should have.
    pub(crate) fn person_tasks(&self, space: &SpaceId) -> BTreeMap<GroupId, Option<Role>> {
        let known = self
            .spaces
            .get(space)
            .filter(|known| known.native.is_some());
        let Some(founded) = known.and_then(|known| known.founded) else {
            return BTreeMap::new();
        };
        let group = founded.group;
        if self.direct_role(&group) != Some(Role::Owner) || !self.has_secrets(*space) {
            return BTreeMap::new();
        }
        let mut tasks = BTreeMap::new();
        let now = self.groups.now();
        let direct: BTreeMap<Member, Access> = now.direct_members(&group).into_iter().collect();
        for member in direct.keys() {
            let Member::Group(person) = member else {
                continue;
            };
            if devices_of(&now, person).is_some() {
                tasks.insert(*person, self.role_of_person(&group, person));
            } else if now.direct_members(person).is_empty()
                && !former(&now, person).is_empty()
                && !is_team(&now, person)
            {
                // Devices that revoked each other may have entries of their own.
                tasks.insert(*person, None);
            }
        }
        for (device, person) in self.introduced(space) {
            let entry = direct.get(&Member::Individual(device));
            let devices = devices_of(&now, &person).filter(|devices| devices.contains(&device));
            let count = devices.map_or(0, |devices| devices.len());
            let is_in = direct.contains_key(&Member::Group(person));
            if let Some(access) = entry.filter(|_| !is_in)
                && (1..=PERSON_DEVICES_MAX).contains(&count)
            {
                tasks.insert(person, Some(Role::from(*access)));
            }
        }
        let out = persons_out(&now, &group).into_iter();
        let out = out.chain(self.leaving(space, &group));
        tasks.extend(out.map(|person| (person, None)));
        tasks.retain(|person, role| {
            let actions = self.person_actions(&group, person, *role);
            !actions.is_empty()
                && self.leaves_an_owner(&group, &actions).is_ok()
                && self.leaves_a_usable_owner(space, &actions).is_ok()
                && (role.is_none() || !self.would_be_out(&group, person, &actions))
        });
        tasks
    }

    /// Returns persons that asked to be removed after they became members.
    fn leaving(&self, space: &SpaceId, group: &GroupId) -> BTreeSet<GroupId> {
        let graph = self.spaces.get(space).map(|known| &known.graph);
        let now = memberships(&self.groups.now(), group);
        let mut leaving = BTreeSet::new();
        for ((id, _, author), note) in self.notes_of(space) {
            let node = graph.and_then(|graph| graph.get(&id));
            let (Note::Leaves, Some(node)) = (note, node) else {
                continue;
            };
            let Ok(view) = view_of(&self.groups, &node.place.named) else {
                continue;
            };
            let then = memberships(&view, group);
            let person = self.person_of(space, &author).filter(|person| {
                let member = Member::Group(*person);
                now.contains_key(&member) && now.get(&member) == then.get(&member)
            });
            leaving.extend(person);
        }
        leaving
    }
}

fn memberships(view: &View<'_>, group: &GroupId) -> BTreeMap<Member, u32> {
    let records = view.records(group).into_iter();
    records
        .map(|record| (record.member, record.memberships))
        .collect()
}
