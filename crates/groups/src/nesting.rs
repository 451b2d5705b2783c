//! Groups in groups (`docs/protocol/groups.md#10`). All walks are loops, and safe in cycles.

use p2panda_core::ordered::{BTreeMap, BTreeSet};

use p2panda_core::VerifyingKey;

use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, MemberIndex, Registry};
use crate::table::Table;
use crate::{Access, GroupId, Member};

/// The table of a group at some point; none if the group is not there.
pub(crate) type Lookup<'a> = &'a dyn Fn(GroupIndex) -> Option<Table>;

impl Groups {
    /// True if `inner` is `outer` or contains it over active nested groups.
    pub(crate) fn nests(&self, table: Lookup<'_>, inner: &GroupId, outer: &GroupId) -> bool {
        if inner == outer {
            return true;
        }
        let registry = &self.registry;
        let (Some(from), Some(to)) = (
            registry.find_key(inner.as_key()),
            registry.find_key(outer.as_key()),
        ) else {
            return false;
        };
        self.within(table, vec![from]).contains(&to)
    }

    /// Some groups and all that they contain.
    pub(crate) fn within(&self, table: Lookup<'_>, groups: Vec<KeyIndex>) -> BTreeSet<KeyIndex> {
        let mut seen: BTreeSet<KeyIndex> = groups.iter().copied().collect();
        let mut todo = groups;
        while let Some(key) = todo.pop() {
            for child in children(&self.registry, table, key) {
                if seen.insert(child) {
                    todo.push(child);
                }
            }
        }
        seen
    }

    /// All groups that contain a group.
    pub(crate) fn around(&self, table: Lookup<'_>, group: KeyIndex) -> BTreeSet<KeyIndex> {
        let mut seen = BTreeSet::new();
        let mut todo = vec![group];
        while let Some(key) = todo.pop() {
            for parent in parents(&self.registry, table, key) {
                if seen.insert(parent) {
                    todo.push(parent);
                }
            }
        }
        seen
    }

    /// Steps from a group to the farthest one that it contains.
    pub(crate) fn levels_below(&self, table: Lookup<'_>, group: &GroupId) -> usize {
        levels(self.registry.find_key(group.as_key()), |key| {
            children(&self.registry, table, key)
        })
    }

    /// Steps from a group to the farthest one that contains it, over groups that somebody manages.
    pub(crate) fn levels_above(
        &self,
        table: Lookup<'_>,
        group: &GroupId,
        manager: &VerifyingKey,
    ) -> usize {
        let registry = &self.registry;
        let manager = registry.find_member(&Member::Individual(*manager));
        let manages = |parent: &KeyIndex| {
            let access = manager.zip(registry.group_of_key(*parent));
            let access = access.and_then(|(manager, group)| {
                let slot = registry.group(group).slot(manager)?;
                table(group)?.get(slot)?.active_access()
            });
            access == Some(Access::Manage)
        };
        levels(registry.find_key(group.as_key()), |key| {
            let parents = parents(registry, table, key).into_iter();
            parents.filter(manages).collect()
        })
    }

    /// Everybody reached from a group over active entries. The access is the lowest of a path,
    /// and of several paths the highest.
    ///
    /// Paths are followed from the highest access down, so each group is looked at once.
    pub(crate) fn reached(
        &self,
        table: Lookup<'_>,
        group: GroupIndex,
    ) -> BTreeMap<MemberIndex, Access> {
        let mut best: BTreeMap<MemberIndex, Access> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut todo: [Vec<GroupIndex>; 4] = Default::default();
        push(&mut todo, Access::Manage, group);
        while let Some((cap, group)) = pop(&mut todo) {
            if !seen.insert(group) {
                continue;
            }
            let known = self.registry.group(group);
            let table = table(group);
            for (slot, entry) in table.iter().flat_map(|table| table.iter()) {
                let member = known.members.get(slot as usize);
                let (Some(access), Some(member)) = (entry.active_access(), member) else {
                    continue;
                };
                let capped = access.min(cap);
                let known = best.entry(*member).or_insert(capped);
                *known = capped.max(*known);
                if let MemberIndex::Group(key) = member
                    && let Some(child) = self.registry.group_of_key(*key)
                {
                    push(&mut todo, capped, child);
                }
            }
        }
        best
    }

    /// The best way to a member through nested groups: the access, and the groups on it. None
    /// if there is none but the direct one.
    pub(crate) fn path(
        &self,
        table: Lookup<'_>,
        group: GroupIndex,
        member: MemberIndex,
    ) -> Option<(Access, Vec<GroupIndex>)> {
        let mut came_from: BTreeMap<GroupIndex, GroupIndex> = BTreeMap::new();
        let mut best: Option<(Access, GroupIndex)> = None;
        let mut seen = BTreeSet::new();
        let mut todo: [Vec<(GroupIndex, GroupIndex)>; 4] = Default::default();
        push(&mut todo, Access::Manage, (group, group));
        while let Some((cap, (parent, at))) = pop(&mut todo) {
            if !seen.insert(at) {
                continue;
            }
            came_from.insert(at, parent);
            let known = self.registry.group(at);
            let table = table(at);
            let access = |member: MemberIndex| {
                let entry = table.as_ref()?.get(known.slot(member)?)?;
                Some(entry.active_access()?.min(cap))
            };
            if let Some(access) = access(member)
                && at != group
                && best.is_none_or(|(known, _)| access > known)
            {
                best = Some((access, at));
            }
            for (_, key) in &known.nested {
                let child = self.registry.group_of_key(*key);
                if let (Some(child), Some(cap)) = (child, access(MemberIndex::Group(*key))) {
                    push(&mut todo, cap, (at, child));
                }
            }
        }
        let (access, mut at) = best?;
        let mut path = Vec::new();
        while at != group {
            path.push(at);
            at = *came_from.get(&at)?;
        }
        path.reverse();
        Some((access, path))
    }
}

fn push<T>(todo: &mut [Vec<T>; 4], cap: Access, group: T) {
    if let Some(list) = todo.get_mut(cap as usize) {
        list.push(group);
    }
}

fn pop<T>(todo: &mut [Vec<T>; 4]) -> Option<(Access, T)> {
    let lists = Access::ALL.into_iter().zip(todo).rev();
    lists
        .into_iter()
        .find_map(|(cap, list)| Some((cap, list.pop()?)))
}

/// The groups that a group contains.
fn children(registry: &Registry, table: Lookup<'_>, key: KeyIndex) -> Vec<KeyIndex> {
    let group = registry.group_of_key(key);
    let known = group.map(|group| registry.group(group));
    let Some(known) = known.filter(|known| !known.nested.is_empty()) else {
        return Vec::new();
    };
    let table = group.and_then(table);
    let entry = |slot: u32| table.as_ref()?.get(slot);
    let active = |(slot, _): &&(u32, KeyIndex)| entry(*slot).is_some_and(|e| e.is_active());
    let nested = known.nested.iter().filter(active);
    nested.map(|(_, key)| *key).collect()
}

/// The groups that contain a group.
fn parents(registry: &Registry, table: Lookup<'_>, key: KeyIndex) -> Vec<KeyIndex> {
    let member = MemberIndex::Group(key);
    let parent = |index: &GroupIndex| {
        let group = registry.group(*index);
        let table = table(*index)?;
        let entry = table.get(group.slot(member)?)?;
        entry.is_active().then_some(group.key)
    };
    let named = registry.named_in(member).iter();
    named.filter_map(parent).collect()
}

fn levels(from: Option<KeyIndex>, next: impl Fn(KeyIndex) -> Vec<KeyIndex>) -> usize {
    let mut seen: BTreeSet<KeyIndex> = from.into_iter().collect();
    let mut level: Vec<KeyIndex> = from.into_iter().collect();
    let mut steps = 0;
    loop {
        let found = level.iter().flat_map(|key| next(*key));
        level = found.filter(|key| seen.insert(*key)).collect();
        if level.is_empty() {
            return steps;
        }
        steps += 1;
    }
}
