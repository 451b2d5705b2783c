//! Check that a key is a device of a person by its own word (`docs/protocol/spaces.md#18`).

use core::cell::OnceCell;

use p2panda_core::VerifyingKey;
use p2panda_core::ordered::BTreeSet;
use p2panda_groups::{GroupId, Member, View};

use super::devices_of;
use crate::SpaceId;
use crate::spaces::Spaces;
use crate::team::is_team;

/// Devices of a person, for what concerns the members of a group.
pub(crate) struct Word<'s> {
    spaces: &'s Spaces,
    group: GroupId,
    person: GroupId,
    is_ours: bool,
    /// Keys that signed an operation on the person's group.
    signed: BTreeSet<VerifyingKey>,
    /// Keys that introduced themselves.
    said: OnceCell<BTreeSet<VerifyingKey>>,
}

impl Word<'_> {
    /// Returns `true` if a key is a device of the person: it states this itself, or a device of the
    /// person made it a direct member. What our own person lists is for us to trust.
    pub(crate) fn counts(&self, key: &VerifyingKey) -> bool {
        self.is_ours || self.signed.contains(key) || self.said().contains(key) || self.is_given(key)
    }

    /// Returns `true` if it is the person of this node.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    fn said(&self) -> &BTreeSet<VerifyingKey> {
        self.said.get_or_init(|| {
            let spaces = self.spaces.spaces_about(&self.group).into_iter();
            let introduced = spaces.flat_map(|space| self.spaces.introduced(&space));
            let of_person = introduced.filter(|(_, person)| *person == self.person);
            of_person.map(|(device, _)| device).collect()
        })
    }

    fn is_given(&self, key: &VerifyingKey) -> bool {
        let by: BTreeSet<VerifyingKey> = self.signed.union(self.said()).copied().collect();
        let now = self.spaces.groups.now();
        let spaces = self.spaces.spaces_about(&self.group);
        is_given(&now, (&self.group, &self.person), &by, key)
            && self
                .spaces
                .said_in(key, &spaces)
                .is_none_or(|other| other == self.person)
    }
}

impl Spaces {
    /// Returns the devices of a person, for what concerns the members of the group of a space, or
    /// of a team.
    pub(crate) fn word(&self, group: &GroupId, person: &GroupId) -> Word<'_> {
        let now = self.groups.now();
        let signed: BTreeSet<VerifyingKey> = now.authors(person).into_iter().collect();
        let mut word = Word {
            spaces: self,
            group: *group,
            person: *person,
            is_ours: false,
            signed,
            said: OnceCell::new(),
        };
        let lists_us = devices_of(&now, person).is_some_and(|all| all.contains(&self.me));
        word.is_ours = lists_us
            && (self.own == Some(*person)
                || word.signed.contains(&self.me)
                || word.said().contains(&self.me));
        word
    }

    /// The person of a device, where the device itself states it: it signed an operation on the person's
    /// group, or introduced itself in a space.
    pub fn person_known(&self, device: &VerifyingKey) -> Option<GroupId> {
        let spaces: Vec<SpaceId> = self.spaces.keys().copied().collect();
        self.said_in(device, &spaces)
    }

    /// The same with what was said in these spaces. Of several persons the one with the smallest id.
    fn said_in(&self, device: &VerifyingKey, spaces: &[SpaceId]) -> Option<GroupId> {
        let now = self.groups.now();
        let groups = now.groups_of(&Member::Individual(*device)).into_iter();
        let groups = groups.map(|(group, _)| group);
        let persons: BTreeSet<GroupId> = groups
            .filter(|group| {
                let devices = devices_of(&now, group);
                devices.is_some_and(|devices| devices.contains(device)) && !self.is_space(group)
            })
            .collect();
        let signed = |person: &&GroupId| now.authors(person).contains(device);
        persons.iter().find(signed).copied().or_else(|| {
            let said = spaces.iter();
            let said = said.filter_map(|space| self.introduced(space).remove(device));
            said.filter(|person| persons.contains(person)).min()
        })
    }

    fn is_space(&self, group: &GroupId) -> bool {
        let mut founded = self.spaces.values().filter_map(|known| known.founded);
        founded.any(|founded| founded.group == *group)
    }

    /// The space of a group, or all if it has none, as that of a team.
    fn spaces_about(&self, group: &GroupId) -> Vec<SpaceId> {
        let mut all = self.spaces.values();
        let own = all.find(|known| known.founded.is_some_and(|founded| founded.group == *group));
        match own {
            Some(known) => vec![known.id],
            None => self.spaces.keys().copied().collect(),
        }
    }

    /// Returns `true` if we have to state in a space of which person we are a device: none of our
    /// messages states it there.
    pub fn is_silent(&self, space: &SpaceId, person: &GroupId) -> bool {
        let known = self.spaces.get(space);
        let known = known.filter(|known| known.native.is_some() && known.founded.is_some());
        let role = known.and_then(|known| known.roles.get(&self.me).copied());
        let now = self.groups.now();
        role.is_some_and(|role| role.has_secrets())
            && devices_of(&now, person).is_some_and(|devices| devices.contains(&self.me))
            && !now.authors(person).contains(&self.me)
            && self.introduced(space).get(&self.me) != Some(person)
    }

    /// Returns `true` if a key is a member only because persons list it: it has not confirmed this
    /// itself yet.
    pub fn is_claimed(&self, space: &SpaceId, key: &VerifyingKey) -> bool {
        let Some(group) = self.group(space) else {
            return false;
        };
        let now = self.groups.now();
        let nested = now.nested_groups(&group).into_iter();
        let all = nested.map(|(nested, _)| nested).chain([group]);
        let member = Member::Individual(*key);
        let lists = |of: &GroupId| {
            let direct = now.direct_members(of);
            direct.iter().any(|(listed, _)| *listed == member)
        };
        let listing: Vec<GroupId> = all.filter(lists).collect();
        let is_claim = |of: &GroupId| {
            let is_person = *of != group && devices_of(&now, of).is_some();
            is_person && !self.word(&group, of).counts(key)
        };
        !listing.is_empty() && listing.iter().all(is_claim)
    }

    /// Persons in a space that list a key, although it is no device of them by its own word; sorted.
    pub(crate) fn claimed_by(&self, group: &GroupId, key: &VerifyingKey) -> Vec<GroupId> {
        let now = self.groups.now();
        let nested = now.nested_groups(group).into_iter();
        let nested = nested.map(|(nested, _)| nested);
        let lists = |nested: &GroupId| {
            devices_of(&now, nested).is_some_and(|devices| devices.contains(key))
        };
        nested.filter(lists).collect()
    }
}

/// Returns `true` if one of these devices of a person made a key a direct member of a group,
/// knowing that the person lists it.
fn is_given(
    view: &View<'_>,
    (group, person): (&GroupId, &GroupId),
    by: &BTreeSet<VerifyingKey>,
    key: &VerifyingKey,
) -> bool {
    let additions = view.additions(group, &Member::Individual(*key));
    additions.iter().any(|(operation, author)| {
        by.contains(author)
            && view.past(operation).is_ok_and(|past| {
                devices_of(&past, person).is_some_and(|devices| devices.contains(key))
            })
    })
}

/// The devices of a removed person, as far as operations on groups show: they lose their own entries,
/// others keep theirs.
pub(super) fn out_with(
    view: &View<'_>,
    group: &GroupId,
    person: &GroupId,
) -> BTreeSet<VerifyingKey> {
    let signed: BTreeSet<VerifyingKey> = view.authors(person).into_iter().collect();
    let is_of_another = |key: &VerifyingKey| {
        let groups = view.groups_of(&Member::Individual(*key)).into_iter();
        let mut others = groups.map(|(other, _)| other);
        others.any(|other| {
            other != *group
                && other != *person
                && !is_team(view, &other)
                && devices_of(view, &other).is_some()
                && view.authors(&other).contains(key)
        })
    };
    let counts = |key: &VerifyingKey| {
        signed.contains(key) || is_given(view, (group, person), &signed, key) && !is_of_another(key)
    };
    let devices = devices_of(view, person).into_iter().flatten();
    devices.filter(counts).collect()
}
