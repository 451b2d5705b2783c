//! Small numbers for keys, groups and members.

use std::collections::BTreeMap;

use p2panda_core::VerifyingKey;

use crate::{GroupId, Member};

/// The number of a key, whatever it names.
pub(crate) type KeyIndex = u32;
/// The number of a group that has operations.
pub(crate) type GroupIndex = u32;
/// The place of an operation in the order of processing.
pub(crate) type OpIndex = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MemberIndex {
    Individual(KeyIndex),
    Group(KeyIndex),
}

#[derive(Default)]
pub(crate) struct Registry {
    keys: Vec<VerifyingKey>,
    by_key: BTreeMap<VerifyingKey, KeyIndex>,
    groups: Vec<Group>,
    by_group: BTreeMap<KeyIndex, GroupIndex>,
    nesting_groups: usize,
    /// The last operation that a key is known to have seen: its own, or else the one that first
    /// made it a manager.
    last_seen: BTreeMap<KeyIndex, OpIndex>,
    /// Groups in which a member was ever named.
    named_in: BTreeMap<MemberIndex, Vec<GroupIndex>>,
}

/// What never changes its place, whatever the rules decide.
pub(crate) struct Group {
    pub(crate) key: KeyIndex,
    /// Everybody ever named, by slot.
    pub(crate) members: Vec<MemberIndex>,
    slots: BTreeMap<MemberIndex, u32>,
    /// Slots of the groups among the members.
    pub(crate) nested: Vec<(u32, KeyIndex)>,
    pub(crate) ops: Vec<OpIndex>,
    pub(crate) creates: Vec<OpIndex>,
    /// The create that has effect under the hardened rules.
    pub(crate) effective: Option<OpIndex>,
}

impl Group {
    pub(crate) fn slot(&self, member: MemberIndex) -> Option<u32> {
        self.slots.get(&member).copied()
    }

    /// Its operations at or after a place.
    pub(crate) fn ops_from(&self, from: OpIndex) -> &[OpIndex] {
        let at = self.ops.partition_point(|op| *op < from);
        self.ops.get(at..).unwrap_or_default()
    }
}

impl Registry {
    pub(crate) fn key(&self, index: KeyIndex) -> VerifyingKey {
        *self
            .keys
            .get(index as usize)
            .expect("keys are never forgotten")
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
        self.by_group.get(&key).copied()
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

    pub(crate) fn group_id(&self, index: GroupIndex) -> GroupId {
        self.key(self.group(index).key).into()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (GroupIndex, &Group)> {
        (0..).zip(&self.groups)
    }

    pub(crate) fn named_in(&self, member: MemberIndex) -> &[GroupIndex] {
        self.named_in
            .get(&member)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The last operation that a key is known to have seen.
    pub(crate) fn last_seen(&self, key: KeyIndex) -> Option<OpIndex> {
        self.last_seen.get(&key).copied()
    }

    pub(crate) fn note_author(&mut self, key: KeyIndex, op: OpIndex) {
        self.last_seen.insert(key, op);
    }

    pub(crate) fn note_manager(&mut self, key: KeyIndex, op: OpIndex) {
        self.last_seen.entry(key).or_insert(op);
    }

    /// How many groups ever contained another one, a bound on how deep they can be nested.
    pub(crate) fn nesting_groups(&self) -> usize {
        self.nesting_groups
    }

    pub(crate) fn add_key(&mut self, key: &VerifyingKey) -> KeyIndex {
        let next = self.keys.len() as KeyIndex;
        let index = *self.by_key.entry(*key).or_insert(next);
        if index == next {
            self.keys.push(*key);
        }
        index
    }

    pub(crate) fn add_group(&mut self, group: &GroupId) -> GroupIndex {
        let key = self.add_key(group.as_key());
        let next = self.groups.len() as GroupIndex;
        let index = *self.by_group.entry(key).or_insert(next);
        if index == next {
            self.groups.push(Group {
                key,
                members: Vec::new(),
                slots: BTreeMap::new(),
                nested: Vec::new(),
                ops: Vec::new(),
                creates: Vec::new(),
                effective: None,
            });
        }
        index
    }

    /// The slot of a member in a group, a new one if it was never named there.
    pub(crate) fn add_member(&mut self, group: GroupIndex, member: &Member) -> u32 {
        let key = self.add_key(member.key());
        let index = match member {
            Member::Individual(_) => MemberIndex::Individual(key),
            Member::Group(_) => MemberIndex::Group(key),
        };
        let into = self.group_mut(group);
        let next = into.members.len() as u32;
        let slot = *into.slots.entry(index).or_insert(next);
        if slot == next {
            into.members.push(index);
            let nests = matches!(index, MemberIndex::Group(_));
            let first = nests && into.nested.is_empty();
            if nests {
                into.nested.push((slot, key));
            }
            self.nesting_groups += usize::from(first);
            self.named_in.entry(index).or_default().push(group);
        }
        slot
    }
}
