//! Groups in groups (`docs/protocol/groups.md#10`). All walks are loops, and safe in cycles.

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::Groups;
use crate::registry::{GroupIndex, KeyIndex, MemberIndex, Registry};
use crate::table::Tables;
use crate::{Access, GroupId};

impl Groups {
    /// True if `inner` is `outer` or contains it over active nested groups.
    pub(crate) fn nests(&self, tables: &Tables, inner: &GroupId, outer: &GroupId) -> bool {
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
        let mut seen = BTreeSet::from([from]);
        let mut todo = vec![from];
        while let Some(key) = todo.pop() {
            for child in children(registry, tables, key) {
                if child == to {
                    return true;
                }
                if seen.insert(child) {
                    todo.push(child);
                }
            }
        }
        false
    }

    /// Steps from a group to the farthest one that it contains.
    pub(crate) fn levels_below(&self, tables: &Tables, group: &GroupId) -> usize {
        levels(self.registry.find_key(group.as_key()), |key| {
            children(&self.registry, tables, key).collect()
        })
    }

    /// Steps from a group to the farthest one that contains it.
    pub(crate) fn levels_above(&self, tables: &Tables, group: &GroupId) -> usize {
        levels(self.registry.find_key(group.as_key()), |key| {
            parents(&self.registry, tables, key).collect()
        })
    }

    /// Everybody reached from a group over active entries. The access is the lowest of a path,
    /// and of several paths the highest.
    ///
    /// Paths are followed from the highest access down, so each group is looked at once.
    pub(crate) fn reached(
        &self,
        tables: &Tables,
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
            for (slot, entry) in tables.get(group).into_iter().flat_map(|table| table.iter()) {
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
        tables: &Tables,
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
            let access = |member: MemberIndex| {
                let entry = tables.get(at)?.get(known.slot(member)?)?;
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
fn children<'a>(
    registry: &'a Registry,
    tables: &'a Tables,
    key: KeyIndex,
) -> impl Iterator<Item = KeyIndex> + 'a {
    let group = registry.group_of_key(key);
    let table = group.and_then(|index| Some((registry.group(index), tables.get(index)?)));
    table.into_iter().flat_map(|(group, table)| {
        let active = |slot: u32| table.get(slot).is_some_and(|entry| entry.is_active());
        let nested = group.nested.iter().copied();
        nested
            .filter(move |(slot, _)| active(*slot))
            .map(|(_, key)| key)
    })
}

/// The groups that contain a group.
fn parents<'a>(
    registry: &'a Registry,
    tables: &'a Tables,
    key: KeyIndex,
) -> impl Iterator<Item = KeyIndex> + 'a {
    let member = MemberIndex::Group(key);
    registry.named_in(member).iter().filter_map(move |index| {
        let group = registry.group(*index);
        let entry = tables.get(*index)?.get(group.slot(member)?)?;
        entry.is_active().then_some(group.key)
    })
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
