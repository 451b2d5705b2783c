//! Persons: groups of devices, as members of spaces (`docs/protocol/spaces.md#18`).

mod card;
mod owners;
mod tend;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod told;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod vector_tests;
mod word;

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::limits::{PERSON_DEVICES_MAX, PERSON_OPERATIONS_MAX};
use p2panda_core::{Hash, VerifyingKey};
use p2panda_groups::{Access, Action, GroupId, Member, View};
use rand_core::CryptoRng;

use crate::event::Event;
use crate::graph::Kind;
use crate::local::{Desk, Done, LocalError};
use crate::receive::view_of;
use crate::sealed::{Forge, Note};
use crate::space::{self, Roles};
use crate::spaces::Spaces;
use crate::team::is_team;
use crate::{Role, SpaceId};

pub use card::{CardError, PersonCard};
pub use told::Telling;

/// A member of a space with its devices. Given by [`Spaces::persons`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonMember {
    /// The group of its devices; none for a device that is a member by itself.
    pub person: Option<GroupId>,
    /// The greatest role of a device.
    pub role: Role,
    /// The devices that are members, sorted.
    pub devices: Vec<(VerifyingKey, Role)>,
    /// The teams by which a device is a member, sorted.
    pub teams: Vec<GroupId>,
}

/// A change of a person's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceChange {
    /// The device is one of the person's.
    Add(VerifyingKey),
    /// It is none any more.
    Revoke(VerifyingKey),
}

/// Change of a person that a space lacks. Given by [`Spaces::pending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pending {
    /// The space knows a device of the person, not the person: an owner admits it. Or it knows the person,
    /// and this device has not said there that it belongs to it.
    Introduce,
    /// A device, or its own entry as an owner.
    Change(DeviceChange),
}

impl DeviceChange {
    /// Returns the device.
    pub fn device(&self) -> VerifyingKey {
        match self {
            DeviceChange::Add(device) | DeviceChange::Revoke(device) => *device,
        }
    }
}

/// The devices of a group if it is a person: no team, and all its direct members are individuals with
/// manage.
pub(crate) fn devices_of(view: &View<'_>, group: &GroupId) -> Option<BTreeSet<VerifyingKey>> {
    let direct = view.direct_members(group).into_iter();
    let devices: Option<BTreeSet<VerifyingKey>> = direct
        .map(|(member, access)| match member {
            Member::Individual(key) if access == Access::Manage => Some(key),
            _ => None,
        })
        .collect();
    devices.filter(|devices| !devices.is_empty() && !is_team(view, group))
}

/// Returns the keys that had an entry of their own in a group, and have none any more.
pub(crate) fn former(view: &View<'_>, group: &GroupId) -> BTreeSet<VerifyingKey> {
    let records = view.records(group).into_iter();
    let former = records.filter(|record| record.memberships.is_multiple_of(2));
    let individual = |member| match member {
        Member::Individual(key) => Some(key),
        Member::Group(_) => None,
    };
    former
        .filter_map(|record| individual(record.member))
        .collect()
}

/// The persons of a group of which the entry of a device was removed: they are removed, with the
/// entries that their other devices have.
pub(crate) fn persons_out(view: &View<'_>, group: &GroupId) -> BTreeSet<GroupId> {
    let groups = groups_in(view.direct_members(group));
    match groups.is_empty() {
        true => groups,
        false => out_of(view, groups, &former(view, group)),
    }
}

/// Those of these groups that are persons of which one of these has been a device by itself.
fn out_of(
    view: &View<'_>,
    mut groups: BTreeSet<GroupId>,
    former: &BTreeSet<VerifyingKey>,
) -> BTreeSet<GroupId> {
    if former.is_empty() {
        return BTreeSet::new();
    }
    groups.retain(|person| {
        let devices = devices_of(view, person);
        devices.is_some_and(|devices| !devices.is_disjoint(former))
    });
    groups
}

fn groups_in(direct: impl IntoIterator<Item = (Member, Access)>) -> BTreeSet<GroupId> {
    let groups = direct.into_iter().filter_map(|(member, _)| match member {
        Member::Group(group) => Some(group),
        Member::Individual(_) => None,
    });
    groups.collect()
}

/// The roles in a group, in the form of our own nodes.
pub(crate) fn roles(view: &View<'_>, group: &GroupId) -> Roles {
    let out = persons_out(view, group);
    match out.is_empty() {
        true => space::roles(view, group),
        false => roles_without((view, group), view.direct_members(group), &out),
    }
}

/// The same once these actions have been done in the group.
pub(crate) fn roles_after(view: &View<'_>, group: &GroupId, actions: &[Action]) -> Roles {
    let mut direct: BTreeMap<Member, Access> = view.direct_members(group).into_iter().collect();
    let mut former = former(view, group);
    for action in actions {
        let (Some(member), access) = (action.member(), action.access()) else {
            continue;
        };
        let _ = match access {
            Some(access) => direct.insert(member, access),
            None => direct.remove(&member),
        };
        if let Member::Individual(key) = member {
            let _ = match access {
                Some(_) => former.remove(&key),
                None => former.insert(key),
            };
        }
    }
    let groups = direct.iter().map(|(member, access)| (*member, *access));
    let out = out_of(view, groups_in(groups), &former);
    roles_without((view, group), direct, &out)
}

/// The roles that these direct members have, and those in them, without removed persons.
fn roles_without(
    (view, group): (&View<'_>, &GroupId),
    direct: impl IntoIterator<Item = (Member, Access)>,
    out: &BTreeSet<GroupId>,
) -> Roles {
    let devices = out
        .iter()
        .flat_map(|person| word::out_with(view, group, person));
    let devices: BTreeSet<VerifyingKey> = devices.collect();
    let mut roles = Roles::new();
    let mut put = |key: VerifyingKey, access: Access| {
        let role = roles.entry(key).or_insert(Role::from(access));
        *role = (*role).max(access.into());
    };
    for (member, access) in direct {
        match member {
            Member::Individual(key) if devices.contains(&key) => {}
            Member::Individual(key) => put(key, access),
            Member::Group(nested) if out.contains(&nested) => {}
            Member::Group(nested) => {
                for (key, within) in view.members(&nested) {
                    put(key, access.min(within));
                }
            }
        }
    }
    roles
}

/// The role of a member in a group, in the form of our own nodes.
pub(crate) fn role(view: &View<'_>, group: &GroupId, key: &VerifyingKey) -> Option<Role> {
    match persons_out(view, group).is_empty() {
        true => view.access(group, key).map(Role::from),
        false => roles(view, group).get(key).copied(),
    }
}

impl Spaces {
    /// Makes the group of a person: us and these devices. Nothing is published.
    pub fn create_person<R: CryptoRng, F: Forge>(
        &mut self,
        devices: &[VerifyingKey],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Result<(GroupId, Vec<Event>), LocalError> {
        let all: BTreeSet<VerifyingKey> = devices.iter().copied().chain([self.me]).collect();
        if all.len() > PERSON_DEVICES_MAX {
            return Err(LocalError::TooManyDevices);
        }
        let all = all.into_iter().map(Member::Individual);
        let all: Vec<(Member, Role)> = all.map(|device| (device, Role::Owner)).collect();
        let (person, events) = self.create_group(&all, desk)?;
        self.own = Some(person);
        Ok((person, events))
    }

    /// The devices of a person, sorted; none if it is not known.
    pub fn devices(&self, person: &GroupId) -> Vec<VerifyingKey> {
        let devices = devices_of(&self.groups.now(), person);
        devices.into_iter().flatten().collect()
    }

    /// Makes a device one of a person's, of which we are a device. Spaces follow by
    /// [`Spaces::follow_person`].
    pub fn add_device<R: CryptoRng, F: Forge>(
        &mut self,
        person: GroupId,
        device: VerifyingKey,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let devices = self.devices(&person);
        if devices.contains(&device) {
            return Ok(Vec::new());
        }
        let is_full = devices.len() >= PERSON_DEVICES_MAX;
        if is_full || self.operations_of(&person).len() >= PERSON_OPERATIONS_MAX / 2 {
            return Err(LocalError::TooManyDevices);
        }
        if former(&self.groups.now(), &person).contains(&device) {
            return Err(LocalError::RevokedDevice);
        }
        if self.puts_out(&device) || self.puts_out_of_team(&person, &device) {
            return Err(LocalError::RemovedDevice);
        }
        let member = Member::Individual(device);
        let access = Access::Manage;
        self.change_group(person, Action::Add { member, access }, desk)
    }

    /// Returns `true` if a device of our person would put the person out of a space: it was
    /// removed there, and we are no owner that can make it a member again.
    fn puts_out(&self, device: &VerifyingKey) -> bool {
        let now = self.groups.now();
        let native = self.spaces.values().filter(|known| known.native.is_some());
        let ours = native.filter(|known| known.roles.contains_key(&self.me));
        let groups = ours.filter_map(|known| Some(known.founded?.group));
        let mut removed = groups.filter(|group| former(&now, group).contains(device));
        removed.any(|group| self.direct_role(&group) != Some(Role::Owner))
    }

    /// Makes a device none of a person's any more, of which we are a device. Spaces follow by
    /// [`Spaces::follow_person`].
    pub fn revoke_device<R: CryptoRng, F: Forge>(
        &mut self,
        person: GroupId,
        device: VerifyingKey,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let devices = self.devices(&person);
        if !devices.contains(&device) {
            return Err(LocalError::NoDevice);
        }
        if devices.len() == 1 {
            return Err(LocalError::LastDevice);
        }
        let member = Member::Individual(device);
        self.change_group(person, Action::Remove { member }, desk)
    }

    /// The role of a member in a space, as its messages make it.
    pub fn role(&self, space: &SpaceId, member: &VerifyingKey) -> Option<Role> {
        self.spaces.get(space)?.roles.get(member).copied()
    }

    /// Returns the roles that make our person an owner of a space that we create.
    pub fn owner(&self, person: &GroupId) -> Vec<(Member, Role)> {
        let devices = self.devices(person).into_iter();
        let devices = devices.map(|device| (Member::Individual(device), Role::Owner));
        let group = (Member::Group(*person), Role::Editor);
        devices.chain([group]).collect()
    }

    /// The members of a space with their devices, as its messages make them.
    pub fn persons(&self, space: &SpaceId) -> Vec<PersonMember> {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return Vec::new();
        };
        let mut left = known.roles.clone();
        let mut persons = Vec::new();
        if let Ok(view) = view_of(&self.groups, &known.graph.heads()) {
            for (group, _) in view.nested_groups(&founded.group) {
                if is_team(&view, &group) {
                    continue;
                }
                let word = self.word(&founded.group, &group);
                let direct = view.direct_members(&group).into_iter();
                let devices = direct.filter_map(|(member, _)| match member {
                    Member::Individual(key) if word.counts(&key) => left.remove_entry(&key),
                    _ => None,
                });
                persons.extend(person(Some(group), devices.collect()));
            }
        }
        persons.extend(left.into_iter().filter_map(|one| person(None, vec![one])));
        persons.sort_by_key(|person| person.devices.first().map(|(key, _)| *key));
        for team in self.teams_of(space) {
            let has = |key: &VerifyingKey| team.devices.iter().any(|(member, _)| member == key);
            for person in &mut persons {
                if person.devices.iter().any(|(key, _)| has(key)) {
                    person.teams.push(team.id);
                }
            }
        }
        persons
    }

    /// The person that is a direct member of a space, and that a device belongs to by its own word: that a
    /// group lists a key is not enough. Of several persons the one with the smallest id.
    pub fn person_of(&self, space: &SpaceId, device: &VerifyingKey) -> Option<GroupId> {
        let group = self.group(space)?;
        let now = self.groups.now();
        let mut groups = now.direct_members(&group).into_iter();
        groups.find_map(|(member, _)| match member {
            Member::Group(person) => {
                let devices = devices_of(&now, &person)?;
                let is_device =
                    devices.contains(device) && self.word(&group, &person).counts(device);
                is_device.then_some(person)
            }
            Member::Individual(_) => None,
        })
    }

    /// Makes a person a member, or gives it another role: an owner has an entry for each device.
    pub fn add_person<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        role: Role,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if self.devices(&person).is_empty() {
            return Err(LocalError::NoDevice);
        }
        let actions = self.person_actions(&group, &person, Some(role));
        if self.would_be_out(&group, &person, &actions) {
            return Err(LocalError::RemovedDevice);
        }
        self.change_all(space, actions, desk)
    }

    /// Takes memberships away, those of persons with all devices; with one new secret. Where we are
    /// among them and no owner, the owners are asked.
    pub fn remove_members<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        members: &[VerifyingKey],
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let (mut persons, mut actions) = (BTreeSet::new(), Vec::new());
        for key in members {
            self.is_direct(space, key)?;
            match self.person_of(&space, key) {
                None => {
                    let member = Member::Individual(*key);
                    actions.push(Action::Remove { member });
                }
                Some(person) if persons.insert(person) => {
                    actions.extend(self.person_actions(&group, &person, None));
                }
                Some(_) => {}
            }
        }
        self.remove_all_of(space, &persons, actions, desk)
    }

    /// Takes the membership of a person away, with those of its devices.
    pub fn remove_person<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let actions = self.person_actions(&group, &person, None);
        if actions.is_empty() {
            if let Some(device) = self.devices(&person).first() {
                self.is_direct(space, device)?;
            }
            return Err(LocalError::NoDevice);
        }
        self.remove_all_of(space, &BTreeSet::from([person]), actions, desk)
    }

    fn remove_all_of<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        persons: &BTreeSet<GroupId>,
        mut actions: Vec<Action>,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        let own = self.person_of(&space, &self.me);
        let own = own.filter(|own| persons.len() == 1 && persons.contains(own));
        if let Some(own) = own
            && self.direct_role(&group) != Some(Role::Owner)
        {
            return self.ask_to_leave(space, own, desk);
        }
        // After our own removal we can do nothing more.
        let me = Member::Individual(self.me);
        actions.sort_by_key(|action| action.member() == Some(me));
        match actions.as_slice() {
            [Action::Remove { member }] => self.remove(space, *member, desk),
            _ => self.change_all(space, actions, desk),
        }
    }

    /// Gives a member another role, with all devices if it is a person.
    pub fn set_member_role<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        member: VerifyingKey,
        role: Role,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        self.is_direct(space, &member)?;
        match self.person_of(&space, &member) {
            Some(person) => self.add_person(space, person, role, desk),
            None => self.set_role(space, Member::Individual(member), role, desk),
        }
    }

    /// Brings a space to what our person is by now, as far as we may: points to the operations on
    /// its group, gives the devices of an owner their entries, makes a new secret where a device was
    /// removed, or introduces the person. [`Spaces::pending`] returns what remains to be done.
    pub fn follow_person<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let group = self.founded(space)?.group;
        if !self.has_secrets(space) {
            return Err(LocalError::NotWelcomed);
        }
        self.note_own(person);
        let now = self.groups.now();
        let is_owner = self.direct_role(&group) == Some(Role::Owner);
        let mut direct = now.direct_members(&group).into_iter();
        let is_direct = direct.any(|(member, _)| member == Member::Group(person));
        let mut nested = now.nested_groups(&group).into_iter();
        let is_nested = nested.any(|(nested, _)| nested == person);
        if is_owner {
            let role = match is_direct {
                true => self.role_of_person(&group, &person),
                false => Some(Role::Owner),
            };
            let actions = self.person_actions(&group, &person, role);
            if !actions.is_empty() && !self.would_be_out(&group, &person, &actions) {
                let events = self.change_all(space, actions, desk)?;
                if !self.has_secrets(space) || !self.is_silent(&space, &person) {
                    return Ok(events);
                }
                self.told.extend(events);
                return self.introduce(space, person, desk);
            }
        }
        if !is_nested {
            return self.introduce(space, person, desk);
        }
        self.merge(space, desk)?;
        // Also where that changes no role, so that owners learn of it.
        let last = self.groups.heads_of(&[person]);
        self.point_to(space, group, last, desk)?;
        self.hand_out(space, desk)?;
        self.begin_epoch(space, desk)?;
        if self.pending(&space, &person).contains(&Pending::Introduce) && self.has_secrets(space) {
            let events = self.introduce(space, person, desk)?;
            self.told.extend(events);
        }
        Ok(self.events())
    }

    /// Returns what a space has not heard of a person, of which we are a device.
    pub fn pending(&self, space: &SpaceId, person: &GroupId) -> Vec<Pending> {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return Vec::new();
        };
        let Ok(view) = view_of(&self.groups, &known.graph.heads()) else {
            return Vec::new();
        };
        let group = founded.group;
        let nested = view.nested_groups(&group);
        if !nested.iter().any(|(nested, _)| nested == person) {
            return match known.roles.contains_key(&self.me) {
                true => vec![Pending::Introduce],
                false => Vec::new(),
            };
        }
        let teams = nested.iter().map(|(nested, _)| *nested);
        let mut teams = teams.filter(|nested| is_team(&view, nested)).chain([group]);
        let is_alone = teams.any(|group| self.is_alone(&view, &group, person));
        let mut pending = Vec::new();
        // It may have the person, and not our word that we are a device of it.
        if is_alone || self.is_silent(space, person) {
            pending.push(Pending::Introduce);
        }
        let direct: BTreeMap<Member, Access> = view.direct_members(&group).into_iter().collect();
        let is_owner = |device: &VerifyingKey| {
            let access = direct.get(&Member::Individual(*device));
            access == Some(&Access::Manage)
        };
        let now: BTreeSet<VerifyingKey> = self.devices(person).into_iter().collect();
        let there = devices_of(&view, person).unwrap_or_default();
        let owns = now.iter().any(is_owner);
        for device in &now {
            if !there.contains(device) || owns && !is_owner(device) {
                pending.push(Pending::Change(DeviceChange::Add(*device)));
            }
        }
        for device in former(&self.groups.now(), person).union(&there) {
            let has_entry = direct.contains_key(&Member::Individual(*device))
                && !self.is_meant(&group, person, device);
            if !now.contains(device) && (there.contains(device) || has_entry) {
                pending.push(Pending::Change(DeviceChange::Revoke(*device)));
            }
        }
        pending
    }

    /// Returns `true` if we are a direct member of a group by ourselves, and our person is not.
    fn is_alone(&self, view: &View<'_>, group: &GroupId, person: &GroupId) -> bool {
        let direct = view.direct_members(group);
        let lists = |listed: Member| direct.iter().any(|(member, _)| *member == listed);
        lists(Member::Individual(self.me)) && !lists(Member::Group(*person))
    }

    /// Says in a space of which person we are a device, with the operations on its group.
    fn introduce<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let known = self.spaces.get(&space);
        if known.is_none_or(|known| known.native.is_none()) {
            return Err(LocalError::Form);
        }
        if self.introduced(&space).get(&self.me) == Some(&person) {
            return Ok(Vec::new());
        }
        if self.operations_of(&person).len() > PERSON_OPERATIONS_MAX {
            return Err(LocalError::TooManyDevices);
        }
        // Operations on a group that is in the space come with a pointer.
        let carried = match self.has_nested(&space, &person) {
            true => Vec::new(),
            false => self.groups.heads_of(&[person]),
        };
        self.notes = vec![Note::Person(person)];
        let done = self.plain_with(space, false, &carried, desk);
        self.notes.clear();
        done.map(|()| self.events())
    }

    /// Returns `true` if a group is in a space, directly or through others, as the messages of the
    /// space make it.
    fn has_nested(&self, space: &SpaceId, group: &GroupId) -> bool {
        let known = self.spaces.get(space);
        let Some((known, founded)) = known.and_then(|known| Some((known, known.founded?))) else {
            return false;
        };
        view_of(&self.groups, &known.graph.heads()).is_ok_and(|view| {
            let mut nested = view.nested_groups(&founded.group).into_iter();
            nested.any(|(nested, _)| nested == *group)
        })
    }

    /// Notes of which person we are a device, if it lists us. This is not stored: the caller says it again
    /// after [`Spaces::load`].
    pub fn note_own(&mut self, person: GroupId) {
        if self.devices(&person).contains(&self.me) {
            self.own = Some(person);
        }
    }

    /// Asks the owners to remove our person.
    fn ask_to_leave<R: CryptoRng, F: Forge>(
        &mut self,
        space: SpaceId,
        person: GroupId,
        desk: &mut Desk<'_, '_, R, F>,
    ) -> Done {
        let word = self.is_silent(&space, &person);
        let word = word.then_some(Note::Person(person));
        self.notes = word.into_iter().chain([Note::Leaves]).collect();
        let done = self.plain(space, false, desk);
        self.notes.clear();
        done.map(|()| self.events())
    }

    /// Returns the person that each device named last in the space.
    pub(crate) fn introduced(&self, space: &SpaceId) -> BTreeMap<VerifyingKey, GroupId> {
        let mut last: BTreeMap<VerifyingKey, (u64, GroupId)> = BTreeMap::new();
        for (place, note) in self.notes_of(space) {
            if let Note::Person(person) = note {
                let (_, position, author) = place;
                let known = last.entry(author).or_insert((position, *person));
                if known.0 <= position {
                    *known = (position, *person);
                }
            }
        }
        let person = |(device, (_, person))| (device, person);
        last.into_iter().map(person).collect()
    }

    /// Notes that count, each with the message, its place in the messages of its author, and the
    /// author.
    fn notes_of(
        &self,
        space: &SpaceId,
    ) -> impl Iterator<Item = ((Hash, u64, VerifyingKey), &Note)> {
        let graph = self.spaces.get(space).map(|known| &known.graph);
        let noting = graph.into_iter().flat_map(|graph| graph.noting());
        let node = move |id: &Hash| Some((*id, graph?.get(id)?));
        let nodes = noting.filter_map(node);
        let counts = nodes.filter(|(_, node)| node.kind != Kind::Refused);
        counts.flat_map(|(id, node)| {
            let of = (id, node.place.position, node.place.author);
            node.notes.iter().map(move |note| (of, note))
        })
    }

    /// Our role in a group by an entry of our own.
    pub(crate) fn direct_role(&self, group: &GroupId) -> Option<Role> {
        let me = Member::Individual(self.me);
        let mut direct = self.groups.now().direct_members(group).into_iter();
        direct
            .find(|(member, _)| *member == me)
            .map(|(_, access)| access.into())
    }

    /// The operations on the group of a person, each after those that it depends on.
    fn operations_of(&self, person: &GroupId) -> Vec<Hash> {
        let all = self.groups.since(&[]);
        let of_person = all.filter(|op| op.arguments.group == *person);
        of_person.map(|op| op.id).collect()
    }
}

fn person(person: Option<GroupId>, devices: Vec<(VerifyingKey, Role)>) -> Option<PersonMember> {
    let role = devices.iter().map(|(_, role)| *role).max()?;
    Some(PersonMember {
        person,
        role,
        devices,
        teams: Vec::new(),
    })
}

/// For another key that is a device of a person too, as that of a recovery.
impl Spaces {
    /// Signs a change of a person's devices by a key that is one of its devices and is not ours, and
    /// processes it; [`Spaces::card`] then contains it. Nothing is published.
    pub fn sign_device_change(
        &mut self,
        by: &p2panda_core::SigningKey,
        person: GroupId,
        change: DeviceChange,
    ) -> Result<Vec<Event>, LocalError> {
        let author = by.verifying_key();
        let devices = self.devices(&person);
        if !devices.contains(&author) {
            return Err(LocalError::NoDevice);
        }
        let member = Member::Individual(change.device());
        let action = match change {
            DeviceChange::Add(_) if devices.len() >= PERSON_DEVICES_MAX => {
                return Err(LocalError::TooManyDevices);
            }
            DeviceChange::Add(_) => Action::Add {
                member,
                access: Access::Manage,
            },
            DeviceChange::Revoke(_) => Action::Remove { member },
        };
        let draft = self.groups.draft(&author, &person, action);
        if draft.freezes {
            return Err(LocalError::LastDevice);
        }
        self.take_signed(by, &draft.arguments)
    }
}
