//! Small numbers for keys, groups and members.

use p2panda_core::VerifyingKey;

use crate::few::Few;
use crate::keyed::Map;
use crate::{GroupId, Member};

/// The number of a key, no matter what it names.
pub(crate) type KeyIndex = u32;
/// The number of a group that has operations.
pub(crate) type GroupIndex = u32;
/// The place of an operation in the order of processing.
pub(crate) type OpIndex = u32;
/// The number of a realm.
pub(crate) type RealmIndex = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum MemberIndex {
    Individual(KeyIndex),
    Group(KeyIndex),
}

#[derive(Default)]
pub(crate) struct Registry {
    names: Vec<Name>,
    by_key: Map<VerifyingKey, KeyIndex>,
    groups: Vec<Group>,
    nesting_groups: usize,
}

/// Meaning of a key.
struct Name {
    key: VerifyingKey,
    group: Option<GroupIndex>,
    /// Groups in which it was ever named as an individual.
    individual_in: Few,
    /// Groups in which it was ever named as a group.
    group_in: Few,
}

/// Group, without anything that changes its place when the rules decide.
pub(crate) struct Group {
    pub(crate) key: KeyIndex,
    /// Everybody ever named, by slot.
    pub(crate) members: Vec<MemberIndex>,
    slots: Map<MemberIndex, u32>,
    /// Slots of the groups among the members.
    pub(crate) nested: Vec<(u32, KeyIndex)>,
    /// All its operations, those that never have an effect included.
    pub(crate) ops: Vec<OpIndex>,
    /// Its operations that can have an effect, by the create that they rely on.
    pub(crate) realms: Vec<RealmIndex>,
    /// The realm that has its effect.
    pub(crate) effective: Option<RealmIndex>,
    pub(crate) creates: Vec<OpIndex>,
    /// One of its creates has another one in its past.
    pub(crate) recreated: bool,
}

impl Group {
    pub(crate) fn slot(&self, member: MemberIndex) -> Option<u32> {
        self.slots.get(&member).copied()
    }
}

impl Registry {
    pub(crate) fn key(&self, index: KeyIndex) -> VerifyingKey {
        self.name(index).key
    }

    fn name(&self, index: KeyIndex) -> &Name {
        let name = self.names.get(index as usize);
        name.expect("keys are never forgotten")
    }

    fn name_mut(&mut self, index: KeyIndex) -> &mut Name {
        let name = self.names.get_mut(index as usize);
        name.expect("keys are never forgotten")
    }

    pub(crate) fn find_key(&self, key: &VerifyingKey) -> Option<KeyIndex> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn find_member(&self, member: &Member) -> Option<MemberIndex> {
        let key = self.find_key(member.key())?;
        Some(match member {
            Member::Individual(_) => MemberIndex::Individual(key),
            Member::Group(_) => MemberIndex::Group(key),
        })
    }

    pub(crate) fn member(&self, member: MemberIndex) -> Member {
        match member {
            MemberIndex::Individual(key) => Member::Individual(self.key(key)),
            MemberIndex::Group(key) => Member::Group(self.key(key).into()),
        }
    }

    pub(crate) fn find_group(&self, group: &GroupId) -> Option<GroupIndex> {
        self.group_of_key(self.find_key(group.as_key())?)
    }

    pub(crate) fn group_of_key(&self, key: KeyIndex) -> Option<GroupIndex> {
        self.name(key).group
    }

    pub(crate) fn group(&self, index: GroupIndex) -> &Group {
        self.groups
            .get(index as usize)
            .expect("groups are never forgotten")
    }

    pub(crate) fn group_mut(&mut self, index: GroupIndex) -> &mut Group {
        self.groups
            .get_mut(index as usize)
            .expect("groups are never forgotten")
    }

    /// Keeps the names alone.
    pub(crate) fn forget_operations(&mut self) {
        for group in &mut self.groups {
            group.ops.clear();
            group.realms.clear();
            group.creates.clear();
            (group.effective, group.recreated) = (None, false);
        }
    }

    pub(crate) fn group_id(&self, index: GroupIndex) -> GroupId {
        self.key(self.group(index).key).into()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupIndex, &Group)> {
        (0..).zip(&self.groups)
    }

    pub(crate) fn named_in(&self, member: MemberIndex) -> &[GroupIndex] {
        match member {
            MemberIndex::Individual(key) => &self.name(key).individual_in,
            MemberIndex::Group(key) => &self.name(key).group_in,
        }
    }

    /// Returns the number of groups that ever contained another one, a bound on how deep they can
    /// be nested.
    pub(crate) fn nesting_groups(&self) -> usize {
        self.nesting_groups
    }

    pub(crate) fn add_key(&mut self, key: &VerifyingKey) -> KeyIndex {
        let next = self.names.len() as KeyIndex;
        let index = *self.by_key.entry(*key).or_insert(next);
        if index == next {
            self.names.push(Name {
                key: *key,
                group: None,
                individual_in: Few::default(),
                group_in: Few::default(),
            });
        }
        index
    }

    pub(crate) fn add_group(&mut self, group: &GroupId) -> GroupIndex {
        let key = self.add_key(group.as_key());
        let next = self.groups.len() as GroupIndex;
        let index = *self.name_mut(key).group.get_or_insert(next);
        if index == next {
            self.groups.push(Group {
                key,
                members: Vec::new(),
                slots: Map::default(),
                nested: Vec::new(),
                ops: Vec::new(),
                realms: Vec::new(),
                effective: None,
                creates: Vec::new(),
                recreated: false,
            });
        }
        index
    }

    /// The slot of a member in a group, a new one if it was never named there, and its key.
    pub(crate) fn add_member(&mut self, group: GroupIndex, member: &Member) -> (u32, KeyIndex) {
        let key = self.add_key(member.key());
        let index = match member {
            Member::Individual(_) => MemberIndex::Individual(key),
            Member::Group(_) => MemberIndex::Group(key),
        };
        (self.add_slot(group, index), key)
    }

    pub(crate) fn add_slot(&mut self, group: GroupIndex, index: MemberIndex) -> u32 {
        let into = self.group_mut(group);
        let next = into.members.len() as u32;
        let slot = *into.slots.entry(index).or_insert(next);
        if slot == next {
            into.members.push(index);
            match index {
                MemberIndex::Individual(key) => self.name_mut(key).individual_in.push(group),
                MemberIndex::Group(key) => {
                    let first = into.nested.is_empty();
                    into.nested.push((slot, key));
                    self.nesting_groups += usize::from(first);
                    self.name_mut(key).group_in.push(group);
                }
            }
        }
        slot
    }
}
